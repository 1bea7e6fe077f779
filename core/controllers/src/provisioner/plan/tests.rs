use serde_json::{Value, json};

use super::*;

fn claim(more: Value) -> PersistentVolumeClaim {
    let mut claim = json!({
        "metadata": {"name": "c", "namespace": "default", "uid": "u1", "annotations": {PROVISIONER: "d.example.com"}},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "volumeMode": "Filesystem",
            "resources": {"requests": {"storage": "1Gi"}, "limits": {"storage": "2Gi"}},
        },
    });
    merge(&mut claim, &more);
    serde_json::from_value(claim).unwrap()
}

fn class(more: Value) -> StorageClass {
    let mut class = json!({"metadata": {"name": "fast"}, "provisioner": "d.example.com"});
    merge(&mut class, &more);
    serde_json::from_value(class).unwrap()
}

fn merge(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        if into[key].is_object() && value.is_object() {
            merge(&mut into[key], value);
        } else {
            into[key] = value.clone();
        }
    }
}

fn at(zone: &str) -> Topology {
    Topology([("zone".to_owned(), zone.to_owned())].into())
}

#[test]
fn a_claim_waits_for_its_driver_until_it_has_a_volume_or_goes() {
    let asked = |more| asked_for(&claim(more)).map(|(driver, class)| (driver.clone(), class.to_owned()));
    assert_eq!(asked(json!({})), Some(("d.example.com".into(), "fast".into())));
    assert_eq!(asked(json!({"spec": {"volumeName": "v"}})), None);
    assert_eq!(asked(json!({"spec": {"storageClassName": ""}})), None);
    assert_eq!(asked(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})), None);
    let mut silent = claim(json!({}));
    silent.metadata.annotations.clear();
    assert_eq!(asked_for(&silent), None);
}

#[test]
fn a_driver_is_asked_for_what_claim_and_class_say() {
    let parameters = json!({"kind": "ssd", FS_TYPE: "xfs"});
    let class = class(json!({"parameters": parameters, "mountOptions": ["noatime"]}));
    let asked = request(&claim(json!({})), &class, None, (None, false)).unwrap();
    assert_eq!(
        (asked.name.as_str(), asked.capacity.required, asked.capacity.limit),
        ("pvc-u1", Some(1 << 30), Some(2 << 30))
    );
    assert_eq!(asked.parameters, [("kind".to_owned(), "ssd".to_owned())].into());
    let access = Access::Mount { fs_type: "xfs".into(), flags: vec!["noatime".into()], group: String::new() };
    assert_eq!(asked.capabilities, [VolumeCapability { access, mode: AccessMode::SingleNodeWriter }]);

    let block = claim(json!({"spec": {"volumeMode": "Block", "accessModes": ["ReadWriteOncePod", "ReadWriteMany"]}}));
    let asked = request(&block, &class, None, (None, true)).unwrap();
    let modes: Vec<_> = asked.capabilities.iter().map(|one| (one.access.clone(), one.mode)).collect();
    assert_eq!(
        modes,
        [(Access::Block, AccessMode::SingleNodeSingleWriter), (Access::Block, AccessMode::MultiNodeMultiWriter)]
    );
}

#[test]
fn a_claim_says_what_it_is_a_copy_of() {
    let check = |spec: Value, expect: Result<Option<Origin<'_>>, &str>| {
        let claim = claim(json!({"spec": spec}));
        match (copied(&claim), expect) {
            (Ok(found), Ok(expect)) => assert_eq!(found, expect),
            (Err(Refused(why)), Err(expect)) => assert!(why.contains(expect), "{why}"),
            (found, expect) => panic!("{found:?} is not {expect:?}"),
        }
    };
    let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"});
    let other = json!({"kind": "PersistentVolumeClaim", "name": "other"});
    check(json!({}), Ok(None));
    check(json!({"dataSource": other}), Ok(Some(Origin::Claim("other"))));
    check(json!({"dataSource": snapshot}), Ok(Some(Origin::Snapshot("s"))));
    check(json!({"dataSourceRef": snapshot}), Ok(Some(Origin::Snapshot("s"))));
    check(json!({"dataSource": snapshot, "dataSourceRef": snapshot}), Ok(Some(Origin::Snapshot("s"))));
    let backup = json!({"apiGroup": "example.com", "kind": "Backup", "name": "b"});
    check(json!({"dataSourceRef": backup}), Err("Backup \"b\""));
    let mut far = snapshot;
    far["namespace"] = json!("elsewhere");
    check(json!({"dataSourceRef": far}), Err("another namespace"));
}

#[test]
fn a_claim_is_made_from_a_snapshot_that_fits() {
    let snapshot = |more: Value| {
        let meta = json!({"name": "s", "namespace": "n", "uid": "u"});
        let mut whole =
            json!({"metadata": meta, "status": {"readyToUse": true, "boundVolumeSnapshotContentName": "c"}});
        for (key, value) in more.as_object().unwrap() {
            whole[key] = value.clone();
        }
        serde_json::from_value::<VolumeSnapshot>(whole).unwrap()
    };
    assert_eq!(content_of(&snapshot(json!({}))), Ok("c".to_owned()));
    let Err(Refused(why)) = content_of(&snapshot(json!({"status": {"readyToUse": false}}))) else { panic!() };
    assert!(why.contains("not ready"), "{why}");

    let check = |own: Value, spec: Value, status: Value, expect: Result<&str, &str>| {
        let mut whole = json!({
            "metadata": {"name": "c"},
            "spec": {"driver": "d", "volumeSnapshotRef": {"name": "s", "namespace": "n", "uid": "u"}},
            "status": {"snapshotHandle": "h"},
        });
        for (part, more) in [("spec", &spec), ("status", &status)] {
            for (key, value) in more.as_object().unwrap() {
                whole[part][key] = value.clone();
            }
        }
        let content = serde_json::from_value::<VolumeSnapshotContent>(whole).unwrap();
        match (restored(&claim(json!({"spec": own})), "d", &snapshot(json!({})), &content), expect) {
            (Ok(found), Ok(expect)) => assert_eq!(found, expect),
            (Err(Refused(why)), Err(expect)) => assert!(why.contains(expect), "{why}"),
            (found, expect) => panic!("{found:?} is not {expect:?}"),
        }
    };
    let none = json!({});
    check(none.clone(), none.clone(), none.clone(), Ok("h"));
    check(none.clone(), none.clone(), json!({"restoreSize": 1 << 30}), Ok("h"));
    check(none.clone(), none.clone(), json!({"restoreSize": (1 << 30) + 1}), Err("less than the size 1073741825"));
    check(none.clone(), json!({"driver": "other"}), none.clone(), Err("of driver \"other\""));
    check(none.clone(), json!({"sourceVolumeMode": "Block"}), none.clone(), Err("another mode"));
    check(json!({"volumeMode": "Block"}), json!({"sourceVolumeMode": "Block"}), none.clone(), Ok("h"));
    let elses = json!({"volumeSnapshotRef": {"name": "s", "namespace": "n", "uid": "v"}});
    check(none.clone(), elses, none, Err("not of one another"));
}

#[test]
fn a_class_names_secrets() {
    let own = |purpose: &str, name: &str| {
        [
            (format!("{OWN}{purpose}-secret-name"), json!(name)),
            (format!("{OWN}{purpose}-secret-namespace"), json!("${pvc.namespace}")),
        ]
    };
    let parameters: serde_json::Map<_, _> =
        own("provisioner", "${pvc.name}").into_iter().chain(own("node-stage", "${pv.name}")).collect();
    let found = secrets(&claim(json!({})), &class(json!({"parameters": parameters}))).unwrap();
    let name = |own: &Option<SecretReference>| own.as_ref().and_then(|own| own.name.clone());
    assert_eq!((name(&found.provisioner), name(&found.node_stage)), (Some("c".into()), Some("pvc-u1".into())));
    assert_eq!(found.node_expand, None);
    let asked = request(&claim(json!({})), &class(json!({"parameters": parameters})), None, (None, false)).unwrap();
    assert_eq!(asked.parameters, BTreeMap::new(), "drivers are told what is not theirs");
    let words = told(&claim(json!({}))).map(|(name, value)| format!("{name}={value}"));
    let expect = ["pvc/name=c", "pvc/namespace=default", "pv/name=pvc-u1"].map(|word| format!("{OWN}{word}"));
    assert_eq!(words, expect);
    let unknown = class(json!({"parameters": {"csi.storage.k8s.io/unheard-of": "s"}}));
    let Err(Refused(why)) = secrets(&claim(json!({})), &unknown) else { panic!("it is refused") };
    assert!(why.contains("csi.storage.k8s.io/unheard-of"), "{why}");
}

#[test]
fn a_volume_is_its_claims_and_where_the_driver_made_it() {
    let (claim, class) = (claim(json!({})), class(json!({"mountOptions": ["noatime"]})));
    let asked = request(&claim, &class, None, (None, false)).unwrap();
    let made = Volume {
        id: "handle".into(),
        capacity: Some(3 << 29),
        context: [("a".to_owned(), "b".to_owned())].into(),
        source: None,
        topology: vec![at("a"), at("b")],
    };
    let volume =
        serde_json::to_value(volume("d.example.com", (&claim, &class), &ClassSecrets::default(), &asked, &made))
            .unwrap();
    assert_eq!(volume["metadata"]["name"], "pvc-u1");
    assert_eq!(volume["metadata"]["annotations"], json!({PROVISIONED_BY: "d.example.com"}));
    assert_eq!(volume["metadata"]["finalizers"], json!([FINALIZER]));
    let spec = &volume["spec"];
    assert_eq!(spec["capacity"]["storage"], "1536Mi");
    assert_eq!((&spec["claimRef"]["uid"], &spec["claimRef"]["name"]), (&json!("u1"), &json!("c")));
    assert_eq!(spec["csi"]["volumeHandle"], "handle");
    assert_eq!(spec["csi"]["volumeAttributes"], json!({"a": "b"}));
    assert_eq!((&spec["persistentVolumeReclaimPolicy"], &spec["volumeMode"]), (&json!("Delete"), &json!("Filesystem")));
    assert_eq!((&spec["storageClassName"], &spec["mountOptions"]), (&json!("fast"), &json!(["noatime"])));
    let terms = &spec["nodeAffinity"]["required"]["nodeSelectorTerms"];
    assert_eq!(terms[1]["matchExpressions"], json!([{"key": "zone", "operator": "In", "values": ["b"]}]));
}

#[test]
fn places_are_spread_over_claims_and_the_same_for_each() {
    let class = class(json!({"allowedTopologies": [{"matchLabelExpressions": [
        {"key": "zone", "values": ["a", "b"]}, {"key": "rack", "values": ["1", "2"]},
    ]}]}));
    let places = allowed(&class);
    assert_eq!(places.len(), 4);
    assert!(places.contains(&Topology([("rack".into(), "2".into()), ("zone".into(), "a".into())].into())));
    let first =
        |uid: &str| spread(&claim(json!({"metadata": {"uid": uid}})), places.clone()).unwrap().preferred[0].clone();
    let firsts: std::collections::BTreeSet<_> = (0..20).map(|n| first(&format!("u{n}"))).collect();
    assert_eq!(firsts.len(), 4, "all claims begin at {firsts:?}");
    assert_eq!(first("u1"), first("u1"));
    assert_eq!(spread(&claim(json!({})), vec![]), None);
}

#[test]
fn a_volume_ends_when_its_claim_is_gone_and_its_class_said_so() {
    let check = |phase: &str, policy: &str, more: Value, expect: Option<End>| {
        let mut volume = json!({
            "metadata": {"annotations": {PROVISIONED_BY: "d"}, "finalizers": [FINALIZER]},
            "spec": {"persistentVolumeReclaimPolicy": policy, "claimRef": {"name": "c"}}, "status": {"phase": phase},
        });
        merge(&mut volume, &more);
        let volume: PersistentVolume = serde_json::from_value(volume).unwrap();
        assert_eq!(end_of(&volume), expect, "{phase} {policy} {more}");
    };
    let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    check("Bound", "Delete", json!({}), None);
    check("Bound", "Delete", going.clone(), None);
    check("Released", "Delete", json!({}), Some(End::Delete));
    check("Failed", "Delete", going.clone(), Some(End::Delete));
    check("Released", "Retain", json!({}), None);
    check("Released", "Retain", going.clone(), Some(End::LetGo));
    let foreign = json!({"metadata": {"annotations": null, "finalizers": null}});
    check("Released", "Delete", foreign, None);
}
