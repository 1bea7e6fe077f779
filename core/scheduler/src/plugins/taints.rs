//! Taints: those that keep pods away, and those that only discourage them.

mod gauge;

use std::sync::Arc;

use windlass_kernel::scheduler::{
    Change, Cure, Cycle, Detail, Edit, Effect, Filter, Fit, NodeView, Nodes, PodView, Reason, Relevance, Scope, Score,
    ScorePlugin, Taint,
};

/// Keeps pods from nodes whose taints they do not tolerate, and prefers nodes that discourage them least.
#[derive(Clone, Copy, Debug)]
pub struct TaintToleration;

/// The largest number of discouraging taints among the possible nodes.
#[derive(Clone)]
struct Most(i64);

fn discouraging(pod: &PodView, node: &NodeView) -> i64 {
    let soft = node.taints.iter().filter(|taint| taint.effect == Effect::PreferNoSchedule);
    i64::try_from(soft.filter(|taint| !pod.tolerates(taint)).count()).unwrap_or(i64::MAX)
}

impl Filter for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn filter(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Fit {
        let taint = pod.repelled_by(node);
        taint.map_or(Fit::Yes, |taint| Fit::Never(Reason::Taint(Arc::new(taint.clone())).into()))
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn helped_by(&self, pod: &PodView, change: &Change<'_>) -> bool {
        match change {
            Change::NodeAdded(node) => pod.repelled_by(node).is_none(),
            Change::NodeChanged { before, after } => {
                pod.repelled_by(before).is_some() && pod.repelled_by(after).is_none()
            }
            _ => false,
        }
    }

    fn details(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Vec<Detail> {
        repelling(pod, node).cloned().map(Detail::Taint).collect()
    }

    /// To tolerate them all. What a controller says of the node's health is not for a pod to put up with.
    fn cures(&self, _: &Cycle, pod: &PodView, node: &NodeView, _: &Nodes<'_>) -> Vec<Cure> {
        let cure = |taint: &Taint| match &*taint.key {
            Taint::UNSCHEDULABLE => Some(Edit::Uncordon(Arc::clone(&node.name))),
            key if key.starts_with("node.kubernetes.io/") => None,
            _ => Some(Edit::Tolerate(taint.clone())),
        };
        repelling(pod, node).map(cure).collect::<Option<Cure>>().into_iter().collect()
    }
}

fn repelling<'a>(pod: &'a PodView, node: &'a NodeView) -> impl Iterator<Item = &'a Taint> {
    node.taints.iter().filter(|taint| taint.repels() && !pod.tolerates(taint))
}

impl ScorePlugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn prepare(&self, cycle: &mut Cycle, pod: &PodView, nodes: &Nodes<'_>) -> Relevance {
        let most = nodes.iter().map(|node| discouraging(pod, node)).max().unwrap_or_default();
        cycle.set(Most(most));
        if most == 0 { Relevance::Skip } else { Relevance::Relevant }
    }

    fn score(&self, cycle: &Cycle, pod: &PodView, node: &NodeView) -> Score {
        let most = cycle.get::<Most>().map_or(0, |most| most.0);
        Score::saturating(100 - Score::share(discouraging(pod, node), most).get())
    }

    /// How many taints discourage the pod.
    fn raw(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> i64 {
        discouraging(pod, node)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::fixture::{filtered, node, pod, scored};

    fn tainted(name: &str, taints: &[(&str, &str)]) -> NodeView {
        let taints: Vec<_> =
            taints.iter().map(|(key, effect)| json!({"key": key, "value": "v", "effect": effect})).collect();
        node(name, &[], json!({"taints": taints}))
    }

    #[test]
    fn the_first_taint_that_is_not_tolerated_is_named() {
        let nodes = [
            tainted("a", &[("soft", "PreferNoSchedule"), ("x", "NoSchedule"), ("y", "NoExecute")]),
            tainted("b", &[("soft", "PreferNoSchedule")]),
        ];
        let said = |spec| filtered(&TaintToleration, &Cycle::new(), &pod(spec), &nodes);
        assert_eq!(said(json!({})), ["never: node(s) had untolerated taint {x: v}", "yes"]);
        let some = json!({"tolerations": [{"key": "x", "operator": "Exists"}]});
        assert_eq!(said(some), ["never: node(s) had untolerated taint {y: v}", "yes"]);
        assert_eq!(said(json!({"tolerations": [{"operator": "Exists"}]})), ["yes", "yes"]);
    }

    #[test]
    fn fewer_discouraging_taints_are_better() {
        let soft = "PreferNoSchedule";
        let nodes = [tainted("a", &[("x", soft), ("y", soft)]), tainted("b", &[("x", soft)]), tainted("c", &[])];
        assert_eq!(scored(&TaintToleration, Cycle::new(), &pod(json!({})), &nodes), [0, 50, 100]);
        let all = pod(json!({"tolerations": [{"operator": "Exists"}]}));
        assert_eq!(scored(&TaintToleration, Cycle::new(), &all, &nodes), Vec::<i64>::new());
    }
}
