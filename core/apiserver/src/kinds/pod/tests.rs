//! The rules of pods beyond what the table of messages covers.

use serde_json::{Value, json};

use crate::kinds::errors::Errors;

fn small() -> Value {
    let mut pod = json!({
        "metadata": {"name": "p", "namespace": "default", "resourceVersion": "1"},
        "spec": {"containers": [{"name": "c", "image": "i:1"}]},
    });
    (super::POD.default)(&mut pod);
    (super::POD.prepare_create)(&mut pod);
    pod
}

#[track_caller]
fn check(change: impl FnOnce(&mut Value), expect: &str) {
    let old = small();
    let mut new = old.clone();
    change(&mut new);
    (super::POD.prepare_update)(&mut new, &old);
    let mut errors = Errors::new();
    super::POD.check_update(&new, &old, Some(true), &mut errors);
    let sentence = errors.sentence();
    assert!(sentence.starts_with(expect), "{sentence}");
}

#[test]
fn a_small_pod_is_valid_and_starts_pending() {
    let mut errors = Errors::new();
    super::POD.check_create(&small(), Some(true), &mut errors);
    assert_eq!(errors.sentence(), "[]");
    assert_eq!(small()["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    assert_eq!(small()["metadata"]["generation"], 1);
}

#[test]
fn a_pod_changes_its_image_and_little_else() {
    check(|pod| pod["spec"]["containers"][0]["image"] = "i:2".into(), "[]");
    check(
        |pod| pod["spec"]["nodeName"] = "n".into(),
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n-.nodeName: null\n+.nodeName: \"n\"\n",
    );
    check(
        |pod| pod["spec"]["containers"] = json!([]),
        "[spec.containers: Required value, spec.containers: Forbidden: pod updates may not add or remove containers]",
    );
}

#[test]
fn an_ended_container_stays_ended() {
    let mut old = small();
    old["spec"]["restartPolicy"] = "Never".into();
    old["status"]["containerStatuses"] = json!([{"name": "c", "state": {"terminated": {"exitCode": 1}}}]);
    let mut new = old.clone();
    new["status"]["containerStatuses"] = json!([{"name": "c", "state": {"running": {}}}]);
    let mut errors = Errors::new();
    super::POD.check_status(&new, &old, Some(true), &mut errors);
    assert_eq!(
        errors.sentence(),
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
    );
}

#[test]
fn ephemeral_containers_are_only_added() {
    let mut old = small();
    old["spec"]["ephemeralContainers"] = json!([{"name": "e", "image": "i:1"}]);
    (super::POD.default)(&mut old);
    let mut new = old.clone();
    new["spec"]["ephemeralContainers"] = json!([]);
    super::prepare_ephemeral(&mut new, &old);
    let mut errors = Errors::new();
    super::validate_ephemeral(&new, &old, &mut errors);
    assert_eq!(
        errors.sentence(),
        "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"e\" may not be removed\n"
    );
}

#[test]
fn a_resize_keeps_the_class_of_service() {
    let mut old = small();
    old["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
    let mut new = old.clone();
    new["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "2"}});
    super::prepare_resize(&mut new, &old);
    let mut errors = Errors::new();
    super::validate_resize(&new, &old, &mut errors);
    assert_eq!(errors.sentence(), "[]");
    assert_eq!(new["metadata"]["generation"], 2);
}
