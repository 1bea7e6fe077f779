use serde_json::{Value, json};

use super::*;
use crate::snapshotter::kinds::Custom;

fn merged(mut base: Value, more: &Value) -> Value {
    fn put(base: &mut Value, more: &Value) {
        match (base, more) {
            (Value::Object(base), Value::Object(more)) => {
                for (key, value) in more {
                    put(base.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
            (base, more) => *base = more.clone(),
        }
    }
    put(&mut base, more);
    base
}

fn object<B: crate::snapshotter::kinds::Body>(value: Value) -> Arc<Custom<B>> {
    Arc::new(serde_json::from_value(value).unwrap())
}

/// A held snapshot of claim `c`, with a default class and the claim's volume.
fn look(snapshot: &Value, content: Option<&Value>) -> Look {
    let held = json!({"name": "s", "namespace": "n", "uid": "u", "finalizers": [AS_SOURCE, BOUND]});
    let base = json!({"metadata": held, "spec": {"source": {"persistentVolumeClaimName": "c"}}});
    let class = |name: &str, driver: &str| {
        let metadata = json!({"name": name, "annotations": {DEFAULT: "true"}});
        object(json!({"metadata": metadata, "driver": driver, "deletionPolicy": "Delete"}))
    };
    let reference = json!({"name": "s", "namespace": "n", "uid": "u"});
    let own = json!({"metadata": {"name": "snapcontent-u"}, "spec": {"driver": "d", "deletionPolicy": "Delete",
        "source": {"volumeHandle": "h"}, "volumeSnapshotRef": reference}});
    let claim = json!({"metadata": {"name": "c", "namespace": "n"}, "spec": {"volumeName": "v"},
        "status": {"phase": "Bound"}});
    let volume = json!({"metadata": {"name": "v"}, "spec": {"csi": {"driver": "d", "volumeHandle": "h"},
        "volumeMode": "Filesystem"}});
    Look {
        snapshot: object(merged(base, snapshot)),
        content: content.map(|more| object(merged(own, more))),
        claim: serde_json::from_value(claim).ok().map(Arc::new),
        volume: serde_json::from_value(volume).ok().map(Arc::new),
        classes: vec![class("fast", "d"), class("other", "e")],
        restoring: false,
    }
}

#[track_caller]
fn fails(look: &Look, reason: &str, message: &str) {
    match next(look) {
        Step::Fail(failure) => {
            assert_eq!(failure.reason, reason);
            assert!(failure.message.contains(message), "{}", failure.message);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_snapshot_is_held_gets_a_class_and_then_a_content() {
    let none = json!({});
    assert_eq!(next(&look(&json!({"metadata": {"finalizers": []}}), None)), Step::Hold);
    assert_eq!(next(&look(&none, None)), Step::Choose("fast".into()));
    let named = json!({"spec": {"volumeSnapshotClassName": "fast"}});
    let Step::Make(content) = next(&look(&named, None)) else { panic!("no content is made") };
    assert_eq!(content.metadata.name.as_deref(), Some("snapcontent-u"));
    assert_eq!(content.body.spec.source.volume_handle.as_deref(), Some("h"));
    assert_eq!(content.body.spec.source_volume_mode.as_deref(), Some("Filesystem"));
    assert!(content.is_of(&look(&named, None).snapshot));
}

#[test]
fn what_cannot_be_cut_says_why() {
    let named = |class: &str| json!({"spec": {"volumeSnapshotClassName": class}});
    let failed = "SnapshotContentCreationFailed";
    fails(&look(&named("slow"), None), failed, "\"slow\" not found");
    fails(&look(&named("other"), None), failed, "driver \"e\"");
    let mut none = look(&json!({}), None);
    none.classes.retain(|class| class.body.driver != "d");
    fails(&none, "SetDefaultSnapshotClassFailed", "cannot find default snapshot class");
    let mut many = look(&json!({}), None);
    many.classes.push(Arc::clone(&many.classes[0]));
    fails(&many, "SetDefaultSnapshotClassFailed", "2 default snapshot classes were found");
    fails(&Look { claim: None, ..look(&named("fast"), None) }, failed, "persistentvolumeclaim \"c\" not found");
    let mut pending = look(&named("fast"), None);
    let mut claim = PersistentVolumeClaim::clone(pending.claim.as_ref().unwrap());
    claim.status.phase = Some("Pending".into());
    pending.claim = Some(Arc::new(claim));
    fails(&pending, failed, "the PVC c is not yet bound to a PV");
    let lost = json!({"status": {"boundVolumeSnapshotContentName": "snapcontent-u"}});
    fails(&look(&lost, None), "SnapshotContentMissing", "VolumeSnapshotContent is missing");
    let elses = json!({"spec": {"volumeSnapshotRef": {"uid": "v"}}});
    fails(&look(&json!({}), Some(&elses)), "SnapshotContentMisbound", "bound to a different snapshot");
}

#[test]
fn a_snapshot_says_what_its_content_says() {
    let cut = json!({"status": {"snapshotHandle": "h", "readyToUse": true, "restoreSize": 1 << 30,
        "creationTime": 1_700_000_000_123_456_789_i64}});
    let Step::Tell(status) = next(&look(&json!({}), Some(&cut))) else { panic!("nothing is told") };
    let told = serde_json::to_value(&status).unwrap();
    let expect = json!({"boundVolumeSnapshotContentName": "snapcontent-u", "readyToUse": true,
        "restoreSize": "1Gi", "creationTime": "2023-11-14T22:13:20Z"});
    assert_eq!(told, expect);
    assert_eq!(next(&look(&json!({"status": told}), Some(&cut))), Step::Rest);
}

#[test]
fn what_was_there_before_is_bound_to_the_snapshot_that_it_names() {
    let snapshot = json!({"spec": {"source": {"persistentVolumeClaimName": null, "volumeSnapshotContentName": "old"}}});
    let there = |reference: Value| {
        let source = json!({"volumeHandle": null, "snapshotHandle": "x"});
        json!({"metadata": {"name": "old"}, "spec": {"source": source, "volumeSnapshotRef": reference}})
    };
    assert_eq!(next(&look(&snapshot, Some(&there(json!({"uid": null}))))), Step::Bind);
    fails(&look(&snapshot, None), "SnapshotContentMissing", "VolumeSnapshotContent old is missing");
    let other = there(json!({"uid": null, "name": "t"}));
    fails(&look(&snapshot, Some(&other)), "SnapshotContentMisbound", "bound to a different snapshot");
    let dynamic = json!({"metadata": {"name": "old"}, "spec": {"volumeSnapshotRef": {"uid": null}}});
    fails(&look(&snapshot, Some(&dynamic)), "SnapshotContentMismatch", "dynamically provisioned");
    assert!(matches!(next(&look(&snapshot, Some(&there(json!({}))))), Step::Tell(_)));
}

#[test]
fn a_snapshot_goes_after_its_content() {
    let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let (none, marked) = (json!({}), json!({"metadata": {"annotations": {BEING_DELETED: "yes"}}}));
    assert_eq!(next(&look(&going, Some(&none))), Step::Mark);
    assert_eq!(next(&Look { restoring: true, ..look(&going, Some(&none)) }), Step::Wait);
    assert_eq!(next(&look(&going, Some(&marked))), Step::DeleteContent);
    let both = merged(marked.clone(), &going);
    assert_eq!(next(&look(&going, Some(&both))), Step::Rest);
    let kept = merged(marked, &json!({"spec": {"deletionPolicy": "Retain"}}));
    assert_eq!(next(&look(&going, Some(&kept))), Step::LetGo);
    assert_eq!(next(&look(&going, None)), Step::LetGo);
    let elses = json!({"spec": {"volumeSnapshotRef": {"uid": "v"}}});
    assert_eq!(next(&look(&going, Some(&elses))), Step::LetGo);
    let free = merged(going, &json!({"metadata": {"finalizers": []}}));
    assert_eq!(next(&look(&free, None)), Step::Rest);
}

#[test]
fn a_claim_is_held_while_a_snapshot_is_cut_of_it() {
    let mut claim = PersistentVolumeClaim::clone(look(&json!({}), None).claim.as_ref().unwrap());
    let (cutting, ready) =
        (look(&json!({}), None).snapshot, look(&json!({"status": {"readyToUse": true}}), None).snapshot);
    assert!(!releases(&claim, [&ready]), "it is not held");
    claim.metadata.finalizers.push(CLAIM.into());
    assert!(releases(&claim, [&ready]) && releases(&claim, []));
    assert!(!releases(&claim, [&ready, &cutting]));
}

#[test]
fn a_snapshot_is_restored_by_claims_that_wait_for_it() {
    let check = |spec: Value, phase: &str, expect: bool| {
        let claim = json!({"metadata": {"name": "c", "namespace": "n"}, "spec": spec, "status": {"phase": phase}});
        let claim = serde_json::from_value(claim).unwrap();
        assert_eq!(restores(&claim, &look(&json!({}), None).snapshot), expect);
    };
    let from = |name: &str| json!({"apiGroup": GROUP, "kind": "VolumeSnapshot", "name": name});
    check(json!({"dataSource": from("s")}), "Pending", true);
    check(json!({"dataSourceRef": from("s")}), "Pending", true);
    check(json!({"dataSource": from("s")}), "Bound", false);
    check(json!({"dataSource": from("t")}), "Pending", false);
    check(json!({}), "Pending", false);
}
