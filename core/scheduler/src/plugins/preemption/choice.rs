//! Which of several nodes loses its pods: the one where that hurts least.

use std::{cmp::Reverse, sync::Arc};

use jiff::Timestamp;
use windlass_kernel::scheduler::PodView;

/// What speaks against a candidate; the smallest is best.
type Harm = (usize, i32, i64, usize, Reverse<Option<Timestamp>>);

/// A node, and who would leave it.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) node: Arc<str>,
    /// The most important first.
    pub(super) victims: Vec<Arc<PodView>>,
    harm: Harm,
}

impl Candidate {
    /// A disruption budget guards so many of the victims.
    pub(super) fn new(node: &Arc<str>, victims: Vec<Arc<PodView>>, violations: usize) -> Self {
        let harm = harm(&victims, violations);
        Self { node: Arc::clone(node), victims, harm }
    }

    /// How many of the victims a disruption budget guards.
    pub(super) const fn violations(&self) -> usize {
        self.harm.0
    }
}

/// Fewest violated budgets, then the least important first victim, the least important victims together, the fewest,
/// and the most recently started.
pub(super) fn best(candidates: Vec<Arc<Candidate>>) -> Option<Arc<Candidate>> {
    candidates.into_iter().min_by_key(|candidate| candidate.harm)
}

fn harm(victims: &[Arc<PodView>], violations: usize) -> Harm {
    let highest = victims.iter().map(|victim| victim.priority).max().unwrap_or(i32::MIN);
    // Shifted so that each victim adds to the sum, however low its priority.
    let shifted = |victim: &Arc<PodView>| i64::from(victim.priority) + i64::from(i32::MAX) + 1;
    let sum = victims.iter().map(shifted).sum();
    let first = victims.iter().filter(|victim| victim.priority == highest);
    let earliest = first.filter_map(|victim| victim.started.or(victim.created)).min();
    (violations, highest, sum, victims.len(), Reverse(earliest))
}
