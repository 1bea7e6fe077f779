//! What is said about objects that are taken, from a table: a kind, an object, and the warnings with ` | ` between them.

use serde_json::{Value, json};

const WARNINGS: &str = include_str!("../../../tests/fixtures/warnings.tsv");

#[test]
fn what_is_odd_is_told_in_the_words_that_clients_show() {
    let mut wrong = Vec::new();
    for line in WARNINGS.lines().skip(1) {
        let [kind, object, expect] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("three columns: {line}") };
        let (group, name) = kind.split_once('/').unwrap();
        let mut object: Value = serde_json::from_str(object).unwrap();
        crate::kinds::edit::within(&mut object, "metadata", |meta| crate::kinds::edit::default_to(meta, "name", "x"));
        (crate::kinds::of(group, name).default)(&mut object);
        let said = super::of(group, name, &object, None).join(" | ");
        if said != expect {
            wrong.push(format!("{line}\n  said   {said}\n  expect {expect}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn updates_of_pods_and_of_the_same_template_tell_nothing() {
    let pod = json!({"metadata": {"name": "x"}, "spec": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}}});
    assert!(super::of("", "Pod", &pod, Some(&pod)).is_empty());
    let set = json!({"metadata": {"name": "x"}, "spec": {"template": {"spec": pod["spec"]}}});
    assert_eq!(super::of("apps", "ReplicaSet", &set, None).len(), 1);
    assert!(super::of("apps", "ReplicaSet", &set, Some(&set)).is_empty());
}
