//! The Job controller: runs pods until enough of them succeeded, or too many failed. The decisions are in `plan`.
//!
//! Every pod carries a finalizer until the Job's status has recorded how it ended, so that each counts once (KEP-2307).

mod backoff;
mod claims;
pub(crate) mod conditions;
mod indexes;
mod manage;
mod plan;
mod pod;
mod policy;
mod sync;
mod template;
mod writes;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;
use windlass_api::{batch::v1::Job, core::v1::Pod};
use windlass_client::{
    Client,
    events::{Recorder, Severity},
    gvr,
};
use windlass_kernel::{
    Clock, Controller, ErrorKind, Result, Revision,
    controller::{ObjectKey, Requeue, Watched},
};

use self::{
    backoff::Record,
    plan::{News, Plan},
    pod::{JobPod, JobPods},
};
use crate::{
    claim::{self, ORPHANS},
    owned::Owned,
    pods::{Changes, Pods},
    registry::Tools,
    written::Written,
};

/// Who runs the Jobs that say nothing else (`spec.managedBy`).
const MANAGER: &str = "kubernetes.io/job-controller";

/// Runs Jobs to their end.
#[derive(Debug)]
pub struct Jobs {
    client: Client,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    changes: Changes,
    jobs: Owned<Job>,
    own: JobPods,
    /// All pods, for those that nobody controls.
    pods: Pods,
    written: Written,
    /// What statuses say. A view of the pods that is newer than the Job's shows pods let go of that the Job does not
    /// seem to have counted: their indexes would be done again.
    told: Written,
    /// The failures of each Job, by uid.
    records: Mutex<BTreeMap<String, Record>>,
}

impl Jobs {
    pub(crate) fn new(tools: &Tools) -> Self {
        let recorder = tools.recorder();
        Self {
            client: tools.client.clone(),
            clock: Arc::clone(&tools.informers.parts().clock),
            changes: Changes::new(&tools.client, &recorder),
            recorder,
            jobs: tools.jobs.clone(),
            own: JobPods::new(&tools.informers),
            pods: tools.pods.clone(),
            written: Written::new(gvr::<Pod>()),
            told: Written::new(gvr::<Job>()),
            records: Mutex::default(),
        }
    }

    /// Lets go of pods that no Job will count any more.
    async fn abandon(&self, key: &ObjectKey, pods: &[Arc<JobPod>]) -> Result<()> {
        let tracked: Vec<_> = pods.iter().filter(|pod| pod.tracked).cloned().collect();
        self.release(key, &tracked).await
    }

    /// Plans for pods as they are now where it matters that they are: before anything is counted.
    async fn plan(&self, job: &Job, pods: Vec<Arc<JobPod>>) -> Result<Plan> {
        let planned = self.plan_for(job, &pods);
        let version = job.metadata.resource_version.as_deref().and_then(|text| text.parse().ok());
        // A view that is older than the Job may still show a pod that the Job's status has counted since.
        if !planned.counts_anew(job) || version.is_some_and(|version| self.own.0.revision() >= Revision(version)) {
            return Ok(planned);
        }
        let pods = self.list(job).await?;
        Ok(self.plan_for(job, &pods))
    }

    fn plan_for(&self, job: &Job, pods: &[Arc<JobPod>]) -> Plan {
        let mut records = self.records.lock();
        let record = records.entry(job.metadata.uid.clone().unwrap_or_default()).or_default();
        record.observe(pods.iter().map(|pod| &**pod), !sync::waits_for_end(&job.spec));
        plan::plan(job, pods, record, self.clock.now())
    }

    async fn carry_out(&self, key: &ObjectKey, job: &Job, mut plan: Plan) -> Result<Requeue> {
        let changed = self.change_pods(key, job, &plan).await;
        if changed.is_err() {
            // What ended is counted all the same: a quota may let pods in only once others are gone.
            plan.fall_short();
        }
        if plan.status != job.status {
            let writing = self.told.begin(key);
            let written = self.client.update_status(&Job { status: plan.status, ..job.clone() }).await;
            if let Ok(job) = &written {
                writing.wrote_version(job.metadata.resource_version.as_deref());
            }
            writing.end(&written);
            match written {
                // Whoever wrote in between wakes this controller again.
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                    return Ok(Requeue::OnChange);
                }
                written => written?,
            };
        }
        for news in &plan.news {
            self.tell(job, news);
        }
        self.release(key, &plan.release).await?;
        changed?;
        Ok(plan.next.map_or(Requeue::OnChange, Requeue::After))
    }

    fn tell(&self, job: &Job, news: &News) {
        let (severity, reason, message) = match news {
            News::Suspended => (Severity::Normal, "Suspended", "Job suspended"),
            News::Resumed => (Severity::Normal, "Resumed", "Job resumed"),
            News::Ended(outcome) if outcome.good => (Severity::Normal, "Completed", "Job completed"),
            News::Ended(outcome) => (Severity::Warning, &*outcome.reason, &*outcome.message),
            News::TooManyActive => {
                (Severity::Warning, "TooManyActivePods", "Too many active pods running after completion count reached")
            }
            News::TooManySucceeded => {
                let message = "Too many succeeded pods running after completion count reached";
                (Severity::Warning, "TooManySucceededPods", message)
            }
        };
        self.recorder.event(job, severity, reason, message);
    }
}

#[async_trait]
impl Controller for Jobs {
    fn name(&self) -> &'static str {
        "job-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![
            Watched { resource: gvr::<Job>(), keys: claim::own_key },
            Watched { resource: gvr::<Pod>(), keys: claim::controller_key::<Job> },
        ]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        if key.name == ORPHANS {
            self.adopt_orphans(&key.namespace).await?;
            return Ok(Requeue::OnChange);
        }
        self.written.seen_in(key, &self.own.0, &self.client).await?;
        self.told.seen_in(key, &self.jobs.0, &self.client).await?;
        let job = self.jobs.0.get(key);
        let uid = job.as_ref().and_then(|job| job.metadata.uid.clone());
        let (own, others): (Vec<_>, Vec<_>) =
            self.own.of(key).into_iter().partition(|pod| uid.is_some() && pod.view.controller == uid);
        self.abandon(key, &others).await?;
        let Some(job) = job else { return Ok(Requeue::OnChange) };
        if job.spec.managed_by.as_deref().is_some_and(|manager| manager != MANAGER) {
            return Ok(Requeue::OnChange);
        }
        if conditions::ended(&job).is_some() {
            self.records.lock().remove(&uid.unwrap_or_default());
            self.abandon(key, &own).await?;
            return Ok(Requeue::OnChange);
        }
        let pods = self.claim(&job, own).await?;
        let plan = self.plan(&job, pods).await?;
        self.carry_out(key, &job, plan).await
    }
}
