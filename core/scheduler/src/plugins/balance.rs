//! The preference for nodes whose resources fill up evenly.

use std::sync::Arc;

use windlass_kernel::scheduler::{Cycle, NodeView, Nodes, PodView, Relevance, Scope, Score, ScorePlugin};

/// Prefers nodes where some resources would be used to similar shares.
#[derive(Clone, Debug)]
pub struct NodeResourcesBalancedAllocation {
    resources: Vec<Arc<str>>,
}

impl Default for NodeResourcesBalancedAllocation {
    /// CPU and memory.
    fn default() -> Self {
        Self::of(&["cpu", "memory"])
    }
}

impl NodeResourcesBalancedAllocation {
    /// Balances these resources. Others than CPU, memory and local storage count for pods that ask for them.
    #[must_use]
    pub fn of(resources: &[&str]) -> Self {
        Self { resources: resources.iter().map(|name| (*name).into()).collect() }
    }

    /// What would be used of each resource that counts, as a share of what the node has.
    fn shares<'a>(&'a self, pod: &'a PodView, node: &'a NodeView) -> impl Iterator<Item = f64> + Clone + 'a {
        self.resources.iter().filter_map(|name| {
            let (own, used, offered) = (&pod.requests, &node.used, &node.allocatable);
            let (wanted, offered) = match &**name {
                "cpu" => (used.cpu + own.cpu, offered.cpu),
                "memory" => (used.memory + own.memory, offered.memory),
                "ephemeral-storage" => (used.ephemeral + own.ephemeral, offered.ephemeral),
                other if own.extended(other) == 0 => return None,
                other => (used.extended(other) + own.extended(other), offered.extended(other)),
            };
            share(wanted, offered)
        })
    }
}

impl ScorePlugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    /// A pod that asks for nothing would always go where the balance is best already.
    fn prepare(&self, _: &mut Cycle, pod: &PodView, _: &Nodes<'_>) -> Relevance {
        let asks = self.resources.iter().any(|name| match &**name {
            "cpu" => pod.requests.cpu > 0,
            "memory" => pod.requests.memory > 0,
            "ephemeral-storage" => pod.requests.ephemeral > 0,
            other => pod.requests.extended(other) > 0,
        });
        if asks { Relevance::Relevant } else { Relevance::Skip }
    }

    /// A hundred less the standard deviation of the shares, in hundredths.
    fn score(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Score {
        let shares = self.shares(pod, node);
        let mut first = shares.clone();
        let apart = match (first.next(), first.next(), first.next()) {
            (Some(one), Some(other), None) => (one - other).abs() / 2.0,
            (_, None, _) => 0.0,
            _ => deviation(shares),
        };
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

fn deviation(shares: impl Iterator<Item = f64> + Clone) -> f64 {
    let (sum, count) = shares.clone().fold((0.0, 0.0), |(sum, count), share| (sum + share, count + 1.0));
    let mean = sum / count;
    (shares.map(|share| (share - mean).powi(2)).sum::<f64>() / count).sqrt()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::fixture::{asking, node, pod, scored, with};

    fn nodes() -> [NodeView; 3] {
        [
            node("a", &[], json!({})),
            with(node("b", &[], json!({})), [asking(0, 4096)]),
            with(node("c", &[], json!({})), [asking(2000, 0)]),
        ]
    }

    #[test]
    fn even_use_is_best() {
        let plugin = NodeResourcesBalancedAllocation::default();
        assert_eq!(scored(&plugin, Cycle::new(), &asking(2000, 0), &nodes()), [75, 100, 50]);
        assert_eq!(scored(&plugin, Cycle::new(), &pod(json!({})), &nodes()), Vec::<i64>::new());
    }

    #[test]
    fn only_the_chosen_resources_are_balanced() {
        let mut nodes = nodes();
        nodes.iter_mut().for_each(|node| node.allocatable.set("acme.io/gpu", 4));
        let mut asking = asking(2000, 0);
        asking.requests.set("acme.io/gpu", 1);
        let scores =
            |resources: &[&str]| scored(&NodeResourcesBalancedAllocation::of(resources), Cycle::new(), &asking, &nodes);
        assert_eq!(scores(&["memory"]), Vec::<i64>::new());
        assert_eq!(scores(&["cpu"]), [100, 100, 100]);
        assert_eq!(scores(&["cpu", "acme.io/gpu"]), [87, 87, 62]);
        // The shares are 50, 0 and 25, then 50, 50 and 25, then 100, 0 and 25 in a hundred.
        assert_eq!(scores(&["cpu", "memory", "acme.io/gpu"]), [79, 88, 57]);
    }
}
