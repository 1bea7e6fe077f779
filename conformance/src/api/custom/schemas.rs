//! What a definition's schema, sub-resources, columns and versions do to its objects.

use serde_json::{Value, json};

use super::definition::{definition, group, serve, thing};
use crate::api::{
    answer::{names, says},
    reads::TABLE,
    world::{APPLY, JSON, MERGE, STRATEGIC, World},
};

pub(super) async fn defaults(w: World) {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "default": {}, "properties": {
        "size": {"type": "integer", "default": 3}, "name": {"type": "string"},
        "nested": {"type": "object", "properties": {"on": {"type": "boolean", "default": true}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "port": {"x-kubernetes-int-or-string": true, "default": 80},
        "empty": {"type": "string", "nullable": true, "default": "x"},
    }}}});
    let collection = serve(&w, &definition(&w, &schema)).await;
    let made = w
        .create(
            &collection,
            &json!({"apiVersion": format!("{}/v1", group(&w)), "kind": "Thing", "metadata": {"name": "a"}}),
        )
        .await
        .with(201);
    assert_eq!(made["spec"], json!({"size": 3, "port": 80, "empty": "x"}));
    let spec =
        json!({"size": 7, "unknown": 1, "nested": {"more": 1}, "free": {"any": [1]}, "port": "http", "empty": null});
    let made = w.create(&collection, &thing(&w, "b", &spec)).await.with(201);
    assert_eq!(
        made["spec"],
        json!({"size": 7, "nested": {"on": true}, "free": {"any": [1]}, "port": "http", "empty": null})
    );
    // A default that comes later is seen in what was stored before.
    let target = format!("{}/things.{}", super::definition::DEFINITIONS, group(&w));
    let later = json!([{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/late",
        "value": {"type": "string", "default": "l"}}]);
    w.patch(&target, crate::api::world::PATCH, &later).await.ok();
    w.until("the default is seen", &format!("{collection}/a"), |answer| answer.json()["spec"]["late"] == "l").await;
}

pub(super) async fn validated(w: World) {
    let schema = json!({"type": "object", "required": ["spec"], "properties": {"spec": {"type": "object", "required": ["size"], "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 9},
        "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
        "kind": {"type": "string", "enum": ["one", "two"]},
        "list": {"type": "array", "maxItems": 2, "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "fixed": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "fixed is fixed"}]},
    }, "x-kubernetes-validations": [{"rule": "!has(self.name) || size(self.name) < self.size", "message": "the name is too long for the size"}]}}});
    let collection = serve(&w, &definition(&w, &schema)).await;
    for (field, spec) in [
        ("spec.size", json!({})),
        ("spec.size", json!({"size": 0})),
        ("spec.size", json!({"size": 10})),
        ("spec.size", json!({"size": "large"})),
        ("spec.name", json!({"size": 9, "name": "Upper"})),
        ("spec.name", json!({"size": 9, "name": "toolong"})),
        ("spec.kind", json!({"size": 1, "kind": "three"})),
        ("spec.list", json!({"size": 1, "list": ["a", "b", "c"]})),
        ("spec.list[1]", json!({"size": 1, "list": ["a", "a"]})),
        ("spec", json!({"size": 2, "name": "abc"})),
    ] {
        w.create(&collection, &thing(&w, "x", &spec)).await.invalid(&[field]);
    }
    w.create(
        &collection,
        &json!({"apiVersion": format!("{}/v1", group(&w)), "kind": "Thing", "metadata": {"name": "x"}}),
    )
    .await
    .invalid(&["spec"]);
    w.create(
        &collection,
        &thing(&w, "a", &json!({"size": 4, "name": "abc", "kind": "one", "list": ["a", "b"], "fixed": "f"})),
    )
    .await
    .with(201);
    let target = format!("{collection}/a");
    says(
        &w.patch(&target, MERGE, &json!({"spec": {"fixed": "g"}})).await.invalid(&["spec.fixed"]),
        &["fixed is fixed"],
    );
    says(
        &w.patch(&target, MERGE, &json!({"spec": {"size": 3}})).await.invalid(&["spec"]),
        &["the name is too long for the size"],
    );
    w.patch(&target, MERGE, &json!({"spec": {"size": 5}})).await.ok();
}

pub(super) async fn strict(w: World) {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}});
    let collection = serve(&w, &definition(&w, &schema)).await;
    let text = format!(
        r#"{{"apiVersion": "{}/v1", "kind": "Thing", "metadata": {{"name": "a"}}, "spec": {{"size": 1, "size": 2, "unknown": 3}}}}"#,
        group(&w)
    );
    let at = |level: &str| format!("{collection}?fieldValidation={level}");
    let headers = [("content-type", JSON)];
    let status = w.send("POST", &at("Strict"), &headers, text.clone().into()).await.refused(400, "BadRequest");
    says(&status, &["strict decoding error: ", "duplicate field \"spec.size\"", "unknown field \"spec.unknown\""]);
    let warned = w.send("POST", &at("Warn"), &headers, text.clone().into()).await;
    assert_eq!(warned.with(201)["spec"], json!({"size": 2}));
    let warnings = warned.warnings().join(" ");
    assert!(warnings.contains("spec.size") && warnings.contains("spec.unknown"), "{warnings}");
    w.delete(&format!("{collection}/a")).await.coded(200);
    let ignored = w.send("POST", &at("Ignore"), &headers, text.into()).await;
    assert_eq!(ignored.with(201)["spec"], json!({"size": 2}));
    assert!(ignored.warnings().is_empty(), "{:?}", ignored.warnings());
    let applied = thing(&w, "b", &json!({"size": 1, "unknown": 2}));
    let target = format!("{collection}/b?fieldManager=me&fieldValidation=Strict");
    let refused = w.patch(&target, APPLY, &applied).await;
    assert!(refused.code >= 400, "an unknown field was applied");
    says(&refused.json(), &["unknown"]);
}

pub(super) async fn subresources(w: World) {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"replicas": {"type": "integer"}, "other": {"type": "string"}}},
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}},
    }});
    let mut object = definition(&w, &schema);
    object["spec"]["versions"][0]["subresources"] = json!({"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}});
    let collection = serve(&w, &object).await;
    let mut both = thing(&w, "a", &json!({"replicas": 2}));
    both["status"] = json!({"replicas": 9});
    let made = w.create(&collection, &both).await.with(201);
    assert!(made.get("status").is_none(), "a status was created: {made}");
    let target = format!("{collection}/a");
    let patched = w.patch(&target, MERGE, &json!({"status": {"replicas": 9}})).await.ok();
    assert!(patched.get("status").is_none() && patched["metadata"]["generation"] == 1, "{patched}");
    let status = json!({"spec": {"other": "x"}, "status": {"replicas": 1, "selector": "a=b"}});
    let patched = w.patch(&format!("{target}/status"), MERGE, &status).await.ok();
    assert_eq!((&patched["status"]["replicas"], &patched["spec"]), (&json!(1), &json!({"replicas": 2})));
    assert_eq!(patched["metadata"]["generation"], 1);
    let scale = w.get(&format!("{target}/scale")).await.ok();
    assert_eq!((&scale["kind"], &scale["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]), (&json!(2), &json!({"replicas": 1, "selector": "a=b"})));
    let scaled = w.patch(&format!("{target}/scale"), MERGE, &json!({"spec": {"replicas": 5}})).await.ok();
    assert_eq!(scaled["spec"]["replicas"], 5);
    let after = w.get(&target).await.ok();
    assert_eq!((&after["spec"]["replicas"], &after["metadata"]["generation"]), (&json!(5), &json!(2)));
    w.patch(&format!("{target}/scale"), MERGE, &json!({"spec": {"replicas": -1}})).await.refused(422, "Invalid");
}

pub(super) async fn selectable(w: World) {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"color": {"type": "string"}, "size": {"type": "integer"}}}}});
    let mut object = definition(&w, &schema);
    object["spec"]["versions"][0]["selectableFields"] =
        json!([{"jsonPath": ".spec.color"}, {"jsonPath": ".spec.size"}]);
    let collection = serve(&w, &object).await;
    let mut watch = w.watch(&format!("{collection}?fieldSelector=spec.color%3Dred")).await;
    for (name, spec) in
        [("a", json!({"color": "red", "size": 1})), ("b", json!({"color": "blue", "size": 1})), ("c", json!({}))]
    {
        w.create(&collection, &thing(&w, name, &spec)).await.with(201);
    }
    for (selector, expect) in [
        ("spec.color%3Dred", "a"),
        ("spec.size%3D1", "a b"),
        ("spec.color%21%3Dred", "b c"),
        ("spec.color%3Dred%2Cspec.size%3D2", ""),
        ("spec.color%3D", "c"),
    ] {
        let list = w.get(&format!("{collection}?fieldSelector={selector}")).await.ok();
        assert_eq!(names(&list).join(" "), expect, "{selector}");
    }
    w.get(&format!("{collection}?fieldSelector=spec.other%3Dx")).await.refused(400, "BadRequest");
    watch.expect("ADDED", "a").await;
    w.patch(&format!("{collection}/b"), MERGE, &json!({"spec": {"color": "red"}})).await.ok();
    watch.expect("ADDED", "b").await;
    w.patch(&format!("{collection}/a"), MERGE, &json!({"spec": {"color": "blue"}})).await.ok();
    watch.expect("DELETED", "a").await;
}

pub(super) async fn shown(w: World) {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "size": {"type": "integer"},
        "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "n": {"type": "integer"}}}},
    }}}});
    let mut object = definition(&w, &schema);
    object["spec"]["versions"][0]["additionalPrinterColumns"] = json!([
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"}, {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "First", "type": "string", "jsonPath": ".spec.parts[0].name", "priority": 1},
    ]);
    let collection = serve(&w, &object).await;
    w.create(&collection, &thing(&w, "a", &json!({"size": 4, "parts": [{"name": "p", "n": 1}]}))).await.with(201);
    let table = w.get_as(&collection, TABLE).await.ok();
    let columns: Vec<_> =
        table["columnDefinitions"].as_array().into_iter().flatten().map(|column| column["name"].clone()).collect();
    assert_eq!(columns, ["Name", "Size", "Age", "First"]);
    let cells = &table["rows"][0]["cells"];
    assert_eq!((&cells[0], &cells[1], &cells[3]), (&json!("a"), &json!(4), &json!("p")));
    let target = format!("{collection}/a");
    let status = w.patch(&target, STRATEGIC, &json!({"spec": {"size": 5}})).await.refused(415, "UnsupportedMediaType");
    says(&status, &["application/apply-patch+yaml"]);
    let part = |n: u64| json!({"parts": [{"name": "q", "n": n}]});
    let apply = async |manager: &str, spec: &Value| {
        w.patch(&format!("{target}?fieldManager={manager}"), APPLY, &thing(&w, "a", spec)).await
    };
    let applied = apply("one", &part(1)).await.ok();
    assert_eq!(applied["spec"]["parts"], json!([{"name": "p", "n": 1}, {"name": "q", "n": 1}]));
    apply("two", &part(2)).await.refused(409, "Conflict");
    let gone = apply("one", &json!({})).await.ok();
    assert_eq!(gone["spec"]["parts"], json!([{"name": "p", "n": 1}]));
    assert_eq!(
        w.get_as(&target, "application/vnd.kubernetes.protobuf").await.code,
        406,
        "custom objects have no protobuf"
    );
    assert_eq!(
        w.get_as(&target, "application/vnd.kubernetes.protobuf,application/json").await.header("content-type"),
        JSON
    );
}

pub(super) async fn versions(w: World) {
    let version = |name: &str, storage: bool, served: bool| json!({"name": name, "served": served, "storage": storage, "schema": {"openAPIV3Schema": super::definition::anything()}});
    let mut object = definition(&w, &super::definition::anything());
    object["spec"]["versions"] =
        json!([version("v1", true, true), version("v2beta1", false, true), version("v0", false, false)]);
    let collection = serve(&w, &object).await;
    w.create(&collection, &thing(&w, "a", &json!({"x": 1}))).await.with(201);
    let other = collection.replace("/v1/", "/v2beta1/");
    let read = w.get(&format!("{other}/a")).await.ok();
    assert_eq!((&read["apiVersion"], &read["spec"]), (&json!(format!("{}/v2beta1", group(&w))), &json!({"x": 1})));
    w.get(&collection.replace("/v1/", "/v0/")).await.coded(404);
    let discovered = w.get(&format!("/apis/{}", group(&w))).await.ok();
    let versions: Vec<_> =
        discovered["versions"].as_array().into_iter().flatten().map(|version| version["version"].clone()).collect();
    assert_eq!(
        (versions, &discovered["preferredVersion"]["version"]),
        (vec![json!("v1"), json!("v2beta1")], &json!("v1"))
    );
    // What is not served any more is gone for clients, and still stored.
    let target = format!("{}/things.{}", super::definition::DEFINITIONS, group(&w));
    let patch = json!([{"op": "replace", "path": "/spec/versions/1/served", "value": false}]);
    w.patch(&target, crate::api::world::PATCH, &patch).await.ok();
    w.until("the version is not served", &other, |answer| answer.code == 404).await;
    w.get(&format!("{collection}/a")).await.ok();
}
