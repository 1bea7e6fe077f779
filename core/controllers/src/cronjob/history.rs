//! Which ended Jobs of a CronJob are kept, and which go.

use std::sync::Arc;

use windlass_api::batch::v1::{CronJobSpec, Job};

use crate::job::conditions::ended;

/// The ended Jobs beyond the limits, oldest first.
pub(super) fn surplus(spec: &CronJobSpec, jobs: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let limits = [("Complete", spec.successful_jobs_history_limit), ("Failed", spec.failed_jobs_history_limit)];
    let of = |(how, limit): (&str, Option<i32>)| {
        let mut own: Vec<_> = jobs.iter().filter(|job| ended(job).is_some_and(|ended| ended.how == how)).collect();
        own.sort_by_key(|job| (job.status.start_time, job.metadata.name.clone()));
        let kept = limit.map_or(own.len(), |limit| usize::try_from(limit).unwrap_or(0));
        own.truncate(own.len().saturating_sub(kept));
        own.into_iter().map(Arc::clone).collect::<Vec<_>>()
    };
    limits.into_iter().flat_map(of).collect()
}
