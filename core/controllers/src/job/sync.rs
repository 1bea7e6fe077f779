//! One look at a Job and its pods: who is active, who ended, and what that says of the Job.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use windlass_api::batch::v1::{Job, JobSpec, UncountedTerminatedPods};

use super::{
    conditions::{self, Outcome},
    indexes::Indexes,
    pod::JobPod,
    policy::{self, Verdict},
};

/// A Job and its pods, taken together.
#[derive(Debug)]
pub(super) struct Sync<'a> {
    pub(super) job: &'a Job,
    pub(super) pods: &'a [Arc<JobPod>],
    pub(super) active: Vec<&'a Arc<JobPod>>,
    /// How many pods are on their way out and have not ended yet.
    pub(super) terminating: usize,
    /// Pods that the status records already, each as succeeded or failed.
    pub(super) recorded: BTreeSet<&'a str>,
    pub(super) succeeded: u32,
    pub(super) failed: u32,
    /// Of an indexed Job: the indexes that succeeded, and those that failed for good.
    pub(super) done: Indexes,
    pub(super) lost: Indexes,
    pub(super) now: Timestamp,
}

/// How a Job's pods are numbered; `None` where they are not.
pub(super) fn indexed(spec: &JobSpec) -> Option<u32> {
    let indexed = spec.completion_mode.as_deref() == Some("Indexed");
    indexed.then(|| count(spec.completions.unwrap_or(0)))
}

/// Whether a pod is replaced only once it has ended, and not already when it is told to.
pub(super) fn waits_for_end(spec: &JobSpec) -> bool {
    spec.pod_replacement_policy.as_deref() == Some("Failed") || spec.pod_failure_policy.is_some()
}

/// A number of a spec or status; what is negative counts as none.
pub(super) fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

pub(super) fn size(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl<'a> Sync<'a> {
    pub(super) fn new(job: &'a Job, pods: &'a [Arc<JobPod>], now: Timestamp) -> Self {
        let status = &job.status;
        let uncounted = status.uncounted_terminated_pods.as_ref();
        let of = |list: fn(&UncountedTerminatedPods) -> &Vec<String>| uncounted.map(list).into_iter().flatten();
        let (good, bad) = (of(|own| &own.succeeded), of(|own| &own.failed));
        let sum = |before: Option<i32>, more: usize| count(before.unwrap_or(0)).saturating_add(size(more));
        let mut sync = Self {
            job,
            pods,
            active: pods.iter().filter(|pod| pod.view.active()).collect(),
            terminating: pods.iter().filter(|pod| pod.terminating()).count(),
            recorded: good.clone().chain(bad.clone()).map(String::as_str).collect(),
            succeeded: sum(status.succeeded, good.count()),
            failed: sum(status.failed, bad.count()),
            done: Indexes::default(),
            lost: Indexes::default(),
            now,
        };
        sync.failed = sync.failed.saturating_add(size(sync.newly_failed().count()));
        match indexed(&job.spec) {
            None => sync.succeeded = sync.succeeded.saturating_add(size(sync.newly_succeeded().count())),
            Some(end) => sync.look_at_indexes(end),
        }
        sync
    }

    fn look_at_indexes(&mut self, end: u32) {
        let read = |text: &Option<String>| Indexes::parse(text.as_deref().unwrap_or_default(), end);
        self.done = read(&self.job.status.completed_indexes).with(self.newly_succeeded().filter_map(|pod| pod.index));
        self.succeeded = self.done.len();
        if self.job.spec.backoff_limit_per_index.is_some() {
            let lost = self.tracked().filter(|pod| self.is_failed(pod) && self.ends_index(pod));
            let lost: Vec<u32> = lost.filter_map(|pod| pod.index).filter(|index| !self.done.contains(*index)).collect();
            self.lost = read(&self.job.status.failed_indexes).with(lost);
        }
    }

    pub(super) fn is_failed(&self, pod: &JobPod) -> bool {
        pod.failed(!waits_for_end(&self.job.spec))
    }

    /// The pods that wait to be counted, those of an indexed Job where their index is one of its.
    pub(super) fn tracked(&self) -> impl Iterator<Item = &'a Arc<JobPod>> + use<'a> {
        let end = indexed(&self.job.spec);
        self.pods
            .iter()
            .filter(move |pod| pod.tracked && end.is_none_or(|end| pod.index.is_some_and(|index| index < end)))
    }

    /// The pods that succeeded and are not recorded yet.
    pub(super) fn newly_succeeded(&self) -> impl Iterator<Item = &'a Arc<JobPod>> + use<'a, '_> {
        self.tracked().filter(|pod| pod.succeeded() && !self.recorded.contains(pod.view.uid.as_str()))
    }

    /// The pods that failed, are not recorded yet, and count.
    pub(super) fn newly_failed(&self) -> impl Iterator<Item = &'a Arc<JobPod>> + use<'a, '_> {
        self.tracked().filter(|pod| {
            self.is_failed(pod)
                && !self.recorded.contains(pod.view.uid.as_str())
                && policy::judge(&self.job.spec, pod) != Verdict::Ignore
        })
    }

    /// Whether a failed pod is one too many for its index.
    fn ends_index(&self, pod: &JobPod) -> bool {
        match policy::judge(&self.job.spec, pod) {
            Verdict::FailIndex => true,
            Verdict::Ignore => false,
            Verdict::Count | Verdict::FailJob(_) => {
                pod.failures.0 >= count(self.job.spec.backoff_limit_per_index.unwrap_or(0))
            }
        }
    }

    /// The last failed pod of each index that is to be tried again: it knows how often the index failed.
    pub(super) fn last_failed(&self) -> std::collections::BTreeMap<u32, &'a Arc<JobPod>> {
        let mut last = std::collections::BTreeMap::new();
        if self.job.spec.backoff_limit_per_index.is_none() {
            return last;
        }
        let again: BTreeSet<u32> = self.active.iter().filter_map(|pod| pod.index).collect();
        for pod in self.tracked().filter(|pod| self.is_failed(pod)) {
            let Some(index) = pod.index else { continue };
            if again.contains(&index) || self.done.contains(index) || self.lost.contains(index) {
                continue;
            }
            let rank = |pod: &JobPod| (pod.failures_before(), pod.finished);
            let held = last.entry(index).or_insert(pod);
            if rank(pod) > rank(held) {
                *held = pod;
            }
        }
        last
    }

    /// How the Job ends, where that is decided.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        let spec = &self.job.spec;
        conditions::decided(&self.job.status.conditions)
            .or_else(|| self.failed_by_policy())
            .or_else(|| self.failed_too_often().then_some(Outcome::BACKOFF_LIMIT))
            .or_else(|| self.time_left().is_some_and(|left| left.is_zero()).then_some(Outcome::DEADLINE))
            .or_else(|| self.failed_by_index())
            .or_else(|| {
                let policy = spec.success_policy.as_ref()?;
                let message = policy::enough(policy, &self.done, indexed(spec)?)?;
                Some(Outcome::success("SuccessPolicy", message))
            })
            .or_else(|| self.complete().then(|| Outcome::success(conditions::COMPLETE.0, conditions::COMPLETE.1)))
    }

    fn failed_by_policy(&self) -> Option<Outcome> {
        self.job.spec.pod_failure_policy.as_ref()?;
        self.pods.iter().filter(|pod| self.is_failed(pod)).find_map(|pod| match policy::judge(&self.job.spec, pod) {
            Verdict::FailJob(why) => Some(Outcome::failure("PodFailurePolicy", why)),
            Verdict::Count | Verdict::Ignore | Verdict::FailIndex => None,
        })
    }

    fn failed_too_often(&self) -> bool {
        let spec = &self.job.spec;
        let limit = spec.backoff_limit.unwrap_or(6);
        if self.failed > count(limit) {
            return true;
        }
        if spec.template.spec.restart_policy.as_deref() != Some("OnFailure") {
            return false;
        }
        let running = self.pods.iter().filter(|pod| !pod.view.ended());
        let restarts: i32 = running.map(|pod| pod.restarts).sum();
        restarts > 0 && restarts >= limit
    }

    /// How long the Job may be active yet.
    pub(super) fn time_left(&self) -> Option<Duration> {
        let spec = &self.job.spec;
        if spec.suspend == Some(true) {
            return None;
        }
        let span = Duration::from_secs(u64::try_from(spec.active_deadline_seconds?).unwrap_or(0));
        let since = self.job.status.start_time.map_or(self.now, |time| time.0);
        Some(span.saturating_sub(Duration::try_from(self.now.duration_since(since)).unwrap_or_default()))
    }

    fn failed_by_index(&self) -> Option<Outcome> {
        let spec = &self.job.spec;
        let lost = self.lost.len();
        if spec.max_failed_indexes.is_some_and(|most| lost > count(most)) {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return Some(Outcome::failure("MaxFailedIndexesExceeded", message));
        }
        let all = lost > 0 && lost + self.succeeded >= indexed(spec)?;
        all.then(|| Outcome::failure("FailedIndexes", "Job has failed indexes"))
    }

    fn complete(&self) -> bool {
        match self.job.spec.completions {
            // A work queue is empty once a worker says so and the others are done too.
            None => self.succeeded > 0 && self.active.is_empty(),
            Some(wanted) => self.succeeded >= count(wanted),
        }
    }
}
