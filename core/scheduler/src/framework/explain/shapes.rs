//! Nodes that could be added: one of each shape that there is, empty.

use std::{collections::BTreeMap, sync::Arc};

use windlass_kernel::scheduler::{Edit, NodeView};

/// So many shapes are tried. Real clusters have a handful.
const SHAPES: usize = 16;
const HOSTNAME: &str = "kubernetes.io/hostname";
/// What a node wears because of how it is at the moment, not because of what it is.
const PASSING: &str = "node.kubernetes.io/";
/// What kubelets take unless told otherwise.
const PODS: i64 = 110;

/// An edit for each shape; one that is made for the pod where there is no node at all.
pub(super) fn additions(nodes: &[NodeView]) -> Vec<Edit> {
    let mut shapes: Vec<(&NodeView, NodeView)> = Vec::new();
    for node in nodes {
        if shapes.len() < SHAPES && !shapes.iter().any(|(_, shape)| is_like(shape, node)) {
            shapes.push((node, bare(node)));
        }
    }
    if shapes.is_empty() {
        let mut node = NodeView::named(&fresh(nodes));
        node.labels.insert(HOSTNAME.into(), node.name.to_string());
        node.max_pods = PODS;
        return vec![Edit::AddNode { like: None, node: Arc::new(node) }];
    }
    let name = fresh(nodes);
    let added = |(like, mut shape): (&NodeView, NodeView)| {
        shape.name = name.as_str().into();
        if like.labels.contains_key(HOSTNAME) {
            shape.labels.insert(HOSTNAME.into(), name.clone());
        }
        Edit::AddNode { like: Some(Arc::clone(&like.name)), node: Arc::new(shape) }
    };
    shapes.into_iter().map(added).collect()
}

/// A name that no node has.
fn fresh(nodes: &[NodeView]) -> String {
    let taken = |name: &str| nodes.iter().any(|node| *node.name == *name);
    let names = std::iter::once("new-node".to_owned()).chain((2_u64..).map(|at| format!("new-node-{at}")));
    names.into_iter().find(|name| !taken(name)).unwrap_or_default()
}

/// A node without pods, without its own name and without what passes.
fn bare(node: &NodeView) -> NodeView {
    let mut bare = NodeView::named("").offering(node.allocatable.clone(), node.max_pods);
    bare.labels.clone_from(&node.labels);
    bare.taints.clone_from(&node.taints);
    bare.labels.remove(HOSTNAME);
    bare.taints.retain(|taint| !taint.key.starts_with(PASSING));
    bare.images = BTreeMap::new();
    bare
}

fn is_like(shape: &NodeView, node: &NodeView) -> bool {
    let labels = |node: &NodeView| node.labels.len() - usize::from(node.labels.contains_key(HOSTNAME));
    shape.allocatable == node.allocatable
        && shape.max_pods == node.max_pods
        && labels(shape) == labels(node)
        && shape.labels.iter().all(|(key, value)| node.labels.get(key) == Some(value))
        && shape.taints.iter().eq(node.taints.iter().filter(|taint| !taint.key.starts_with(PASSING)))
}
