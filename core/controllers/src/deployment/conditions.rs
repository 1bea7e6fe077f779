//! A Deployment's conditions. Reasons and messages are those that clients match on (`kubectl rollout status`).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use windlass_api::{
    apps::v1::{Deployment, DeploymentCondition, DeploymentStatus},
    types::Time,
};

use super::working::Working;

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";

const DONE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// The conditions of a status, to change.
#[derive(Debug)]
pub(super) struct Conditions<'a> {
    list: &'a mut Vec<DeploymentCondition>,
    now: Timestamp,
}

impl<'a> Conditions<'a> {
    pub(super) fn of(status: &'a mut DeploymentStatus, now: Timestamp) -> Self {
        Self { list: &mut status.conditions, now }
    }

    /// Notes that the Deployment was paused or resumed.
    pub(super) fn pause(&mut self, deployment: &Deployment) {
        let reason = self.list.iter().find(|own| own.type_ == PROGRESSING).and_then(|own| own.reason.as_deref());
        if deadline(deployment).is_none() || reason == Some(TIMED_OUT) {
            return;
        }
        match (deployment.spec.paused.unwrap_or(false), reason == Some(PAUSED)) {
            (true, false) => self.set(PROGRESSING, "Unknown", PAUSED, "Deployment is paused".into()),
            (false, true) => self.set(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed".into()),
            _ => {}
        }
    }

    /// Notes that a set of the template was there already.
    pub(super) fn found(&mut self, deployment: &Deployment, name: &str) {
        if deadline(deployment).is_some() && !self.list.iter().any(|own| own.type_ == PROGRESSING) {
            self.set(PROGRESSING, "True", "FoundNewReplicaSet", format!("Found new replica set {name:?}"));
        }
    }

    /// Notes that the set of the template is created.
    pub(super) fn created(&mut self, deployment: &Deployment, name: &str) {
        if deadline(deployment).is_some() {
            self.set(PROGRESSING, "True", "NewReplicaSetCreated", format!("Created new replica set {name:?}"));
        }
    }

    pub(super) fn available(&mut self, enough: bool) {
        if enough {
            let message = "Deployment has minimum availability.";
            self.set(AVAILABLE, "True", "MinimumReplicasAvailable", message.into());
        } else {
            let message = "Deployment does not have minimum availability.";
            self.set(AVAILABLE, "False", "MinimumReplicasUnavailable", message.into());
        }
    }

    /// Takes over the failure of a ReplicaSet, the new one's first.
    pub(super) fn failures(&mut self, sets: &[Working], new: Option<usize>) {
        let of = |set: &Working| set.set.status.conditions.iter().find(|own| own.type_ == REPLICA_FAILURE).cloned();
        let failure = new.and_then(|at| of(&sets[at])).or_else(|| sets.iter().find_map(of));
        match failure {
            None => self.list.retain(|own| own.type_ != REPLICA_FAILURE),
            Some(failure) => self.put(DeploymentCondition {
                type_: failure.type_,
                status: failure.status,
                reason: failure.reason,
                message: failure.message,
                last_transition_time: failure.last_transition_time,
                last_update_time: failure.last_transition_time,
            }),
        }
    }

    fn set(&mut self, type_: &str, status: &str, reason: &str, message: String) {
        let now = Some(Time(self.now));
        self.put(DeploymentCondition {
            type_: type_.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: now,
            last_update_time: now,
        });
    }

    /// Puts a condition, unless one of the same status and reason is there.
    fn put(&mut self, mut condition: DeploymentCondition) {
        if let Some(own) = self.list.iter().find(|own| own.type_ == condition.type_) {
            if own.status == condition.status && own.reason == condition.reason {
                return;
            }
            if own.status == condition.status {
                condition.last_transition_time = own.last_transition_time;
            }
        }
        self.list.retain(|own| own.type_ != condition.type_);
        self.list.push(condition);
    }
}

/// Says in `status` how far the rollout is, compared with what the Deployment's status says; `before` is the latter
/// with what this step adds to its conditions.
pub(super) fn judge(
    deployment: &Deployment,
    status: &mut DeploymentStatus,
    before: &DeploymentStatus,
    (new, now): (Option<&str>, Timestamp),
) {
    let Some(deadline) = deadline(deployment) else {
        status.conditions.retain(|own| own.type_ != PROGRESSING);
        return;
    };
    let current = progressing(before).cloned();
    let reason = current.as_ref().and_then(|own| own.reason.as_deref());
    if reason == Some(DONE) && status.replicas == status.updated_replicas {
        return;
    }
    let subject = new.map_or_else(
        || format!("Deployment {:?}", deployment.metadata.name.as_deref().unwrap_or_default()),
        |name| format!("ReplicaSet {name:?}"),
    );
    if complete(deployment, status) {
        let message = format!("{subject} has successfully progressed.");
        Conditions::of(status, now).set(PROGRESSING, "True", DONE, message);
    } else if progressed(&deployment.status, status) {
        // Each progress renews the deadline, so the condition is written anew even where only its time changes.
        status.conditions.retain(|own| own.type_ != PROGRESSING);
        let mut conditions = Conditions::of(status, now);
        conditions.set(PROGRESSING, "True", "ReplicaSetUpdated", format!("{subject} is progressing."));
        let since = current.filter(|own| own.status == "True").and_then(|own| own.last_transition_time);
        if let Some((since, own)) = since.zip(status.conditions.last_mut()) {
            own.last_transition_time = Some(since);
        }
    } else if timed_out(current.as_ref(), deadline, now) {
        let message = format!("{subject} has timed out progressing.");
        Conditions::of(status, now).set(PROGRESSING, "False", TIMED_OUT, message);
    }
}

/// The status after the new set could not be created.
pub(super) fn creation_failed(deployment: &Deployment, message: String, now: Timestamp) -> DeploymentStatus {
    let mut status = deployment.status.clone();
    if deadline(deployment).is_some() {
        Conditions::of(&mut status, now).set(PROGRESSING, "False", "ReplicaSetCreateError", message);
    }
    status
}

/// Whether all pods are new and available.
pub(super) fn complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let all = [status.updated_replicas, status.replicas, status.available_replicas];
    all.iter().all(|count| count.unwrap_or(0) == wanted)
        && status.observed_generation.unwrap_or(0) >= deployment.metadata.generation.unwrap_or(0)
}

/// After which time a rollout that does not progress is over its deadline.
pub(super) fn deadline_in(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> Option<Duration> {
    let (deadline, current) = (deadline(deployment)?, progressing(status)?);
    let settled = matches!(current.reason.as_deref(), Some(TIMED_OUT | DONE));
    if settled || complete(deployment, status) || deployment.spec.paused == Some(true) {
        return None;
    }
    let end = current.last_update_time?.0.checked_add(deadline).ok()?;
    let left = Duration::try_from(end.duration_since(now)).unwrap_or(Duration::ZERO);
    // Times are written in whole seconds: one more makes sure that the deadline has passed.
    Some(left + Duration::from_secs(1))
}

fn progressing(status: &DeploymentStatus) -> Option<&DeploymentCondition> {
    status.conditions.iter().find(|own| own.type_ == PROGRESSING)
}

fn progressed(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let of = |count: Option<i32>| count.unwrap_or(0);
    let old = |status: &DeploymentStatus| of(status.replicas) - of(status.updated_replicas);
    of(after.updated_replicas) > of(before.updated_replicas)
        || old(after) < old(before)
        || of(after.ready_replicas) > of(before.ready_replicas)
        || of(after.available_replicas) > of(before.available_replicas)
}

fn timed_out(current: Option<&DeploymentCondition>, deadline: SignedDuration, now: Timestamp) -> bool {
    let Some(current) = current else { return false };
    match current.reason.as_deref() {
        Some(DONE) => false,
        Some(TIMED_OUT) => true,
        _ => current.last_update_time.is_some_and(|since| now.duration_since(since.0) > deadline),
    }
}

fn deadline(deployment: &Deployment) -> Option<SignedDuration> {
    let seconds = deployment.spec.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX)?;
    Some(SignedDuration::from_secs(i64::from(seconds)))
}
