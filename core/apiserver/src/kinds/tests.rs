//! The messages that clients match on, from a table: an object, the change to it if any, and what is said.
//!
//! The object is defaulted and prepared as on the way in; `x` in `default` where it names no name or namespace.

use serde_json::{Value, json};

use super::{Errors, edit, field};

const MESSAGES: &str = include_str!("../../tests/fixtures/validation.tsv");
const DEFAULTS: &str = include_str!("../../tests/fixtures/defaults.tsv");
const CLUSTER_WIDE: &[&str] = &[
    "Namespace",
    "Node",
    "PersistentVolume",
    "ClusterRole",
    "ClusterRoleBinding",
    "StorageClass",
    "PriorityClass",
    "RuntimeClass",
    "ValidatingWebhookConfiguration",
    "CSIDriver",
    "CSINode",
    "VolumeAttachment",
    "VolumeAttributesClass",
    "IngressClass",
    "IPAddress",
    "ServiceCIDR",
    "FlowSchema",
    "PriorityLevelConfiguration",
    "CertificateSigningRequest",
    "ClusterTrustBundle",
    "DeviceClass",
    "ResourceSlice",
    "ValidatingAdmissionPolicyBinding",
];

/// What is said of an object, or of a change to it.
fn said(kind: &str, object: &str, change: &str) -> String {
    let (group, name) = kind.split_once('/').unwrap();
    let rules = super::of(group, name);
    let mut object: Value = serde_json::from_str(object).unwrap();
    let namespaced = !CLUSTER_WIDE.contains(&name);
    edit::within(&mut object, "metadata", |meta| {
        edit::default_to(meta, "name", "x");
        edit::default_to(meta, "resourceVersion", "1");
        if namespaced {
            edit::default_to(meta, "namespace", "default");
        }
    });
    (rules.default)(&mut object);
    (rules.prepare_create)(&mut object);
    let mut errors = Errors::new();
    rules.check_create(&object, Some(namespaced), &mut errors);
    if !change.is_empty() {
        assert_eq!(errors.sentence(), "[]", "the object of {kind} before its change");
        let old = object.clone();
        merge(&mut object, serde_json::from_str(change).unwrap());
        (rules.default)(&mut object);
        (rules.prepare_update)(&mut object, &old);
        rules.check_update(&object, &old, Some(namespaced), &mut errors);
    }
    let error = errors.into_result(group, name, field::text(&object, &["metadata", "name"]));
    error.map_or_else(|error| error.message().to_owned(), |()| String::new())
}

fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (name, value) in change {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change,
    }
}

#[test]
fn messages_are_the_ones_that_people_search_for() {
    let mut wrong = Vec::new();
    for line in MESSAGES.lines().skip(1) {
        let [kind, object, change, message] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("four columns: {line}");
        };
        let said = said(kind, object, change);
        if said != message {
            wrong.push(format!("{kind} {object} {change}\n  said   {said}\n  expect {message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_left_out_is_filled_in_as_clients_expect() {
    for line in DEFAULTS.lines().skip(1) {
        let [kind, object, expect] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("three columns: {line}");
        };
        let (group, name) = kind.split_once('/').unwrap();
        let mut object: Value = serde_json::from_str(object).unwrap();
        (super::of(group, name).default)(&mut object);
        assert_eq!(object, serde_json::from_str::<Value>(expect).unwrap(), "{kind}");
        let once = object.clone();
        (super::of(group, name).default)(&mut object);
        assert_eq!(object, once, "{kind} defaulted twice");
    }
}

#[test]
fn custom_resources_count_every_change_but_those_of_a_status_written_apart() {
    let old = json!({"metadata": {"generation": 1}, "data": 1, "status": 1});
    let mut new = json!({"metadata": {"generation": 1}, "data": 2, "status": 2});
    (super::CUSTOM_WITH_STATUS.prepare_update)(&mut new, &old);
    assert_eq!(new, json!({"metadata": {"generation": 2}, "data": 2, "status": 1}));
    let mut bare = json!({"metadata": {"generation": 1}, "data": 1, "status": 2});
    (super::CUSTOM.prepare_update)(&mut bare, &old);
    assert_eq!(bare["metadata"]["generation"], 2);
}

#[test]
fn each_selectable_field_has_a_value() {
    for (group, kind) in [
        ("", "Pod"),
        ("", "Service"),
        ("", "Node"),
        ("", "Namespace"),
        ("", "Secret"),
        ("", "Event"),
        ("events.k8s.io", "Event"),
        ("", "ReplicationController"),
        ("apps", "ReplicaSet"),
        ("batch", "Job"),
        ("certificates.k8s.io", "CertificateSigningRequest"),
        ("certificates.k8s.io", "ClusterTrustBundle"),
        ("certificates.k8s.io", "PodCertificateRequest"),
        ("resource.k8s.io", "ResourceSlice"),
    ] {
        let rules = super::of(group, kind);
        let mut names: Vec<&str> = (rules.fields)(&json!({})).into_iter().map(|(name, _)| name).collect();
        let mut known = rules.field_names.to_vec();
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(names, known, "{group} {kind}");
        assert!(rules.selectable("metadata.name") && !rules.selectable("spec.unknown"));
    }
}
