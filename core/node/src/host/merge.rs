//! What a pod's status becomes when the agent's word is joined to what others have written. Pure.

use windlass_api::{
    core::v1::{PodCondition, PodStatus},
    types::Time,
};

/// The conditions that are the agent's alone. Others stay as their writers left them, unless the agent speaks of them too.
const OWN: [&str; 6] =
    ["Initialized", "Ready", "ContainersReady", "PodReadyToStartContainers", "PodResizeInProgress", "PodResizePending"];

/// Joins the agent's status to the one that is known.
///
/// Conditions of others stay; the time of a transition moves only when a status does; what was once started keeps its
/// start; a pod that has ended stays as it ended.
#[must_use]
pub(super) fn merge(known: &PodStatus, reported: &PodStatus, now: &Time) -> PodStatus {
    let mut next = reported.clone();
    if ended(known) {
        next.phase.clone_from(&known.phase);
    }
    next.start_time = known.start_time.or(reported.start_time).or(Some(*now));
    next.qos_class = known.qos_class.clone().or(next.qos_class);
    next.nominated_node_name.clone_from(&known.nominated_node_name);
    for condition in &mut next.conditions {
        let old = known.conditions.iter().find(|old| old.type_ == condition.type_);
        let same = old.filter(|old| old.status == condition.status);
        let moved = same.and_then(|old| old.last_transition_time);
        condition.last_transition_time = moved.or(Some(*now));
    }
    let spoken = |old: &&PodCondition| next.conditions.iter().any(|new| new.type_ == old.type_);
    let others = known.conditions.iter().filter(|old| !OWN.contains(&old.type_.as_str()) && !spoken(old));
    let others: Vec<_> = others.cloned().collect();
    next.conditions.extend(others);
    next.conditions.sort_by_key(|condition| {
        known.conditions.iter().position(|old| old.type_ == condition.type_).unwrap_or(usize::MAX)
    });
    next
}

/// Whether a pod's phase is final.
pub(super) fn ended(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(known: Value, reported: Value, expect: Value) {
        let read = |value: Value| serde_json::from_value::<PodStatus>(value).unwrap();
        let now = Time("2026-01-01T00:00:09Z".parse().unwrap());
        assert_eq!(merge(&read(known), &read(reported), &now), read(expect));
    }

    const EARLIER: &str = "2026-01-01T00:00:01Z";
    const NOW: &str = "2026-01-01T00:00:09Z";

    #[test]
    fn others_conditions_stay_and_times_move_only_with_a_status() {
        check(
            json!({"startTime": EARLIER, "qosClass": "Burstable", "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": EARLIER},
                {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": EARLIER},
                {"type": "Ready", "status": "True", "lastTransitionTime": EARLIER},
                {"type": "Initialized", "status": "True", "lastTransitionTime": EARLIER}]}),
            json!({"phase": "Running", "conditions": [
                {"type": "Ready", "status": "False"}, {"type": "Initialized", "status": "True"}]}),
            json!({"phase": "Running", "startTime": EARLIER, "qosClass": "Burstable", "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": EARLIER},
                {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": EARLIER},
                {"type": "Ready", "status": "False", "lastTransitionTime": NOW},
                {"type": "Initialized", "status": "True", "lastTransitionTime": EARLIER}]}),
        );
    }

    #[test]
    fn a_pod_that_has_ended_stays_as_it_ended() {
        check(
            json!({"phase": "Failed", "startTime": EARLIER}),
            json!({"phase": "Running"}),
            json!({"phase": "Failed", "startTime": EARLIER}),
        );
    }
}
