//! How many of a pod's kin are in each place.

use std::collections::BTreeMap;

use windlass_api::selector::Labels;
use windlass_kernel::scheduler::NodeView;

/// Counts by place, and the least of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    counts: BTreeMap<String, i64>,
    least: i64,
}

impl Places {
    pub(super) fn add(&mut self, place: &str, count: i64) {
        match self.counts.get_mut(place) {
            Some(known) => *known += count,
            None => drop(self.counts.insert(place.into(), count)),
        }
    }

    /// Finds the least count anew.
    pub(super) fn settle(&mut self) {
        self.least = self.counts.values().copied().min().unwrap_or_default();
    }

    pub(super) fn at(&self, place: &str) -> i64 {
        self.counts.get(place).copied().unwrap_or_default()
    }

    pub(super) fn has(&self, place: &str) -> bool {
        self.counts.contains_key(place)
    }

    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    /// The least count; none where there are fewer places than wanted.
    pub(super) fn least(&self, wanted: Option<i64>) -> i64 {
        let places = i64::try_from(self.counts.len()).unwrap_or(i64::MAX);
        if wanted.is_some_and(|wanted| places < wanted) { 0 } else { self.least }
    }
}

/// How many pods of a node, of a namespace and not on their way out, a selector means.
pub(super) fn kin(node: &NodeView, selector: &Labels, namespace: &str) -> i64 {
    let own = |pod: &&std::sync::Arc<windlass_kernel::scheduler::PodView>| {
        !pod.terminating && pod.key.namespace == namespace && selector.matches(&pod.labels)
    };
    i64::try_from(node.pods().iter().filter(own).count()).unwrap_or(i64::MAX)
}
