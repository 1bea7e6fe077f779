//! The numbers of a Deployment's status, and whether it is available.

use windlass_api::apps::v1::DeploymentStatus;

use super::{conditions::Conditions, plan::Rollout, working::Working};
use crate::amount::some;

/// Counts what the sets say of their pods.
pub(super) fn count(rollout: &Rollout<'_>) -> DeploymentStatus {
    let (deployment, sets) = (rollout.deployment, &rollout.sets);
    let sum = |of: fn(&Working) -> i32| sets.iter().map(of).sum::<i32>();
    let available = sum(Working::available);
    let updated = rollout.new.map_or(0, |at| sets[at].set.status.replicas);
    let terminating: Option<Vec<i32>> =
        sets.iter().map(|own| if own.was.is_some() { own.set.status.terminating_replicas } else { Some(0) }).collect();
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(sum(|own| own.set.status.replicas)),
        updated_replicas: some(updated),
        ready_replicas: some(sum(|own| own.set.status.ready_replicas.unwrap_or(0))),
        available_replicas: some(available),
        unavailable_replicas: some((rollout.total() - available).max(0)),
        terminating_replicas: terminating.map(|all| all.into_iter().sum()),
        collision_count: rollout.status.collision_count,
        conditions: rollout.status.conditions.clone(),
    };
    let enough = available >= rollout.limits.least();
    Conditions::of(&mut status, rollout.now).available(enough);
    status
}
