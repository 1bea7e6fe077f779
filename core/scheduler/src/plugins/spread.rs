//! Spreading a pod's kin over zones, hosts or any other label of nodes.

mod gauge;
mod places;
mod usual;

use windlass_kernel::scheduler::{
    Change, Cure, Cycle, Detail, Edit, Filter, Fit, NodeView, Nodes, PodView, Policy, PreFilter, Prepared, Relevance,
    Score, ScorePlugin, Spread, Unsatisfiable,
};

pub use self::usual::Spreading;
pub(crate) use self::usual::Usual;
use self::{
    places::{Places, kin},
    usual::{constraints, wants_all_labels},
};

/// Keeps pods from places that have too many of their kin already, and prefers those with few.
#[derive(Clone, Copy, Debug)]
pub struct PodTopologySpread;

const NAME: &str = "PodTopologySpread";
const HOSTNAME: &str = "kubernetes.io/hostname";

/// What the filter remembers: each constraint that must hold, with its places.
#[derive(Clone)]
struct Hard(Vec<(Spread, Places)>);

/// What the score remembers.
#[derive(Clone)]
struct Soft {
    wishes: Vec<Wish>,
    /// Whether nodes without one of the labels are left out.
    all_labels: bool,
    least: i64,
    most: i64,
}

#[derive(Clone)]
struct Wish {
    spread: Spread,
    places: Places,
    weight: f64,
}

/// Whether a node counts as a part of a place.
fn counts(spread: &Spread, pod: &PodView, node: &NodeView) -> bool {
    (spread.affinity == Policy::Ignore || pod.accepts(node))
        && (spread.taints == Policy::Ignore || pod.repelled_by(node).is_none())
}

fn has_labels<'a>(node: &NodeView, mut spreads: impl Iterator<Item = &'a Spread>) -> bool {
    spreads.all(|spread| node.labels.contains_key(&spread.topology))
}

impl PreFilter for PodTopologySpread {
    fn name(&self) -> &'static str {
        NAME
    }

    fn pre_filter(&self, cycle: &mut Cycle, pod: &PodView, nodes: &Nodes<'_>) -> Prepared {
        let hard = constraints(pod, cycle, Unsatisfiable::DoNotSchedule);
        let mut hard: Vec<_> = hard.into_iter().map(|spread| (spread, Places::default())).collect();
        if hard.is_empty() {
            return Prepared::Skip;
        }
        for node in nodes.iter() {
            if !has_labels(node, hard.iter().map(|(spread, _)| spread)) {
                continue;
            }
            for (spread, places) in hard.iter_mut().filter(|(spread, _)| counts(spread, pod, node)) {
                places.add(&node.labels[&spread.topology], kin(node, &spread.selector, &pod.key.namespace));
            }
        }
        hard.iter_mut().for_each(|(_, places)| places.settle());
        cycle.set(Hard(hard));
        Prepared::Ask
    }

    fn added(&self, cycle: &mut Cycle, pod: &PodView, other: &PodView, node: &NodeView) {
        moved(cycle, pod, other, node, 1);
    }

    fn removed(&self, cycle: &mut Cycle, pod: &PodView, other: &PodView, node: &NodeView) {
        moved(cycle, pod, other, node, -1);
    }
}

/// Accounts for another pod that comes to a node or leaves it.
fn moved(cycle: &mut Cycle, pod: &PodView, other: &PodView, node: &NodeView, by: i64) {
    let Some(Hard(hard)) = cycle.get_mut() else { return };
    if other.key.namespace != pod.key.namespace || !has_labels(node, hard.iter().map(|(spread, _)| spread)) {
        return;
    }
    for (spread, places) in hard {
        if spread.selector.matches(&other.labels) && counts(spread, pod, node) {
            places.add(&node.labels[&spread.topology], by);
            places.settle();
        }
    }
}

impl Filter for PodTopologySpread {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter(&self, cycle: &Cycle, pod: &PodView, node: &NodeView) -> Fit {
        let Some(Hard(hard)) = cycle.get() else { return Fit::Yes };
        for (spread, places) in hard {
            let Some(value) = node.labels.get(&spread.topology) else {
                return Fit::Never(
                    "node(s) didn't match pod topology spread constraints (missing required label)".into(),
                );
            };
            let itself = i64::from(spread.selector.matches(&pod.labels));
            let skew = places.at(value) + itself - places.least(spread.min_domains);
            if skew > spread.max_skew {
                return Fit::No("node(s) didn't match pod topology spread constraints".into());
            }
        }
        Fit::Yes
    }

    fn helped_by(&self, pod: &PodView, change: &Change<'_>) -> bool {
        let related = |other: &PodView| {
            // Without constraints of its own, its kin are not at hand: when in doubt, yes.
            let kin = pod.spread.is_empty() || pod.spread.iter().any(|spread| spread.selector.matches(&other.labels));
            other.key.namespace == pod.key.namespace && kin
        };
        match change {
            Change::NodeAdded(_) => true,
            Change::NodeChanged { before, after } => before.labels != after.labels || before.taints != after.taints,
            // One more of the kin raises the least, too.
            Change::PodPlaced(other) | Change::PodGone(other) => related(other),
            Change::PodChanged { before, after } => {
                before.labels != after.labels && (related(before) || related(after))
            }
            Change::Other(_) => false,
        }
    }

    fn details(&self, cycle: &Cycle, pod: &PodView, node: &NodeView) -> Vec<Detail> {
        violated(cycle, pod, node).map(|(.., detail)| detail).collect()
    }

    /// To make preferences of the constraints that do not hold; those of the profile yield to one that the pod states.
    fn cures(&self, cycle: &Cycle, pod: &PodView, node: &NodeView, _: &Nodes<'_>) -> Vec<Cure> {
        let mut missed = violated(cycle, pod, node).peekable();
        if pod.spread.is_empty()
            && let Some((_, spread, _)) = missed.peek()
        {
            let preference = Spread { unsatisfiable: Unsatisfiable::ScheduleAnyway, ..Spread::clone(spread) };
            return vec![vec![Edit::StateSpread(Box::new(preference))]];
        }
        vec![missed.map(|(at, spread, _)| Edit::RelaxSpread { topology: spread.topology.clone(), at }).collect()]
    }
}

/// The constraints that would not hold on a node: where each stands among those that it is one of, and by how much it
/// is missed.
fn violated<'a>(
    cycle: &'a Cycle,
    pod: &'a PodView,
    node: &'a NodeView,
) -> impl Iterator<Item = (usize, &'a Spread, Detail)> + use<'a> {
    let hard = cycle.get::<Hard>().map(|Hard(hard)| hard.as_slice()).unwrap_or_default();
    let own = pod.spread.iter().enumerate();
    let own = own.filter(|(_, own)| own.unsatisfiable == Unsatisfiable::DoNotSchedule).map(|(at, _)| at);
    // Beyond the pod's own are those of the profile, where it has none.
    own.chain(0..).zip(hard).filter_map(|(at, (spread, places))| {
        let topology = spread.topology.clone();
        let Some(place) = node.labels.get(&spread.topology) else {
            return Some((at, spread, Detail::Label { wanted: topology, found: None }));
        };
        let (kin, least) = (places.at(place), places.least(spread.min_domains));
        let itself = i64::from(spread.selector.matches(&pod.labels));
        let (place, max_skew) = (place.clone(), spread.max_skew);
        let missed = kin + itself - least > max_skew;
        missed.then_some((at, spread, Detail::Skew { topology, place, kin, least, max_skew }))
    })
}

impl Soft {
    fn left_out(&self, node: &NodeView) -> bool {
        self.all_labels && !has_labels(node, self.wishes.iter().map(|wish| &wish.spread))
    }

    /// How crowded a node's places are. A host's own kin is counted here, that of larger places was before.
    fn crowd(&self, pod: &PodView, node: &NodeView) -> i64 {
        let mut crowd = 0.0;
        for Wish { spread, places, weight } in &self.wishes {
            let Some(value) = node.labels.get(&spread.topology) else { continue };
            let count = match spread.topology.as_str() {
                HOSTNAME => kin(node, &spread.selector, &pod.key.namespace),
                _ => places.at(value),
            };
            crowd += float(count) * weight + float(spread.max_skew - 1);
        }
        #[allow(clippy::cast_possible_truncation, reason = "counts of pods are far below the limits")]
        let crowd = crowd.round() as i64;
        crowd
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of pods and nodes are far below the limits")]
fn float(count: i64) -> f64 {
    count as f64
}

impl ScorePlugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare(&self, cycle: &mut Cycle, pod: &PodView, nodes: &Nodes<'_>) -> Relevance {
        let all_labels = wants_all_labels(pod, cycle);
        let spreads = constraints(pod, cycle, Unsatisfiable::ScheduleAnyway);
        if spreads.is_empty() {
            return Relevance::Skip;
        }
        let wish = |spread| Wish { spread, places: Places::default(), weight: 0.0 };
        let wishes = spreads.into_iter().map(wish).collect();
        let mut soft = Soft { wishes, all_labels, least: i64::MAX, most: 0 };
        let open: Vec<&NodeView> = nodes.iter().filter(|node| !soft.left_out(node)).collect();
        for Wish { spread, places, weight } in &mut soft.wishes {
            let hosts = spread.topology == HOSTNAME;
            if !hosts {
                // Only places of possible nodes matter; a node without the label is a place of its own kind.
                open.iter().for_each(|node| places.add(label(node, spread), 0));
            }
            let size = if hosts { open.len() } else { places.len() };
            *weight = float(i64::try_from(size + 2).unwrap_or(i64::MAX)).ln();
        }
        for node in nodes.all().iter() {
            if soft.all_labels && !has_labels(node, soft.wishes.iter().map(|wish| &wish.spread)) {
                continue;
            }
            for Wish { spread, places, .. } in soft.wishes.iter_mut().filter(|wish| wish.spread.topology != HOSTNAME) {
                if counts(spread, pod, node) && places.has(label(node, spread)) {
                    places.add(label(node, spread), kin(node, &spread.selector, &pod.key.namespace));
                }
            }
        }
        for node in open {
            let crowd = soft.crowd(pod, node);
            soft.least = soft.least.min(crowd);
            soft.most = soft.most.max(crowd);
        }
        cycle.set(soft);
        Relevance::Relevant
    }

    fn score(&self, cycle: &Cycle, pod: &PodView, node: &NodeView) -> Score {
        let Some(soft) = cycle.get::<Soft>().filter(|soft| !soft.left_out(node)) else { return Score::MIN };
        if soft.most == 0 {
            return Score::MAX;
        }
        Score::share(soft.most + soft.least - soft.crowd(pod, node), soft.most)
    }

    /// How crowded the node's places are: less is better.
    fn raw(&self, cycle: &Cycle, pod: &PodView, node: &NodeView) -> i64 {
        cycle.get::<Soft>().map_or(0, |soft| soft.crowd(pod, node))
    }
}

fn label<'a>(node: &'a NodeView, spread: &Spread) -> &'a str {
    node.labels.get(&spread.topology).map(String::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
