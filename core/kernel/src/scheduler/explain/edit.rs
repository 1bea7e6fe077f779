//! One change to a pod or to the nodes that may let the pod in: as data, as words, and as done to views.

use std::{fmt, sync::Arc};

use super::shown::amount;
use crate::{
    controller::ObjectKey,
    scheduler::{HostPort, NodeView, PodTerm, PodView, Spread, Taint, Tolerated, Toleration, Unsatisfiable},
};

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// The pod loses a scheduling gate.
    RemoveGate(String),
    /// The pod asks for less of a resource. Amounts are thousandths of a CPU, bytes, or whole units.
    LowerRequest {
        /// The resource's API name.
        resource: Arc<str>,
        /// What it asks for now.
        from: i64,
        /// What it would ask for; the most that fits.
        to: i64,
    },
    /// The pod tolerates a taint.
    Tolerate(Taint),
    /// The node takes pods again.
    Uncordon(Arc<str>),
    /// The node gets a label, in place of another value where it has one.
    LabelNode {
        /// The node.
        node: Arc<str>,
        /// The label.
        key: String,
        /// Its value.
        value: String,
    },
    /// The pod does without a port of the node.
    DropPort(HostPort),
    /// A spread constraint of the pod becomes a preference.
    RelaxSpread {
        /// The node label whose values are the places.
        topology: String,
        /// Where the constraint stands among the pod's.
        at: usize,
    },
    /// The pod states a spread constraint of its own, in place of those that its scheduler has for pods without any.
    StateSpread(Box<Spread>),
    /// The pod does without a label in its node selector.
    DropSelector(String),
    /// The pod does without its required node affinity.
    DropNodeAffinity,
    /// The pod does without a term of its required pod affinity.
    DropPodAffinity(Box<PodTerm>),
    /// The pod does without a term of its required pod anti-affinity.
    DropPodAntiAffinity(Box<PodTerm>),
    /// A claim that the pod names is made, and bound to a volume that every node reaches.
    CreateClaim(String),
    /// A claim of the pod is bound to a volume that every node reaches.
    BindClaim(String),
    /// The pod does without a claim.
    DropClaim(String),
    /// Another pod goes.
    RemovePod {
        /// Which.
        pod: ObjectKey,
        /// From where.
        node: Arc<str>,
    },
    /// There is one more node.
    AddNode {
        /// A node of this shape; `None` for one that is made for the pod.
        like: Option<Arc<str>>,
        /// The node, empty.
        node: Arc<NodeView>,
    },
    /// A node that is yet to be added has more of a resource.
    GrowNode {
        /// The node.
        node: Arc<str>,
        /// The resource's API name; `pods` for the number of pods.
        resource: Arc<str>,
        /// How much it has.
        to: i64,
    },
}

impl Edit {
    /// The word for its kind.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::RemoveGate(_) => "RemoveGate",
            Self::LowerRequest { .. } => "LowerRequest",
            Self::Tolerate(_) => "Tolerate",
            Self::Uncordon(_) => "Uncordon",
            Self::LabelNode { .. } => "LabelNode",
            Self::DropPort(_) => "DropPort",
            Self::RelaxSpread { .. } => "RelaxSpread",
            Self::StateSpread(_) => "StateSpread",
            Self::DropSelector(_) => "DropSelector",
            Self::DropNodeAffinity => "DropNodeAffinity",
            Self::DropPodAffinity(_) => "DropPodAffinity",
            Self::DropPodAntiAffinity(_) => "DropPodAntiAffinity",
            Self::CreateClaim(_) => "CreateClaim",
            Self::BindClaim(_) => "BindClaim",
            Self::DropClaim(_) => "DropClaim",
            Self::RemovePod { .. } => "RemovePod",
            Self::AddNode { .. } => "AddNode",
            Self::GrowNode { .. } => "GrowNode",
        }
    }

    /// Whether it changes nodes or other pods, rather than the pod alone.
    #[must_use]
    pub const fn is_of_cluster(&self) -> bool {
        matches!(
            self,
            Self::Uncordon(_)
                | Self::LabelNode { .. }
                | Self::RemovePod { .. }
                | Self::AddNode { .. }
                | Self::GrowNode { .. }
        )
    }

    /// Does it, as far as it is about the pod.
    pub fn change(&self, pod: &mut PodView) {
        match self {
            Self::RemoveGate(gate) => pod.gates.retain(|own| own != gate),
            Self::LowerRequest { resource, to, .. } => pod.requests.set(resource, *to),
            Self::Tolerate(taint) => pod.tolerations.push(Toleration {
                key: taint.key.clone(),
                value: Tolerated::Equal(taint.value.clone()),
                effect: Some(taint.effect),
            }),
            Self::DropPort(port) => pod.ports.retain(|own| own != port),
            Self::RelaxSpread { at, .. } => {
                if let Some(spread) = pod.spread.get_mut(*at) {
                    spread.unsatisfiable = Unsatisfiable::ScheduleAnyway;
                }
            }
            Self::StateSpread(spread) => pod.spread.push(Spread::clone(spread)),
            Self::DropSelector(key) => drop(pod.node_selector.remove(key)),
            Self::DropNodeAffinity => pod.node_terms = None,
            Self::DropPodAffinity(term) => {
                if let Some(affinity) = &mut pod.affinity {
                    affinity.required.retain(|own| own != &**term);
                }
            }
            Self::DropPodAntiAffinity(term) => {
                if let Some(affinity) = &mut pod.affinity {
                    affinity.anti_required.retain(|own| own != &**term);
                }
            }
            // A claim that is ready keeps the pod from no node.
            Self::CreateClaim(name) | Self::BindClaim(name) | Self::DropClaim(name) => {
                pod.claims.retain(|own| own.name != *name);
            }
            Self::Uncordon(_)
            | Self::LabelNode { .. }
            | Self::RemovePod { .. }
            | Self::AddNode { .. }
            | Self::GrowNode { .. } => {}
        }
    }

    /// Does it, as far as it is about nodes. A node that is added comes last.
    pub fn change_nodes(&self, nodes: &mut Vec<NodeView>) {
        let found = |nodes: &'_ [NodeView], name: &str| nodes.iter().position(|own| *own.name == *name);
        match self {
            Self::AddNode { node, .. } => nodes.push(NodeView::clone(node)),
            Self::Uncordon(name) => {
                if let Some(at) = found(nodes, name) {
                    nodes[at].unschedulable = false;
                    // A controller takes it away then.
                    nodes[at].taints.retain(|taint| taint.key != Taint::UNSCHEDULABLE);
                }
            }
            Self::LabelNode { node, key, value } => {
                if let Some(at) = found(nodes, node) {
                    nodes[at].labels.insert(key.clone(), value.clone());
                }
            }
            Self::GrowNode { node, resource, to } => {
                if let Some(at) = found(nodes, node) {
                    match &**resource {
                        "pods" => nodes[at].max_pods = *to,
                        name => nodes[at].allocatable.set(name, *to),
                    }
                }
            }
            Self::RemovePod { pod, node } => {
                if let Some(at) = found(nodes, node)
                    && let Some(uid) = nodes[at].pods().iter().find(|own| own.key == *pod).map(|own| own.uid.clone())
                {
                    nodes[at].remove(&uid);
                }
            }
            Self::RemoveGate(_)
            | Self::LowerRequest { .. }
            | Self::Tolerate(_)
            | Self::DropPort(_)
            | Self::RelaxSpread { .. }
            | Self::StateSpread(_)
            | Self::DropSelector(_)
            | Self::DropNodeAffinity
            | Self::DropPodAffinity(_)
            | Self::DropPodAntiAffinity(_)
            | Self::CreateClaim(_)
            | Self::BindClaim(_)
            | Self::DropClaim(_) => {}
        }
    }
}

/// What to do, as a command.
impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RemoveGate(gate) => write!(f, "remove the scheduling gate {gate}"),
            Self::LowerRequest { resource, from, to: 0 } => {
                write!(f, "request no {resource} instead of {}", amount(resource, *from))
            }
            Self::LowerRequest { resource, from, to } => {
                write!(f, "request {resource} {} instead of {}", amount(resource, *to), amount(resource, *from))
            }
            Self::Tolerate(taint) => write!(f, "tolerate the taint {taint} ({:?})", taint.effect),
            Self::Uncordon(node) => write!(f, "uncordon node {node}"),
            Self::LabelNode { node, key, value } => write!(f, "label node {node} with {key}={value}"),
            Self::DropPort(port) => write!(f, "do without the host port {}/{}", port.port, port.protocol),
            Self::RelaxSpread { topology, .. } => {
                write!(f, "let the spread over {topology} be a preference (whenUnsatisfiable: ScheduleAnyway)")
            }
            Self::StateSpread(spread) => {
                let topology = &spread.topology;
                write!(f, "state a spread over {topology} as a preference (whenUnsatisfiable: ScheduleAnyway)")
            }
            Self::DropSelector(key) => write!(f, "do without {key} in the node selector"),
            Self::DropNodeAffinity => f.write_str("do without the required node affinity"),
            Self::DropPodAffinity(term) => {
                write!(f, "do without the required pod affinity to {} over {}", term.selector, term.topology)
            }
            Self::DropPodAntiAffinity(term) => {
                write!(f, "do without the required pod anti-affinity to {} over {}", term.selector, term.topology)
            }
            Self::CreateClaim(name) => write!(f, "create the claim {name}"),
            Self::BindClaim(name) => write!(f, "have the claim {name} bound to a volume"),
            Self::DropClaim(name) => write!(f, "do without the claim {name}"),
            Self::RemovePod { pod, node } => write!(f, "remove pod {pod} from node {node}"),
            Self::AddNode { like: Some(like), node } => write!(f, "add one more node like {like} ({})", node.name),
            Self::AddNode { like: None, node } => write!(f, "add a node ({})", node.name),
            Self::GrowNode { node, resource, to } => write!(f, "give node {node} {resource} {}", amount(resource, *to)),
        }
    }
}
