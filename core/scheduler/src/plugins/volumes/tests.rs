use serde_json::{from_value, json};
use windlass_kernel::{
    controller::ObjectKey,
    scheduler::{Diagnose, NodeIndex, Turn},
};
use windlass_testkit::SeededEntropy;

use super::*;
use crate::{
    framework::Framework,
    plugins::fixture::{filtered, named, node, pod, with},
    storage::{Claim, Class, Volume, csi},
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
        ..Storage::default()
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

/// A cluster whose driver `d` takes two volumes on node a, and so many as one likes elsewhere.
fn limited(attached: &[&str]) -> Cycle {
    let bound = json!({"pv.kubernetes.io/bind-completed": "yes"});
    let mut storage = Storage::default();
    for name in ["1", "2", "3", "4"] {
        let volume = json!({"metadata": {"name": name}, "spec": {"csi": {"driver": "d", "volumeHandle": name}}});
        storage.volumes.insert(name.into(), Arc::new(Volume::of(&from_value(volume).unwrap())));
        let claim = json!({
            "metadata": {"namespace": "ns", "name": name, "annotations": bound}, "spec": {"volumeName": name},
        });
        let claim = Claim::of(&from_value(claim).unwrap());
        storage.claims.insert(claim.key.clone(), Arc::new(claim));
    }
    let late = json!({"metadata": {"namespace": "ns", "name": "late"}, "spec": {"storageClassName": "c"}});
    let late = Claim::of(&from_value(late).unwrap());
    storage.claims.insert(late.key.clone(), Arc::new(late));
    let class = json!({"provisioner": "d", "volumeBindingMode": "WaitForFirstConsumer"});
    storage.classes.insert("c".into(), Arc::new(Class::of(&from_value(class).unwrap())));
    let drivers = json!([{"name": "d", "nodeID": "a", "allocatable": {"count": 2}}, {"name": "e", "nodeID": "a"}]);
    let limits = csi::Limits::of(&from_value(json!({"spec": {"drivers": drivers}})).unwrap());
    storage.limits.insert("a".into(), Arc::new(limits));
    for name in attached {
        let attachment = csi::Attachment { node: "a".into(), volume: (*name).into() };
        storage.attach(name, None, Some(&attachment));
    }
    let mut cycle = Cycle::new();
    cycle.set(Stored(Arc::new(storage)));
    cycle
}

#[test]
fn a_node_takes_so_many_volumes_of_a_driver() {
    let using = |claims: &[&str]| {
        let volume = |claim: &&str| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}});
        pod(json!({"volumes": claims.iter().map(volume).collect::<Vec<_>>()}))
    };
    let check = |pod: &[&str], there: &[&str], attached: &[&str], expect: &str| {
        let nodes = ["a", "b"].map(|name| with(node(name, &[], json!({})), [named("other", using(there))]));
        let told = filtered(&NodeVolumeLimits, &limited(attached), &using(pod), &nodes);
        assert_eq!(told, [expect, "yes"], "{pod:?} beside {there:?} and {attached:?}");
    };
    let full = "no: node(s) exceed max volume count";
    check(&["1", "2"], &[], &[], "yes");
    check(&["1", "2", "3"], &[], &[], full);
    check(&["1"], &["2"], &[], "yes");
    check(&["1"], &["2", "3"], &[], full);
    // A volume that is there already takes no more room.
    check(&["2"], &["2", "3"], &[], "yes");
    check(&["1"], &["2"], &["2"], "yes");
    // One that is left over does, until it is detached.
    check(&["1"], &["2"], &["3"], full);
    check(&["late"], &["2"], &[], "yes");
    check(&["late"], &["2", "3"], &[], full);
    check(&["unknown"], &["2", "3"], &[], "yes");
}

#[test]
fn too_many_volumes_are_told_with_their_number_and_what_would_help() {
    let using = |claim: &str| pod(json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]}));
    let a = with(node("a", &[], json!({})), ["2", "3"].map(|claim| named(claim, using(claim))));
    let (nodes, pod, cycle) = ([a], using("1"), limited(&[]));
    let index = NodeIndex::of(&nodes);
    let told = NodeVolumeLimits.details(&cycle, &pod, &nodes[0]);
    let expect = "the node takes 2 volumes of driver d: it has 2, and the pod needs 1 more";
    assert_eq!(told, [Detail::Told(expect.into())]);
    let cures = Filter::cures(&NodeVolumeLimits, &cycle, &pod, &nodes[0], &Nodes::new(&nodes, &index));
    assert_eq!(cures, [[Edit::DropClaim("1".into())]]);
}
