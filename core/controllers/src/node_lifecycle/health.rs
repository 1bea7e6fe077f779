//! When a node counts as lost, and what its status says then. Time is this process's own: nodes' clocks may be wrong.

use std::time::Duration;

use jiff::Timestamp;
use windlass_api::{
    core::v1::{Node, NodeCondition},
    types::Time,
};

use super::view::Ready;

/// How long a node may be silent (upstream: `nodeMonitorGracePeriod`).
const GRACE: Duration = Duration::from_secs(40);
/// How long a node may be silent that never posted a status (upstream: `nodeStartupGracePeriod`).
const STARTUP: Duration = Duration::from_secs(60);

/// The conditions that nobody vouches for when a node is silent. The network's is not the node's own.
const VOUCHED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// What is known of a node's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was heard of; look again after so long.
    Heard(Duration),
    /// It was silent for too long, which its status does not say yet.
    Silent,
    /// Its status says that it is lost.
    Lost,
}

/// Judges a node that was last heard of at `seen`; both times are uptimes.
pub(super) fn judge(ready: Option<Ready>, seen: Duration, now: Duration) -> Verdict {
    if ready == Some(Ready::Unknown) {
        return Verdict::Lost;
    }
    let end = seen.saturating_add(if ready.is_some() { GRACE } else { STARTUP });
    if now >= end { Verdict::Silent } else { Verdict::Heard(end.saturating_sub(now)) }
}

/// Says in a node's status that nothing is known of it.
pub(super) fn lose(node: &mut Node, now: Timestamp) {
    let created = node.metadata.creation_timestamp;
    for of in VOUCHED {
        let Some(condition) = node.status.conditions.iter_mut().find(|condition| condition.type_ == of) else {
            node.status.conditions.push(NodeCondition {
                type_: of.into(),
                status: "Unknown".into(),
                reason: Some("NodeStatusNeverUpdated".into()),
                message: Some("Kubelet never posted node status.".into()),
                last_heartbeat_time: created,
                last_transition_time: Some(Time(now)),
            });
            continue;
        };
        if condition.status != "Unknown" {
            condition.status = "Unknown".into();
            condition.reason = Some("NodeStatusUnknown".into());
            condition.message = Some("Kubelet stopped posting node status.".into());
            condition.last_transition_time = Some(Time(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ready: Option<Ready>, silent: u64, expect: Verdict) {
        let seen = Duration::from_secs(1000);
        assert_eq!(judge(ready, seen, seen + Duration::from_secs(silent)), expect);
    }

    #[test]
    fn a_silent_node_is_given_some_time() {
        check(Some(Ready::Yes), 10, Verdict::Heard(Duration::from_secs(30)));
        check(Some(Ready::Yes), 40, Verdict::Silent);
        check(Some(Ready::No), 41, Verdict::Silent);
        check(Some(Ready::Unknown), 500, Verdict::Lost);
    }

    #[test]
    fn a_new_node_is_given_more() {
        check(None, 50, Verdict::Heard(Duration::from_secs(10)));
        check(None, 60, Verdict::Silent);
    }

    #[test]
    fn a_lost_node_has_unknown_conditions() {
        let mut node = Node::default();
        let condition = |of: &str| NodeCondition { type_: of.into(), status: "True".into(), ..Default::default() };
        node.status.conditions = vec![condition("Ready"), condition("NetworkUnavailable")];
        lose(&mut node, Timestamp::UNIX_EPOCH);
        let told: Vec<_> = node
            .status
            .conditions
            .iter()
            .map(|own| format!("{}={} {}", own.type_, own.status, own.reason.as_deref().unwrap_or("-")))
            .collect();
        let never = |of: &str| format!("{of}=Unknown NodeStatusNeverUpdated");
        assert_eq!(told[..2], ["Ready=Unknown NodeStatusUnknown".to_owned(), "NetworkUnavailable=True -".to_owned()]);
        assert_eq!(told[2..], [never("MemoryPressure"), never("DiskPressure"), never("PIDPressure")]);
        let once = node.clone();
        lose(&mut node, Timestamp::MAX);
        assert_eq!(node, once);
    }
}
