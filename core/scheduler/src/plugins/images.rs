//! The preference for nodes that hold a pod's images already.

mod gauge;

use windlass_kernel::scheduler::{Cycle, Image, NodeView, Nodes, PodView, Relevance, Score, ScorePlugin};

const MIB: i64 = 1024 * 1024;
/// Less than this is not worth a preference.
const LEAST: i64 = 23 * MIB;
/// More than this, for each container, makes no difference.
const MOST: i64 = 1000 * MIB;

/// Prefers nodes that hold large images of the pod, if other nodes hold them too.
#[derive(Clone, Copy, Debug)]
pub struct ImageLocality;

/// The pod's images that some node holds: name, how many hold it, and of how many.
#[derive(Clone)]
struct Known(Vec<(String, i64, i64)>);

impl ScorePlugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn prepare(&self, cycle: &mut Cycle, pod: &PodView, nodes: &Nodes<'_>) -> Relevance {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let known = pod.images.iter().filter_map(|image| {
            let name = Image::normalized(image);
            let holders = nodes.index().holders(&name);
            (holders > 0).then(|| (name.into_owned(), number(holders), number(nodes.all().len())))
        });
        let known: Vec<_> = known.collect();
        if known.is_empty() {
            return Relevance::Skip;
        }
        cycle.set(Known(known));
        Relevance::Relevant
    }

    /// Bytes held count for as much as other nodes hold them: one node alone must not attract every pod.
    fn score(&self, cycle: &Cycle, pod: &PodView, node: &NodeView) -> Score {
        let Some(Known(known)) = cycle.get() else { return Score::MIN };
        let held = known.iter().filter_map(|(name, holders, of)| {
            let bytes = node.images.get(name)?;
            bytes.saturating_mul(*holders).checked_div(*of)
        });
        let containers = i64::try_from(pod.images.len()).unwrap_or(i64::MAX);
        let most = MOST.saturating_mul(containers);
        let held = held.sum::<i64>().clamp(LEAST, most);
        Score::share(held - LEAST, most - LEAST)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::fixture::{node, pod, scored};

    #[test]
    fn large_images_that_are_widely_held_count_most() {
        let holding = |name: &str, images: &[(&str, i64)]| {
            let mut node = node(name, &[], json!({}));
            node.images = images.iter().map(|(name, size)| ((*name).into(), size * MIB)).collect();
            node
        };
        let nodes =
            [holding("a", &[("app:latest", 500)]), holding("b", &[("app:latest", 500), ("x:1", 1)]), holding("c", &[])];
        assert_eq!(scored(&ImageLocality, Cycle::new(), &pod(json!({})), &nodes), [31, 31, 0]);
        let other = pod(json!({"containers": [{"name": "c", "image": "reg:5000/app@sha256:1"}]}));
        assert_eq!(scored(&ImageLocality, Cycle::new(), &other, &nodes), Vec::<i64>::new());
    }
}
