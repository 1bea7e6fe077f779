//! The constraints of pods that state none: what a profile says, else those that upstream has for everybody.

use std::sync::Arc;

use windlass_api::selector::Labels;
use windlass_kernel::scheduler::{Cycle, PodView, Policy, Siblings, Spread, Unsatisfiable};

use super::HOSTNAME;

pub(super) const ZONE: &str = "topology.kubernetes.io/zone";

/// Whether kin must, or only should, be spread over failure domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spreading {
    /// A pod that would make a domain too crowded waits.
    Must,
    /// Other domains are preferred.
    Should,
}

/// The constraints of pods that state none: a fact from the framework. Whom they select is their kin.
#[derive(Clone, Debug)]
pub(crate) struct Usual {
    pub(crate) spreads: Arc<[Spread]>,
    /// Whether nodes without one of the labels are left out of the score.
    pub(crate) all_labels: bool,
}

/// A constraint without a selector.
fn spread(max_skew: i64, topology: &str, unsatisfiable: Unsatisfiable) -> Spread {
    Spread {
        max_skew,
        topology: topology.into(),
        unsatisfiable,
        selector: Labels::nothing(),
        min_domains: None,
        affinity: Policy::Honor,
        taints: Policy::Ignore,
    }
}

impl Usual {
    /// Over domains that fail as one, by the node labels that name them, and more loosely over hosts.
    pub(crate) fn domains(labels: &[&str], max_skew: i64, spreading: Spreading) -> Self {
        let unsatisfiable = match spreading {
            Spreading::Must => Unsatisfiable::DoNotSchedule,
            Spreading::Should => Unsatisfiable::ScheduleAnyway,
        };
        let named = labels.iter().map(|label| spread(max_skew, label, unsatisfiable));
        let hosts = spread(3, HOSTNAME, Unsatisfiable::ScheduleAnyway);
        Self { spreads: named.chain([hosts]).collect(), all_labels: false }
    }

    /// Upstream's for everybody: over hosts and, more loosely, over zones.
    fn system() -> [Spread; 2] {
        [(3, HOSTNAME), (5, ZONE)].map(|(skew, label)| spread(skew, label, Unsatisfiable::ScheduleAnyway))
    }
}

/// The constraints of a pod that are to be met in one way: its own; where it states none, those of its kin.
pub(super) fn constraints(pod: &PodView, cycle: &Cycle, unsatisfiable: Unsatisfiable) -> Vec<Spread> {
    let meant = |spread: &&Spread| spread.unsatisfiable == unsatisfiable;
    if !pod.spread.is_empty() {
        return pod.spread.iter().filter(meant).cloned().collect();
    }
    let Some(Siblings(selector)) = cycle.get() else { return Vec::new() };
    let of_kin = |spread: &Spread| Spread { selector: selector.clone(), ..spread.clone() };
    match cycle.get::<Usual>() {
        Some(usual) => usual.spreads.iter().filter(meant).map(of_kin).collect(),
        None => Usual::system().iter().filter(meant).map(of_kin).collect(),
    }
}

/// Whether nodes without one of the labels are left out of a pod's score: where somebody chose the constraints.
pub(super) fn wants_all_labels(pod: &PodView, cycle: &Cycle) -> bool {
    !pod.spread.is_empty() || cycle.get::<Usual>().is_some_and(|usual| usual.all_labels)
}
