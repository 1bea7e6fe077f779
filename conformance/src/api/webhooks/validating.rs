//! Webhooks that say yes or no.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{MUTATING, VALIDATING, allows, called, denies, register, rule, says, webhook};
use crate::api::{
    answer::says as message,
    hooks::Hook,
    objects::map,
    world::{MERGE, World},
};

fn odd(name: &str) -> Value {
    let mut object = map(name);
    object["data"]["odd"] = "1".into();
    object
}

/// A webhook that refuses what [`odd`] makes.
fn refuses_odd(w: &World) -> Hook {
    w.hook("deny", |review| {
        let fine = review["request"]["object"]["data"]["odd"].is_null();
        if fine { allows(review) } else { denies(review, "it is odd") }
    })
}

const DENIED: &str = "admission webhook \"deny.example.com\" denied the request: it is odd";

pub(super) async fn refused(w: World) {
    let hook = refuses_odd(&w);
    register(&w, VALIDATING, "v", &json!([webhook(&w, &hook)])).await;
    called(&w, &hook).await;
    let maps = w.path("configmaps");
    w.create(&maps, &map("fine")).await.with(201);
    let status = w.create(&maps, &odd("odd")).await.refused(403, "Forbidden");
    assert_eq!(status["message"], DENIED);
    w.get(&w.at("configmaps", "odd")).await.refused(404, "NotFound");
    let fine = w.at("configmaps", "fine");
    w.patch(&fine, MERGE, &json!({"data": {"odd": "1"}})).await.refused(403, "Forbidden");
    w.replace(&fine, &odd("fine")).await.refused(403, "Forbidden");
    assert_eq!(w.get(&fine).await.ok()["data"], json!({"k": "v"}));
    // The selector names the check's own namespace.
    let free = w.name("free");
    w.later(format!("/api/v1/namespaces/{free}"));
    w.create("/api/v1/namespaces", &json!({"metadata": {"name": free}})).await.with(201);
    w.create(&format!("/api/v1/namespaces/{free}/configmaps"), &odd("odd")).await.with(201);
}

pub(super) async fn told(w: World) {
    let hook = w.hook("see", allows);
    register(&w, VALIDATING, "v", &json!([webhook(&w, &hook)])).await;
    called(&w, &hook).await;
    let target = w.at("configmaps", "a");
    w.create(&w.path("configmaps"), &map("a")).await.with(201);
    w.patch(&format!("{target}?dryRun=All"), MERGE, &json!({"data": {"k": "w"}})).await.ok();
    w.replace(&target, &map("a")).await.ok();
    w.delete(&target).await.coded(200);
    let seen: Vec<Value> = hook
        .take()
        .into_iter()
        .filter(|request| request["name"] == "a" && request["namespace"] == w.namespace)
        .collect();
    let of = |request: &Value| format!("{} {}", request["operation"], request["dryRun"]);
    let operations: Vec<String> = seen.iter().map(of).collect();
    // What is replaced by itself is asked about all the same.
    assert_eq!(operations, ["\"CREATE\" false", "\"UPDATE\" true", "\"UPDATE\" false", "\"DELETE\" false"]);
    let uids: std::collections::BTreeSet<_> = seen.iter().map(|request| request["uid"].to_string()).collect();
    assert!(uids.len() == seen.len() && !uids.contains("\"\""), "each request has a uid: {uids:?}");
    for request in &seen {
        let kind = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
        let resource = json!({"group": "", "version": "v1", "resource": "configmaps"});
        assert_eq!((&request["kind"], &request["requestKind"]), (&kind, &kind));
        assert_eq!((&request["resource"], &request["requestResource"]), (&resource, &resource));
        assert!(request["userInfo"]["username"].as_str().is_some_and(|name| !name.is_empty()), "{request}");
    }
    let [created, patched, _, deleted] = seen.as_slice() else { panic!("four requests") };
    assert_eq!((&created["object"]["kind"], &created["oldObject"]), (&json!("ConfigMap"), &Value::Null));
    assert_eq!((&patched["object"]["data"]["k"], &patched["oldObject"]["data"]["k"]), (&json!("w"), &json!("v")));
    assert_eq!((&deleted["object"], &deleted["oldObject"]["metadata"]["name"]), (&Value::Null, &json!("a")));
    let options = seen.iter().map(|request| request["options"]["kind"].clone());
    assert_eq!(options.collect::<Vec<_>>(), ["CreateOptions", "PatchOptions", "UpdateOptions", "DeleteOptions"]);
}

pub(super) async fn warned(w: World) {
    let hook = w.hook("warn", |review| says(review, json!({"allowed": true, "warnings": ["mind the gap"]})));
    register(&w, VALIDATING, "v", &json!([webhook(&w, &hook)])).await;
    called(&w, &hook).await;
    let answer = w.create(&w.path("configmaps"), &map("a")).await;
    answer.with(201);
    assert_eq!(answer.warnings(), ["299 - \"mind the gap\""]);
}

pub(super) async fn attaching(w: World) {
    w.account().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": "i"}]}});
    w.create(&w.path("pods"), &pod).await.with(201);
    let hook = w.hook("attach", |review| denies(review, "nobody attaches"));
    let mut own = webhook(&w, &hook);
    own["rules"] =
        json!([{"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/attach"]}]);
    register(&w, VALIDATING, "v", &json!([own])).await;
    let target = format!("{}/attach?container=c&stdout=true", w.at("pods", "p"));
    w.eventually("attaching is refused", || async { w.send("POST", &target, &[], Bytes::new()).await.code == 403 })
        .await;
    let status = w.send("POST", &target, &[], Bytes::new()).await.refused(403, "Forbidden");
    assert_eq!(status["message"], "admission webhook \"attach.example.com\" denied the request: nobody attaches");
    let seen = hook.take();
    let request = &seen[0];
    assert_eq!(
        (&request["operation"], &request["subResource"], &request["object"]["kind"]),
        (&json!("CONNECT"), &json!("attach"), &json!("PodAttachOptions"))
    );
}

pub(super) async fn selected(w: World) {
    let hook = w.hook("see", allows);
    let chosen = w.hook("chosen", |review| denies(review, "chosen"));
    let elsewhere = w.hook("elsewhere", |review| denies(review, "in the cluster"));
    let mut labelled = webhook(&w, &chosen);
    labelled["objectSelector"] = json!({"matchExpressions": [{"key": "strict", "operator": "In", "values": ["yes"]}]});
    let mut scoped = webhook(&w, &elsewhere);
    scoped["rules"][0]["scope"] = "Cluster".into();
    register(&w, VALIDATING, "v", &json!([webhook(&w, &hook), labelled, scoped])).await;
    called(&w, &hook).await;
    let maps = w.path("configmaps");
    w.create(&maps, &map("a")).await.with(201);
    let mut strict = map("b");
    strict["metadata"]["labels"] = json!({"strict": "yes"});
    message(
        &w.create(&maps, &strict).await.refused(403, "Forbidden"),
        &["\"chosen.example.com\" denied the request: chosen"],
    );
    // What loses the label was chosen by it before.
    let mut labelled = map("a");
    labelled["metadata"]["labels"] = json!({"strict": "yes"});
    w.replace(&w.at("configmaps", "a"), &labelled).await.refused(403, "Forbidden");
    assert!(elsewhere.take().is_empty(), "config maps are in namespaces");
}

pub(super) async fn late(w: World) {
    let hook = w.hook("slow", |_| None);
    let mut own = webhook(&w, &hook);
    own["timeoutSeconds"] = 1.into();
    let target = register(&w, VALIDATING, "v", &json!([own])).await;
    called(&w, &hook).await;
    let maps = w.path("configmaps");
    let answer = w.create(&maps, &map("a")).await;
    message(&answer.refused(500, "InternalError"), &["failed calling webhook \"slow.example.com\""]);
    let patch = json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]);
    w.patch(&target, crate::api::world::PATCH, &patch).await.ok();
    w.eventually("the webhook's silence is ignored", || async { w.create(&maps, &map("a")).await.code == 201 }).await;
}

pub(super) async fn lies(w: World) {
    let hook = w.hook("stranger", |review| {
        let mut stranger = review.clone();
        stranger["request"]["uid"] = "another".into();
        allows(&stranger)
    });
    register(&w, VALIDATING, "v", &json!([webhook(&w, &hook)])).await;
    called(&w, &hook).await;
    let status = w.create(&w.path("configmaps"), &map("a")).await.refused(500, "InternalError");
    message(&status, &["failed calling webhook \"stranger.example.com\"", "expected response.uid="]);
    // Only what mutates may patch.
    let patch = w.hook("patch", |review| super::patches(review, &json!([{"op": "remove", "path": "/data"}])));
    let mut own = webhook(&w, &patch);
    own["objectSelector"] = json!({"matchLabels": {"patch": "yes"}});
    register(&w, VALIDATING, "p", &json!([own])).await;
    let other = w.hook("other", allows);
    let mut marker = webhook(&w, &other);
    marker["rules"] = json!([rule("", "v1", "secrets")]);
    register(&w, MUTATING, "m", &json!([marker])).await;
    let mut object = map("b");
    object["metadata"]["labels"] = json!({"patch": "yes"});
    w.eventually("the patch of a validating webhook is refused", || async {
        let answer = w.create(&format!("{}?dryRun=All", w.path("configmaps")), &object).await;
        answer.code == 500 && !patch.take().is_empty()
    })
    .await;
}

pub(super) async fn closed(w: World) {
    // Nothing listens at the first port of any machine.
    let own = json!({"name": "closed.example.com", "clientConfig": {"url": "https://127.0.0.1:1/none"},
        "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 5,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": w.namespace}},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"]}]});
    let target = register(&w, VALIDATING, "v", &json!([own])).await;
    let (secrets, secret) = (w.path("secrets"), json!({"metadata": {"name": "s"}}));
    let attempt = format!("{secrets}?dryRun=All");
    w.eventually("the webhook is missed", || async { w.create(&attempt, &secret).await.code != 201 }).await;
    let status = w.create(&secrets, &secret).await.refused(500, "InternalError");
    message(&status, &["failed calling webhook \"closed.example.com\""]);
    w.create(&w.path("configmaps"), &map("other")).await.with(201);
    let patch = json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]);
    w.patch(&target, crate::api::world::PATCH, &patch).await.ok();
    w.eventually("the webhook is not missed", || async { w.create(&secrets, &secret).await.code == 201 }).await;
}
