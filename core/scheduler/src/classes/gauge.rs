//! The form of a plugin that looks at more than one node, for classes: it counts along as pods come and go, and says of
//! each node what matters in a few numbers. Nodes with equal numbers are judged once.

use std::fmt::Debug;

use windlass_kernel::scheduler::{Cycle, NodeView, Nodes, PodView};

use super::Ground;

/// Makes readings. It stands beside a filter or score of the same name, and must say the same.
pub(crate) trait Gauge: Debug + Send + Sync {
    /// The plugin's name.
    fn name(&self) -> &'static str;

    /// Begins to read for pods like this one, with the pods that are on nodes already. `None` where there is nothing to
    /// say, whatever pods come and go.
    fn begin(&self, pod: &PodView, cycle: &Cycle, nodes: &Nodes<'_>, ground: &mut Ground) -> Option<Box<dyn Reading>>;
}

/// What is read for one class of pods.
pub(crate) trait Reading: Debug + Send + Sync {
    /// Accounts for a pod that came to a node (1) or left it (-1).
    fn moved(&mut self, other: &PodView, place: usize, by: i64, nodes: &[NodeView], ground: &mut Ground) {
        let _ = (other, place, by, nodes, ground);
    }

    /// How many numbers a node has. It may grow as pods come.
    fn width(&self) -> usize;

    /// A node's numbers. They change only as its own pods do.
    fn sign(&self, place: usize, node: &NodeView, ground: &Ground, numbers: &mut Vec<i64>);

    /// Whether it refuses some nodes.
    fn picky(&self) -> bool {
        false
    }

    /// Whether nodes with these numbers can take the pod.
    fn fits(&self, numbers: &[i64]) -> bool {
        let _ = numbers;
        true
    }

    /// Adds `weight` times its score to each group of possible nodes.
    fn score(&self, weight: i64, groups: &mut [Group<'_>]) {
        let _ = (weight, groups);
    }
}

/// Possible nodes with equal numbers.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    /// All numbers, of all readings.
    pub(super) all: &'a [i64],
    /// Those of the reading at work.
    pub(crate) numbers: &'a [i64],
    /// How many nodes.
    pub(crate) size: usize,
    /// Its score so far.
    pub(crate) score: i64,
    /// Where it is kept.
    pub(super) slot: usize,
}
