//! From a CronJob and its Jobs to what is done now: a Job to start, Jobs to remove, and the status that goes with it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use windlass_api::{
    batch::v1::{CronJob, CronJobStatus, Job},
    core::v1::ObjectReference,
    cron::{self, Schedule},
    meta::v1::ObjectMeta,
};
use windlass_client::events::Severity;

use super::{
    history,
    times::{Due, due},
};
use crate::{claim, job::conditions::ended};

/// The annotation with the time that a Job is for.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// A look a little late finds that the time has come.
const LATE: Duration = Duration::from_millis(100);

type News = (Severity, &'static str, String);

/// What is to be done, in this order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) remove: Vec<Arc<Job>>,
    pub(super) start: Option<Start>,
    /// The status, but for a Job that is started.
    pub(super) status: CronJobStatus,
    pub(super) news: Vec<News>,
    pub(super) next: Option<Duration>,
}

/// A Job to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// The time that it is for.
    pub(super) at: Timestamp,
    pub(super) zone: TimeZone,
}

/// Plans for a CronJob that controls `jobs`.
pub(super) fn plan(cron: &CronJob, jobs: &[Arc<Job>], now: Timestamp) -> Plan {
    let mut plan = Plan { status: cron.status.clone(), ..Plan::default() };
    plan.look_at(cron, jobs);
    plan.remove = history::surplus(&cron.spec, jobs);
    if cron.metadata.deletion_timestamp.is_none() && cron.spec.suspend != Some(true) {
        plan.schedule(cron, jobs, now);
    }
    let gone: BTreeSet<_> = plan.remove.iter().filter_map(|job| job.metadata.uid.clone()).collect();
    plan.status.active.retain(|own| own.uid.as_ref().is_none_or(|uid| !gone.contains(uid)));
    plan
}

impl Plan {
    /// Takes note of what became of the Jobs.
    fn look_at(&mut self, cron: &CronJob, jobs: &[Arc<Job>]) {
        let status = &mut self.status;
        for job in jobs {
            let name = job.metadata.name.as_deref().unwrap_or_default();
            let listed = status.active.iter().any(|own| own.uid == job.metadata.uid);
            match (ended(job), listed) {
                (None, false) if !is_new(cron, job) => {
                    let message = format!("Saw a job that the controller did not create or forgot: {name}");
                    self.news.push((Severity::Warning, "UnexpectedJob", message));
                }
                (None, _) => {}
                (Some(ended), _) => {
                    if listed {
                        status.active.retain(|own| own.uid != job.metadata.uid);
                        let message = format!("Saw completed job: {name}, condition: {}", ended.how);
                        self.news.push((Severity::Normal, "SawCompletedJob", message));
                    }
                    if ended.how == "Complete" {
                        status.last_successful_time = status.last_successful_time.max(job.status.completion_time);
                    }
                }
            }
        }
        let there = |own: &ObjectReference| jobs.iter().any(|job| job.metadata.uid == own.uid);
        for gone in status.active.iter().filter(|own| !there(own)) {
            let message = format!("Active job went missing: {}", gone.name.as_deref().unwrap_or_default());
            self.news.push((Severity::Normal, "MissingJob", message));
        }
        status.active.retain(there);
    }

    fn schedule(&mut self, cron: &CronJob, jobs: &[Arc<Job>], now: Timestamp) {
        let spec = &cron.spec;
        let zone_name = spec.time_zone.as_deref().unwrap_or_default();
        let Some(zone) = cron::zone(zone_name) else {
            let message = format!("invalid timeZone: {zone_name:?}: unknown time zone {zone_name}");
            return self.news.push((Severity::Warning, "UnknownTimeZone", message));
        };
        let schedule = match Schedule::parse(&spec.schedule) {
            Ok(schedule) => schedule,
            Err(error) => {
                let message = format!("unparseable schedule: {:?} : {error}", spec.schedule);
                return self.news.push((Severity::Warning, "UnparseableSchedule", message));
            }
        };
        let limit = spec.starting_deadline_seconds.map(jiff::SignedDuration::from_secs);
        let Due { last, too_many, next } = due(&schedule, &zone, since(cron, limit, now), now);
        self.next = next.map(|next| Duration::try_from(next.duration_since(now)).unwrap_or_default() + LATE);
        if too_many {
            let message =
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            self.news.push((Severity::Warning, "TooManyMissedTimes", message.into()));
        }
        let Some(at) = last else { return };
        if limit.is_some_and(|limit| at.checked_add(limit).is_ok_and(|end| end < now)) {
            let message = format!("Missed scheduled time to start a job: {}", at.strftime("%a, %d %b %Y %T +0000"));
            return self.news.push((Severity::Warning, "MissSchedule", message));
        }
        let name = name(cron, at);
        let made = self.status.active.iter().any(|own| own.name.as_ref() == Some(&name));
        if made || cron.status.last_schedule_time.is_some_and(|time| time.0 == at) {
            return;
        }
        // A Job of this time that the status does not know was made just before its maker was killed. It is made again,
        // which finds it there; nothing stands in its way, least of all itself.
        let known = jobs.iter().any(|job| job.metadata.name.as_ref() == Some(&name));
        if !known && !self.make_way(cron, jobs) {
            return;
        }
        self.start = Some(Start { at, zone });
    }

    /// Whether another Job may start beside those that run, or once they are removed.
    fn make_way(&mut self, cron: &CronJob, jobs: &[Arc<Job>]) -> bool {
        match cron.spec.concurrency_policy.as_deref() {
            Some("Forbid") if !self.status.active.is_empty() => {
                let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
                self.news.push((Severity::Normal, "JobAlreadyActive", message.into()));
                false
            }
            Some("Replace") => {
                let runs = |job: &&Arc<Job>| self.status.active.iter().any(|own| own.uid == job.metadata.uid);
                let running: Vec<_> = jobs.iter().filter(runs).cloned().collect();
                self.remove.extend(running);
                true
            }
            _ => true,
        }
    }
}

/// From when on times count: the last that was acted on, or the CronJob's beginning, but no longer ago than the deadline.
fn since(cron: &CronJob, limit: Option<jiff::SignedDuration>, now: Timestamp) -> Timestamp {
    let last = cron.status.last_schedule_time.or(cron.metadata.creation_timestamp).map_or(now, |time| time.0);
    limit.and_then(|limit| now.checked_sub(limit).ok()).map_or(last, |earliest| earliest.max(last))
}

/// Whether a Job may be one that the status does not know yet: made for a time after the last that it knows.
fn is_new(cron: &CronJob, job: &Job) -> bool {
    let scheduled = job.metadata.annotations.get(SCHEDULED).and_then(|time| time.parse::<Timestamp>().ok());
    scheduled.is_some_and(|time| cron.status.last_schedule_time.is_none_or(|last| time > last.0))
}

fn name(cron: &CronJob, at: Timestamp) -> String {
    format!("{}-{}", cron.metadata.name.as_deref().unwrap_or_default(), at.as_second().div_euclid(60))
}

/// The Job of a time.
pub(super) fn job_of(cron: &CronJob, start: &Start) -> Job {
    let template = &cron.spec.job_template;
    let mut annotations = template.metadata.annotations.clone();
    let local = start.at.to_zoned(start.zone.clone());
    let zone = if local.offset().seconds() == 0 { "Z".to_owned() } else { local.strftime("%:z").to_string() };
    annotations.insert(SCHEDULED.into(), format!("{}{zone}", local.strftime("%FT%T")));
    let metadata = ObjectMeta {
        name: Some(name(cron, start.at)),
        namespace: cron.metadata.namespace.clone(),
        labels: template.metadata.labels.clone(),
        annotations,
        owner_references: vec![claim::reference(cron)],
        ..ObjectMeta::default()
    };
    Job { metadata, spec: template.spec.clone(), ..Job::default() }
}

#[cfg(test)]
mod tests;
