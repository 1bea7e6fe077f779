//! Lists under server-side apply.

use serde_json::{Value, json};

use super::{apply, entry};
use crate::api::{answer::causes, world::World};

fn deployment(pod: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
        "replicas": 0, "paused": true, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod},
    }})
}

/// What a second manager has to say: only its own part of the pod.
fn part(pod: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {"spec": pod}}})
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|item| item["name"].as_str().unwrap_or_default()).collect()
}

pub(super) async fn keyed(w: World) {
    let target = w.at("apps/v1/deployments", "d");
    let pod = json!({"containers": [{"name": "a", "image": "i", "ports": [{"containerPort": 80}]}]});
    let made = apply(&w, &target, "one", &deployment(&pod)).await.with(201);
    let own = &entry(&made, "one")["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"];
    let item = &own["k:{\"name\":\"a\"}"];
    assert!(item["."].is_object() && item["f:image"].is_object(), "{own}");
    // The key of a port has a part that is a default.
    assert!(item["f:ports"]["k:{\"containerPort\":80,\"protocol\":\"TCP\"}"].is_object(), "{own}");
    let more = part(&json!({"containers": [{"name": "b", "image": "j"}]}));
    let both = apply(&w, &target, "two", &more).await.ok();
    assert_eq!(names(&both["spec"]["template"]["spec"]["containers"]), ["a", "b"]);
    let port = part(&json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "protocol": "UDP"}]}]}));
    let ports = apply(&w, &target, "three", &port).await.ok();
    let ports = ports["spec"]["template"]["spec"]["containers"][0]["ports"].as_array().cloned().unwrap_or_default();
    assert_eq!(ports.len(), 2, "a port is its number and its protocol");
    let taken = part(&json!({"containers": [{"name": "a", "image": "k"}]}));
    let refused = apply(&w, &target, "two", &taken).await.refused(409, "Conflict");
    assert_eq!(causes(&refused), [(".spec.template.spec.containers[name=\"a\"].image", "FieldManagerConflict")]);
    let gone = apply(&w, &target, "two", &part(&json!({}))).await.ok();
    assert_eq!(names(&gone["spec"]["template"]["spec"]["containers"]), ["a"], "an item goes with its last owner");
}

pub(super) async fn sets(w: World) {
    let target = w.at("configmaps", "a");
    let config = |finalizers: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "finalizers": finalizers}});
    let made = apply(&w, &target, "one", &config(json!(["example.com/a"]))).await.with(201);
    let own = &entry(&made, "one")["fieldsV1"]["f:metadata"]["f:finalizers"];
    assert!(own["v:\"example.com/a\""].is_object(), "{own}");
    let both = apply(&w, &target, "two", &config(json!(["example.com/b"]))).await.ok();
    assert_eq!(both["metadata"]["finalizers"], json!(["example.com/a", "example.com/b"]));
    let left = apply(&w, &target, "two", &config(json!([]))).await.ok();
    assert_eq!(left["metadata"]["finalizers"], json!(["example.com/a"]));
    apply(&w, &target, "one", &config(json!([]))).await.ok();

    // Tolerations and selectors are owned as a whole.
    let target = w.at("apps/v1/deployments", "d");
    let toleration = |key: &str| json!([{"key": key, "operator": "Exists"}]);
    let pod = |key: &str| json!({"containers": [{"name": "a", "image": "i"}], "tolerations": toleration(key)});
    let made = apply(&w, &target, "one", &deployment(&pod("x"))).await.with(201);
    let spec = &entry(&made, "one")["fieldsV1"]["f:spec"];
    assert_eq!(spec["f:selector"], json!({}), "an atomic map has no parts");
    assert_eq!(spec["f:template"]["f:spec"]["f:tolerations"], json!({}));
    let refused =
        apply(&w, &target, "two", &part(&json!({"tolerations": toleration("y")}))).await.refused(409, "Conflict");
    assert_eq!(causes(&refused), [(".spec.template.spec.tolerations", "FieldManagerConflict")]);
}
