//! Several versions of one custom resource.

use serde_json::{Value, json};

use super::{DEFINITIONS, rig, widgets};
use crate::rig::names;

fn two() -> Value {
    let mut definition = widgets(&json!({"type": "object", "properties": {"a": {"type": "string"}}}));
    let mut second = definition["spec"]["versions"][0].clone();
    second["name"] = "v2".into();
    second["storage"] = false.into();
    second["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["b"] =
        json!({"type": "string", "default": "B"});
    definition["spec"]["versions"].as_array_mut().unwrap().push(second);
    definition
}

fn object(version: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": format!("example.com/{version}"), "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

#[test]
fn without_conversion_versions_differ_in_their_name_and_schema() {
    let rig = rig(two());
    rig.create("example.com/v1/widgets", object("v1", "x", &json!({"a": "1"}))).unwrap();
    let second = rig.get("example.com/v2/widgets", "x").unwrap();
    assert_eq!(second["apiVersion"], "example.com/v2");
    assert_eq!(second["spec"], json!({"a": "1", "b": "B"}));
    let made = rig.create("example.com/v2/widgets", object("v2", "y", &json!({"b": "own"}))).unwrap();
    assert_eq!(made["apiVersion"], "example.com/v2");
    // The stored version has no field `b`.
    assert_eq!(rig.get("example.com/v1/widgets", "y").unwrap()["spec"], json!({}));
    let list = rig.list("example.com/v2/widgets", |_| ()).unwrap();
    assert_eq!(names(&list), ["x", "y"]);
    assert!(list.items.iter().all(|item| item.value().unwrap()["apiVersion"] == "example.com/v2"));
}

#[test]
fn the_storage_version_can_be_switched() {
    let rig = rig(two());
    rig.create("example.com/v1/widgets", object("v1", "x", &json!({"a": "1"}))).unwrap();
    let mut definition = rig.get(DEFINITIONS, "widgets.example.com").unwrap();
    definition["spec"]["versions"][0]["storage"] = false.into();
    definition["spec"]["versions"][1]["storage"] = true.into();
    let switched = rig.update(DEFINITIONS, definition).unwrap();
    assert_eq!(switched["status"]["storedVersions"], json!(["v1", "v2"]));
    rig.create("example.com/v2/widgets", object("v2", "y", &json!({"b": "own"}))).unwrap();
    let list = rig.list("example.com/v2/widgets", |_| ()).unwrap();
    let specs: Vec<Value> = list.items.iter().map(|item| item.value().unwrap()["spec"].clone()).collect();
    assert_eq!(specs, [json!({"a": "1", "b": "B"}), json!({"b": "own"})]);
    let mut first = rig.get("example.com/v1/widgets", "x").unwrap();
    assert_eq!(first["spec"], json!({"a": "1"}));
    first["spec"]["a"] = "2".into();
    rig.update("example.com/v1/widgets", first).unwrap();
    assert_eq!(rig.get("example.com/v2/widgets", "x").unwrap()["spec"]["a"], "2");
}

#[test]
fn a_version_that_is_not_served_is_not_found() {
    let rig = rig(two());
    let mut definition = rig.get(DEFINITIONS, "widgets.example.com").unwrap();
    definition["spec"]["versions"][1]["served"] = false.into();
    rig.update(DEFINITIONS, definition).unwrap();
    let said = rig.list("example.com/v2/widgets", |_| ()).unwrap_err();
    assert_eq!(said.message(), "the server could not find the requested resource");
}
