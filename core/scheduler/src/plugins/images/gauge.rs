//! Images that nodes hold, for classes: each node tells its score, which stays while the nodes stay.

use windlass_kernel::scheduler::{Cycle, NodeView, Nodes, PodView, Relevance, ScorePlugin};

use super::ImageLocality;
use crate::classes::{Gauge, Ground, Group, Reading};

#[derive(Debug)]
struct Known(PodView, Cycle);

impl Gauge for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn begin(&self, pod: &PodView, _: &Cycle, nodes: &Nodes<'_>, _: &mut Ground) -> Option<Box<dyn Reading>> {
        let mut cycle = Cycle::new();
        let relevant = self.prepare(&mut cycle, pod, nodes) == Relevance::Relevant;
        relevant.then(|| Box::new(Known(pod.clone(), cycle)) as _)
    }
}

impl Reading for Known {
    fn width(&self) -> usize {
        1
    }

    fn sign(&self, _: usize, node: &NodeView, _: &Ground, numbers: &mut Vec<i64>) {
        numbers.push(ImageLocality.score(&self.1, &self.0, node).get());
    }

    fn score(&self, weight: i64, groups: &mut [Group<'_>]) {
        groups.iter_mut().for_each(|group| group.score += weight * group.numbers[0]);
    }
}
