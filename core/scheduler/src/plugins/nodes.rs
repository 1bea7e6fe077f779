//! Whether a node takes pods at all, and whether a pod insists on a node by name.

use std::sync::Arc;

use windlass_kernel::scheduler::{
    Change, Cure, Cycle, Edit, Effect, Filter, Fit, NodeView, Nodes, PodView, Scope, Taint,
};

/// Keeps pods away from nodes that an operator closed.
#[derive(Clone, Copy, Debug)]
pub struct NodeUnschedulable;

impl Filter for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn filter(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Fit {
        let closed = || Taint::new(Taint::UNSCHEDULABLE, "", Effect::NoSchedule);
        Fit::or_never(!node.unschedulable || pod.tolerates(&closed()), "node(s) were unschedulable")
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn helped_by(&self, _: &PodView, change: &Change<'_>) -> bool {
        match change {
            Change::NodeAdded(node) => !node.unschedulable,
            Change::NodeChanged { before, after } => before.unschedulable && !after.unschedulable,
            _ => false,
        }
    }

    /// That the pod puts up with it is no cure: an operator has a reason.
    fn cures(&self, _: &Cycle, _: &PodView, node: &NodeView, _: &Nodes<'_>) -> Vec<Cure> {
        vec![vec![Edit::Uncordon(Arc::clone(&node.name))]]
    }
}

/// Sends pods that name a node to that node.
#[derive(Clone, Copy, Debug)]
pub struct NodeName;

impl Filter for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn filter(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Fit {
        let right = pod.node.as_ref().is_none_or(|name| **name == *node.name);
        Fit::or_never(right, "node(s) didn't match the requested node name")
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn helped_by(&self, pod: &PodView, change: &Change<'_>) -> bool {
        matches!(change, Change::NodeAdded(node) if pod.node.as_deref() == Some(&*node.name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::fixture::{filtered, node, pod};

    #[test]
    fn closed_nodes_take_only_pods_that_tolerate_it() {
        let nodes = [node("a", &[], json!({"unschedulable": true})), node("b", &[], json!({}))];
        let said = |spec| filtered(&NodeUnschedulable, &Cycle::new(), &pod(spec), &nodes);
        assert_eq!(said(json!({})), ["never: node(s) were unschedulable", "yes"]);
        let toleration = json!({"key": "node.kubernetes.io/unschedulable", "operator": "Exists"});
        assert_eq!(said(json!({"tolerations": [toleration]})), ["yes", "yes"]);
    }

    #[test]
    fn a_named_node_is_the_only_one() {
        let nodes = [node("a", &[], json!({})), node("b", &[], json!({}))];
        let said = filtered(&NodeName, &Cycle::new(), &pod(json!({"nodeName": "b"})), &nodes);
        assert_eq!(said, ["never: node(s) didn't match the requested node name", "yes"]);
    }
}
