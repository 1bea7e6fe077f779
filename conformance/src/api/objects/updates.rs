//! Updates: conflicts, what they cannot touch, generations, and status apart from spec.

use serde_json::{Value, json};

use super::map;
use crate::api::{
    answer::{says, version},
    world::{MERGE, World},
};

pub(super) async fn conflict(w: World) {
    let target = w.at("configmaps", "a");
    let first = w.create(&w.path("configmaps"), &map("a")).await.with(201);
    let mut second = first.clone();
    second["data"]["k"] = "2".into();
    let second = w.replace(&target, &second).await.ok();
    assert_ne!(version(&second), version(&first));
    let mut late = first.clone();
    late["data"]["k"] = "3".into();
    let status = w.replace(&target, &late).await.refused(409, "Conflict");
    let text = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; \
        please apply your changes to the latest version and try again";
    assert_eq!(status["message"], text);
    assert_eq!(status["details"]["name"], "a");
    let patch = json!({"metadata": {"resourceVersion": version(&first)}, "data": {"k": "4"}});
    w.patch(&target, MERGE, &patch).await.refused(409, "Conflict");
    let mut other = second.clone();
    other["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000".into();
    let status = w.replace(&target, &other).await.refused(409, "Conflict");
    says(
        &status,
        &["Precondition failed: UID in precondition: 00000000-0000-0000-0000-000000000000, UID in object meta: "],
    );
    assert_eq!(w.get(&target).await.ok(), second, "a refused write changed something");
}

pub(super) async fn unconditional(w: World) {
    let target = w.at("configmaps", "a");
    w.create(&w.path("configmaps"), &map("a")).await.with(201);
    let mut object = map("a");
    object["data"]["k"] = "2".into();
    assert_eq!(w.replace(&target, &object).await.ok()["data"]["k"], "2");
    // A Lease is a lock: whoever writes it has to have read it.
    let lease = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}});
    w.create(&w.path("coordination.k8s.io/v1/leases"), &lease).await.with(201);
    let status = w.replace(&w.at("coordination.k8s.io/v1/leases", "l"), &lease).await;
    let status = status.invalid(&["metadata.resourceVersion"]);
    says(&status, &["must be specified for an update"]);
}

pub(super) async fn nothing(w: World) {
    let target = w.at("configmaps", "a");
    let made = w.create(&w.path("configmaps"), &map("a")).await.with(201);
    let again = w.replace(&target, &made).await.ok();
    assert_eq!(version(&again), version(&made), "an update without a change");
    let patched = w.patch(&target, MERGE, &json!({"data": {"k": "v"}})).await.ok();
    assert_eq!(version(&patched), version(&made), "a patch without a change");
    let patched = w.patch(&target, MERGE, &json!({"data": {"k": "w"}})).await.ok();
    assert_ne!(version(&patched), version(&made));
}

pub(super) async fn fixed(w: World) {
    let target = w.at("configmaps", "a");
    let made = w.create(&w.path("configmaps"), &map("a")).await.with(201);
    let mut changed = made.clone();
    changed["metadata"]["creationTimestamp"] = "1999-01-01T00:00:00Z".into();
    changed["metadata"]["deletionTimestamp"] = "1999-01-01T00:00:00Z".into();
    changed["data"]["k"] = "2".into();
    let after = w.replace(&target, &changed).await.ok();
    for field in ["uid", "creationTimestamp", "namespace", "name"] {
        assert_eq!(after["metadata"][field], made["metadata"][field], "an update changed {field}");
    }
    assert!(after["metadata"].get("deletionTimestamp").is_none(), "{after}");
    let status = w.patch(&target, MERGE, &json!({"metadata": {"name": "b"}})).await.refused(400, "BadRequest");
    says(&status, &["the name of the object (b) does not match the name on the URL (a)"]);
}

/// A Deployment without pods: no controller has much to do with it.
fn deployment(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": 0, "paused": true, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }})
}

pub(super) async fn generation(w: World) {
    let target = w.at("apps/v1/deployments", "a");
    let made = w.create(&w.path("apps/v1/deployments"), &deployment("a")).await.with(201);
    assert_eq!(made["metadata"]["generation"], 1);
    let patch = async |patch: Value| w.patch(&target, MERGE, &patch).await.ok()["metadata"]["generation"].clone();
    assert_eq!(patch(json!({"metadata": {"labels": {"x": "y"}}})).await, 1, "after a change of labels");
    assert_eq!(patch(json!({"spec": {"minReadySeconds": 5}})).await, 2, "after a change of the spec");
    assert_eq!(patch(json!({"spec": {"minReadySeconds": 5}})).await, 2, "after no change");
    assert_eq!(patch(json!({"metadata": {"generation": 99}})).await, 2, "after a wish");
    let status = w.patch(&(target.clone() + "/status"), MERGE, &json!({"status": {"collisionCount": 1}})).await.ok();
    assert_eq!(status["metadata"]["generation"], 2, "after a change of the status");
}

pub(super) async fn status(w: World) {
    let (collection, target) = (w.path("apps/v1/deployments"), w.at("apps/v1/deployments", "a"));
    let mut object = deployment("a");
    object["status"] = json!({"collisionCount": 7});
    let made = w.create(&collection, &object).await.with(201);
    assert!(made["status"].get("collisionCount").is_none(), "a status was created: {made}");
    let patched = w.patch(&target, MERGE, &json!({"status": {"collisionCount": 7}})).await.ok();
    assert!(patched["status"].get("collisionCount").is_none(), "a status was written beside the spec: {patched}");
    let both = json!({"spec": {"minReadySeconds": 9}, "status": {"collisionCount": 7}});
    let patched = w.patch(&(target.clone() + "/status"), MERGE, &both).await.ok();
    assert_eq!(patched["status"]["collisionCount"], 7);
    assert!(patched["spec"].get("minReadySeconds").is_none(), "a spec was written with the status: {patched}");
    assert_eq!(w.get(&(target + "/status")).await.ok()["kind"], "Deployment");
}

pub(super) async fn absent(w: World) {
    w.replace(&w.at("configmaps", "never"), &map("never")).await.refused(404, "NotFound");
    w.replace(&w.at("apps/v1/deployments", "never"), &deployment("never")).await.refused(404, "NotFound");
    // Leases, events and limits are made by an update too.
    let lease = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}});
    w.replace(&w.at("coordination.k8s.io/v1/leases", "l"), &lease).await.with(201);
    let patch = json!({"data": {"k": "v"}});
    w.patch(&w.at("configmaps", "never"), MERGE, &patch).await.refused(404, "NotFound");
    w.delete(&w.at("configmaps", "never")).await.refused(404, "NotFound");
}
