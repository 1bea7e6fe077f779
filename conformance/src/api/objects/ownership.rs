//! Propagation of deletions, with the garbage collector that every cluster runs.

use serde_json::{Value, json};

use super::map;
use crate::api::world::World;

/// An owner and its dependent; returns their targets.
async fn family(w: &World) -> [String; 2] {
    let owner = w.create(&w.path("configmaps"), &map("owner")).await.with(201);
    let mut dependent = map("dependent");
    dependent["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true,
    }]);
    w.create(&w.path("configmaps"), &dependent).await.with(201);
    ["owner", "dependent"].map(|name| w.at("configmaps", name))
}

fn finalizers(object: &Value) -> Vec<&str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

pub(super) async fn background(w: World) {
    let [owner, dependent] = family(&w).await;
    let status = w.delete_with(&owner, &json!({"propagationPolicy": "Background"})).await.ok();
    assert_eq!(status["kind"], "Status", "the owner goes at once");
    w.get(&owner).await.refused(404, "NotFound");
    w.until("the dependent is gone", &dependent, |answer| answer.code == 404).await;
}

pub(super) async fn orphans(w: World) {
    let [owner, dependent] = family(&w).await;
    let deleted = w.delete_with(&owner, &json!({"propagationPolicy": "Orphan"})).await.ok();
    assert_eq!(finalizers(&deleted), ["orphan"], "{deleted}");
    w.until("the owner is gone", &owner, |answer| answer.code == 404).await;
    let orphan = w.get(&dependent).await.ok();
    assert!(orphan["metadata"].get("ownerReferences").is_none(), "an orphan has an owner: {orphan}");
}

pub(super) async fn foreground(w: World) {
    let [owner, dependent] = family(&w).await;
    let hold = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    w.patch(&dependent, crate::api::world::MERGE, &hold).await.ok();
    let deleted = w.delete_with(&owner, &json!({"propagationPolicy": "Foreground"})).await.ok();
    assert_eq!(finalizers(&deleted), ["foregroundDeletion"], "{deleted}");
    let going = |answer: &crate::api::Answer| answer.json()["metadata"]["deletionTimestamp"].is_string();
    w.until("the dependent is being deleted", &dependent, going).await;
    // It is held, and with it its owner.
    assert_eq!(finalizers(&w.get(&owner).await.ok()), ["foregroundDeletion"]);
    let free = json!({"metadata": {"finalizers": null}});
    w.patch(&dependent, crate::api::world::MERGE, &free).await.coded(200);
    w.until("the owner is gone", &owner, |answer| answer.code == 404).await;
    w.get(&dependent).await.refused(404, "NotFound");
}
