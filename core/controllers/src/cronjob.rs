//! The CronJob controller: makes a Job each time that a schedule names. The decisions are in `plan`.

mod history;
mod plan;
mod times;

use std::sync::Arc;

use async_trait::async_trait;
use windlass_api::{
    batch::v1::{CronJob, CronJobStatus, Job},
    types::Time,
};
use windlass_client::{
    Cache, Client, Select,
    events::{Recorder, Severity, reference},
    gvr,
};
use windlass_kernel::{
    Clock, Controller, ErrorKind, Result,
    api::{Options, Preconditions, Propagation},
    controller::{ObjectKey, Requeue, Watched},
};

use self::plan::{Plan, Start};
use crate::{claim, owned::Owned, registry::Tools, written::Written};

/// Makes the Jobs of CronJobs.
#[derive(Debug)]
pub struct CronJobs {
    client: Client,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    crons: Cache<Arc<CronJob>>,
    jobs: Owned<Job>,
    written: Written,
}

impl CronJobs {
    pub(crate) fn new(tools: &Tools) -> Self {
        Self {
            client: tools.client.clone(),
            clock: Arc::clone(&tools.informers.parts().clock),
            recorder: tools.recorder(),
            crons: tools.informers.typed(Select::all()),
            jobs: tools.jobs.clone(),
            written: Written::new(gvr::<Job>()),
        }
    }

    async fn carry_out(&self, key: &ObjectKey, cron: &CronJob, plan: Plan) -> Result<Requeue> {
        let mut status = plan.status;
        // A deletion that is made twice does no harm, so that only the making of Jobs waits for the cache.
        self.remove(cron, &plan.remove).await?;
        if let Some(start) = &plan.start {
            let writing = self.written.begin(key);
            let started = self.start(cron, start).await;
            if let Ok(Some(job)) = &started {
                writing.wrote_version(job.metadata.resource_version.as_deref());
            }
            writing.end(&started);
            if let Some(job) = started? {
                status.active.push(reference(&*job));
                status.last_schedule_time = Some(Time(start.at));
            }
        }
        self.write_status(cron, status).await?;
        for (severity, reason, message) in plan.news {
            self.recorder.event(cron, severity, reason, message);
        }
        Ok(plan.next.map_or(Requeue::OnChange, Requeue::After))
    }

    /// The Job of a time; `None` where there can be none.
    async fn start(&self, cron: &CronJob, start: &Start) -> Result<Option<Arc<Job>>> {
        let job = plan::job_of(cron, start);
        let name = job.metadata.name.as_deref().unwrap_or_default();
        let error = match self.client.create(&job).await {
            Ok(job) => {
                self.recorder.event(cron, Severity::Normal, "SuccessfulCreate", format!("Created job {name}"));
                return Ok(Some(job));
            }
            Err(error) => error,
        };
        if claim::terminating(&error) {
            return Ok(None);
        }
        if error.is(ErrorKind::AlreadyExists) {
            let namespace = cron.metadata.namespace.as_deref().unwrap_or_default();
            let there = self.client.get_opt::<Job>(namespace, name).await?;
            // It is one's own where the status could not be written after it was made.
            let own = |job: &Arc<Job>| {
                claim::controller_of(&job.metadata).is_some_and(|owner| Some(&owner.uid) == cron.metadata.uid.as_ref())
            };
            if there.as_ref().is_some_and(own) {
                return Ok(there);
            }
        }
        self.recorder.event(cron, Severity::Warning, "FailedCreate", format!("Error creating job: {error}"));
        Err(error)
    }

    async fn remove(&self, cron: &CronJob, jobs: &[Arc<Job>]) -> Result<()> {
        for job in jobs {
            let key = claim::key(&job.metadata);
            let preconditions = Preconditions { uid: job.metadata.uid.clone(), resource_version: None };
            let options = Options { preconditions, propagation: Some(Propagation::Background), ..Options::default() };
            match self.client.delete_with::<Job>(&key.namespace, &key.name, options).await {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {}
                Err(error) => {
                    self.recorder.event(cron, Severity::Warning, "FailedDelete", format!("Deleted job: {error}"));
                    return Err(error);
                }
                Ok(()) => {
                    let message = format!("Deleted job {}", key.name);
                    self.recorder.event(cron, Severity::Normal, "SuccessfulDelete", message);
                }
            }
        }
        Ok(())
    }

    async fn write_status(&self, cron: &CronJob, status: CronJobStatus) -> Result<()> {
        if status == cron.status {
            return Ok(());
        }
        crate::status::write(&self.client, &CronJob { status, ..cron.clone() }).await
    }
}

#[async_trait]
impl Controller for CronJobs {
    fn name(&self) -> &'static str {
        "cronjob-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![
            Watched { resource: gvr::<CronJob>(), keys: claim::own_key },
            Watched { resource: gvr::<Job>(), keys: owner },
        ]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        self.written.seen_in(key, &self.jobs.0, &self.client).await?;
        let Some(cron) = self.crons.get(key) else { return Ok(Requeue::OnChange) };
        let jobs = self.jobs.controlled_by(cron.metadata.uid.as_deref().unwrap_or_default());
        let plan = plan::plan(&cron, &jobs, self.clock.now());
        self.carry_out(key, &cron, plan).await
    }
}

/// The CronJob that controls a Job. A CronJob adopts nothing, so Jobs that nobody controls concern none.
fn owner(document: &windlass_kernel::Document) -> Vec<ObjectKey> {
    let keys = claim::controller_key::<CronJob>(document);
    keys.into_iter().filter(|key| key.name != claim::ORPHANS).collect()
}
