//! Places, as a node label and its value, with counts.

use std::collections::BTreeMap;

use windlass_kernel::scheduler::{NodeView, PodTerm};

/// How many pods speak for or against each place. Places without any are not held.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs(BTreeMap<String, BTreeMap<String, i64>>);

impl Pairs {
    /// Counts for the place where a term looks, seen from a node; none where the node has no such label.
    pub(super) fn add(&mut self, term: &PodTerm, node: &NodeView, by: i64) {
        let Some(value) = node.labels.get(&term.topology) else { return };
        let values = self.0.entry(term.topology.clone()).or_default();
        let count = values.entry(value.clone()).or_default();
        *count += by;
        if *count == 0 {
            values.remove(value);
            if values.is_empty() {
                self.0.remove(&term.topology);
            }
        }
    }

    /// How many at the place where a term looks, seen from a node.
    pub(super) fn at(&self, term: &PodTerm, node: &NodeView) -> i64 {
        let found = self.0.get(&term.topology).zip(node.labels.get(&term.topology));
        found.and_then(|(values, value)| values.get(value)).copied().unwrap_or_default()
    }

    /// Whether a node is in any of the places.
    pub(super) fn reach(&self, node: &NodeView) -> bool {
        self.0
            .iter()
            .any(|(topology, values)| node.labels.get(topology).is_some_and(|value| values.contains_key(value)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
