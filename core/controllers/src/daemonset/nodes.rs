//! Which nodes a DaemonSet wants pods on, and what the pod of a node is. Pure.

use windlass_api::{
    apps::v1::DaemonSet,
    core::v1::{
        NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, PodTemplateSpec,
        Toleration,
    },
};
use windlass_kernel::scheduler::{Effect, NodeView, PodView};

use crate::{claim, history::REVISION, pods::from_template};

/// The annotation in which the API server counts a DaemonSet's templates, and the label of pods that has the count.
const GENERATION: (&str, &str) = ("deprecated.daemonset.template.generation", "pod-template-generation");

/// What daemons put up with: they run where other pods may not, or not yet.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
const NO_NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// Whether a node is one for a set's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// Its pods go.
    No,
    /// Pods that are there stay, and none comes.
    Stay,
    Run,
}

/// What a set asks of nodes.
#[derive(Debug)]
pub(super) struct Wish(PodView);

impl Wish {
    pub(super) fn of(set: &DaemonSet) -> Self {
        let mut spec = set.spec.template.spec.clone();
        tolerate(&mut spec);
        Self(PodView::of(&Pod { spec, ..Pod::default() }))
    }

    pub(super) fn fit(&self, node: &NodeView) -> Fit {
        let named = self.0.node.as_deref().is_none_or(|name| *name == *node.name);
        if !named || !self.0.accepts(node) {
            return Fit::No;
        }
        let repelled = |effect| node.taints.iter().any(|taint| taint.effect == effect && !self.0.tolerates(taint));
        if repelled(Effect::NoExecute) {
            Fit::No
        } else if repelled(Effect::NoSchedule) {
            Fit::Stay
        } else {
            Fit::Run
        }
    }
}

fn tolerate(spec: &mut PodSpec) {
    let network = (spec.host_network == Some(true)).then_some(NO_NETWORK);
    for (key, effect) in TOLERATED.into_iter().chain(network) {
        let toleration = Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        let same = |own: &Toleration| own.key == toleration.key && own.effect == toleration.effect;
        match spec.tolerations.iter_mut().find(|own| same(own)) {
            Some(own) => *own = toleration,
            None => spec.tolerations.push(toleration),
        }
    }
}

/// The pod of a node. Its affinity leaves the scheduler no other.
pub(super) fn pod(set: &DaemonSet, template: &PodTemplateSpec, hash: &str, node: &str) -> Pod {
    let mut pod = from_template(template, claim::reference(set), set.metadata.namespace.as_ref());
    tolerate(&mut pod.spec);
    let name =
        NodeSelectorRequirement { key: "metadata.name".into(), operator: "In".into(), values: vec![node.to_owned()] };
    let only = NodeSelectorTerm { match_fields: vec![name], ..NodeSelectorTerm::default() };
    let affinity = pod.spec.affinity.get_or_insert_default();
    let near = affinity.node_affinity.get_or_insert_with(NodeAffinity::default);
    // What the template asks of nodes was asked of this one already.
    near.required_during_scheduling_ignored_during_execution = Some(NodeSelector { node_selector_terms: vec![only] });
    pod.metadata.labels.insert(REVISION.into(), hash.into());
    if let Some(generation) = set.metadata.annotations.get(GENERATION.0) {
        pod.metadata.labels.insert(GENERATION.1.into(), generation.clone());
    }
    pod
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use windlass_api::core::v1::Node;

    use super::*;

    fn set(spec: &Value) -> DaemonSet {
        serde_json::from_value(json!({
            "metadata": {"name": "agent", "namespace": "default", "uid": "u",
                "annotations": {"deprecated.daemonset.template.generation": "3"}},
            "spec": {"template": {"metadata": {"labels": {"app": "agent"}}, "spec": spec}},
        }))
        .unwrap()
    }

    #[track_caller]
    fn check(spec: Value, taints: &[(&str, &str)], expect: Fit) {
        let taints: Vec<_> = taints.iter().map(|(key, effect)| json!({"key": key, "effect": effect})).collect();
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n1", "labels": {"disk": "ssd"}}, "spec": {"taints": taints},
        }))
        .unwrap();
        assert_eq!(Wish::of(&set(&spec)).fit(&NodeView::of(&node)), expect, "{spec} {taints:?}");
    }

    #[test]
    fn selectors_names_and_taints_say_where_daemons_run() {
        check(json!({}), &[], Fit::Run);
        check(json!({"nodeSelector": {"disk": "ssd"}}), &[], Fit::Run);
        check(json!({"nodeSelector": {"disk": "hdd"}}), &[], Fit::No);
        check(json!({"nodeName": "n2"}), &[], Fit::No);
        check(json!({}), &[("mine", "NoSchedule")], Fit::Stay);
        check(json!({}), &[("mine", "NoSchedule"), ("mine", "NoExecute")], Fit::No);
        check(json!({}), &[("mine", "PreferNoSchedule")], Fit::Run);
        check(json!({"tolerations": [{"key": "mine", "operator": "Exists"}]}), &[("mine", "NoExecute")], Fit::Run);
    }

    #[test]
    fn daemons_run_where_others_may_not() {
        let all: Vec<_> = TOLERATED.into();
        check(json!({}), &all, Fit::Run);
        check(json!({}), &[NO_NETWORK], Fit::Stay);
        check(json!({"hostNetwork": true}), &[NO_NETWORK], Fit::Run);
    }

    #[test]
    fn a_pod_is_for_one_node_only() {
        let preferred =
            json!([{"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}]);
        let required = json!({"nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]});
        let set = set(&json!({"affinity": {"nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": preferred,
            "requiredDuringSchedulingIgnoredDuringExecution": required,
        }}}));
        let pod = serde_json::to_value(pod(&set, &set.spec.template, "abc", "n1")).unwrap();
        let near = &pod["spec"]["affinity"]["nodeAffinity"];
        assert_eq!(near["preferredDuringSchedulingIgnoredDuringExecution"], preferred);
        assert_eq!(
            near["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"],
            json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}])
        );
        assert_eq!(
            pod["metadata"]["labels"],
            json!({"app": "agent", "controller-revision-hash": "abc", "pod-template-generation": "3"})
        );
    }
}
