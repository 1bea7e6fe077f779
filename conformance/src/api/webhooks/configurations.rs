//! The objects that register webhooks.

use serde_json::{Value, json};

use super::{MUTATING, VALIDATING, allows, called, denies, not_called, patches, register, webhook};
use crate::api::{
    answer::{names, says},
    hooks::Hook,
    objects::map,
    world::{PATCH, World},
};

/// Several configurations with one webhook, and what becomes of a config map meanwhile and afterwards.
async fn together(w: &World, configurations: &str, hook: &Hook) -> u16 {
    for name in ["a", "b", "c"] {
        register(w, configurations, name, &json!([webhook(w, hook)])).await;
    }
    let selected = format!("{configurations}?labelSelector=run%3D{}", w.prefix());
    assert_eq!(names(&w.get(&selected).await.ok()), ["a", "b", "c"].map(|name| w.name(name)));
    called(w, hook).await;
    let meanwhile = w.create(&format!("{}?dryRun=All", w.path("configmaps")), &map("m")).await;
    w.delete(&selected).await.coded(200);
    assert_eq!(names(&w.get(&selected).await.ok()), Vec::<&str>::new());
    not_called(w, hook).await;
    let made = w.create(&w.path("configmaps"), &map("m")).await.with(201);
    assert_eq!(made["data"], json!({"k": "v"}));
    if meanwhile.code == 201 {
        assert_eq!(meanwhile.json()["data"]["mutated"], "yes");
    }
    meanwhile.code
}

pub(super) async fn validating(w: World) {
    let hook = w.hook("deny", |review| denies(review, "no"));
    assert_eq!(together(&w, VALIDATING, &hook).await, 403);
}

pub(super) async fn mutating(w: World) {
    let hook = w.hook("mutate", |review| {
        if review["request"]["object"]["data"].is_null() {
            return allows(review);
        }
        patches(review, &json!([{"op": "add", "path": "/data/mutated", "value": "yes"}]))
    });
    assert_eq!(together(&w, MUTATING, &hook).await, 201);
}

pub(super) async fn changed(w: World) {
    for configurations in [VALIDATING, MUTATING] {
        let hook = w.hook("see", allows);
        let target = register(&w, configurations, "c", &json!([webhook(&w, &hook)])).await;
        called(&w, &hook).await;
        let mut read = w.get(&target).await.ok();
        read["webhooks"][0]["rules"][0]["operations"] = json!(["UPDATE"]);
        w.replace(&target, &read).await.ok();
        not_called(&w, &hook).await;
        let patch = json!([{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}]);
        w.patch(&target, PATCH, &patch).await.ok();
        called(&w, &hook).await;
        w.delete(&target).await.coded(200);
        not_called(&w, &hook).await;
    }
}

/// A webhook that is never called: nothing has this label.
fn idle(name: &str) -> Value {
    json!({"name": name, "clientConfig": {"url": "https://example.com/x"}, "sideEffects": "None", "failurePolicy": "Ignore",
        "admissionReviewVersions": ["v1"], "objectSelector": {"matchLabels": {"example.com/never": "x"}}})
}

pub(super) async fn conditions(w: World) {
    for configurations in [VALIDATING, MUTATING] {
        let mut own = idle("a.example.com");
        let first = json!([{"name": "first", "expression": "object.metadata.name == 'x'"}]);
        own["matchConditions"] = first.clone();
        let target = register(&w, configurations, "c", &json!([own])).await;
        let mut read = w.get(&target).await.ok();
        assert_eq!(read["webhooks"][0]["matchConditions"], first);
        let second = json!([{"name": "second", "expression": "request.userInfo.username != 'y'"}]);
        read["webhooks"][0]["matchConditions"] = second.clone();
        w.replace(&target, &read).await.ok();
        assert_eq!(w.get(&target).await.ok()["webhooks"][0]["matchConditions"], second);
    }
}

pub(super) async fn uncompiled(w: World) {
    for configurations in [VALIDATING, MUTATING] {
        let mut own = idle("a.example.com");
        own["matchConditions"] = json!([{"name": "broken", "expression": "... [] bad expression"}]);
        let object = json!({"metadata": {"name": w.name("c")}, "webhooks": [own]});
        let status = w.create(configurations, &object).await.invalid(&["webhooks[0].matchConditions[0].expression"]);
        says(&status, &["compilation failed"]);
    }
}

pub(super) async fn validated(w: World) {
    let attempt = async |change: Value, field: &str| {
        let mut own = idle("a.example.com");
        for (name, value) in change.as_object().into_iter().flatten() {
            own[name] = value.clone();
        }
        let object = json!({"metadata": {"name": w.name("c")}, "webhooks": [own]});
        w.create(&format!("{VALIDATING}?dryRun=All"), &object).await.invalid(&[field]);
    };
    attempt(json!({"name": "short"}), "webhooks[0].name").await;
    attempt(json!({"sideEffects": "Some"}), "webhooks[0].sideEffects").await;
    attempt(json!({"sideEffects": null}), "webhooks[0].sideEffects").await;
    attempt(json!({"timeoutSeconds": 31}), "webhooks[0].timeoutSeconds").await;
    attempt(json!({"admissionReviewVersions": []}), "webhooks[0].admissionReviewVersions").await;
    attempt(json!({"failurePolicy": "Retry"}), "webhooks[0].failurePolicy").await;
    attempt(json!({"clientConfig": {}}), "webhooks[0].clientConfig").await;
    attempt(json!({"clientConfig": {"url": "http://example.com"}}), "webhooks[0].clientConfig.url").await;
    let rule = json!({"operations": ["CREATE", "*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
    attempt(json!({"rules": [rule]}), "webhooks[0].rules[0].operations").await;
    let twice = json!({"metadata": {"name": w.name("c")}, "webhooks": [idle("a.example.com"), idle("a.example.com")]});
    w.create(&format!("{VALIDATING}?dryRun=All"), &twice).await.invalid(&["webhooks[1].name"]);
    // What is left out gets its default.
    let plain = json!({"metadata": {"name": w.name("c")}, "webhooks": [{"name": "a.example.com",
        "clientConfig": {"service": {"namespace": "n", "name": "s"}}, "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "objectSelector": {"matchLabels": {"example.com/never": "x"}}, "rules": []}]});
    let made = w.create(&format!("{MUTATING}?dryRun=All"), &plain).await.with(201);
    let own = &made["webhooks"][0];
    assert_eq!(
        (&own["failurePolicy"], &own["matchPolicy"], &own["reinvocationPolicy"], &own["timeoutSeconds"]),
        (&json!("Fail"), &json!("Equivalent"), &json!("Never"), &json!(10))
    );
    assert_eq!((&own["namespaceSelector"], &own["clientConfig"]["service"]["port"]), (&json!({}), &json!(443)));
}

pub(super) async fn discovered(w: World) {
    let groups = w.get("/apis").await.ok();
    let group =
        groups["groups"].as_array().into_iter().flatten().find(|group| group["name"] == "admissionregistration.k8s.io");
    let versions = group.map(|group| group["versions"].clone()).unwrap_or_default();
    let has = versions.as_array().into_iter().flatten().any(|version| version["version"] == "v1");
    assert!(has, "admissionregistration.k8s.io/v1 is not in {versions}");
    let resources = w.get("/apis/admissionregistration.k8s.io/v1").await.ok();
    for name in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        let listed = resources["resources"].as_array().into_iter().flatten().any(|resource| resource["name"] == name);
        assert!(listed, "{name} is not in {resources}");
    }
}
