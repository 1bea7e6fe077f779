//! Custom objects through every verb.

use futures::StreamExt;
use serde_json::{Value, json};
use windlass_kernel::{
    Api, ErrorKind,
    api::{PatchType, Verb, WatchEvent},
};

use super::{DEFINITIONS, WIDGETS, rig, widget, widgets};
use crate::rig::{names, value, wait};

fn counted() -> Value {
    json!({"type": "object", "properties": {"replicas": {"type": "integer"}, "color": {"type": "string"},
        "list": {"type": "array", "items": {"type": "string"}}}})
}

#[test]
fn an_object_goes_through_every_verb() {
    let rig = rig(widgets(&counted()));
    let made = rig.create(WIDGETS, widget("a", &json!({"replicas": 1}))).unwrap();
    assert_eq!((&made["kind"], &made["apiVersion"]), (&json!("Widget"), &json!("example.com/v1")));
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(made["metadata"]["namespace"], "default");
    assert_eq!(rig.get(WIDGETS, "a").unwrap(), made);
    assert_eq!(
        rig.create(WIDGETS, widget("a", &json!({}))).unwrap_err().message(),
        "widgets.example.com \"a\" already exists"
    );

    let mut changed = made.clone();
    changed["spec"]["replicas"] = 2.into();
    let second = rig.update(WIDGETS, changed.clone()).unwrap();
    assert_eq!(second["metadata"]["generation"], 2);
    assert!(rig.update(WIDGETS, changed).unwrap_err().is(ErrorKind::Conflict));
    let unversioned = rig.update(WIDGETS, widget("a", &json!({}))).unwrap_err();
    assert!(unversioned.message().contains("metadata.resourceVersion"), "{unversioned:?}");

    let list = rig.list(WIDGETS, |_| ()).unwrap();
    assert_eq!(
        (list.kind.as_str(), list.api_version.as_str(), names(&list)),
        ("WidgetList", "example.com/v1", vec!["a".to_owned()])
    );
    let gone = rig.delete(WIDGETS, "a").unwrap();
    assert_eq!((&gone["status"], &gone["details"]["group"]), (&json!("Success"), &json!("example.com")));
    assert_eq!(rig.get(WIDGETS, "a").unwrap_err().message(), "widgets.example.com \"a\" not found");
}

#[test]
fn patches_are_json_merge_or_apply_but_not_strategic() {
    let rig = rig(widgets(&counted()));
    rig.create(WIDGETS, widget("a", &json!({"replicas": 1}))).unwrap();
    let patch = |kind, body| {
        let mut request = rig.request(Verb::Patch(kind), WIDGETS).named("a").body(body);
        if kind == PatchType::Apply {
            request.options.field_manager = "me".into();
        }
        rig.call(request).map(value)
    };
    let merged = patch(PatchType::Merge, json!({"spec": {"color": "red"}})).unwrap();
    assert_eq!(merged["spec"], json!({"replicas": 1, "color": "red"}));
    let json = patch(PatchType::Json, json!([{"op": "remove", "path": "/spec/replicas"}])).unwrap();
    assert_eq!(json["spec"], json!({"color": "red"}));
    let refused = patch(PatchType::Strategic, json!({"spec": {}})).unwrap_err();
    assert!(refused.is(ErrorKind::UnsupportedMediaType), "{refused:?}");
    let applied = patch(PatchType::Apply, widget("a", &json!({"list": ["x"]}))).unwrap();
    assert_eq!(applied["spec"], json!({"color": "red", "list": ["x"]}));
}

#[test]
fn a_watch_tells_of_every_change() {
    let rig = rig(widgets(&counted()));
    let mut events = wait(rig.server.watch(rig.request(Verb::Watch, WIDGETS))).unwrap();
    let mut made = rig.create(WIDGETS, widget("a", &json!({"replicas": 1}))).unwrap();
    made["spec"]["replicas"] = 2.into();
    rig.update(WIDGETS, made).unwrap();
    rig.delete(WIDGETS, "a").unwrap();
    let mut next = || wait(events.next()).unwrap().unwrap();
    assert!(matches!(next(), WatchEvent::Added(document) if document.value().unwrap()["spec"]["replicas"] == 1));
    assert!(matches!(next(), WatchEvent::Modified(document) if document.value().unwrap()["spec"]["replicas"] == 2));
    assert!(matches!(next(), WatchEvent::Deleted(_)));
}

#[test]
fn a_collection_is_deleted_by_selector() {
    let rig = rig(widgets(&counted()));
    for (name, app) in [("a", "x"), ("b", "x"), ("c", "y")] {
        let mut own = widget(name, &json!({}));
        own["metadata"]["labels"] = json!({"app": app});
        rig.create(WIDGETS, own).unwrap();
    }
    let mut request = rig.request(Verb::DeleteCollection, WIDGETS);
    request.options.label_selector = "app=x".into();
    rig.call(request).unwrap();
    assert_eq!(names(&rig.list(WIDGETS, |_| ()).unwrap()), ["c"]);
}

#[test]
fn a_dry_run_changes_nothing() {
    let rig = rig(widgets(&counted()));
    let mut request = rig.request(Verb::Create, WIDGETS).body(widget("a", &json!({})));
    request.options.dry_run = true;
    rig.call(request).unwrap();
    assert!(rig.get(WIDGETS, "a").unwrap_err().is(ErrorKind::NotFound));
}

#[test]
fn nothing_is_created_in_a_namespace_that_does_not_exist() {
    let rig = rig(widgets(&counted()));
    let request = rig.request(Verb::Create, WIDGETS).in_namespace("none").body(widget("a", &json!({})));
    assert_eq!(rig.call(request).unwrap_err().message(), "namespaces \"none\" not found");
}

#[test]
fn fields_that_a_definition_names_can_be_selected() {
    let mut definition = widgets(&counted());
    definition["spec"]["versions"][0]["selectableFields"] =
        json!([{"jsonPath": ".spec.color"}, {"jsonPath": ".spec.replicas"}]);
    let rig = rig(definition);
    for (name, color, replicas) in [("a", "red", 1), ("b", "blue", 1), ("c", "red", 2)] {
        rig.create(WIDGETS, widget(name, &json!({"color": color, "replicas": replicas}))).unwrap();
    }
    let select = |fields: &str| rig.list(WIDGETS, |request| request.options.field_selector = fields.into());
    assert_eq!(names(&select("spec.color=red").unwrap()), ["a", "c"]);
    assert_eq!(names(&select("spec.color=red,spec.replicas!=1").unwrap()), ["c"]);
    assert_eq!(names(&select("metadata.name=b").unwrap()), ["b"]);
    assert_eq!(select("spec.other=x").unwrap_err().message(), "field label not supported: spec.other");
    let mut request = rig.request(Verb::Watch, WIDGETS);
    request.options.field_selector = "spec.color=red".into();
    let mut events = wait(rig.server.watch(request)).unwrap();
    for expect in ["a", "c"] {
        let Some(Ok(WatchEvent::Added(document))) = wait(events.next()) else { panic!("an object is there") };
        assert_eq!(document.value().unwrap()["metadata"]["name"], expect);
    }
    let mut changed = rig.get(WIDGETS, "a").unwrap();
    changed["spec"]["color"] = "blue".into();
    rig.update(WIDGETS, changed).unwrap();
    assert!(matches!(wait(events.next()), Some(Ok(WatchEvent::Deleted(_)))));
}

fn with_subresources() -> Value {
    let mut definition = widgets(&counted());
    definition["spec"]["versions"][0]["subresources"] = json!({"status": {}, "scale": {
        "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector"}});
    definition
}

#[test]
fn a_status_is_written_apart_where_the_definition_says_so() {
    let rig = rig(with_subresources());
    let mut own = widget("a", &json!({"replicas": 1}));
    own["status"] = json!({"replicas": 9});
    let mut made = rig.create(WIDGETS, own).unwrap();
    assert_eq!(made["status"], Value::Null);
    made["status"] = json!({"replicas": 1});
    made["spec"]["replicas"] = 7.into();
    made["metadata"]["labels"] = json!({"a": "b"});
    let status = format!("{WIDGETS}:status");
    let written = rig.call(rig.request(Verb::Update, &status).named("a").body(made)).map(value).unwrap();
    assert_eq!((&written["status"]["replicas"], &written["spec"]["replicas"]), (&json!(1), &json!(1)));
    assert_eq!((&written["metadata"]["generation"], &written["metadata"]["labels"]), (&json!(1), &Value::Null));
    let mut changed = written;
    changed["status"]["replicas"] = 5.into();
    changed["spec"]["replicas"] = 2.into();
    let changed = rig.update(WIDGETS, changed).unwrap();
    assert_eq!((&changed["status"]["replicas"], &changed["metadata"]["generation"]), (&json!(1), &json!(2)));
    let entry =
        changed["metadata"]["managedFields"].as_array().unwrap().iter().find(|own| own["subresource"] == "status");
    assert!(entry.unwrap()["fieldsV1"].get("f:spec").is_none());
}

#[test]
fn a_scale_reads_and_writes_replicas_by_the_paths_of_the_definition() {
    let rig = rig(with_subresources());
    rig.create(WIDGETS, widget("a", &json!({"replicas": 3}))).unwrap();
    let scale = format!("{WIDGETS}:scale");
    let mut found = rig.get(&scale, "a").unwrap();
    assert_eq!((&found["kind"], &found["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!(found["spec"]["replicas"], 3);
    found["spec"]["replicas"] = 5.into();
    rig.update(&scale, found).unwrap();
    assert_eq!(rig.get(WIDGETS, "a").unwrap()["spec"]["replicas"], 5);
    let patch = rig.request(Verb::Patch(PatchType::Merge), &scale).named("a").body(json!({"spec": {"replicas": 6}}));
    assert_eq!(value(rig.call(patch).unwrap())["spec"]["replicas"], 6);
}

#[test]
fn a_deprecated_version_warns() {
    let mut definition = widgets(&counted());
    definition["spec"]["versions"][0]["deprecated"] = true.into();
    let rig = rig(definition);
    let response = rig.call(rig.request(Verb::List, WIDGETS)).unwrap();
    assert_eq!(response.warnings, ["example.com/v1 Widget is deprecated"]);
}

#[test]
fn objects_of_the_cluster_have_no_namespace() {
    let mut definition = widgets(&counted());
    definition["spec"]["scope"] = "Cluster".into();
    let rig = rig(definition);
    let request = rig.request(Verb::Create, WIDGETS).in_namespace("").body(widget("a", &json!({})));
    let made = value(rig.call(request).unwrap());
    assert_eq!(made["metadata"]["namespace"], Value::Null);
    let inside = rig.call(rig.request(Verb::Get, WIDGETS).named("a")).unwrap_err();
    assert!(inside.is(ErrorKind::NotFound));
    assert!(rig.get(DEFINITIONS, "widgets.example.com").is_ok());
}
