//! The preference for nodes whose CPU and memory fill up evenly.

use windlass_kernel::scheduler::{Cycle, NodeView, Nodes, PodView, Relevance, Scope, Score, ScorePlugin};

/// Prefers nodes where CPU and memory would be used to similar shares.
#[derive(Clone, Copy, Debug)]
pub struct NodeResourcesBalancedAllocation;

impl ScorePlugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    /// A pod that asks for nothing would always go where the balance is best already.
    fn prepare(&self, _: &mut Cycle, pod: &PodView, _: &Nodes<'_>) -> Relevance {
        let asks = pod.requests.cpu > 0 || pod.requests.memory > 0;
        if asks { Relevance::Relevant } else { Relevance::Skip }
    }

    /// A hundred less the standard deviation of the two shares, in hundredths.
    fn score(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Score {
        let (used, offered) = (&node.used, &node.allocatable);
        let cpu = share(used.cpu + pod.requests.cpu, offered.cpu);
        let memory = share(used.memory + pod.requests.memory, offered.memory);
        let (Some(cpu), Some(memory)) = (cpu, memory) else { return Score::MAX };
        let apart = (cpu - memory).abs() / 2.0;
        #[allow(clippy::cast_possible_truncation, reason = "a number from 0 to 100")]
        Score::saturating(((1.0 - apart) * 100.0) as i64)
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }
}

#[allow(clippy::cast_precision_loss, reason = "a share need not be exact")]
fn share(wanted: i64, offered: i64) -> Option<f64> {
    (offered > 0).then(|| (wanted as f64 / offered as f64).min(1.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::fixture::{asking, node, pod, scored, with};

    #[test]
    fn even_use_is_best() {
        let nodes = [
            node("a", &[], json!({})),
            with(node("b", &[], json!({})), [asking(0, 4096)]),
            with(node("c", &[], json!({})), [asking(2000, 0)]),
        ];
        let plugin = NodeResourcesBalancedAllocation;
        assert_eq!(scored(&plugin, Cycle::new(), &asking(2000, 0), &nodes), [75, 100, 50]);
        assert_eq!(scored(&plugin, Cycle::new(), &pod(json!({})), &nodes), Vec::<i64>::new());
    }
}
