//! Preferences for nodes, for classes: each node tells the sum of those that it answers to.

use windlass_kernel::scheduler::{Cycle, NodeView, Nodes, PodView, Score};

use super::{NAME, NodeAffinity};
use crate::classes::{Gauge, Ground, Group, Reading};

#[derive(Debug)]
struct Known(NodeAffinity, PodView);

impl Gauge for NodeAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn begin(&self, pod: &PodView, _: &Cycle, _: &Nodes<'_>, _: &mut Ground) -> Option<Box<dyn Reading>> {
        self.prefers(pod).then(|| Box::new(Known(self.clone(), pod.clone())) as _)
    }
}

impl Reading for Known {
    fn width(&self) -> usize {
        1
    }

    fn sign(&self, _: usize, node: &NodeView, _: &Ground, numbers: &mut Vec<i64>) {
        numbers.push(self.0.preference(&self.1, node));
    }

    fn score(&self, weight: i64, groups: &mut [Group<'_>]) {
        let highest = groups.iter().map(|group| group.numbers[0]).max().unwrap_or_default();
        if highest != 0 {
            groups.iter_mut().for_each(|group| group.score += weight * Score::share(group.numbers[0], highest).get());
        }
    }
}
