//! Definitions.

use serde_json::{Value, json};

use crate::api::{
    answer::{names, says},
    world::{MERGE, World},
};

pub(in crate::api) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A group that only this check has.
pub(in crate::api) fn group(w: &World) -> String {
    format!("{}.example.com", w.prefix())
}

/// A definition of Things with one version and this schema.
pub(in crate::api) fn definition(w: &World, schema: &Value) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("things.{}", group(w)), "labels": {"run": w.prefix()}},
        "spec": {"group": group(w), "scope": "Namespaced", "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}})
}

/// A schema that takes anything.
pub(in crate::api) fn anything() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Has a definition served; returns the collection of its objects in the check's namespace.
pub(in crate::api) async fn serve(w: &World, definition: &Value) -> String {
    let name = definition["metadata"]["name"].as_str().unwrap_or_default();
    let target = format!("{DEFINITIONS}/{name}");
    w.later(&target);
    w.create(DEFINITIONS, definition).await.with(201);
    w.until("the definition is established", &target, |answer| condition(&answer.json(), "Established") == "True")
        .await;
    let collection = format!("/apis/{}/v1/namespaces/{}/things", group(w), w.namespace);
    w.until("its objects are served", &collection, |answer| answer.code == 200).await;
    collection
}

fn condition(object: &Value, kind: &str) -> String {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let found =
        conditions.filter(|condition| condition["type"] == kind).map(|condition| condition["status"].clone()).next();
    found.unwrap_or_default().as_str().unwrap_or_default().to_owned()
}

pub(in crate::api) fn thing(w: &World, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": format!("{}/v1", group(w)), "kind": "Thing", "metadata": {"name": name}, "spec": spec})
}

pub(in crate::api) async fn served(w: World) {
    let collection = serve(&w, &definition(&w, &anything())).await;
    let known = w.get(&format!("{DEFINITIONS}/things.{}", group(&w))).await.ok();
    assert_eq!((condition(&known, "NamesAccepted"), condition(&known, "Established")), ("True".into(), "True".into()));
    assert_eq!(
        (&known["status"]["acceptedNames"]["kind"], &known["status"]["storedVersions"]),
        (&json!("Thing"), &json!(["v1"]))
    );
    let made = w.create(&collection, &thing(&w, "a", &json!({"any": {"thing": [1, "2", null, 3.5]}}))).await.with(201);
    assert_eq!((&made["kind"], &made["metadata"]["generation"]), (&json!("Thing"), &json!(1)));
    assert_eq!(made["spec"]["any"], json!({"thing": [1, "2", null, 3.5]}));
    let list = w.get(&collection).await.ok();
    assert_eq!((&list["kind"], names(&list)), (&json!("ThingList"), vec!["a"]));
    let mut changed = made.clone();
    changed["spec"]["more"] = true.into();
    let changed = w.replace(&format!("{collection}/a"), &changed).await.ok();
    assert_eq!(changed["metadata"]["generation"], 2);
    // An update of a custom object has to name the state that it is of.
    let unversioned = thing(&w, "a", &json!({}));
    w.replace(&format!("{collection}/a"), &unversioned).await.invalid(&["metadata.resourceVersion"]);
    w.delete(&format!("{collection}/a")).await.coded(200);
    w.get(&format!("{collection}/a")).await.refused(404, "NotFound");
    let wrong = json!({"apiVersion": format!("{}/v1", group(&w)), "kind": "Other", "metadata": {"name": "a"}});
    let answer = w.create(&collection, &wrong).await;
    assert!(matches!(answer.code, 400 | 422), "{} {}", answer.code, answer.text());
}

pub(super) async fn listed(w: World) {
    let selected = format!("{DEFINITIONS}?labelSelector=run%3D{}", w.prefix());
    w.later(&selected);
    let mut watch = w.watch(&selected).await;
    let mut all = Vec::new();
    for plural in ["ones", "twos"] {
        let mut object = definition(&w, &anything());
        let name = format!("{plural}.{}", group(&w));
        object["metadata"]["name"] = name.clone().into();
        let kind = plural.to_uppercase();
        object["spec"]["names"] = json!({"plural": plural, "kind": kind});
        let made = w.create(DEFINITIONS, &object).await.with(201);
        assert_eq!(made["spec"]["names"]["listKind"], format!("{kind}List"), "a default");
        assert_eq!(made["spec"]["conversion"], json!({"strategy": "None"}), "a default");
        watch.until("ADDED", &name).await;
        all.push(name);
    }
    assert_eq!(names(&w.get(&selected).await.ok()), all);
    w.delete(&selected).await.coded(200);
    for name in &all {
        watch.until("DELETED", name).await;
    }
    assert_eq!(names(&w.get(&selected).await.ok()), Vec::<&str>::new());
}

pub(super) async fn discovered(w: World) {
    let schema = json!({"type": "object", "description": "A thing.", "properties": {"spec": {"type": "object", "description": "What is wanted.",
        "properties": {"size": {"type": "integer", "minimum": 1, "description": "How large."}}}}});
    let mut object = definition(&w, &schema);
    object["spec"]["names"]["shortNames"] = json!([format!("th{}", w.prefix().replace('-', ""))]);
    object["spec"]["names"]["categories"] = json!(["all"]);
    serve(&w, &object).await;
    let groups = w.get("/apis").await.ok();
    let there = groups["groups"].as_array().into_iter().flatten().any(|known| known["name"] == group(&w));
    assert!(there, "the group is not discovered");
    let resources = w.get(&format!("/apis/{}/v1", group(&w))).await.ok();
    let things =
        resources["resources"].as_array().into_iter().flatten().find(|resource| resource["name"] == "things").cloned();
    let things = things.unwrap_or_default();
    assert_eq!(
        (&things["kind"], &things["namespaced"], &things["categories"]),
        (&json!("Thing"), &json!(true), &json!(["all"]))
    );
    for verb in ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"] {
        assert!(things["verbs"].as_array().is_some_and(|verbs| verbs.contains(&json!(verb))), "{things} lack {verb}");
    }
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let name = group(&w);
    let found = |document: &Value| {
        let items = document["items"].as_array().cloned().unwrap_or_default();
        items.into_iter().find(|item| item["metadata"]["name"] == name.as_str())
    };
    let mut item = None;
    for _ in 0..400 {
        item = found(&w.get_as("/apis", accept).await.ok());
        if item.is_some() {
            break;
        }
        w.pause(std::time::Duration::from_millis(25)).await;
    }
    let item = item.unwrap_or_default();
    assert_eq!(item["versions"][0]["resources"][0]["responseKind"]["kind"], "Thing", "{item}");
    // Schemas are published a moment later.
    let third = format!("/openapi/v3/apis/{}/v1", group(&w));
    let document = w.until("the schema is published", &third, |answer| answer.code == 200).await.ok();
    assert!(document["paths"][format!("/apis/{}/v1/namespaces/{{namespace}}/things", group(&w))].is_object());
    let model = format!("com.example.{}.v1.Thing", w.prefix());
    assert_eq!(document["components"]["schemas"][&model]["properties"]["spec"]["properties"]["size"]["minimum"], 1);
    let second = w
        .until("the schema is in the one document", "/openapi/v2", |answer| {
            answer.json()["definitions"][&model].is_object()
        })
        .await;
    let model = &second.json()["definitions"][&model];
    assert_eq!(model["properties"]["spec"]["properties"]["size"]["description"], "How large.");
    assert_eq!(
        model["x-kubernetes-group-version-kind"],
        json!([{"group": group(&w), "kind": "Thing", "version": "v1"}])
    );
}

pub(super) async fn status(w: World) {
    serve(&w, &definition(&w, &anything())).await;
    let target = format!("{DEFINITIONS}/things.{}", group(&w));
    let tried = json!({"status": {"conditions": [{"type": "Tried", "status": "True", "reason": "r", "message": "m", "lastTransitionTime": "2026-01-02T03:04:05Z"}]}});
    let after = w.patch(&format!("{target}/status"), MERGE, &tried).await.ok();
    assert_eq!(condition(&after, "Tried"), "True");
    assert_eq!(w.get(&format!("{target}/status")).await.ok()["kind"], "CustomResourceDefinition");
    let before = w.get(&target).await.ok();
    let patched = w
        .patch(&target, MERGE, &json!({"status": {"storedVersions": ["v7"]}, "metadata": {"labels": {"x": "y"}}}))
        .await
        .ok();
    assert_eq!(patched["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(patched["metadata"]["generation"], before["metadata"]["generation"]);
}

/// Makes a definition wrong.
type Spoil = fn(&mut Value);

pub(super) async fn validated(w: World) {
    let cases: [(&str, Spoil); 8] = [
        ("metadata.name", |d| d["metadata"]["name"] = "things.elsewhere.example.com".into()),
        ("spec.versions", |d| d["spec"]["versions"][0]["storage"] = false.into()),
        ("spec.versions[0].schema.openAPIV3Schema", |d| d["spec"]["versions"][0]["schema"] = Value::Null),
        ("spec.names.plural", |d| d["spec"]["names"]["plural"] = "".into()),
        ("spec.scope", |d| d["spec"]["scope"] = "Galaxy".into()),
        ("spec.versions[0].schema.openAPIV3Schema.type", |d| {
            d["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = json!({"properties": {"spec": {"type": "object"}}});
        }),
        ("spec.versions[0].schema.openAPIV3Schema.properties[spec].type", |d| {
            d["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
                json!({"type": "object", "properties": {"spec": {}}});
        }),
        ("spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule", |d| {
            d["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = json!({"type": "object", "properties": {"spec": {
                "type": "object", "x-kubernetes-validations": [{"rule": "self.nonsense +"}]}}});
        }),
    ];
    for (field, change) in cases {
        let mut object = definition(&w, &anything());
        change(&mut object);
        w.create(&format!("{DEFINITIONS}?dryRun=All"), &object).await.invalid(&[field]);
    }
}

pub(super) async fn deleted(w: World) {
    let collection = serve(&w, &definition(&w, &anything())).await;
    w.create(&collection, &thing(&w, "a", &json!({}))).await.with(201);
    let mut held = thing(&w, "held", &json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    w.create(&collection, &held).await.with(201);
    let target = format!("{DEFINITIONS}/things.{}", group(&w));
    w.delete(&target).await.coded(200);
    w.until("the definition ends", &target, |answer| condition(&answer.json(), "Terminating") == "True").await;
    w.until("the object is gone", &format!("{collection}/a"), |answer| answer.code == 404).await;
    let late = w.create(&collection, &thing(&w, "late", &json!({}))).await;
    assert!(late.code == 405 || late.code == 404 || late.code == 403, "{} {}", late.code, late.text());
    w.patch(&format!("{collection}/held"), MERGE, &json!({"metadata": {"finalizers": null}})).await.coded(200);
    w.until("the definition is gone", &target, |answer| answer.code == 404).await;
    w.until("nothing is served", &collection, |answer| answer.code == 404).await;
    says(&w.get(&target).await.refused(404, "NotFound"), &["not found"]);
}
