//! Outcomes as values: whether a pod fits, how well, where it goes, and why it goes nowhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use super::{pod::PodView, taint::Taint};

/// How well a node suits a pod, from 0 to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score(i64);

impl Score {
    /// Not at all.
    pub const MIN: Self = Self(0);
    /// As well as can be.
    pub const MAX: Self = Self(100);

    /// A score; what is out of range becomes the nearest that is not.
    #[must_use]
    pub const fn saturating(score: i64) -> Self {
        Self(if score < 0 {
            0
        } else if score > 100 {
            100
        } else {
            score
        })
    }

    /// A score that has to be in range.
    ///
    /// # Panics
    ///
    /// Where it is not: with [`OutOfRange`], which the framework catches to name the plugin.
    #[must_use]
    pub fn exact(score: i64) -> Self {
        if (0..=100).contains(&score) {
            return Self(score);
        }
        // Not a bug of this process that a backtrace would help with.
        std::panic::resume_unwind(Box::new(OutOfRange(score)))
    }

    /// The part of a whole, in hundredths; nothing of nothing is nothing.
    #[must_use]
    pub fn share(part: i64, whole: i64) -> Self {
        part.saturating_mul(100).checked_div(whole).map_or(Self::MIN, Self::saturating)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// What [`Score::exact`] panics with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange(pub i64);

/// Why a node, or every node, is refused. Cheap to clone: a pod may be refused by thousands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A fixed text.
    Text(&'static str),
    /// A text made for the occasion.
    Told(Arc<str>),
    /// There is not enough of a resource.
    Insufficient(Arc<str>),
    /// There is not enough of one of the resources that every node has.
    Lacks(&'static str),
    /// The pod does not tolerate a taint.
    Taint(Arc<Taint>),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Told(text) => f.write_str(text),
            Self::Insufficient(resource) => write!(f, "Insufficient {resource}"),
            Self::Lacks(resource) => write!(f, "Insufficient {resource}"),
            Self::Taint(taint) => write!(f, "node(s) had untolerated taint {taint}"),
        }
    }
}

impl From<&'static str> for Reason {
    fn from(text: &'static str) -> Self {
        Self::Text(text)
    }
}

/// One or more reasons. One, the usual case, takes no memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reasons {
    /// One.
    One(Reason),
    /// Several.
    Many(Vec<Reason>),
}

impl Reasons {
    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[Reason] {
        match self {
            Self::One(reason) => std::slice::from_ref(reason),
            Self::Many(reasons) => reasons,
        }
    }
}

impl<R: Into<Reason>> From<R> for Reasons {
    fn from(reason: R) -> Self {
        Self::One(reason.into())
    }
}

/// Whether a pod can go to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It can.
    Yes,
    /// It cannot, but could if other pods left.
    No(Reasons),
    /// It cannot, and would not if other pods left.
    Never(Reasons),
}

impl Fit {
    /// [`Yes`](Self::Yes) where `fits`, or [`No`](Self::No).
    pub fn or_no(fits: bool, reason: &'static str) -> Self {
        if fits { Self::Yes } else { Self::No(reason.into()) }
    }

    /// [`Yes`](Self::Yes) where `fits`, or [`Never`](Self::Never).
    pub fn or_never(fits: bool, reason: &'static str) -> Self {
        if fits { Self::Yes } else { Self::Never(reason.into()) }
    }

    /// Whether it can.
    #[must_use]
    pub const fn fits(&self) -> bool {
        matches!(self, Self::Yes)
    }
}

/// One node's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where the node stood among all nodes of the turn.
    pub place: usize,
    /// The node's name.
    pub node: Arc<str>,
    /// Who refused.
    pub plugin: &'static str,
    /// Why.
    pub reasons: Reasons,
    /// Whether the pod could go there if other pods left.
    pub curable: bool,
}

/// Why a pod fits nowhere, as data. Its text is the one that users of Kubernetes know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// How many nodes there are.
    pub nodes: usize,
    /// What was said before any node was looked at, and by whom.
    pub overall: Option<(&'static str, Reason)>,
    /// What each node was refused for, as far as nodes were looked at.
    pub refusals: Vec<Refusal>,
    /// What is said of the nodes that were not looked at, and by whom.
    pub absent: Option<(&'static str, Reason)>,
    /// What was said about making room.
    pub room: Option<String>,
}

impl Explanation {
    /// Who refused.
    #[must_use]
    pub fn plugins(&self) -> Vec<&'static str> {
        let overall = self.overall.iter().chain(&self.absent).map(|(plugin, _)| *plugin);
        let all: BTreeSet<_> = overall.chain(self.refusals.iter().map(|refusal| refusal.plugin)).collect();
        all.into_iter().collect()
    }

    /// How many nodes each reason was given for.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&Reason, usize> {
        let mut counts = BTreeMap::new();
        for reason in self.refusals.iter().flat_map(|refusal| refusal.reasons.as_slice()) {
            *counts.entry(reason).or_default() += 1;
        }
        if let Some((_, reason)) = self.absent.as_ref().filter(|_| self.refusals.len() < self.nodes) {
            *counts.entry(reason).or_default() += self.nodes - self.refusals.len();
        }
        counts
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        write!(f, "0/{} nodes are available", self.nodes)?;
        if let Some((_, reason)) = &self.overall {
            write!(f, ": {reason}.")?;
        } else {
            let mut lines: Vec<_> = self.counts().iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            lines.sort_unstable();
            if !lines.is_empty() {
                write!(f, ": {}.", lines.join(", "))?;
            }
        }
        self.room.as_ref().map_or(Ok(()), |room| write!(f, " preemption: {room}"))
    }
}

/// Where a pod goes.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The node's place among the nodes of the turn.
    pub place: usize,
    /// The node.
    pub node: Arc<str>,
    /// How many nodes were looked at.
    pub evaluated: usize,
    /// How many of them were possible.
    pub feasible: usize,
}

/// Room made for a pod.
#[derive(Clone, Debug)]
pub struct Preemption {
    /// Where.
    pub node: Arc<str>,
    /// Whose pods leave.
    pub victims: Vec<Arc<PodView>>,
}

/// A pod that goes nowhere for now.
#[derive(Clone, Debug, Default)]
pub struct Nowhere {
    /// Why.
    pub explanation: Explanation,
    /// How room can be made for it.
    pub preemption: Option<Preemption>,
}

/// What a scheduler decided about a pod.
#[derive(Clone, Debug)]
pub enum Decision {
    /// It goes to a node.
    Place(Placement),
    /// It goes nowhere for now.
    Nowhere(Box<Nowhere>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::Effect;

    #[track_caller]
    fn check(refusals: &[&[Reason]], room: Option<&str>, expect: &str) {
        let refusals = refusals.iter().enumerate().map(|(place, reasons)| Refusal {
            place,
            node: format!("n{place}").into(),
            plugin: "P",
            reasons: Reasons::Many(reasons.to_vec()),
            curable: true,
        });
        let refusals: Vec<_> = refusals.collect();
        let nodes = refusals.len();
        let explanation = Explanation { nodes, refusals, room: room.map(Into::into), ..Default::default() };
        assert_eq!(explanation.to_string(), expect);
    }

    #[test]
    fn reasons_are_counted_and_sorted_as_text() {
        let taint = Reason::Taint(Arc::new(Taint::new("k", "v", Effect::NoSchedule)));
        let (cpu, memory) = (Reason::Lacks("cpu"), Reason::Lacks("memory"));
        check(
            &[std::slice::from_ref(&cpu), &[cpu.clone(), memory], &[taint]],
            Some("0/3 nodes are available: 3 No preemption victims found for incoming pod."),
            "0/3 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint {k: v}, 2 Insufficient cpu. \
             preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.",
        );
        check(&[], None, "no nodes available to schedule pods");
    }

    #[test]
    fn a_share_of_nothing_is_nothing() {
        assert_eq!([Score::share(1, 0), Score::share(1, 3), Score::share(5, 3)].map(Score::get), [0, 33, 100]);
    }
}
