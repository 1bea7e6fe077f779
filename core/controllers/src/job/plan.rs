//! From a Job and its pods to one step: which pods to create or delete, what the status says then, and who was counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use windlass_api::{
    batch::v1::{Job, JobStatus, UncountedTerminatedPods},
    types::Time,
};

use super::{
    backoff::Record,
    conditions::{self, Outcome},
    indexes::Indexes,
    manage::{self, Manage},
    pod::JobPod,
    policy::{self, Verdict},
    sync::{Sync, count, indexed},
    template::New,
};
use crate::amount::{number, some};

/// At most so many pods are recorded in one status, which keeps it small.
const MOST_RECORDED: usize = 500;

/// What is to be done, in this order.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) delete: Vec<Arc<JobPod>>,
    /// Whether deleted pods are failures. Others are let go of first, so that they count as nothing.
    pub(super) counts: bool,
    pub(super) create: Vec<New>,
    /// The status once all pods are created and deleted; the present one where nothing changed.
    pub(super) status: JobStatus,
    /// The pods that the status, once written, needs no more.
    pub(super) release: Vec<Arc<JobPod>>,
    pub(super) news: Vec<News>,
    /// When time alone asks for another look.
    pub(super) next: Option<Duration>,
}

/// What users are told once the status is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    Suspended,
    Resumed,
    Ended(Outcome),
    TooManyActive,
    TooManySucceeded,
}

impl Plan {
    /// Takes back from the status what was to be created and deleted, as that failed. The next look knows more.
    pub(super) fn fall_short(&mut self) {
        let (missing, staying) = (number(self.create.len()), number(self.delete.len()));
        self.status.active = Some(self.status.active.unwrap_or(0) - missing + staying).filter(|count| *count > 0);
        self.status.terminating = self.status.terminating.map(|count| (count - staying).max(0));
    }

    /// Whether the status says something new about which pods ended, which must not rest on a stale view of them.
    pub(super) fn counts_anew(&self, job: &Job) -> bool {
        let said = |status: &JobStatus| {
            let JobStatus { succeeded, failed, completed_indexes, failed_indexes, uncounted_terminated_pods, .. } =
                status;
            let uncounted = uncounted_terminated_pods.clone().unwrap_or_default();
            (*succeeded, *failed, completed_indexes.clone(), failed_indexes.clone(), uncounted)
        };
        said(&self.status) != said(&job.status)
    }
}

/// Plans the next step of a Job that has not ended. `pods` are those that it controls.
pub(super) fn plan(job: &Job, pods: &[Arc<JobPod>], record: &Record, now: Timestamp) -> Plan {
    let sync = Sync::new(job, pods, now);
    let outcome = sync.outcome();
    let going = job.metadata.deletion_timestamp.is_some();
    let Manage { delete, create, wait } = match &outcome {
        _ if going => Manage::default(),
        Some(_) => Manage { delete: sync.active.iter().map(|pod| Arc::clone(pod)).collect(), ..Manage::default() },
        None => manage::manage(&sync, record),
    };
    let counts = outcome.as_ref().is_some_and(|outcome| !outcome.good);
    let mut draft = Draft { sync: &sync, status: job.status.clone(), release: Vec::new(), news: Vec::new() };
    draft.count(outcome.as_ref());
    draft.totals(delete.len(), create.len());
    draft.say(outcome.as_ref(), going);
    let Draft { status, release, news, .. } = draft;
    let waits = [wait, sync.time_left().filter(|left| outcome.is_none() && !left.is_zero())];
    Plan { delete, counts, create, status, release, news, next: waits.into_iter().flatten().min() }
}

fn decided_before(job: &Job) -> bool {
    conditions::decided(&job.status.conditions).is_some()
}

/// A status in the making.
struct Draft<'a> {
    sync: &'a Sync<'a>,
    status: JobStatus,
    release: Vec<Arc<JobPod>>,
    news: Vec<News>,
}

impl Draft<'_> {
    /// Counts whom nothing holds any more, and records who ended. A pod is let go of only once it is recorded.
    fn count(&mut self, outcome: Option<&Outcome>) {
        let sync = self.sync;
        let mut uncounted = self.status.uncounted_terminated_pods.take().unwrap_or_default();
        let held: BTreeSet<&str> =
            sync.pods.iter().filter(|pod| pod.tracked).map(|pod| pod.view.uid.as_str()).collect();
        let settle = |uids: &mut Vec<String>, total: &mut Option<i32>| {
            let before = uids.len();
            uids.retain(|uid| held.contains(uid.as_str()));
            let gone = i32::try_from(before - uids.len()).unwrap_or(i32::MAX);
            if gone > 0 {
                *total = Some(total.unwrap_or(0).saturating_add(gone));
            }
        };
        settle(&mut uncounted.succeeded, &mut self.status.succeeded);
        settle(&mut uncounted.failed, &mut self.status.failed);
        let kept = sync.last_failed();
        let mut good = Vec::new();
        for pod in sync.pods.iter().filter(|pod| pod.tracked) {
            if uncounted.succeeded.len() + uncounted.failed.len() + good.len() >= MOST_RECORDED {
                break;
            }
            let failed = sync.is_failed(pod) || outcome.is_some_and(|outcome| !outcome.good) && !pod.succeeded();
            if !self.may_go(pod, failed, outcome, &kept) {
                continue;
            }
            self.release.push(Arc::clone(pod));
            if sync.recorded.contains(pod.view.uid.as_str()) {
                continue;
            }
            let end = indexed(&sync.job.spec);
            let placed = end.is_none_or(|end| pod.index.is_some_and(|index| index < end));
            match (pod.succeeded(), end) {
                _ if !placed => {}
                (true, Some(_)) => good.extend(pod.index),
                (true, None) => uncounted.succeeded.push(pod.view.uid.clone()),
                (false, _) => {
                    if failed && policy::judge(&sync.job.spec, pod) != Verdict::Ignore {
                        uncounted.failed.push(pod.view.uid.clone());
                    }
                }
            }
        }
        self.number(good);
        self.status.uncounted_terminated_pods = Some(uncounted);
    }

    /// Whether nobody needs the pod once it is recorded.
    fn may_go(
        &self,
        pod: &Arc<JobPod>,
        failed: bool,
        outcome: Option<&Outcome>,
        kept: &BTreeMap<u32, &Arc<JobPod>>,
    ) -> bool {
        if self.sync.job.metadata.deletion_timestamp.is_some() || outcome.is_some() || pod.succeeded() {
            return true;
        }
        let last = pod.index.and_then(|index| kept.get(&index));
        failed && last.is_none_or(|last| last.view.uid != pod.view.uid)
    }

    /// Writes the indexes of an indexed Job.
    fn number(&mut self, good: Vec<u32>) {
        let Some(end) = indexed(&self.sync.job.spec) else { return };
        let before = self.status.completed_indexes.take();
        let done = Indexes::parse(before.as_deref().unwrap_or_default(), end).with(good);
        self.status.succeeded = some(number(done.len() as usize));
        let text = done.to_string();
        self.status.completed_indexes = (!text.is_empty()).then_some(text);
        if self.sync.job.spec.backoff_limit_per_index.is_some() {
            self.status.failed_indexes = Some(self.sync.lost.to_string());
        }
    }

    fn totals(&mut self, deleted: usize, created: usize) {
        let active: Vec<_> = self.sync.active.iter().collect();
        let ready = active.iter().filter(|pod| pod.view.ready).count();
        self.status.active = some(number((active.len() + created).saturating_sub(deleted)));
        self.status.ready = Some(number(ready));
        self.status.terminating = Some(number(self.sync.terminating + deleted));
    }

    /// Says how the Job ends once that is decided, and that it ended once nothing of it is left.
    fn say(&mut self, outcome: Option<&Outcome>, going: bool) {
        let (job, now) = (self.sync.job, self.sync.now);
        let suspended = job.spec.suspend == Some(true);
        if self.status.start_time.is_none() && !suspended {
            self.status.start_time = Some(Time(now));
        }
        let Some(outcome) = outcome else {
            if !going && conditions::suspend(&mut self.status.conditions, suspended, now) {
                self.news.push(if suspended { News::Suspended } else { News::Resumed });
                self.status.start_time = (!suspended).then_some(Time(now));
            }
            return;
        };
        let first = !decided_before(job);
        conditions::decide(&mut self.status.conditions, outcome, now);
        if first {
            self.surplus(outcome);
            return;
        }
        let waits = self
            .status
            .uncounted_terminated_pods
            .as_ref()
            .is_some_and(|own| *own != UncountedTerminatedPods::default());
        let held = self.sync.pods.iter().any(|pod| pod.tracked);
        if waits || held || self.status.terminating != Some(0) || self.status.active.is_some() {
            return;
        }
        conditions::end(&mut self.status.conditions, outcome, now);
        if outcome.good {
            self.status.completion_time = Some(Time(now));
        }
        self.news.push(News::Ended(outcome.clone()));
    }

    /// Tells of pods beyond what was wanted.
    fn surplus(&mut self, outcome: &Outcome) {
        let Some(wanted) = self.sync.job.spec.completions.filter(|_| outcome.reason == conditions::COMPLETE.0) else {
            return;
        };
        if !self.sync.active.is_empty() {
            self.news.push(News::TooManyActive);
        }
        if self.sync.succeeded > count(wanted) {
            self.news.push(News::TooManySucceeded);
        }
    }
}

#[cfg(test)]
mod tests;
