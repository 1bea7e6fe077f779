//! Nodes as their lifecycle sees them: a few facts of each.

use jiff::Timestamp;
use windlass_api::{
    core::v1::{Node, ObjectReference},
    types::Time,
};

use super::taints::{self, NO_EXECUTE, NOT_READY, UNREACHABLE};

/// Nodes with this label do not count when a zone's health is judged.
const EXCLUDED: &str = "node.kubernetes.io/exclude-disruption";
const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";

/// What a node's `Ready` condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    Yes,
    No,
    Unknown,
}

impl Ready {
    /// The taint of a node like that.
    pub(super) fn taint(self) -> Option<&'static str> {
        match self {
            Self::Yes => None,
            Self::No => Some(NOT_READY),
            Self::Unknown => Some(UNREACHABLE),
        }
    }
}

/// The facts of a node.
#[derive(Clone, Debug)]
pub(super) struct NodeView {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) zone: String,
    pub(super) excluded: bool,
    /// `None` while no condition was ever posted.
    pub(super) ready: Option<Ready>,
    /// Since when it is ready, or not.
    pub(super) since: Option<Timestamp>,
    /// The last heartbeat in the status.
    pub(super) heartbeat: Option<Time>,
    /// Whether its conditions call for other `NoSchedule` taints than it has.
    pub(super) mismatched: bool,
    /// The keys of its `NoExecute` taints for being not ready or unreachable.
    pub(super) ailing: Vec<&'static str>,
}

impl NodeView {
    pub(super) fn of(node: &Node) -> Self {
        let (meta, conditions) = (&node.metadata, &node.status.conditions);
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
        let label = |key: &str| meta.labels.get(key).map_or("", String::as_str);
        let mut settled = node.spec.clone();
        taints::by_condition(conditions, &mut settled, Timestamp::UNIX_EPOCH);
        let tainted = |key: &&str| node.spec.taints.iter().any(|own| own.key == **key && own.effect == NO_EXECUTE);
        Self {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            zone: format!("{}/{}", label(REGION), label(ZONE)),
            excluded: meta.labels.contains_key(EXCLUDED),
            ready: ready.map(|condition| match condition.status.as_str() {
                "True" => Ready::Yes,
                "False" => Ready::No,
                _ => Ready::Unknown,
            }),
            since: ready.and_then(|condition| condition.last_transition_time).map(|time| time.0),
            heartbeat: ready.and_then(|condition| condition.last_heartbeat_time),
            mismatched: settled != node.spec,
            ailing: [NOT_READY, UNREACHABLE].into_iter().filter(tainted).collect(),
        }
    }

    /// What events about it refer to.
    pub(super) fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            name: Some(self.name.clone()),
            uid: Some(self.uid.clone()),
            ..ObjectReference::default()
        }
    }
}
