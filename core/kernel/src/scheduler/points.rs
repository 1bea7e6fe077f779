//! The points where plugins have a say, one trait each. Filters and scores see only what they are handed.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;

use super::{
    cycle::Cycle,
    explain::{Cure, Detail, Victims},
    node::{Change, NodeView, Nodes},
    outcome::{Explanation, Fit, Preemption, Reason, Score},
    pod::PodView,
};
use crate::error::Result;

/// What a plugin found out before nodes are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// Every node is to be asked.
    Ask,
    /// Its filter has nothing to say about this pod.
    Skip,
    /// Only these nodes, by name, can be right; they are to be asked.
    Only(Vec<String>),
    /// The pod fits nowhere until something else changes.
    Never(Reason),
}

/// Looks at a pod, and at all nodes together, before any node is filtered.
///
/// # Contract
///
/// 1. **Pure.** The outcome depends on the arguments alone.
/// 2. **Local memory.** What is found out goes into the cycle, for the same plugin's filter.
/// 3. **Consistent.** After [`added`](PreFilter::added) and [`removed`](PreFilter::removed) the cycle is as if the call
///    had been made with the other pod there, or not there.
pub trait PreFilter: Debug + Send + Sync + 'static {
    /// The plugin's name, as in explanations. The filter of the same name can be skipped.
    fn name(&self) -> &'static str;

    /// Prepares for filtering.
    fn pre_filter(&self, cycle: &mut Cycle, pod: &PodView, nodes: &Nodes<'_>) -> Prepared;

    /// Ways to have a pod considered that this plugin said [`Never`](Prepared::Never) to, for explanations.
    fn cures(&self, cycle: &Cycle, pod: &PodView, nodes: &Nodes<'_>) -> Vec<Cure> {
        let _ = (cycle, pod, nodes);
        Vec::new()
    }

    /// Accounts for another pod that is taken to be on a node.
    fn added(&self, cycle: &mut Cycle, pod: &PodView, other: &PodView, node: &NodeView) {
        let _ = (cycle, pod, other, node);
    }

    /// Accounts for another pod that is taken to be gone from a node.
    fn removed(&self, cycle: &mut Cycle, pod: &PodView, other: &PodView, node: &NodeView) {
        let _ = (cycle, pod, other, node);
    }
}

/// Says whether a pod can go to a node.
///
/// # Contract
///
/// 1. **Pure.** The answer depends on the arguments alone, and on nothing the plugin keeps.
/// 2. **The node it is handed.** It may be a copy with pods added or taken away; the real one is not asked for.
/// 3. **Honest.** [`Fit::Never`] is for what does not change when other pods leave.
/// 4. **Quick.** It is asked for every node of every pod: no memory is allocated where the answer is yes.
pub trait Filter: Debug + Send + Sync + 'static {
    /// The plugin's name, as in explanations.
    fn name(&self) -> &'static str;

    /// Whether the pod can go there.
    fn filter(&self, cycle: &Cycle, pod: &PodView, node: &NodeView) -> Fit;

    /// What its answers depend on. When in doubt, more than the node: that is slower and never wrong.
    fn scope(&self) -> Scope {
        Scope::Cluster
    }

    /// Whether a change may help a pod that this plugin refused. When in doubt, yes: it costs another turn.
    fn helped_by(&self, pod: &PodView, change: &Change<'_>) -> bool {
        let _ = (pod, change);
        true
    }

    /// The numbers behind the refusal of a node, for explanations. Asked only where someone wants to know.
    fn details(&self, cycle: &Cycle, pod: &PodView, node: &NodeView) -> Vec<Detail> {
        let _ = (cycle, pod, node);
        Vec::new()
    }

    /// Ways to have a node that this filter refused accepted by it. Each is tried before it is suggested, so that a
    /// guess is allowed; without any, nothing is suggested for nodes that this filter refuses.
    fn cures(&self, cycle: &Cycle, pod: &PodView, node: &NodeView, nodes: &Nodes<'_>) -> Vec<Cure> {
        let _ = (cycle, pod, node, nodes);
        Vec::new()
    }
}

/// What an answer about a node depends on, beyond the pod that it is about.
///
/// Pods are alike where nothing tells them apart but uid, name, generation, times and what they were told. Alike pods
/// share answers that depend on the node alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// On the node that is handed in and on nothing else, the cycle included. The answer stays until the node or its
    /// pods change, and is given once for alike pods.
    Node,
    /// On more: it is asked for anew at each turn.
    Cluster,
}

/// Asks the filters about a node that is not quite as it is.
pub trait Recheck {
    /// Whether a pod could go to `node`, a changed copy, with `cycle` changed in the same way.
    fn recheck(&self, cycle: &Cycle, pod: &PodView, node: &NodeView) -> bool;

    /// Takes a pod from a node and from what filters remember.
    fn take(&self, cycle: &mut Cycle, pod: &PodView, other: &PodView, node: &mut NodeView);

    /// Puts a pod on a node and into what filters remember.
    fn put(&self, cycle: &mut Cycle, pod: &PodView, other: &Arc<PodView>, node: &mut NodeView);
}

/// Has a say where a pod fits nowhere: usually by making room.
///
/// # Contract
///
/// 1. **Pure.** Victims are named, not touched: the host evicts them.
/// 2. **Sufficient.** Without the victims, and with everything else as it is, the filters accept the node.
pub trait PostFilter: Debug + Send + Sync + 'static {
    /// The plugin's name.
    fn name(&self) -> &'static str;

    /// Looks for room. Where there is none, the reason is added to the explanation.
    fn post_filter(
        &self,
        cycle: &Cycle,
        pod: &PodView,
        nodes: &Nodes<'_>,
        filters: &dyn Recheck,
        explanation: &mut Explanation,
    ) -> Option<Preemption>;

    /// Every node where others could make room, for explanations: what [`post_filter`](PostFilter::post_filter)
    /// chooses from.
    fn considered(
        &self,
        cycle: &Cycle,
        pod: &PodView,
        nodes: &Nodes<'_>,
        filters: &dyn Recheck,
        explanation: &Explanation,
    ) -> Vec<Victims> {
        let _ = (cycle, pod, nodes, filters, explanation);
        Vec::new()
    }
}

/// Whether a plugin has anything to say about a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relevance {
    /// It has.
    Relevant,
    /// It has not, and is not asked.
    Skip,
}

/// Says how well a node suits a pod. (The point `Score`; the bare name belongs to the number.)
///
/// # Contract
///
/// 1. **Pure.** The score depends on the arguments alone.
/// 2. **Comparable.** All scores of one turn are on one scale. What is relative to the other nodes is found out in
///    [`prepare`](ScorePlugin::prepare).
/// 3. **Quick.** It is asked for every possible node of every pod.
pub trait ScorePlugin: Debug + Send + Sync + 'static {
    /// The plugin's name.
    fn name(&self) -> &'static str;

    /// Looks at all possible nodes together before any is scored.
    fn prepare(&self, cycle: &mut Cycle, pod: &PodView, nodes: &Nodes<'_>) -> Relevance {
        let _ = (cycle, pod, nodes);
        Relevance::Relevant
    }

    /// How well the node suits the pod.
    fn score(&self, cycle: &Cycle, pod: &PodView, node: &NodeView) -> Score;

    /// The number on a scale of its own that the score is made of, for explanations.
    fn raw(&self, cycle: &Cycle, pod: &PodView, node: &NodeView) -> i64 {
        self.score(cycle, pod, node).get()
    }

    /// What its scores depend on. When in doubt, more than the node: that is slower and never wrong. Where it is the
    /// node, what [`prepare`](ScorePlugin::prepare) answers depends on the pod alone.
    fn scope(&self) -> Scope {
        Scope::Cluster
    }
}

/// A filter and score that lives elsewhere and has to be waited for.
///
/// # Contract
///
/// 1. **Aligned.** Answers come in the order of the nodes handed in, one for each.
/// 2. **Cancel-safe.** Dropping a call has no effect.
#[async_trait]
pub trait Extender: Debug + Send + Sync + 'static {
    /// The extender's name.
    fn name(&self) -> &'static str;

    /// Whether it has to be asked about a pod at all.
    fn interested(&self, pod: &PodView) -> bool;

    /// Whether a failure of it is ignored; otherwise the pod waits.
    fn ignorable(&self) -> bool {
        false
    }

    /// Whether the pod can go to each of the nodes.
    async fn filter(&self, pod: &PodView, nodes: &Nodes<'_>) -> Result<Vec<Fit>>;

    /// How well each of the nodes suits the pod.
    async fn score(&self, pod: &PodView, nodes: &Nodes<'_>) -> Result<Vec<Score>>;
}

/// Sets something aside for a pod on its chosen node, before the next pod is looked at.
///
/// # Contract
///
/// 1. **Undone.** [`unreserve`](Reserve::unreserve) follows whenever the pod does not get there, also where `reserve`
///    itself refused; it is idempotent.
pub trait Reserve: Debug + Send + Sync + 'static {
    /// The plugin's name.
    fn name(&self) -> &'static str;

    /// Sets aside what the pod needs.
    fn reserve(&self, cycle: &mut Cycle, pod: &PodView, node: &str) -> Fit;

    /// Gives back what was set aside.
    fn unreserve(&self, cycle: &Cycle, pod: &PodView, node: &str);
}

/// Lets a pod go to its node, now or later. Other pods are not held up meanwhile.
///
/// # Contract
///
/// 1. **Cancel-safe.** Dropping the call is a refusal.
#[async_trait]
pub trait Permit: Debug + Send + Sync + 'static {
    /// The plugin's name.
    fn name(&self) -> &'static str;

    /// Ends when the pod may go, or may not.
    async fn permit(&self, cycle: &Cycle, pod: &PodView, node: &str) -> Result<Fit>;
}

/// Prepares the node or the cluster for a pod, such as by attaching volumes.
///
/// # Contract
///
/// 1. **Idempotent.** It may be called again for the same pod and node.
/// 2. **Cancel-safe.** Dropping the call leaves nothing that a repetition would stumble over.
#[async_trait]
pub trait PreBind: Debug + Send + Sync + 'static {
    /// The plugin's name.
    fn name(&self) -> &'static str;

    /// Ends when the pod may be bound.
    async fn pre_bind(&self, cycle: &Cycle, pod: &PodView, node: &str) -> Result<()>;
}

/// Whether a plugin bound a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It did.
    Done,
    /// It leaves that to the next one.
    Skip,
}

/// Binds a pod to its node, in place of the host's own way.
///
/// # Contract
///
/// 1. **Once.** After [`Done`](Bound::Done) the API shows the pod on the node.
/// 2. **Honest.** An error whose certainty is unknown may have bound the pod.
#[async_trait]
pub trait Bind: Debug + Send + Sync + 'static {
    /// The plugin's name.
    fn name(&self) -> &'static str;

    /// Binds the pod.
    async fn bind(&self, cycle: &Cycle, pod: &PodView, node: &str) -> Result<Bound>;
}
