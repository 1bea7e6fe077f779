//! Webhooks about custom objects and their definitions, and such that convert them.

use serde_json::{Value, json};

use super::{MUTATING, VALIDATING, allows, called, denies, patches, register, rule, webhook};
use crate::api::{
    answer::{names, says},
    custom::definition::{DEFINITIONS, anything, definition, group, serve, thing},
    world::{MERGE, PATCH, World},
};

/// The rules of a webhook that is called about Things, and about config maps so that it is seen to be called.
fn things(w: &World, version: &str) -> Value {
    json!([rule(&group(w), version, "things"), rule("", "v1", "configmaps")])
}

pub(super) async fn refused(w: World) {
    let collection = serve(&w, &definition(&w, &anything())).await;
    w.create(&collection, &thing(&w, "before", &json!({"odd": "no"}))).await.with(201);
    let hook = w.hook("deny", |review| {
        let request = &review["request"];
        let odd = request["object"]["spec"]["odd"] == "yes" || request["operation"] == "DELETE";
        if odd { denies(review, "not so") } else { allows(review) }
    });
    let mut own = webhook(&w, &hook);
    own["rules"] = things(&w, "*");
    register(&w, VALIDATING, "v", &json!([own])).await;
    called(&w, &hook).await;
    let before = format!("{collection}/before");
    let status = w.create(&collection, &thing(&w, "a", &json!({"odd": "yes"}))).await.refused(403, "Forbidden");
    says(&status, &["admission webhook \"deny.example.com\" denied the request: not so"]);
    w.patch(&before, MERGE, &json!({"spec": {"odd": "yes"}})).await.refused(403, "Forbidden");
    w.delete(&before).await.refused(403, "Forbidden");
    assert_eq!(w.get(&before).await.ok()["spec"], json!({"odd": "no"}));
    w.patch(&before, MERGE, &json!({"spec": {"odd": "maybe"}})).await.ok();
}

pub(super) async fn definitions(w: World) {
    let hook = w.hook("crd", |review| denies(review, "no definitions"));
    let mut own = webhook(&w, &hook);
    own["namespaceSelector"] = json!({});
    own["objectSelector"] = json!({"matchLabels": {"run": w.prefix()}});
    own["rules"] = json!([{"operations": ["CREATE"], "apiGroups": ["apiextensions.k8s.io"], "apiVersions": ["*"],
        "resources": ["customresourcedefinitions"]}]);
    register(&w, VALIDATING, "v", &json!([own])).await;
    let object = definition(&w, &anything());
    let attempt = format!("{DEFINITIONS}?dryRun=All");
    w.eventually("definitions are refused", || async { w.create(&attempt, &object).await.code == 403 }).await;
    let status = w.create(DEFINITIONS, &object).await.refused(403, "Forbidden");
    says(&status, &["admission webhook \"crd.example.com\" denied the request: no definitions"]);
}

pub(super) async fn pruned(w: World) {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
        "properties": {"own": {"type": "string"}, "added": {"type": "string"}}}}});
    let collection = serve(&w, &definition(&w, &schema)).await;
    let hook = w.hook("mutate", |review| {
        if review["request"]["object"]["kind"] != "Thing" {
            return allows(review);
        }
        patches(
            review,
            &json!([{"op": "add", "path": "/spec/added", "value": "yes"}, {"op": "add", "path": "/spec/unknown", "value": "x"}]),
        )
    });
    let mut own = webhook(&w, &hook);
    own["rules"] = things(&w, "v1");
    register(&w, MUTATING, "m", &json!([own])).await;
    called(&w, &hook).await;
    let made = w.create(&collection, &thing(&w, "a", &json!({"own": "1"}))).await.with(201);
    assert_eq!(made["spec"], json!({"own": "1", "added": "yes"}));
}

/// A definition with the versions v1 and v2, of which v1 is stored.
fn two_versions(w: &World) -> Value {
    let version = |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": anything()}});
    let mut object = definition(w, &anything());
    object["spec"]["versions"] = json!([version("v1", true), version("v2", false)]);
    object
}

/// Has v2 stored from now on.
async fn store_second(w: &World) {
    let target = format!("{DEFINITIONS}/things.{}", group(w));
    let patch = json!([{"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": true}]);
    w.patch(&target, PATCH, &patch).await.ok();
    w.until("v2 is stored", &target, |answer| {
        answer.json()["status"]["storedVersions"].as_array().is_some_and(|all| all.iter().any(|own| own == "v2"))
    })
    .await;
}

pub(super) async fn stored_otherwise(w: World) {
    let collection = serve(&w, &two_versions(&w)).await;
    let hook = w.hook("mutate", |review| {
        if review["request"]["object"]["kind"] != "Thing" {
            return allows(review);
        }
        patches(review, &json!([{"op": "add", "path": "/spec/mutated", "value": "yes"}]))
    });
    let mut own = webhook(&w, &hook);
    own["rules"] = things(&w, "v1");
    register(&w, MUTATING, "m", &json!([own])).await;
    called(&w, &hook).await;
    w.create(&collection, &thing(&w, "a", &json!({"own": "1"}))).await.with(201);
    store_second(&w).await;
    let patched = w.patch(&format!("{collection}/a"), MERGE, &json!({"spec": {"more": "2"}})).await.ok();
    assert_eq!(patched["spec"], json!({"own": "1", "mutated": "yes", "more": "2"}));
    // Who asks in v2 is shown to the webhook in the version of its rule.
    let _ = hook.take();
    let second = collection.replace("/v1/", "/v2/");
    w.patch(&format!("{second}/a"), MERGE, &json!({"spec": {"even": "3"}})).await.ok();
    let seen = hook.take();
    let request = seen.iter().find(|request| request["name"] == "a").cloned().unwrap_or_default();
    assert_eq!(
        (&request["kind"]["version"], &request["requestKind"]["version"], &request["object"]["apiVersion"]),
        (&json!("v1"), &json!("v2"), &json!(format!("{}/v1", group(&w))))
    );
}

/// Things of v1 have `spec.address`, `host:port`; those of v2 have both apart.
fn convert(review: &Value) -> Value {
    let request = &review["request"];
    let wanted = request["desiredAPIVersion"].as_str().unwrap_or_default();
    let objects = request["objects"].as_array().into_iter().flatten().map(|object| {
        let mut new = object.clone();
        new["apiVersion"] = wanted.into();
        let text = |field: &str| object["spec"][field].as_str().unwrap_or_default().to_owned();
        new["spec"] = if wanted.ends_with("/v2") {
            let address = text("address");
            let (host, port) = address.split_once(':').unwrap_or_default();
            json!({"host": host, "port": port})
        } else {
            json!({"address": format!("{}:{}", text("host"), text("port"))})
        };
        new
    });
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": {
        "uid": request["uid"], "convertedObjects": objects.collect::<Vec<_>>(), "result": {"status": "Success"}}})
}

pub(super) async fn converted(w: World) {
    let hook = w.hook("convert", |review| Some(convert(review)));
    let mut object = two_versions(&w);
    object["spec"]["conversion"] = json!({"strategy": "Webhook",
        "webhook": {"clientConfig": hook.client, "conversionReviewVersions": ["v1"]}});
    let first = serve(&w, &object).await;
    let second = first.replace("/v1/", "/v2/");
    w.until("v2 is served", &second, |answer| answer.code == 200).await;
    w.create(&first, &thing(&w, "a", &json!({"address": "localhost:80"}))).await.with(201);
    let read = w.get(&format!("{second}/a")).await.ok();
    assert_eq!(read["spec"], json!({"host": "localhost", "port": "80"}));
    assert_eq!(read["apiVersion"], format!("{}/v2", group(&w)));
    store_second(&w).await;
    let mut later = thing(&w, "b", &json!({"host": "example", "port": "443"}));
    later["apiVersion"] = format!("{}/v2", group(&w)).into();
    w.create(&second, &later).await.with(201);
    let list = w.get(&second).await.ok();
    assert_eq!(names(&list), ["a", "b"]);
    for (item, host) in list["items"].as_array().into_iter().flatten().zip(["localhost", "example"]) {
        assert_eq!((&item["apiVersion"], &item["spec"]["host"]), (&json!(format!("{}/v2", group(&w))), &json!(host)));
    }
    let list = w.get(&first).await.ok();
    let addresses = list["items"].as_array().into_iter().flatten().map(|item| item["spec"]["address"].clone());
    assert_eq!(addresses.collect::<Vec<_>>(), ["localhost:80", "example:443"]);
}
