use serde_json::{from_value, json};
use windlass_kernel::{
    controller::ObjectKey,
    scheduler::{Diagnose, NodeIndex, Turn},
};
use windlass_testkit::SeededEntropy;

use super::*;
use crate::{
    framework::Framework,
    plugins::fixture::{named, node, pod, with},
    storage::{Claim, Class, Volume},
};

fn using(claim: &str) -> PodView {
    let mut pod = pod(json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]}));
    pod.preempts = true;
    pod
}

/// A claim `one` that only one pod may use and is bound to a volume in zone z, and a claim `soon` that is not bound yet.
fn storage() -> Storage {
    let bound = json!({"pv.kubernetes.io/bind-completed": "yes"});
    let one = Claim::of(
        &from_value(json!({
            "metadata": {"namespace": "ns", "name": "one", "annotations": bound},
            "spec": {"accessModes": ["ReadWriteOncePod"], "volumeName": "v"},
        }))
        .unwrap(),
    );
    let soon = Claim::of(
        &from_value(json!({"metadata": {"namespace": "ns", "name": "soon"}, "spec": {"storageClassName": "now"}}))
            .unwrap(),
    );
    let volume = Volume::of(
        &from_value(json!({
            "metadata": {"name": "v", "labels": {"topology.kubernetes.io/zone": "z__y"}}, "spec": {},
        }))
        .unwrap(),
    );
    let class = Class::of(&from_value(json!({"provisioner": "example.org/disks"})).unwrap());
    Storage {
        claims: [one, soon].map(|claim| (claim.key.clone(), Arc::new(claim))).into(),
        volumes: [("v".to_owned(), Arc::new(volume))].into(),
        classes: [("now".to_owned(), Arc::new(class))].into(),
    }
}

/// What the default framework says about a pod.
#[track_caller]
fn check(pod: PodView, nodes: &[NodeView], expect: &str) {
    let (index, entropy, pod) = (NodeIndex::of(nodes), SeededEntropy::new(1), Arc::new(pod));
    let mut cycle = Cycle::new();
    cycle.set(Stored(Arc::new(storage())));
    let turn = Turn { pod: &pod, nodes: Nodes::new(nodes, &index), cycle: &mut cycle, entropy: &entropy };
    assert_eq!(Framework::default().diagnose(turn).unwrap().to_string(), expect);
}

fn at(name: &str, zone: &str) -> NodeView {
    node(name, &[("topology.kubernetes.io/zone", zone)], json!({}))
}

#[test]
fn a_pod_goes_to_the_zone_of_its_volume() {
    check(using("one"), &[at("a", "x"), at("b", "y")], "pod ns/p fits on 1 of 2 nodes, best on b");
}

#[test]
fn claims_that_are_not_ready_are_told_with_what_would_help() {
    check(
        using("soon"),
        &[at("a", "z")],
        "pod ns/p fits on none of 1 nodes (VolumeBinding: pod has unbound immediate PersistentVolumeClaims); it would \
         fit with the smallest change: have the claim soon bound to a volume (node a)",
    );
    check(
        using("gone"),
        &[at("a", "z")],
        "pod ns/p fits on none of 1 nodes (VolumeBinding: persistentvolumeclaim \"gone\" not found); it would fit with \
         the smallest change: create the claim gone (node a)",
    );
}

#[test]
fn a_claim_for_one_pod_keeps_others_waiting() {
    let nodes = [with(at("a", "z"), [named("first", using("one"))]), at("b", "z")];
    check(
        using("one"),
        &nodes,
        "pod ns/p fits on none of 2 nodes; it would fit with the smallest change: remove pod ns/first from node a",
    );
    let mut important = using("one");
    important.priority = 1;
    check(
        important,
        &nodes,
        "pod ns/p fits on a once less important pods have left it; it would fit with the smallest change: remove pod \
         ns/first from node a",
    );
    let key = ObjectKey::new("ns", "one");
    assert!(storage().claims[&key].exclusive);
}
