use serde_json::{Value, json};

use super::*;
use crate::plugins::fixture::{node, pod};

/// A claim, or a volume, from a few words: its name, its size, and `key=value` pairs.
fn words(text: &str) -> (&str, &str, BTreeMap<&str, &str>) {
    let mut words = text.split_whitespace();
    let (name, size) = (words.next().unwrap(), words.next().unwrap());
    (name, size, words.filter_map(|word| word.split_once('=')).collect())
}

fn claim(text: &str) -> Claim {
    let (name, size, more) = words(text);
    let mut claim = json!({
        "metadata": {"namespace": "ns", "name": name, "uid": name, "annotations": {}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}},
                 "storageClassName": more.get("class").unwrap_or(&"late")},
        "status": {},
    });
    if let Some(volume) = more.get("volume") {
        claim["spec"]["volumeName"] = json!(volume);
        claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = json!("yes");
    }
    if let Some(node) = more.get("selected") {
        claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] = json!(node);
    }
    if let Some(phase) = more.get("phase") {
        claim["status"]["phase"] = json!(phase);
    }
    Claim::of(&serde_json::from_value(claim).unwrap())
}

fn volume(text: &str) -> Volume {
    let (name, size, more) = words(text);
    let mut volume = json!({
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": size},
                 "storageClassName": more.get("class").unwrap_or(&"late")},
        "status": {"phase": "Available"},
    });
    if let Some(node) = more.get("node") {
        let asked = json!([{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]);
        volume["spec"]["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": asked}]}});
    }
    if let Some(claim) = more.get("for") {
        volume["spec"]["claimRef"] = json!({"namespace": "ns", "name": claim});
    }
    Volume::of(&serde_json::from_value(volume).unwrap())
}

fn class(provisioner: &str, mode: &str, zone: Option<&str>) -> Class {
    let mut class = json!({"provisioner": provisioner, "volumeBindingMode": mode});
    if let Some(zone) = zone {
        class["allowedTopologies"] = json!([{"matchLabelExpressions": [{"key": "zone", "values": [zone]}]}]);
    }
    Class::of(&serde_json::from_value(class).unwrap())
}

fn storage(claims: &[&str], volumes: &[&str]) -> Storage {
    let classes = [
        ("late", class(NOBODY, "WaitForFirstConsumer", None)),
        ("made", class("example.org/disks", "WaitForFirstConsumer", Some("z"))),
        ("now", class("example.org/disks", "Immediate", None)),
    ];
    Storage {
        claims: claims.iter().map(|text| claim(text)).map(|claim| (claim.key.clone(), Arc::new(claim))).collect(),
        volumes: volumes.iter().map(|text| volume(text)).map(|own| (own.name.clone(), Arc::new(own))).collect(),
        classes: classes.into_iter().map(|(name, class)| (name.into(), Arc::new(class))).collect(),
        ..Storage::default()
    }
}

fn using(claims: &[&str]) -> PodView {
    let volumes: Vec<Value> =
        claims.iter().map(|claim| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}})).collect();
    pod(json!({"volumes": volumes}))
}

/// What a pod that uses all claims needs on each of two nodes, of which the first is in zone z.
#[track_caller]
fn check(claims: &[&str], volumes: &[&str], expect: [&str; 2]) {
    let storage = storage(claims, volumes);
    let names: Vec<_> = claims.iter().map(|text| words(text).0).collect();
    let nodes = [
        node("a", &[("kubernetes.io/hostname", "a"), ("zone", "z")], json!({})),
        node("b", &[("kubernetes.io/hostname", "b")], json!({})),
    ];
    let told = nodes.map(|node| match storage.claims(&using(&names)) {
        Err(unready) => format!("{unready:?}"),
        Ok(claimed) => match storage.plan(&claimed, &node) {
            Err(reasons) => reasons.join(", "),
            Ok(plan) => {
                let bind = plan.bind.iter().map(|(claim, volume)| format!("{} gets {}", claim.key.name, volume.name));
                let made = plan.provision.iter().map(|claim| format!("{} is made", claim.key.name));
                bind.chain(made).collect::<Vec<_>>().join(", ")
            }
        },
    });
    assert_eq!(told, expect, "{claims:?} {volumes:?}");
}

#[test]
fn a_claim_that_waits_gets_the_smallest_volume_that_the_node_reaches() {
    check(&["c 1Gi"], &["v 2Gi", "w 1Gi node=a"], ["c gets w", "c gets v"]);
    check(&["c 1Gi"], &["v 2Gi node=a"], ["c gets v", reason::NO_MATCH]);
    check(&["c 3Gi"], &["v 2Gi"], [reason::NO_MATCH; 2]);
    check(&["c 1Gi"], &["v 1Gi", "w 5Gi for=c"], ["c gets w"; 2]);
    check(&["c 1Gi"], &["v 1Gi for=other"], [reason::NO_MATCH; 2]);
    check(&["c 1Gi", "d 2Gi"], &["v 2Gi", "w 3Gi"], ["c gets v, d gets w"; 2]);
    check(&["c 1Gi", "d 1Gi"], &["v 2Gi"], [reason::NO_MATCH; 2]);
}

#[test]
fn what_is_not_there_is_made_where_the_class_allows_it() {
    check(&["c 1Gi class=made"], &[], ["c is made", reason::NO_MATCH]);
    check(&["c 1Gi class=made"], &["v 1Gi class=made node=b"], ["c is made", "c gets v"]);
    check(&["c 1Gi class=made selected=a"], &["v 1Gi class=made"], ["c is made", reason::NO_MATCH]);
}

#[test]
fn a_bound_claim_ties_the_pod_to_where_its_volume_is() {
    check(&["c 1Gi volume=v"], &["v 1Gi node=b"], [reason::CONFLICT, ""]);
    check(&["c 1Gi volume=v"], &[], [reason::NO_VOLUME; 2]);
}

#[test]
fn claims_that_are_not_ready_are_named() {
    check(&["c 1Gi class=now"], &[], [r#"Unbound("c")"#; 2]);
    check(&["c 1Gi volume=v phase=Lost"], &[], [r#"Lost("c", "v")"#; 2]);
    let missing = storage(&[], &[]).claims(&using(&["c"])).unwrap_err();
    assert_eq!(missing, Unready::Missing("c".into(), false));
}

#[test]
fn volumes_are_made_only_where_their_driver_has_room() {
    let asked = claim("c 5Gi class=made");
    let node = node("a", &[("zone", "z")], json!({}));
    let capacity = |class: &str, size: Value, zone: &str| {
        let mut capacity = json!({
            "metadata": {"namespace": "d", "name": "x"}, "storageClassName": class,
            "nodeTopology": {"matchLabels": {"zone": zone}},
        });
        capacity.as_object_mut().unwrap().extend(size.as_object().unwrap().clone());
        Arc::new(Capacity::of(&serde_json::from_value(capacity).unwrap()))
    };
    let check = |tells: bool, capacities: Vec<Arc<Capacity>>, expect: Option<&str>| {
        let mut storage = storage(&["c 5Gi class=made"], &[]);
        let provisioner = storage.classes["made"].provisioner.clone();
        storage.drivers.insert(provisioner, Arc::new(Driver { tells_capacity: tells }));
        let capacities = capacities.into_iter().enumerate();
        storage.capacities = capacities.map(|(at, own)| (ObjectKey::new("d", at.to_string()), own)).collect();
        let claimed = Claimed { waiting: vec![Arc::new(asked.clone())], ..Claimed::default() };
        let told = storage.plan(&claimed, &node).err().map(|reasons| reasons.join(", "));
        assert_eq!(told.as_deref(), expect);
    };
    let room = |size: &str| json!({"capacity": size});
    let none = Some("node(s) did not have enough free storage");
    check(false, vec![], None);
    check(true, vec![], none);
    check(true, vec![capacity("made", room("5Gi"), "z")], None);
    check(true, vec![capacity("made", room("4Gi"), "z")], none);
    check(true, vec![capacity("made", room("5Gi"), "y"), capacity("other", room("5Gi"), "z")], none);
    check(true, vec![capacity("made", room("4Gi"), "z"), capacity("made", room("9Gi"), "z")], None);
    // All the room there is, in pieces of which none is large enough.
    let pieces = json!({"capacity": "100Gi", "maximumVolumeSize": "4Gi"});
    check(true, vec![capacity("made", pieces, "z")], none);
    check(true, vec![capacity("made", json!({}), "z")], none);
}
