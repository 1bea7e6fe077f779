//! What a scheduler sees of a pod. How it is made of the API's form is in `project`.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    affinity::{NodeTerm, NodeTerms, PodAffinity, Weighted},
    node::NodeView,
    resources::Resources,
    spread::Spread,
    taint::{Taint, Toleration},
};
use crate::controller::ObjectKey;

/// A port of the node that a pod takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// The address; empty or `0.0.0.0` for all.
    pub ip: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The number.
    pub port: i32,
}

impl HostPort {
    /// Whether two pods cannot have these on one node.
    #[must_use]
    pub fn collides(&self, other: &Self) -> bool {
        let any = |ip: &str| matches!(ip, "" | "0.0.0.0");
        self.port == other.port
            && self.protocol == other.protocol
            && (any(&self.ip) || any(&other.ip) || self.ip == other.ip)
    }
}

/// A claim of a volume that a pod uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRef {
    /// The claim's name, in the pod's namespace.
    pub name: String,
    /// Whether the claim is made for the pod, and goes with it.
    pub ephemeral: bool,
}

/// Who manages a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The owner's kind.
    pub kind: String,
    /// The owner's name.
    pub name: String,
    /// The owner's uid.
    pub uid: String,
}

/// What a scheduler sees of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodView {
    /// The pod's uid: another pod of the same name is another pod.
    pub uid: String,
    /// Its namespace and name.
    pub key: ObjectKey,
    /// Its generation, for conditions.
    pub generation: i64,
    /// The name of the scheduler that it waits for.
    pub scheduler: String,
    /// The node that it is bound to.
    pub node: Option<String>,
    /// The node where others were evicted for it.
    pub nominated: Option<String>,
    /// How important it is.
    pub priority: i32,
    /// Whether it may evict less important ones.
    pub preempts: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Who manages it.
    pub owner: Option<Owner>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// When its containers were started, as far as known.
    pub started: Option<Timestamp>,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// What it asks for.
    pub requests: Resources,
    /// What it asks for, with a guess for containers that do not say: for scores only.
    pub estimated: Resources,
    /// The ports of the node that it takes.
    pub ports: Vec<HostPort>,
    /// What it puts up with.
    pub tolerations: Vec<Toleration>,
    /// Labels that its node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Terms of which its node must answer to one.
    pub node_terms: Option<NodeTerms>,
    /// Terms to which its node should answer.
    pub node_preferences: Vec<Weighted<NodeTerm>>,
    /// Which pods it wants nearby.
    pub affinity: Option<Box<PodAffinity>>,
    /// How its kin is to be spread.
    pub spread: Vec<Spread>,
    /// What must happen first.
    pub gates: Vec<String>,
    /// The images of its containers.
    pub images: Vec<String>,
    /// The claims of the volumes that it uses.
    pub claims: Vec<ClaimRef>,
    /// What its condition says about why it was not scheduled: reason and message.
    pub complaint: Option<(String, String)>,
}

impl PodView {
    /// Whether it tolerates a taint.
    #[must_use]
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.tolerations.iter().any(|toleration| toleration.tolerates(taint))
    }

    /// The first taint of a node that keeps it away.
    #[must_use]
    pub fn repelled_by<'a>(&self, node: &'a NodeView) -> Option<&'a Taint> {
        node.taints.iter().find(|taint| taint.repels() && !self.tolerates(taint))
    }

    /// Whether its node selector and node affinity accept a node.
    #[must_use]
    pub fn accepts(&self, node: &NodeView) -> bool {
        self.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
            && self.node_terms.as_ref().is_none_or(|terms| terms.matches(node))
    }
}
