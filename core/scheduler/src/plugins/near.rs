//! Affinity between pods: which must or should be near each other, and which must or should not.

mod cures;
mod gauge;
mod pairs;

use std::collections::BTreeMap;

use windlass_kernel::scheduler::{
    Change, Cure, Cycle, Detail, Filter, Fit, NamespaceLabels, NodeView, Nodes, PodAffinity, PodTerm, PodView,
    PreFilter, Prepared, Relevance, Score, ScorePlugin,
};

use self::pairs::Pairs;

/// Sends pods to where those they need are, and keeps them from where those are that they must not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterPodAffinity {
    /// What the need of a pod that is there already counts for, as a wish of both: 0 to 100
    /// (`hardPodAffinityWeight`).
    pub needed: i64,
    /// Whether the wishes of pods that are there already do not count for pods without wishes of their own
    /// (`ignorePreferredTermsOfExistingPods`).
    pub own_wishes_only: bool,
}

impl Default for InterPodAffinity {
    /// Upstream's: 1, and all wishes count.
    fn default() -> Self {
        Self { needed: 1, own_wishes_only: false }
    }
}

const NAME: &str = "InterPodAffinity";

/// What the filter remembers: places, as a node label and its value, and how many pods speak for or against them.
#[derive(Clone, Default)]
struct Known {
    /// Where pods are that meet all needs of the pod.
    wanted: Pairs,
    /// Where pods are that the pod must not meet.
    unwanted: Pairs,
    /// Where pods are that must not meet the pod.
    unwelcome: Pairs,
    namespaces: NamespaceLabels,
}

fn needs(pod: &PodView) -> &[PodTerm] {
    pod.affinity.as_ref().map(|affinity| affinity.required.as_slice()).unwrap_or_default()
}

fn aversions(pod: &PodView) -> &[PodTerm] {
    pod.affinity.as_ref().map(|affinity| affinity.anti_required.as_slice()).unwrap_or_default()
}

/// Whether a term means a pod.
fn means(term: &PodTerm, pod: &PodView, namespaces: &NamespaceLabels) -> bool {
    term.matches(pod, || namespaces.0.get(&pod.key.namespace))
}

impl Known {
    /// Accounts for a pod that comes to a node or leaves it.
    fn count(&mut self, pod: &PodView, other: &PodView, node: &NodeView, by: i64) {
        for term in aversions(other).iter().filter(|term| means(term, pod, &self.namespaces)) {
            self.unwelcome.add(term, node, by);
        }
        let needs = needs(pod);
        if !needs.is_empty() && needs.iter().all(|term| means(term, other, &self.namespaces)) {
            needs.iter().for_each(|term| self.wanted.add(term, node, by));
        }
        for term in aversions(pod).iter().filter(|term| means(term, other, &self.namespaces)) {
            self.unwanted.add(term, node, by);
        }
    }
}

impl PreFilter for InterPodAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn pre_filter(&self, cycle: &mut Cycle, pod: &PodView, nodes: &Nodes<'_>) -> Prepared {
        let namespaces = cycle.get::<NamespaceLabels>().cloned().unwrap_or_default();
        let mut known = Known { namespaces, ..Known::default() };
        let picky = !needs(pod).is_empty() || !aversions(pod).is_empty();
        for node in nodes.iter().filter(|node| picky || node.has_affinity()) {
            let pods = node.pods().iter().filter(|other| picky || other.affinity.is_some());
            pods.for_each(|other| known.count(pod, other, node, 1));
        }
        if !picky && known.unwelcome.is_empty() {
            return Prepared::Skip;
        }
        cycle.set(known);
        Prepared::Ask
    }

    fn added(&self, cycle: &mut Cycle, pod: &PodView, other: &PodView, node: &NodeView) {
        if let Some(known) = cycle.get_mut::<Known>() {
            known.count(pod, other, node, 1);
        }
    }

    fn removed(&self, cycle: &mut Cycle, pod: &PodView, other: &PodView, node: &NodeView) {
        if let Some(known) = cycle.get_mut::<Known>() {
            known.count(pod, other, node, -1);
        }
    }
}

impl Filter for InterPodAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter(&self, cycle: &Cycle, pod: &PodView, node: &NodeView) -> Fit {
        let Some(known) = cycle.get::<Known>() else { return Fit::Yes };
        let needs = needs(pod);
        let labelled = needs.iter().all(|term| node.labels.contains_key(&term.topology));
        let met = labelled && needs.iter().all(|term| known.wanted.at(term, node) > 0);
        // The first of a group whose members need each other has to begin somewhere.
        let first = || known.wanted.is_empty() && needs.iter().all(|term| means(term, pod, &known.namespaces));
        if !(needs.is_empty() || met || labelled && first()) {
            return Fit::Never("node(s) didn't match pod affinity rules".into());
        }
        if aversions(pod).iter().any(|term| known.unwanted.at(term, node) > 0) {
            return Fit::No("node(s) didn't match pod anti-affinity rules".into());
        }
        Fit::or_no(!known.unwelcome.reach(node), "node(s) didn't satisfy existing pods anti-affinity rules")
    }

    fn helped_by(&self, pod: &PodView, change: &Change<'_>) -> bool {
        let names = |terms: &[PodTerm], other: &PodView| {
            // Namespaces' labels are not at hand: when in doubt, yes.
            terms.iter().any(|term| term.selector.matches(&other.labels))
        };
        match change {
            Change::NodeAdded(_) | Change::Other(_) => true,
            Change::NodeChanged { before, after } => before.labels != after.labels,
            Change::PodPlaced(other) => names(needs(pod), other),
            Change::PodGone(other) => names(aversions(pod), other) || names(aversions(other), pod),
            Change::PodChanged { before, after } => before.labels != after.labels,
        }
    }

    fn details(&self, cycle: &Cycle, pod: &PodView, node: &NodeView) -> Vec<Detail> {
        cycle.get::<Known>().map(|known| known.details(pod, node)).unwrap_or_default()
    }

    fn cures(&self, cycle: &Cycle, pod: &PodView, node: &NodeView, nodes: &Nodes<'_>) -> Vec<Cure> {
        cycle.get::<Known>().map(|known| vec![known.cure(pod, node, nodes)]).unwrap_or_default()
    }
}

/// What the score remembers: how much pods speak for each place, and the range of sums over possible nodes.
#[derive(Clone, Default)]
struct Wishes {
    /// What a need of theirs counts for.
    needed: i64,
    places: BTreeMap<String, BTreeMap<String, i64>>,
    least: i64,
    most: i64,
}

impl Wishes {
    fn add(&mut self, term: &PodTerm, node: &NodeView, weight: i64) {
        let Some(value) = node.labels.get(&term.topology) else { return };
        let values = self.places.entry(term.topology.clone()).or_default();
        *values.entry(value.clone()).or_default() += weight;
    }

    /// What a pod on a node says about another, and the other about it.
    fn consider(&mut self, pod: &PodView, other: &PodView, node: &NodeView, namespaces: &NamespaceLabels) {
        let none = PodAffinity::default();
        let own = pod.affinity.as_deref().unwrap_or(&none);
        let theirs = other.affinity.as_deref().unwrap_or(&none);
        for (affinity, about) in [(own, other), (theirs, pod)] {
            for wish in affinity.preferred.iter().filter(|wish| means(&wish.term, about, namespaces)) {
                self.add(&wish.term, node, wish.weight);
            }
            for wish in affinity.anti_preferred.iter().filter(|wish| means(&wish.term, about, namespaces)) {
                self.add(&wish.term, node, -wish.weight);
            }
        }
        let needed = self.needed;
        for term in theirs.required.iter().filter(|term| needed != 0 && means(term, pod, namespaces)) {
            self.add(term, node, needed);
        }
    }

    fn sum(&self, node: &NodeView) -> i64 {
        let at =
            |(topology, values): (&String, &BTreeMap<String, i64>)| values.get(node.labels.get(topology)?).copied();
        self.places.iter().filter_map(at).sum()
    }
}

impl ScorePlugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare(&self, cycle: &mut Cycle, pod: &PodView, nodes: &Nodes<'_>) -> Relevance {
        let namespaces = cycle.get::<NamespaceLabels>().cloned().unwrap_or_default();
        let wishing = pod.affinity.as_ref().is_some_and(|a| !a.preferred.is_empty() || !a.anti_preferred.is_empty());
        if self.own_wishes_only && !wishing {
            return Relevance::Skip;
        }
        let mut wishes = Wishes { needed: self.needed, ..Wishes::default() };
        for node in nodes.all().iter().filter(|node| wishing || node.has_affinity()) {
            let pods = node.pods().iter().filter(|other| wishing || other.affinity.is_some());
            pods.for_each(|other| wishes.consider(pod, other, node, &namespaces));
        }
        if wishes.places.is_empty() {
            return Relevance::Skip;
        }
        let sums = || nodes.iter().map(|node| wishes.sum(node));
        (wishes.least, wishes.most) = (sums().min().unwrap_or_default(), sums().max().unwrap_or_default());
        cycle.set(wishes);
        Relevance::Relevant
    }

    fn score(&self, cycle: &Cycle, _: &PodView, node: &NodeView) -> Score {
        let Some(wishes) = cycle.get::<Wishes>() else { return Score::MIN };
        Score::share(wishes.sum(node) - wishes.least, wishes.most - wishes.least)
    }

    /// The sum of what pods nearby speak for and against.
    fn raw(&self, cycle: &Cycle, _: &PodView, node: &NodeView) -> i64 {
        cycle.get::<Wishes>().map_or(0, |wishes| wishes.sum(node))
    }
}

#[cfg(test)]
mod tests;
