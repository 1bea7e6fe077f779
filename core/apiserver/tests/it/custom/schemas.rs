//! Custom objects against their schema: pruning, defaults, validation, field validation and apply.

use serde_json::{Value, json};
use windlass_kernel::{
    ErrorKind,
    api::{Body, FieldValidation, PatchType, Verb},
};

use super::{DEFINITIONS, WIDGETS, rig, widget, widgets};
use crate::rig::{Rig, value};

fn typed() -> Value {
    json!({"type": "object", "required": ["size"], "properties": {
        "size": {"type": "integer", "minimum": 1}, "color": {"type": "string", "default": "red", "enum": ["red", "blue"]},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": {"type": "object", "required": ["port"], "properties": {"port": {"type": "integer"},
                "protocol": {"type": "string", "default": "TCP"}, "name": {"type": "string"}}}},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "threshold": {"x-kubernetes-int-or-string": true},
        "note": {"type": "string", "nullable": true},
        "template": {"type": "object", "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true}}})
}

#[test]
fn objects_are_pruned_and_filled_in() {
    let rig = rig(widgets(&typed()));
    let mut request = rig.request(Verb::Create, WIDGETS).body(widget(
        "a",
        &json!({"size": 1, "extra": 1,
        "any": {"x": {"y": 1}}, "note": null, "threshold": "50%", "ports": [{"port": 80, "odd": true}]}),
    ));
    request.options.field_validation = FieldValidation::Warn;
    let response = rig.call(request).unwrap();
    assert_eq!(response.warnings, ["unknown field \"spec.extra\"", "unknown field \"spec.ports[0].odd\""]);
    assert_eq!(
        value(response)["spec"],
        json!({"size": 1, "color": "red", "any": {"x": {"y": 1}}, "note": null,
        "threshold": "50%", "ports": [{"port": 80, "protocol": "TCP"}]})
    );
}

#[test]
fn unknown_and_duplicate_fields_are_refused_where_that_is_asked_for() {
    let rig = rig(widgets(&typed()));
    let body = r#"{"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a", "odd": 1},
        "spec": {"size": 1, "size": 2, "extra": 1}}"#;
    let mut request = rig.request(Verb::Create, WIDGETS);
    request.body = Body::Bytes { media_type: "application/json".into(), bytes: body.into() };
    request.options.field_validation = FieldValidation::Strict;
    assert_eq!(
        rig.call(request.clone()).unwrap_err().message(),
        "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: duplicate field \"spec.size\", \
         unknown field \"metadata.odd\", unknown field \"spec.extra\""
    );
    request.options.field_validation = FieldValidation::Ignore;
    let response = rig.call(request).unwrap();
    assert!(response.warnings.is_empty());
    assert_eq!(value(response)["spec"], json!({"size": 2, "color": "red"}));
}

#[test]
fn what_does_not_fit_the_schema_is_refused_with_every_cause() {
    let rig = rig(widgets(&typed()));
    let error = rig.create(WIDGETS, widget("a", &json!({"color": "green", "ports": [{"port": "x"}]}))).unwrap_err();
    assert_eq!(
        error.message(),
        "Widget.example.com \"a\" is invalid: [spec.size: Required value, spec.color: Unsupported value: \"green\": \
         supported values: \"red\", \"blue\", spec.ports[0].port: Invalid value: \"string\": spec.ports[0].port in body \
         must be of type integer: \"string\"]"
    );
    let causes: Vec<&str> = error.details().unwrap().causes.iter().map(|cause| cause.reason.as_str()).collect();
    assert_eq!(causes, ["FieldValueRequired", "FieldValueNotSupported", "FieldValueTypeInvalid"]);
    let twice = json!({"size": 1, "tags": ["a", "a"], "ports": [{"port": 1}, {"port": 1, "protocol": "TCP"}]});
    assert_eq!(
        rig.create(WIDGETS, widget("a", &twice)).unwrap_err().message(),
        "Widget.example.com \"a\" is invalid: [spec.ports[1]: Duplicate value: {\"port\":1,\"protocol\":\"TCP\"}, \
         spec.tags[1]: Duplicate value: \"a\"]"
    );
    let embedded = rig.create(WIDGETS, widget("a", &json!({"size": 1, "template": {"spec": {}}}))).unwrap_err();
    assert_eq!(
        embedded.message(),
        "Widget.example.com \"a\" is invalid: [spec.template.apiVersion: Required value: must not be empty, \
         spec.template.kind: Required value: must not be empty]"
    );
    let mut other = widget("a", &json!({"size": 1}));
    other["kind"] = "Gadget".into();
    let error = rig.create(WIDGETS, other).unwrap_err();
    assert_eq!(error.message(), "Widget.example.com \"a\" is invalid: kind: Invalid value: \"Gadget\": must be Widget");
    let mut none = widget("a", &json!({"size": 1}));
    none.as_object_mut().unwrap().remove("kind");
    assert!(rig.create(WIDGETS, none).unwrap_err().is(ErrorKind::BadRequest));
}

/// Changes the schema of `spec`.
fn redefine(rig: &Rig, spec: &Value) {
    let mut definition = rig.get(DEFINITIONS, "widgets.example.com").unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = spec.clone();
    rig.update(DEFINITIONS, definition).unwrap();
}

#[test]
fn what_is_stored_is_read_by_the_present_schema() {
    let with = |extra: Value| {
        let mut schema = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}});
        schema["properties"].as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        schema
    };
    let rig = rig(widgets(&with(json!({"c": {"type": "string"}}))));
    let made = rig.create(WIDGETS, widget("x", &json!({"b": "own", "c": "gone"}))).unwrap();
    redefine(&rig, &with(json!({"a": {"type": "string", "default": "A"}})));
    let read = rig.get(WIDGETS, "x").unwrap();
    assert_eq!(read["spec"], json!({"a": "A", "b": "own"}));
    assert_eq!(read["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    let listed = rig.list(WIDGETS, |_| ()).unwrap();
    assert_eq!(listed.items[0].value().unwrap(), read);
    // A default that was written stays when it is no longer the default; one that was only read goes.
    let second = rig.create(WIDGETS, widget("y", &json!({}))).unwrap();
    assert_eq!(second["spec"], json!({"a": "A"}));
    redefine(&rig, &with(json!({"b": {"type": "string", "default": "B"}})));
    assert_eq!(rig.get(WIDGETS, "x").unwrap()["spec"], json!({"b": "own"}));
    assert_eq!(rig.get(WIDGETS, "y").unwrap()["spec"], json!({"a": "A", "b": "B"}));
}

#[test]
fn a_stricter_schema_does_not_hold_up_other_changes() {
    let limited = |most: i64| {
        json!({"type": "object", "properties": {"a": {"type": "string", "maxLength": most},
        "b": {"type": "string"}}})
    };
    let rig = rig(widgets(&limited(10)));
    let mut made = rig.create(WIDGETS, widget("x", &json!({"a": "long", "b": "1"}))).unwrap();
    redefine(&rig, &limited(2));
    made["spec"]["b"] = "2".into();
    let mut changed = rig.update(WIDGETS, made).unwrap();
    changed["spec"]["a"] = "longer".into();
    assert!(rig.update(WIDGETS, changed).unwrap_err().is(ErrorKind::Invalid));
}

fn apply(rig: &Rig, manager: &str, object: Value) -> Result<Value, windlass_kernel::Error> {
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    let mut request = rig.request(Verb::Patch(PatchType::Apply), WIDGETS).named(name).body(object);
    request.options.field_manager = manager.into();
    rig.call(request).map(value)
}

#[test]
fn lists_are_applied_as_the_schema_says() {
    let rig = rig(widgets(&typed()));
    let first = json!({"size": 1, "tags": ["a"], "ports": [{"port": 80, "name": "web"}]});
    apply(&rig, "one", widget("x", &first)).unwrap();
    let second = json!({"tags": ["b"], "ports": [{"port": 81, "protocol": "UDP"}]});
    let both = apply(&rig, "two", widget("x", &second)).unwrap();
    assert_eq!(both["spec"]["tags"], json!(["a", "b"]));
    assert_eq!(
        both["spec"]["ports"],
        json!([{"port": 80, "protocol": "TCP", "name": "web"}, {"port": 81, "protocol": "UDP"}])
    );
    let conflict = apply(&rig, "two", widget("x", &json!({"size": 2}))).unwrap_err();
    assert!(conflict.is(ErrorKind::Conflict), "{conflict:?}");
    let less = apply(&rig, "two", widget("x", &json!({"tags": ["b"]}))).unwrap();
    assert_eq!(less["spec"]["ports"], json!([{"port": 80, "protocol": "TCP", "name": "web"}]));
}

#[test]
fn an_apply_may_not_speak_of_fields_that_the_schema_lacks() {
    let rig = rig(widgets(&typed()));
    let mut odd = widget("x", &json!({"size": 1}));
    odd["unknownField"] = "x".into();
    let said = apply(&rig, "one", odd).unwrap_err();
    assert!(said.message().contains(".unknownField: field not declared in schema"), "{said:?}");
}

#[test]
fn a_schema_that_keeps_everything_divides_objects_by_their_fields() {
    let mut definition = widgets(&json!({}));
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let rig = rig(definition);
    apply(&rig, "one", widget("x", &json!({"a": {"b": 1}}))).unwrap();
    let both = apply(&rig, "two", widget("x", &json!({"a": {"c": [1]}}))).unwrap();
    assert_eq!(both["spec"], json!({"a": {"b": 1, "c": [1]}}));
    let mut labelled = widget("y", &json!({}));
    labelled["metadata"]["finalizers"] = json!(["a.b/c"]);
    apply(&rig, "one", labelled.clone()).unwrap();
    labelled["metadata"]["finalizers"] = json!(["d.e/f"]);
    let two = apply(&rig, "two", labelled).unwrap();
    assert_eq!(two["metadata"]["finalizers"], json!(["a.b/c", "d.e/f"]));
}
