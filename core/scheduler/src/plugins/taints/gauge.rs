//! Discouraging taints, for classes: each node tells how many.

use windlass_kernel::scheduler::{Cycle, NodeView, Nodes, PodView, Score};

use super::{TaintToleration, discouraging};
use crate::classes::{Gauge, Ground, Group, Reading};

#[derive(Debug)]
struct Known(PodView);

impl Gauge for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn begin(&self, pod: &PodView, _: &Cycle, nodes: &Nodes<'_>, _: &mut Ground) -> Option<Box<dyn Reading>> {
        let some = nodes.all().iter().any(|node| discouraging(pod, node) > 0);
        some.then(|| Box::new(Known(pod.clone())) as _)
    }
}

impl Reading for Known {
    fn width(&self) -> usize {
        1
    }

    fn sign(&self, _: usize, node: &NodeView, _: &Ground, numbers: &mut Vec<i64>) {
        numbers.push(discouraging(&self.0, node));
    }

    fn score(&self, weight: i64, groups: &mut [Group<'_>]) {
        let most = groups.iter().map(|group| group.numbers[0]).max().unwrap_or_default();
        if most > 0 {
            let score = |count| 100 - Score::share(count, most).get();
            groups.iter_mut().for_each(|group| group.score += weight * score(group.numbers[0]));
        }
    }
}
