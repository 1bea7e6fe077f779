//! The TTL-after-finished controller: removes Jobs some time after they ended, with all that they own (KEP-592).

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use windlass_api::batch::v1::Job;
use windlass_client::{Client, gvr};
use windlass_kernel::{
    Clock, Controller, ErrorKind, Result,
    api::{Options, Preconditions, Propagation},
    controller::{ObjectKey, Requeue, Watched},
};

use crate::{claim, job::conditions::ended, owned::Owned, registry::Tools};

/// Removes Jobs whose time is up.
#[derive(Debug)]
pub struct EndedJobs {
    client: Client,
    clock: Arc<dyn Clock>,
    jobs: Owned<Job>,
}

impl EndedJobs {
    pub(crate) fn new(tools: &Tools) -> Self {
        let clock = Arc::clone(&tools.informers.parts().clock);
        Self { client: tools.client.clone(), clock, jobs: tools.jobs.clone() }
    }
}

#[async_trait]
impl Controller for EndedJobs {
    fn name(&self) -> &'static str {
        "ttl-after-finished-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![Watched { resource: gvr::<Job>(), keys: claim::own_key }]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        let Some(wait) = self.jobs.0.get(key).and_then(|job| left(&job, self.clock.now())) else {
            return Ok(Requeue::OnChange);
        };
        if !wait.is_zero() {
            return Ok(Requeue::After(wait));
        }
        // Somebody may have given it more time in the meantime.
        let Some(fresh) = self.client.get_opt::<Job>(&key.namespace, &key.name).await? else {
            return Ok(Requeue::OnChange);
        };
        if left(&fresh, self.clock.now()) != Some(Duration::ZERO) {
            return Ok(Requeue::OnChange);
        }
        let preconditions = Preconditions {
            uid: fresh.metadata.uid.clone(),
            resource_version: fresh.metadata.resource_version.clone(),
        };
        let options = Options { preconditions, propagation: Some(Propagation::Foreground), ..Options::default() };
        match self.client.delete_with::<Job>(&key.namespace, &key.name, options).await {
            // Whoever wrote in between wakes this controller again.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => Ok(Requeue::OnChange),
            done => done.map(|()| Requeue::OnChange),
        }
    }
}

/// How long a Job stays yet; `None` for as long as it likes.
fn left(job: &Job, now: Timestamp) -> Option<Duration> {
    if job.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let stay = SignedDuration::from_secs(job.spec.ttl_seconds_after_finished?.into());
    let end = ended(job)?.at?.checked_add(stay).ok()?;
    Some(Duration::try_from(end.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(job: &Value, expect: Option<u64>) {
        let job: Job = serde_json::from_value(job.clone()).unwrap();
        assert_eq!(left(&job, "2026-01-01T00:01:00Z".parse().unwrap()), expect.map(Duration::from_secs));
    }

    #[test]
    fn a_job_stays_as_long_as_it_says_after_its_end() {
        let conditions = json!([{"type": "Failed", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        let job = |ttl: Value| json!({"spec": {"ttlSecondsAfterFinished": ttl}, "status": {"conditions": conditions}});
        check(&job(100.into()), Some(40));
        check(&job(60.into()), Some(0));
        check(&job(0.into()), Some(0));
        check(&job(Value::Null), None);
        check(&json!({"spec": {"ttlSecondsAfterFinished": 0}}), None);
    }
}
