//! Pods: admission, binding, graceful deletion, eviction.

use serde_json::{Value, json};
use windlass_kernel::{
    ErrorKind,
    api::{PatchType, Verb},
};

use crate::rig::{Rig, value};

pub(crate) fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

/// A rig whose default namespace has its account.
fn ready() -> Rig {
    let rig = Rig::new();
    rig.create("serviceaccounts", json!({"metadata": {"name": "default"}})).unwrap();
    rig
}

fn bind(rig: &Rig, pod: &str, node: &str) -> Result<Value, windlass_kernel::Error> {
    let body = json!({"metadata": {"name": pod}, "target": {"kind": "Node", "name": node}});
    rig.call(rig.request(Verb::Create, "pods:binding").named(pod).body(body)).map(value)
}

#[test]
fn a_new_pod_runs_as_the_default_account_with_default_tolerations() {
    let rig = ready();
    let made = rig.create("pods", pod("p")).unwrap();
    let spec = &made["spec"];
    assert_eq!((&spec["serviceAccountName"], &spec["serviceAccount"]), (&json!("default"), &json!("default")));
    assert_eq!(spec["tolerations"].as_array().unwrap().len(), 2);
    assert_eq!((&spec["priority"], &spec["preemptionPolicy"]), (&json!(0), &json!("PreemptLowerPriority")));
    let volume = spec["volumes"][0]["name"].as_str().unwrap();
    assert!(volume.starts_with("kube-api-access-"), "{volume}");
    assert_eq!(spec["containers"][0]["volumeMounts"][0]["name"], volume);
    assert_eq!((&made["status"]["phase"], &made["metadata"]["generation"]), (&json!("Pending"), &json!(1)));
    let owned = made["metadata"]["managedFields"].to_string();
    assert!(
        owned.contains("f:containers") && !owned.contains("f:tolerations") && !owned.contains("f:status"),
        "{owned}"
    );
}

#[test]
fn a_pod_is_refused_without_its_account_class_or_namespace() {
    let rig = ready();
    let mut object = pod("p");
    object["spec"]["serviceAccountName"] = "ghost".into();
    let error = rig.create("pods", object).unwrap_err();
    assert_eq!(
        error.message(),
        "pods \"p\" is forbidden: error looking up service account default/ghost: serviceaccount \"ghost\" not found"
    );
    let mut object = pod("p");
    object["spec"]["priorityClassName"] = "ghost".into();
    let error = rig.create("pods", object).unwrap_err();
    assert_eq!(error.message(), "pods \"p\" is forbidden: no PriorityClass with name ghost was found");
    let elsewhere = rig.request(Verb::Create, "pods").in_namespace("ghost").body(pod("p"));
    assert_eq!(rig.call(elsewhere).unwrap_err().message(), "namespaces \"ghost\" not found");
}

#[test]
fn a_pod_is_bound_once() {
    let rig = ready();
    rig.create("pods", pod("p")).unwrap();
    bind(&rig, "p", "n1").unwrap();
    let bound = rig.get("pods", "p").unwrap();
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    let error = bind(&rig, "p", "n2").unwrap_err();
    assert_eq!(
        error.message(),
        "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\""
    );
    let on_node = rig.list("pods", |request| request.options.field_selector = "spec.nodeName=n1".into()).unwrap();
    assert_eq!(on_node.items.len(), 1);
}

#[test]
fn an_unscheduled_pod_goes_at_once_and_a_running_one_gracefully() {
    let rig = ready();
    rig.create("pods", pod("a")).unwrap();
    rig.delete("pods", "a").unwrap();
    assert!(rig.get("pods", "a").unwrap_err().is(ErrorKind::NotFound));

    rig.create("pods", pod("b")).unwrap();
    bind(&rig, "b", "n1").unwrap();
    let going = rig.delete("pods", "b").unwrap();
    assert_eq!(going["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(going["metadata"]["deletionTimestamp"], "1970-01-01T00:00:30Z");
    let mut shorter = rig.request(Verb::Delete, "pods").named("b");
    shorter.options.grace_period = Some(5);
    let shorter = value(rig.call(shorter).unwrap());
    assert_eq!(shorter["metadata"]["deletionTimestamp"], "1970-01-01T00:00:05Z");
    let mut now = rig.request(Verb::Delete, "pods").named("b");
    now.options.grace_period = Some(0);
    rig.call(now).unwrap();
    assert!(rig.get("pods", "b").unwrap_err().is(ErrorKind::NotFound));
}

#[test]
fn status_and_spec_are_written_apart() {
    let rig = ready();
    let made = rig.create("pods", pod("p")).unwrap();
    let mut changed = made.clone();
    changed["status"]["phase"] = "Running".into();
    assert_eq!(rig.update("pods", changed.clone()).unwrap()["status"]["phase"], "Pending");
    changed["metadata"]["resourceVersion"] = Value::Null;
    changed["spec"]["containers"][0]["image"] = "other".into();
    let request = rig.request(Verb::Update, "pods:status").named("p").body(changed);
    let written = value(rig.call(request).unwrap());
    assert_eq!(
        (&written["status"]["phase"], &written["spec"]["containers"][0]["image"]),
        (&json!("Running"), &json!("i"))
    );
    assert_eq!(written["metadata"]["generation"], 1);
    let patch = rig.request(Verb::Patch(PatchType::Strategic), "pods:status").named("p");
    let patched = rig.call(patch.body(json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})));
    assert_eq!(value(patched.unwrap())["status"]["conditions"][0]["status"], "True");
}

#[test]
fn an_eviction_respects_the_budget() {
    let rig = ready();
    rig.create("pods", pod("p")).unwrap();
    bind(&rig, "p", "n1").unwrap();
    let running = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    rig.call(rig.request(Verb::Patch(PatchType::Merge), "pods:status").named("p").body(running)).unwrap();
    let budget =
        json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}});
    rig.create("policy/v1/poddisruptionbudgets", budget).unwrap();
    let evict =
        || rig.call(rig.request(Verb::Create, "pods:eviction").named("p").body(json!({"metadata": {"name": "p"}})));
    let error = evict().unwrap_err();
    assert!(error.is(ErrorKind::TooManyRequests));
    assert_eq!(error.message(), "Cannot evict pod as it would violate the pod's disruption budget.");
    let status = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2,
        "desiredHealthy": 1, "expectedPods": 2}});
    let budgets = "policy/v1/poddisruptionbudgets:status";
    rig.call(rig.request(Verb::Patch(PatchType::Merge), budgets).named("b").body(status)).unwrap();
    evict().unwrap();
    assert!(!rig.get("pods", "p").unwrap()["metadata"]["deletionTimestamp"].is_null());
    let budget = rig.get("policy/v1/poddisruptionbudgets", "b").unwrap();
    assert_eq!(budget["status"]["disruptionsAllowed"], 0);
}

#[test]
fn an_account_decides_about_mounts_and_pull_secrets() {
    let rig = Rig::new();
    let account = json!({"metadata": {"name": "default"}, "automountServiceAccountToken": false,
        "imagePullSecrets": [{"name": "s"}]});
    rig.create("serviceaccounts", account).unwrap();
    let made = rig.create("pods", pod("p")).unwrap();
    assert_eq!((&made["spec"]["volumes"], &made["spec"]["imagePullSecrets"][0]["name"]), (&Value::Null, &json!("s")));
}
