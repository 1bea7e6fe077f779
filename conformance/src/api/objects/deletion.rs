//! Every way to delete.

use serde_json::{Value, json};

use super::map;
use crate::api::{
    answer::{names, says, version},
    world::{MERGE, World, labelled},
};

pub(super) async fn gone(w: World) {
    let target = w.at("configmaps", "a");
    let made = w.create(&w.path("configmaps"), &map("a")).await.with(201);
    let status = w.delete(&target).await.ok();
    assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Success")));
    let details = &status["details"];
    assert_eq!((&details["name"], &details["kind"]), (&json!("a"), &json!("configmaps")));
    assert_eq!(details["uid"], made["metadata"]["uid"]);
    w.get(&target).await.refused(404, "NotFound");
    w.delete(&target).await.refused(404, "NotFound");
    let again = w.create(&w.path("configmaps"), &map("a")).await.with(201);
    assert_ne!(again["metadata"]["uid"], made["metadata"]["uid"], "a new object of an old name");
}

pub(super) async fn preconditions(w: World) {
    let target = w.at("configmaps", "a");
    let made = w.create(&w.path("configmaps"), &map("a")).await.with(201);
    let wrong = json!({"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}});
    let status = w.delete_with(&target, &wrong).await.refused(409, "Conflict");
    says(
        &status,
        &["the UID in the precondition (00000000-0000-0000-0000-000000000000) does not match the UID in record"],
    );
    let changed = w.patch(&target, MERGE, &json!({"data": {"k": "2"}})).await.ok();
    let old = json!({"preconditions": {"resourceVersion": version(&made)}});
    let status = w.delete_with(&target, &old).await.refused(409, "Conflict");
    says(&status, &["the ResourceVersion in the precondition (", "does not match the ResourceVersion in record"]);
    w.get(&target).await.ok();
    let right = json!({"preconditions": {"resourceVersion": version(&changed), "uid": made["metadata"]["uid"]}});
    w.delete_with(&target, &right).await.coded(200);
    w.get(&target).await.refused(404, "NotFound");
}

pub(super) async fn finalizers(w: World) {
    let target = w.at("configmaps", "a");
    let mut object = map("a");
    object["metadata"]["finalizers"] = json!(["example.com/one", "example.com/two"]);
    w.create(&w.path("configmaps"), &object).await.with(201);
    let deleted = w.delete(&target).await.ok();
    assert_eq!(deleted["kind"], "ConfigMap", "what waits for finalizers is answered as it is: {deleted}");
    assert!(deleted["metadata"]["deletionTimestamp"].is_string(), "{deleted}");
    assert_eq!(deleted["metadata"]["deletionGracePeriodSeconds"], 0);
    let again = w.delete(&target).await.ok();
    assert_eq!(again["metadata"]["deletionTimestamp"], deleted["metadata"]["deletionTimestamp"]);
    let finalizers = async |wanted: Value| w.patch(&target, MERGE, &json!({"metadata": {"finalizers": wanted}})).await;
    let more = json!(["example.com/one", "example.com/two", "example.com/three"]);
    let status = finalizers(more).await.invalid(&["metadata.finalizers"]);
    says(&status, &["no new finalizers can be added if the object is being deleted"]);
    let changed = w.patch(&target, MERGE, &json!({"data": {"k": "late"}})).await.ok();
    assert_eq!(changed["data"]["k"], "late", "an object that is being deleted can be changed");
    let revived = w.patch(&target, MERGE, &json!({"metadata": {"deletionTimestamp": null}})).await.ok();
    assert!(revived["metadata"]["deletionTimestamp"].is_string(), "nothing is revived: {revived}");
    finalizers(json!(["example.com/two"])).await.ok();
    w.get(&target).await.ok();
    finalizers(json!([])).await.coded(200);
    w.get(&target).await.refused(404, "NotFound");
}

/// A pod on a node that is not there: nobody but the server acts on it.
fn placed(w: &World, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "nodeName": w.name("nowhere"), "containers": [{"name": "c", "image": "i"}],
    }})
}

pub(super) async fn grace(w: World) {
    let target = w.at("pods", "a");
    w.account().await;
    w.create(&w.path("pods"), &placed(&w, "a")).await.with(201);
    let seconds = |pod: &Value| pod["metadata"]["deletionGracePeriodSeconds"].clone();
    let deleted = w.delete(&target).await.ok();
    assert_eq!(deleted["kind"], "Pod");
    assert_eq!(seconds(&deleted), 30, "as long as the pod asks for");
    assert!(deleted["metadata"]["deletionTimestamp"].is_string());
    let shorter = w.delete_with(&target, &json!({"gracePeriodSeconds": 12})).await.ok();
    assert_eq!(seconds(&shorter), 12);
    let longer = w.delete_with(&target, &json!({"gracePeriodSeconds": 25})).await.ok();
    assert_eq!(seconds(&longer), 12, "a grace period is never made longer");
    let query = w.delete(&format!("{target}?gracePeriodSeconds=5")).await.ok();
    assert_eq!(seconds(&query), 5, "an option in the query");
    w.delete_with(&target, &json!({"gracePeriodSeconds": 0})).await.coded(200);
    w.get(&target).await.refused(404, "NotFound");
    // What no node has seen needs no time.
    let mut unplaced = placed(&w, "b");
    unplaced["spec"] = json!({"schedulerName": "nobody", "containers": [{"name": "c", "image": "i"}]});
    w.create(&w.path("pods"), &unplaced).await.with(201);
    w.delete(&w.at("pods", "b")).await.coded(200);
    w.get(&w.at("pods", "b")).await.refused(404, "NotFound");
}

pub(super) async fn collection(w: World) {
    let collection = w.path("podtemplates");
    for (name, label) in [("a", "x"), ("b", "x"), ("c", "y"), ("d", "y")] {
        w.create(&collection, &labelled(name, "set", label)).await.with(201);
    }
    let left = async || {
        let list = w.get(&collection).await.ok();
        names(&list).join(" ")
    };
    w.delete(&format!("{collection}?labelSelector=set%3Dz")).await.coded(200);
    assert_eq!(left().await, "a b c d");
    w.delete(&format!("{collection}?labelSelector=set%3Dx")).await.coded(200);
    assert_eq!(left().await, "c d");
    w.delete(&format!("{collection}?fieldSelector=metadata.name%3Dd")).await.coded(200);
    assert_eq!(left().await, "c");
    w.delete(&format!("{collection}?labelSelector=%3D%3D")).await.refused(400, "BadRequest");
    w.delete(&collection).await.coded(200);
    assert_eq!(left().await, "");
    w.delete(&collection).await.coded(200);
}

pub(super) async fn options(w: World) {
    let target = w.at("configmaps", "a");
    w.create(&w.path("configmaps"), &map("a")).await.with(201);
    let status = w.delete_with(&target, &json!({"propagationPolicy": "Sometimes"})).await.refused(422, "Invalid");
    says(&status, &["propagationPolicy", "Sometimes"]);
    let both = json!({"propagationPolicy": "Orphan", "orphanDependents": true});
    w.delete_with(&target, &both).await.refused(422, "Invalid");
    w.delete_with(&target, &json!({"gracePeriodSeconds": "soon"})).await.refused(400, "BadRequest");
    w.delete_with(&target, &json!([])).await.refused(400, "BadRequest");
    w.get(&target).await.ok();
    w.delete(&format!("{target}?propagationPolicy=Background")).await.coded(200);
    w.get(&target).await.refused(404, "NotFound");
}
