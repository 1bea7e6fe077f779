//! A Job's conditions: how it is to end, how it ended, and whether it is suspended.

use std::borrow::Cow;

use jiff::Timestamp;
use windlass_api::{
    batch::v1::{Job, JobCondition},
    types::Time,
};

const FAILURE_TARGET: &str = "FailureTarget";
const SUCCESS_MET: &str = "SuccessCriteriaMet";
const FAILED: &str = "Failed";
const COMPLETED: &str = "Complete";
const SUSPENDED: &str = "Suspended";
/// Reason and message of a Job that reached its number of completions.
pub(super) const COMPLETE: (&str, &str) = ("CompletionsReached", "Reached expected number of succeeded pods");

/// How a Job ends, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) good: bool,
    pub(super) reason: Cow<'static, str>,
    pub(super) message: Cow<'static, str>,
}

impl Outcome {
    pub(super) const BACKOFF_LIMIT: Self =
        Self::fixed("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    pub(super) const DEADLINE: Self = Self::fixed("DeadlineExceeded", "Job was active longer than specified deadline");

    const fn fixed(reason: &'static str, message: &'static str) -> Self {
        Self { good: false, reason: Cow::Borrowed(reason), message: Cow::Borrowed(message) }
    }

    pub(super) fn failure(reason: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { good: false, reason: reason.into(), message: message.into() }
    }

    pub(super) fn success(reason: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { good: true, reason: reason.into(), message: message.into() }
    }

    fn condition(&self, type_: &str, now: Timestamp) -> JobCondition {
        condition(type_, "True", &self.reason, &self.message, now)
    }
}

fn condition(type_: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> JobCondition {
    JobCondition {
        type_: type_.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

fn held<'c>(conditions: &'c [JobCondition], type_: &str) -> Option<&'c JobCondition> {
    conditions.iter().find(|own| own.type_ == type_ && own.status == "True")
}

/// What the conditions say of how the Job is to end.
pub(super) fn decided(conditions: &[JobCondition]) -> Option<Outcome> {
    let read = |own: &JobCondition, good| Outcome {
        good,
        reason: own.reason.clone().unwrap_or_default().into(),
        message: own.message.clone().unwrap_or_default().into(),
    };
    let bad = held(conditions, FAILURE_TARGET).map(|own| read(own, false));
    bad.or_else(|| held(conditions, SUCCESS_MET).map(|own| read(own, true)))
}

/// Says how the Job is to end.
pub(super) fn decide(conditions: &mut Vec<JobCondition>, outcome: &Outcome, now: Timestamp) {
    if decided(conditions).is_none() {
        conditions.push(outcome.condition(if outcome.good { SUCCESS_MET } else { FAILURE_TARGET }, now));
    }
}

/// Says that the Job ended.
pub(super) fn end(conditions: &mut Vec<JobCondition>, outcome: &Outcome, now: Timestamp) {
    conditions.push(outcome.condition(if outcome.good { COMPLETED } else { FAILED }, now));
}

/// Says whether the Job is suspended; answers whether that is news. A Job that never was is not said to be running.
pub(super) fn suspend(conditions: &mut Vec<JobCondition>, suspended: bool, now: Timestamp) -> bool {
    let (status, reason, message) =
        if suspended { ("True", "JobSuspended", "Job suspended") } else { ("False", "JobResumed", "Job resumed") };
    let new = condition(SUSPENDED, status, reason, message, now);
    match conditions.iter_mut().find(|own| own.type_ == SUSPENDED) {
        Some(own) if own.status == status => return false,
        Some(own) => *own = new,
        None if suspended => conditions.push(new),
        None => return false,
    }
    true
}

/// How a Job ended, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// `Complete` or `Failed`.
    pub(crate) how: &'static str,
    pub(crate) at: Option<Timestamp>,
}

/// How and when a Job ended, if it did.
pub(crate) fn ended(job: &Job) -> Option<Ended> {
    [COMPLETED, FAILED].into_iter().find_map(|how| {
        let own = held(&job.status.conditions, how)?;
        Some(Ended { how, at: own.last_transition_time.map(|time| time.0) })
    })
}
