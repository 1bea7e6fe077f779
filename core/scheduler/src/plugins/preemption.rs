//! Making room: which less important pods leave which node so that a pod fits. Pure: it names victims and touches nobody.

mod choice;
mod rooms;

use std::{cmp::Reverse, sync::Arc};

use windlass_kernel::scheduler::{
    Budgets, Cycle, Explanation, NodeView, Nodes, Nominated, PodView, PostFilter, Preemption, Recheck, Victims,
};

use self::choice::{Candidate, best};
pub(crate) use self::rooms::Rooms;

/// Evicts less important pods, as few and as unimportant ones as will do.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultPreemption {
    /// How many nodes are enough to choose from.
    pub enough: Enough,
}

/// As [`DefaultPreemption`], but pods of a band never evict each other. Borg's production band is such.
#[derive(Clone, Copy, Debug)]
pub struct BandedPreemption {
    /// The lowest priority of the band.
    pub from: i32,
    /// How many nodes are enough to choose from.
    pub enough: Enough,
}

/// How many nodes where pods could be evicted are enough to choose from: both, whichever is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enough {
    /// So many in a hundred of all nodes (`minCandidateNodesPercentage`).
    pub percentage: usize,
    /// So many (`minCandidateNodesAbsolute`).
    pub absolute: usize,
}

impl Default for Enough {
    /// Upstream's: a tenth, and a hundred.
    fn default() -> Self {
        Self { percentage: 10, absolute: 100 }
    }
}

impl Enough {
    fn of(self, nodes: usize) -> usize {
        (nodes.saturating_mul(self.percentage) / 100).max(self.absolute)
    }
}

const NAME: &str = "DefaultPreemption";

impl PostFilter for DefaultPreemption {
    fn name(&self) -> &'static str {
        NAME
    }

    fn post_filter(
        &self,
        cycle: &Cycle,
        pod: &PodView,
        nodes: &Nodes<'_>,
        filters: &dyn Recheck,
        explanation: &mut Explanation,
    ) -> Option<Preemption> {
        Search { cycle, pod, nodes, filters, below: pod.priority }.find(self.enough, explanation)
    }

    fn considered(
        &self,
        cycle: &Cycle,
        pod: &PodView,
        nodes: &Nodes<'_>,
        filters: &dyn Recheck,
        explanation: &Explanation,
    ) -> Vec<Victims> {
        Search { cycle, pod, nodes, filters, below: pod.priority }.all(explanation)
    }
}

impl PostFilter for BandedPreemption {
    fn name(&self) -> &'static str {
        NAME
    }

    fn post_filter(
        &self,
        cycle: &Cycle,
        pod: &PodView,
        nodes: &Nodes<'_>,
        filters: &dyn Recheck,
        explanation: &mut Explanation,
    ) -> Option<Preemption> {
        let below = pod.priority.min(self.from);
        Search { cycle, pod, nodes, filters, below }.find(self.enough, explanation)
    }

    fn considered(
        &self,
        cycle: &Cycle,
        pod: &PodView,
        nodes: &Nodes<'_>,
        filters: &dyn Recheck,
        explanation: &Explanation,
    ) -> Vec<Victims> {
        let below = pod.priority.min(self.from);
        Search { cycle, pod, nodes, filters, below }.all(explanation)
    }
}

/// A search for room, by evicting pods whose priority is below a limit.
struct Search<'a> {
    cycle: &'a Cycle,
    pod: &'a PodView,
    nodes: &'a Nodes<'a>,
    filters: &'a dyn Recheck,
    below: i32,
}

impl Search<'_> {
    /// Every node where that would make room, with the victims there.
    fn all(&self, explanation: &Explanation) -> Vec<Victims> {
        if !self.pod.preempts || leaving(self.pod, self.nodes) {
            return Vec::new();
        }
        let curable = explanation.refusals.iter().filter(|refusal| refusal.curable);
        let candidates = curable.filter_map(|refusal| self.candidate(refusal.place));
        let victims = candidates.map(|found| Victims {
            node: Arc::clone(&found.node),
            pods: found.victims.clone(),
            violations: found.violations(),
        });
        victims.collect()
    }

    /// The best of the first nodes that are enough.
    fn find(&self, enough: Enough, explanation: &mut Explanation) -> Option<Preemption> {
        if !self.pod.preempts {
            explanation.room = Some("not eligible due to preemptionPolicy=Never.".into());
            return None;
        }
        if leaving(self.pod, self.nodes) {
            explanation.room = Some("not eligible due to a terminating pod on the nominated node.".into());
            return None;
        }
        let wanted = enough.of(self.nodes.len());
        let mut candidates = Vec::new();
        let (mut helpless, mut without) = (0, 0);
        for refusal in &explanation.refusals {
            if candidates.len() >= wanted {
                break;
            }
            if !refusal.curable {
                helpless += 1;
                continue;
            }
            match self.candidate(refusal.place) {
                Some(candidate) => candidates.push(candidate),
                None => without += 1,
            }
        }
        if let Some(candidate) = best(candidates) {
            return Some(Preemption { node: Arc::clone(&candidate.node), victims: candidate.victims.clone() });
        }
        helpless += explanation.nodes.saturating_sub(explanation.refusals.len());
        explanation.room = Some(said(explanation.nodes, helpless, without));
        None
    }

    fn candidate(&self, place: usize) -> Option<Arc<Candidate>> {
        let node = &self.nodes.all()[place];
        let find = || candidate(self.cycle, self.pod, node, self.filters, self.below).map(Arc::new);
        // How many may be disrupted changes without the node.
        let Some(rooms) = self.cycle.get::<Rooms>().filter(|_| self.cycle.get::<Budgets>().is_none()) else {
            return find();
        };
        let nominated = self.cycle.get::<Nominated>();
        let prior: Vec<_> = nominated.into_iter().flat_map(|all| all.before(self.pod, &node.name)).collect();
        rooms.at(place, self.below, node.pods(), &prior, find)
    }
}

fn said(nodes: usize, helpless: usize, without: usize) -> String {
    let lines = [
        (helpless, "Preemption is not helpful for scheduling"),
        (without, "No preemption victims found for incoming pod"),
    ];
    let mut lines: Vec<_> =
        lines.iter().filter(|(count, _)| *count > 0).map(|(count, text)| format!("{count} {text}")).collect();
    lines.sort_unstable();
    format!("0/{nodes} nodes are available: {}.", lines.join(", "))
}

/// Whether less important pods are on their way out of the node where room was made already.
fn leaving(pod: &PodView, nodes: &Nodes<'_>) -> bool {
    let node = pod.nominated.as_ref().and_then(|name| nodes.get(name));
    node.is_some_and(|node| node.pods().iter().any(|other| other.terminating && other.priority < pod.priority))
}

/// The victims on a node; `None` where the pod would not fit even without all that are less important.
fn candidate(cycle: &Cycle, pod: &PodView, node: &NodeView, filters: &dyn Recheck, below: i32) -> Option<Candidate> {
    let less: Vec<Arc<PodView>> = node.pods().iter().filter(|other| other.priority < below).map(Arc::clone).collect();
    if less.is_empty() {
        return None;
    }
    let (mut cycle, mut node) = (cycle.clone(), node.clone());
    less.iter().for_each(|other| filters.take(&mut cycle, pod, other, &mut node));
    if !filters.recheck(&cycle, pod, &node) {
        return None;
    }
    let (mut guarded, mut free) = split(&cycle, less);
    guarded.sort_by_key(importance);
    free.sort_by_key(importance);
    let (mut victims, mut violations) = (Vec::new(), 0);
    // Those whose budget would be violated are spared first, then the others, the most important first.
    for (others, counts) in [(guarded, true), (free, false)] {
        for other in others {
            filters.put(&mut cycle, pod, &other, &mut node);
            if !filters.recheck(&cycle, pod, &node) {
                filters.take(&mut cycle, pod, &other, &mut node);
                violations += usize::from(counts);
                victims.push(other);
            }
        }
    }
    victims.sort_by_key(importance);
    Some(Candidate::new(&node.name, victims, violations))
}

/// The most important first; of equals, the one that has run longest.
fn importance(pod: &Arc<PodView>) -> (Reverse<i32>, Option<jiff::Timestamp>, String) {
    (Reverse(pod.priority), pod.started.or(pod.created), pod.uid.clone())
}

/// Those whose disruption would violate a budget, and the others.
fn split(cycle: &Cycle, pods: Vec<Arc<PodView>>) -> (Vec<Arc<PodView>>, Vec<Arc<PodView>>) {
    let Some(Budgets(budgets)) = cycle.get() else { return (Vec::new(), pods) };
    let mut allowed: Vec<i64> = budgets.iter().map(|budget| budget.allowed).collect();
    pods.into_iter().partition(|pod| {
        let mut violated = false;
        for (budget, left) in budgets.iter().zip(&mut allowed) {
            if !pod.labels.is_empty() && budget.namespace == pod.key.namespace && budget.selector.matches(&pod.labels) {
                *left -= 1;
                violated |= *left < 0;
            }
        }
        violated
    })
}

#[cfg(test)]
mod tests;
