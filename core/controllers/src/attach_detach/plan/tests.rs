use serde_json::{Value, json};

use super::*;

fn volume(more: Value) -> PersistentVolume {
    let mut spec = json!({"csi": {"driver": "d", "volumeHandle": "h"}, "accessModes": ["ReadWriteOnce"]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(json!({"metadata": {"name": "pv"}, "spec": spec})).unwrap()
}

fn driver(attach: Option<bool>) -> Option<Arc<CSIDriver>> {
    attach.map(|attach| {
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": "d"}, "spec": {"attachRequired": attach}})).unwrap(),
        )
    })
}

#[test]
fn an_attachment_is_called_as_upstream_calls_it() {
    let wanted = wanted(&volume(json!({})), |_| None).unwrap();
    // As `printf hdn | sha256sum` says.
    let expect = "csi-9072ed11cc1acb5fa433a877ff339b6311d013f33bddd1d0092711a8ace5b16d";
    assert_eq!(wanted.attachment("n"), expect);
}

#[test]
fn a_volume_is_attached_unless_its_driver_says_otherwise() {
    let check = |spec: Value, attach: Option<bool>, expect: Option<bool>| {
        let found = wanted(&volume(spec), |_| driver(attach));
        assert_eq!(found.map(|own| own.many_nodes), expect);
    };
    check(json!({}), None, Some(false));
    check(json!({}), Some(true), Some(false));
    check(json!({}), Some(false), None);
    check(json!({"accessModes": ["ReadWriteMany"]}), None, Some(true));
    check(json!({"csi": null, "hostPath": {"path": "/x"}}), None, None);
}

#[test]
fn what_a_node_uses_is_not_taken_from_it() {
    let attachment = |attached: bool, going: bool| {
        let mut meta = json!({"name": "a"});
        if going {
            meta["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        let spec = json!({"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "pv"}});
        Arc::new(
            serde_json::from_value(json!({"metadata": meta, "spec": spec, "status": {"attached": attached}})).unwrap(),
        )
    };
    let check = |is_wanted: bool, (attached, going), node: Option<(&[&str], bool)>, expect: &str| {
        let wanted = if is_wanted { BTreeMap::from([("a".to_owned(), Wanted::default())]) } else { BTreeMap::new() };
        let facts = node.map(|(in_use, out_of_service)| NodeFacts {
            in_use: in_use.iter().map(|own| (*own).to_owned()).collect(),
            out_of_service,
            ..NodeFacts::default()
        });
        let plan = plan(&wanted, &[attachment(attached, going)], facts.as_ref(), |_| Some("u".into()));
        let forced = plan.detach.iter().any(|own| own.forced.is_some());
        let words = match (plan.attached.len(), plan.detach.len(), plan.waiting.len()) {
            (0, 0, 0) => "nothing",
            (1, 0, 0) => "reported",
            (0, 1, 0) if forced => "detached by force",
            (0, 1, 0) => "detached",
            (0, 0, 1) => "waits",
            other => panic!("{other:?}"),
        };
        assert_eq!(words, expect);
    };
    let idle: Option<(&[&str], bool)> = Some((&[], false));
    let uses: Option<(&[&str], bool)> = Some((&["u"], false));
    check(true, (true, false), uses, "reported");
    check(true, (false, false), idle, "nothing");
    check(true, (true, true), idle, "nothing");
    check(false, (true, false), idle, "detached");
    check(false, (true, false), uses, "waits");
    check(false, (true, false), Some((&["u"], true)), "detached by force");
    check(false, (true, false), None, "detached");
    check(false, (true, true), idle, "nothing");
}
