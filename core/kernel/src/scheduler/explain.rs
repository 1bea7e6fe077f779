//! Explanations as data: what is said of a pod on every node, and the smallest change that would let it in.
//!
//! Nothing here is found out: schedulers do that. How an explanation looks as JSON is in `json`, and its schema in `schema`.

mod edit;
mod json;
mod remedy;
mod schema;
mod shown;

use std::{fmt, fmt::Debug, sync::Arc};

use async_trait::async_trait;

pub use self::{
    edit::Edit,
    remedy::{Cost, Remedy},
    shown::amount,
};
use super::{
    Turn,
    outcome::Reason,
    pod::{HostPort, PodView},
    taint::Taint,
};
use crate::{controller::ObjectKey, error::Result};

/// Everything there is to say about where a pod can go, at one moment.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// The pod.
    pub pod: ObjectKey,
    /// Its uid.
    pub uid: String,
    /// The scheduler that it waits for.
    pub scheduler: String,
    /// How it stands.
    pub verdict: Verdict,
    /// What was said before any node was looked at, and by whom.
    pub overall: Option<(&'static str, Reason)>,
    /// What is said of each node, in the order of the nodes.
    pub nodes: Vec<NodeDiagnosis>,
    /// Between which nodes chance would decide. One name where none has to.
    pub best: Vec<Arc<str>>,
    /// Whose leaving was considered, where it fits nowhere.
    pub room: Option<Room>,
    /// The smallest change that would let the pod in; `None` where none is needed or known.
    pub remedy: Option<Remedy>,
}

/// How a pod stands with its scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is on this node. What is said of nodes is what would be decided if it were not placed yet.
    Bound(String),
    /// These gates have to be removed first.
    Gated(Vec<String>),
    /// No scheduler of this process answers to the name that it asks for; these are the names that are answered to.
    Unserved(Vec<String>),
    /// It fits.
    Fits,
    /// It would fit on this node once others have left.
    Preempts(Arc<str>),
    /// It fits nowhere.
    Nowhere,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Bound(_) => "Bound",
            Self::Gated(_) => "Gated",
            Self::Unserved(_) => "Unserved",
            Self::Fits => "Fits",
            Self::Preempts(_) => "Preempts",
            Self::Nowhere => "Unschedulable",
        }
    }
}

/// What is said of one node.
#[derive(Clone, Debug)]
pub struct NodeDiagnosis {
    /// The node.
    pub node: Arc<str>,
    /// Who refused it first, and why; `None` where the pod fits.
    pub refused: Option<Refused>,
    /// How well it suits the pod, by each plugin that had something to say. Empty where it is refused.
    pub scores: Vec<Scored>,
}

impl NodeDiagnosis {
    /// The sum of the weighted scores.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.scores.iter().map(Scored::weighted).sum()
    }
}

/// The first refusal of a node.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Who refused.
    pub plugin: &'static str,
    /// Why, in the words that users of Kubernetes know.
    pub reasons: Vec<Reason>,
    /// The numbers behind that.
    pub details: Vec<Detail>,
    /// Whether the pod could go there if other pods left.
    pub curable: bool,
    /// Whether it would fit, were it not for pods that room was made for there.
    pub nominated: bool,
}

/// A number, or a thing, behind a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// There is not enough of a resource. Amounts are thousandths of a CPU, bytes, or whole units.
    Lacks {
        /// Its API name; `pods` for the number of pods.
        resource: Arc<str>,
        /// What the pod asks for.
        requested: i64,
        /// What other pods have.
        used: i64,
        /// What the node offers.
        allocatable: i64,
    },
    /// A taint is not tolerated.
    Taint(Taint),
    /// A label is not as asked for.
    Label {
        /// What is asked for, as a selector.
        wanted: String,
        /// The label's value; `None` where the node has no such label.
        found: Option<String>,
    },
    /// A port is taken.
    Port(HostPort),
    /// There would be too many of the kin in a place.
    Skew {
        /// The node label that says what a place is.
        topology: String,
        /// The place.
        place: String,
        /// How many are there.
        kin: i64,
        /// How many are in the emptiest place.
        least: i64,
        /// By how many places may differ.
        max_skew: i64,
    },
    /// Something else, in words.
    Told(String),
}

/// What one plugin says of a possible node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scored {
    /// The plugin.
    pub plugin: &'static str,
    /// The number that it found, on a scale of its own.
    pub raw: i64,
    /// The same from 0 to 100.
    pub normalized: i64,
    /// How often that counts.
    pub weight: i64,
}

impl Scored {
    /// What counts.
    #[must_use]
    pub const fn weighted(&self) -> i64 {
        self.normalized * self.weight
    }
}

/// Whose leaving was considered.
#[derive(Clone, Debug, Default)]
pub struct Room {
    /// What was said about making room, where none was found.
    pub said: Option<String>,
    /// Each node where the leaving of others would make room.
    pub candidates: Vec<Victims>,
    /// Which of them was chosen.
    pub chosen: Option<Arc<str>>,
}

/// Who would have to leave a node.
#[derive(Clone, Debug)]
pub struct Victims {
    /// The node.
    pub node: Arc<str>,
    /// Who; the most important first.
    pub pods: Vec<Arc<PodView>>,
    /// How many of them a disruption budget guards.
    pub violations: usize,
}

impl Diagnosis {
    /// A diagnosis of a pod that no node was looked at for.
    #[must_use]
    pub fn of(pod: &PodView, verdict: Verdict) -> Self {
        Self {
            pod: pod.key.clone(),
            uid: pod.uid.clone(),
            scheduler: pod.scheduler.clone(),
            verdict,
            overall: None,
            nodes: Vec::new(),
            best: Vec::new(),
            room: None,
            remedy: None,
        }
    }

    /// How many nodes the pod fits on.
    #[must_use]
    pub fn feasible(&self) -> usize {
        self.nodes.iter().filter(|node| node.refused.is_none()).count()
    }
}

/// The explanation in one sentence.
impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pod, all, some) = (&self.pod, self.nodes.len(), self.feasible());
        match &self.verdict {
            Verdict::Bound(node) => return write!(f, "pod {pod} is on node {node}"),
            Verdict::Gated(gates) => write!(f, "pod {pod} waits for its scheduling gates: {}", gates.join(", "))?,
            Verdict::Unserved(names) => {
                let (asked, names) = (&self.scheduler, names.join(", "));
                return write!(f, "pod {pod} asks for the scheduler {asked:?}, which does not run here (but {names})");
            }
            Verdict::Fits => write!(f, "pod {pod} fits on {some} of {all} nodes, best on {}", self.best.join(" or "))?,
            Verdict::Preempts(node) => write!(f, "pod {pod} fits on {node} once less important pods have left it")?,
            Verdict::Nowhere => write!(f, "pod {pod} fits on none of {all} nodes")?,
        }
        if let Some((plugin, reason)) = &self.overall {
            write!(f, " ({plugin}: {reason})")?;
        }
        match &self.remedy {
            Some(remedy) => write!(f, "; it would fit with the smallest change: {remedy}"),
            None => Ok(()),
        }
    }
}

/// Says what would be decided about a pod, and why. What [`Scheduler::diagnoses`](super::Scheduler::diagnoses) gives.
///
/// # Contract
///
/// 1. **True.** The nodes that are not refused are those that the scheduler could choose, were it asked instead; a
///    sample is not taken.
/// 2. **Curing.** With the remedy applied, the scheduler places the pod.
/// 3. **No effects.** As of [`Scheduler`](super::Scheduler).
pub trait Diagnose: Debug + Send + Sync + 'static {
    /// Looks at every node.
    fn diagnose(&self, turn: Turn<'_>) -> Result<Diagnosis>;

    /// Only the smallest change that would let in a pod that fits nowhere.
    fn remedy(&self, turn: Turn<'_>) -> Result<Option<Remedy>>;
}

/// Explains the pods of a running cluster.
///
/// # Contract
///
/// 1. **Of this moment.** What is said takes the nodes and pods as the next turn of the scheduler would.
/// 2. **No effects.** Nothing is written, and no pod's turn is delayed by more than handing out the state.
/// 3. **Absent.** A pod that the scheduler does not know (yet) is [`NotFound`](crate::ErrorKind::NotFound).
#[async_trait]
pub trait Explainer: Debug + Send + Sync + 'static {
    /// Explains a pod.
    async fn explain(&self, pod: &ObjectKey) -> Result<Diagnosis>;
}

/// A way to satisfy a filter: edits that do so together.
pub type Cure = Vec<Edit>;
