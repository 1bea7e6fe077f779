//! Views from small text, for tests of plugins.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_kernel::scheduler::{
    Cycle, Filter, Fit, NodeIndex, NodeView, Nodes, PodView, PreFilter, Prepared, Reasons, Relevance, ScorePlugin,
};

/// The view of a pod with this spec.
pub(crate) fn pod(spec: Value) -> PodView {
    labelled(&[], spec)
}

/// The view of a pod with these labels and this spec.
pub(crate) fn labelled(labels: &[(&str, &str)], mut spec: Value) -> PodView {
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "c", "image": "app"}]);
    }
    let labels: serde_json::Map<_, _> = labels.iter().map(|(key, value)| ((*key).into(), json!(value))).collect();
    let pod = json!({"metadata": {"namespace": "ns", "name": "p", "uid": "p", "labels": labels}, "spec": spec});
    PodView::of(&serde_json::from_value(pod).unwrap())
}

/// The same pod under another name.
pub(crate) fn named(name: &str, mut pod: PodView) -> PodView {
    pod.uid = name.into();
    pod.key.name = name.into();
    pod
}

/// A pod that asks for so many thousandths of a CPU and MiB of memory.
pub(crate) fn asking(cpu: i64, memory: i64) -> PodView {
    let requests = json!({"cpu": format!("{cpu}m"), "memory": format!("{memory}Mi")});
    pod(json!({"containers": [{"name": "c", "resources": {"requests": requests}}]}))
}

/// The view of a node with 4 CPUs, 8 GiB and room for 10 pods.
pub(crate) fn node(name: &str, labels: &[(&str, &str)], spec: Value) -> NodeView {
    let labels: serde_json::Map<_, _> = labels.iter().map(|(key, value)| ((*key).into(), json!(value))).collect();
    let mut node = json!({
        "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}},
    });
    node["spec"] = spec;
    NodeView::of(&serde_json::from_value(node).unwrap())
}

/// The same node with pods on it.
pub(crate) fn with(mut node: NodeView, pods: impl IntoIterator<Item = PodView>) -> NodeView {
    for (at, mut pod) in pods.into_iter().enumerate() {
        if pod.uid == "p" {
            pod.uid = format!("{}-{at}", node.name);
        }
        node.add(Arc::new(pod));
    }
    node
}

/// What a filter says of each node: `yes`, or `no:` or `never:` with reasons.
pub(crate) fn filtered<P: Filter>(plugin: &P, cycle: &Cycle, pod: &PodView, nodes: &[NodeView]) -> Vec<String> {
    let told = |reasons: &Reasons| reasons.as_slice().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let said = nodes.iter().map(|node| match plugin.filter(cycle, pod, node) {
        Fit::Yes => "yes".into(),
        Fit::No(reasons) => format!("no: {}", told(&reasons)),
        Fit::Never(reasons) => format!("never: {}", told(&reasons)),
    });
    said.collect()
}

/// As [`filtered`], after the same plugin prepared; `skip` where it has nothing to say.
pub(crate) fn prepared<P: Filter + PreFilter>(plugin: &P, pod: &PodView, nodes: &[NodeView]) -> Vec<String> {
    let (mut cycle, index) = (Cycle::new(), NodeIndex::of(nodes));
    match plugin.pre_filter(&mut cycle, pod, &Nodes::new(nodes, &index)) {
        Prepared::Ask => filtered(plugin, &cycle, pod, nodes),
        Prepared::Skip => vec!["skip".into()],
        Prepared::Only(names) => vec![format!("only {}", names.join(" "))],
        Prepared::Never(reason) => vec![reason.to_string()],
    }
}

/// The scores of each node; empty where the plugin has nothing to say.
pub(crate) fn scored<P: ScorePlugin>(plugin: &P, mut cycle: Cycle, pod: &PodView, nodes: &[NodeView]) -> Vec<i64> {
    let index = NodeIndex::of(nodes);
    match plugin.prepare(&mut cycle, pod, &Nodes::new(nodes, &index)) {
        Relevance::Skip => Vec::new(),
        Relevance::Relevant => nodes.iter().map(|node| plugin.score(&cycle, pod, node).get()).collect(),
    }
}
