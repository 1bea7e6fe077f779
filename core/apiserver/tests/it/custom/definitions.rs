//! Definitions: what they must look like, what their status says, and their end.

use futures::StreamExt;
use serde_json::{Value, json};
use windlass_kernel::{
    ErrorKind,
    api::{Verb, WatchEvent},
};

use super::{DEFINITIONS, WIDGETS, conditions, rig, widget, widgets};
use crate::rig::{Rig, wait};

fn free() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

#[test]
fn a_definition_is_established_and_served_on_the_next_request() {
    let rig = rig(widgets(&free()));
    let definition = rig.get(DEFINITIONS, "widgets.example.com").unwrap();
    assert_eq!(conditions(&definition), ["NamesAccepted=True NoConflicts", "Established=True InitialNamesAccepted"]);
    assert_eq!(definition["spec"]["names"]["singular"], "widget");
    assert_eq!(definition["status"]["acceptedNames"], definition["spec"]["names"]);
    assert_eq!(definition["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(definition["metadata"]["generation"], 1);
    assert!(rig.list(WIDGETS, |_| ()).unwrap().items.is_empty());
    rig.create(WIDGETS, widget("a", &json!({"x": 1}))).unwrap();
    let unknown = rig.get("example.com/v2/widgets", "a").unwrap_err();
    assert_eq!(unknown.message(), "the server could not find the requested resource");
}

#[test]
fn formats_that_nobody_checks_are_warned_about() {
    let rig = Rig::new();
    let text = |format: &str| json!({"type": "string", "format": format});
    let spec = json!({"type": "object", "properties": {
        "a": text("date-time"), "b": text("k8s-short-name"), "c": text("zebra"), "format": text("aardvark"),
        "d": {"type": "array", "items": text("zebra")}, "e": {"type": "integer", "format": "int64"}}});
    let told = ["unrecognized format \"aardvark\"", "unrecognized format \"zebra\""];
    let create = rig.request(Verb::Create, DEFINITIONS).body(widgets(&spec));
    assert_eq!(rig.call(create).unwrap().warnings, told);
    let mut definition = rig.get(DEFINITIONS, "widgets.example.com").unwrap();
    definition["metadata"]["labels"] = json!({"a": "b"});
    let update = rig.request(Verb::Update, DEFINITIONS).named("widgets.example.com").body(definition);
    assert_eq!(rig.call(update).unwrap().warnings, told);
}

#[test]
fn a_server_that_starts_serves_what_is_defined() {
    let first = rig(widgets(&free()));
    first.create(WIDGETS, widget("a", &json!({}))).unwrap();
    let store = std::sync::Arc::clone(first.server.store());
    let second = Rig::over(&first.clock, wait(crate::rig::builder(&first.clock).store(store).start()).unwrap());
    assert_eq!(second.get(WIDGETS, "a").unwrap()["metadata"]["name"], "a");
    // What one server defines, another one over the same store finds when it is asked for.
    let mut other = widgets(&free());
    other["metadata"]["name"] = "gadgets.example.com".into();
    other["spec"]["names"] = json!({"plural": "gadgets", "kind": "Gadget"});
    first.create(DEFINITIONS, other).unwrap();
    assert!(second.list("example.com/v1/gadgets", |_| ()).unwrap().items.is_empty());
}

#[test]
fn two_definitions_cannot_have_one_name() {
    let rig = rig(widgets(&free()));
    rig.clock.advance(std::time::Duration::from_secs(1));
    let mut other = widgets(&free());
    other["metadata"]["name"] = "gadgets.example.com".into();
    other["spec"]["names"] = json!({"plural": "gadgets", "kind": "Widget"});
    rig.create(DEFINITIONS, other).unwrap();
    let second = rig.get(DEFINITIONS, "gadgets.example.com").unwrap();
    assert_eq!(conditions(&second), ["NamesAccepted=False ListKindConflict", "Established=False NotAccepted"]);
    assert!(rig.list("example.com/v1/gadgets", |_| ()).unwrap_err().is(ErrorKind::NotFound));
    delete_and_wait(&rig, "widgets.example.com");
    let second = rig.get(DEFINITIONS, "gadgets.example.com").unwrap();
    assert_eq!(conditions(&second), ["NamesAccepted=True NoConflicts", "Established=True InitialNamesAccepted"]);
    assert!(rig.list("example.com/v1/gadgets", |_| ()).is_ok());
}

/// Deletes a definition and waits until it is gone.
fn delete_and_wait(rig: &Rig, name: &str) {
    let found = rig.get(DEFINITIONS, name).unwrap();
    let mut request = rig.request(Verb::Watch, DEFINITIONS);
    request.options.resource_version = found["metadata"]["resourceVersion"].as_str().unwrap().into();
    let mut events = wait(windlass_kernel::Api::watch(&*rig.server, request)).unwrap();
    rig.delete(DEFINITIONS, name).unwrap();
    while !matches!(wait(events.next()).unwrap().unwrap(), WatchEvent::Deleted(_)) {}
    // The names are given to others after that; whoever asks next waits for nothing.
    let _ = rig.list("example.com/v1/nothing", |_| ());
}

#[test]
fn deleting_a_definition_deletes_its_objects_first() {
    let rig = rig(widgets(&free()));
    rig.create(WIDGETS, widget("a", &json!({}))).unwrap();
    delete_and_wait(&rig, "widgets.example.com");
    assert!(rig.get(WIDGETS, "a").unwrap_err().is(ErrorKind::NotFound));
    rig.create(DEFINITIONS, widgets(&free())).unwrap();
    assert!(rig.list(WIDGETS, |_| ()).unwrap().items.is_empty());
}

#[test]
fn an_object_with_a_finalizer_holds_its_definition_up() {
    let rig = rig(widgets(&free()));
    let mut held = widget("a", &json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    rig.create(WIDGETS, held).unwrap();
    let found = rig.get(DEFINITIONS, "widgets.example.com").unwrap();
    let mut request = rig.request(Verb::Watch, DEFINITIONS);
    request.options.resource_version = found["metadata"]["resourceVersion"].as_str().unwrap().into();
    let mut events = wait(windlass_kernel::Api::watch(&*rig.server, request)).unwrap();
    let ending = rig.delete(DEFINITIONS, "widgets.example.com").unwrap();
    assert_eq!(ending["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    assert_eq!(conditions(&ending)[2], "Terminating=True InstanceDeletionPending");
    let mut progress = |reason: &str| loop {
        match wait(events.next()).unwrap().unwrap() {
            WatchEvent::Modified(document)
                if conditions(&document.value().unwrap()).last().unwrap().ends_with(reason) =>
            {
                break;
            }
            WatchEvent::Modified(_) => {}
            other => panic!("{other:?}"),
        }
    };
    progress("InstanceDeletionInProgress");
    let refused = rig.create(WIDGETS, widget("b", &json!({}))).unwrap_err();
    assert!(refused.is(ErrorKind::MethodNotAllowed), "{refused:?}");
    let mut held = rig.get(WIDGETS, "a").unwrap();
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    held["metadata"]["finalizers"] = json!([]);
    rig.update(WIDGETS, held).unwrap();
    while !matches!(wait(events.next()).unwrap().unwrap(), WatchEvent::Deleted(_)) {}
    assert!(rig.get(DEFINITIONS, "widgets.example.com").unwrap_err().is(ErrorKind::NotFound));
}

#[track_caller]
fn check(change: impl FnOnce(&mut Value), expect: &str) {
    let rig = Rig::new();
    let mut definition = widgets(&free());
    change(&mut definition);
    let said = rig.create(DEFINITIONS, definition).unwrap_err();
    let said = said.message().split_once("is invalid: ").map_or(said.message(), |(_, why)| why);
    assert_eq!(said, expect);
}

#[test]
fn a_definition_that_makes_no_sense_is_refused_in_upstreams_words() {
    check(
        |own| own["metadata"]["name"] = "w.example.com".into(),
        r#"metadata.name: Invalid value: "w.example.com": must be spec.names.plural+"."+spec.group"#,
    );
    check(
        |own| own["spec"]["scope"] = "Other".into(),
        r#"spec.scope: Unsupported value: "Other": supported values: "Cluster", "Namespaced""#,
    );
    check(
        |own| own["spec"]["names"]["listKind"] = "Widget".into(),
        r#"spec.names.listKind: Invalid value: "Widget": kind and listKind may not be the same"#,
    );
    check(
        |own| _ = own["spec"]["versions"][0].as_object_mut().unwrap().remove("schema"),
        "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
    );
    let at = |own: &mut Value| own["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take();
    let schema = "spec.versions[0].schema.openAPIV3Schema";
    let with = |properties: Value, expect: &str| {
        check(
            |own| {
                let mut root = at(own);
                root["properties"] = properties;
                own["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = root;
            },
            &format!("{schema}.{expect}"),
        );
    };
    with(json!({"spec": {}}), "properties[spec].type: Required value: must not be empty for specified object fields");
    with(json!({"spec": {"type": "array"}}), "properties[spec].items: Required value: must be specified");
    with(
        json!({"spec": {"type": "string", "pattern": "("}}),
        "properties[spec].pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: \
         regex parse error:\n    (\n    ^\nerror: unclosed group",
    );
    with(
        json!({"spec": {"type": "object", "anyOf": [{"required": ["a"], "properties": {"a": {"minLength": 1}}}]}}),
        "properties[spec].properties[a]: Required value: because it is defined in \
         spec.versions[0].schema.openAPIV3Schema.properties[spec].anyOf[0].properties[a]",
    );
    with(
        json!({"spec": {"type": "object", "allOf": [{"type": "object"}]}}),
        "properties[spec].allOf[0].type: Forbidden: must be empty to be structural",
    );
    with(
        json!({"spec": {"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}},
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}}),
        "properties[spec].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, \
         so it must have a default or be a required property",
    );
    with(
        json!({"spec": {"type": "integer", "default": "x"}}),
        "properties[spec].default: Invalid value: \"string\": default in body must be of type integer: \"string\"",
    );
    with(
        json!({"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}),
        "properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is \
         implicitly specified",
    );
}

#[test]
fn a_stored_version_stays_defined() {
    let rig = rig(widgets(&free()));
    let mut definition = rig.get(DEFINITIONS, "widgets.example.com").unwrap();
    definition["spec"]["versions"][0]["name"] = "v2".into();
    let said = rig.update(DEFINITIONS, definition).unwrap_err();
    assert!(said.message().contains("status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was previously a storage version"), "{said:?}");
}

#[test]
fn the_status_of_a_definition_is_written_apart() {
    let rig = rig(widgets(&free()));
    let mut definition = rig.get(DEFINITIONS, "widgets.example.com").unwrap();
    definition["status"]["conditions"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "x"}));
    let request = rig.request(Verb::Update, &format!("{DEFINITIONS}:status")).named("widgets.example.com");
    let written = rig.call(request.body(definition)).map(crate::rig::value).unwrap();
    assert_eq!(written["metadata"]["generation"], 1);
    let found = rig.get(DEFINITIONS, "widgets.example.com").unwrap();
    assert_eq!(conditions(&found)[2], "StatusUpdate=True E2E");
}

#[test]
fn a_dry_run_defines_nothing() {
    let rig = Rig::new();
    let mut request = rig.request(Verb::Create, DEFINITIONS).body(widgets(&free()));
    request.options.dry_run = true;
    rig.call(request).unwrap();
    assert!(rig.list(WIDGETS, |_| ()).unwrap_err().is(ErrorKind::NotFound));
}
