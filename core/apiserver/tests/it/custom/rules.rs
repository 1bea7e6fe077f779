//! Rules in CEL.

use serde_json::{Value, json};
use windlass_kernel::Error;

use super::{DEFINITIONS, WIDGETS, rig, widget, widgets};
use crate::rig::Rig;

fn ruled() -> Value {
    json!({"type": "object", "x-kubernetes-validations": [
            {"rule": "self.least <= self.most", "messageExpression": "'%d is more than %d'.format([self.least, self.most])"},
            {"rule": "!has(self.kind) || self.kind == oldSelf.kind", "message": "kind may not change", "reason": "FieldValueForbidden",
                "fieldPath": ".kind"},
            {"rule": "oldSelf.hasValue() || self.most < 100", "optionalOldSelf": true}],
        "properties": {"least": {"type": "integer", "default": 0}, "most": {"type": "integer", "default": 10},
            "kind": {"type": "string"}, "time-out": {"type": "string", "format": "duration",
                "x-kubernetes-validations": [{"rule": "self >= duration('1s')", "message": "at least a second"}]},
            "ports": {"type": "array", "maxItems": 10, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"],
                "items": {"type": "object", "required": ["port"], "properties": {"port": {"type": "integer"},
                    "name": {"type": "string", "maxLength": 10}},
                    "x-kubernetes-validations": [{"rule": "!has(oldSelf.name) || self.name == oldSelf.name"}]}}}})
}

fn said(result: Result<Value, Error>) -> String {
    let error = result.unwrap_err();
    error.message().split_once("is invalid: ").map_or(error.message(), |(_, why)| why).to_owned()
}

#[test]
fn rules_are_checked_with_their_messages() {
    let rig = rig(widgets(&ruled()));
    let create = |spec: Value| rig.create(WIDGETS, widget("a", &spec));
    assert_eq!(said(create(json!({"least": 11}))), "spec: Invalid value: \"object\": 11 is more than 10");
    assert_eq!(
        said(create(json!({"most": 100}))),
        "spec: Invalid value: \"object\": failed rule: oldSelf.hasValue() || self.most < 100"
    );
    assert_eq!(
        said(create(json!({"time-out": "10ms"}))),
        "spec.time-out: Invalid value: \"string\": at least a second"
    );
    assert_eq!(
        said(create(json!({"least": "x"}))),
        "[spec.least: Invalid value: \"string\": spec.least in body must be of type integer: \"string\", <nil>: Invalid \
         value: null: some validation rules were not checked because the object was invalid; correct the existing errors to \
         complete validation]"
    );
    create(json!({"time-out": "2s"})).unwrap();
}

#[test]
fn rules_compare_with_what_was() {
    let rig = rig(widgets(&ruled()));
    let made = rig
        .create(WIDGETS, widget("a", &json!({"kind": "x", "ports": [{"port": 1, "name": "a"}, {"port": 2}]})))
        .unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut changed = made.clone();
        change(&mut changed["spec"]);
        rig.update(WIDGETS, changed)
    };
    assert_eq!(said(with(&|spec| spec["kind"] = "y".into())), "spec.kind: Forbidden: kind may not change");
    let moved = json!([{"port": 3, "name": "z"}, {"port": 1, "name": "b"}]);
    assert_eq!(
        said(with(&|spec| spec["ports"] = moved.clone())),
        "spec.ports[1]: Invalid value: \"object\": failed rule: !has(oldSelf.name) || self.name == oldSelf.name"
    );
    with(&|spec| spec["most"] = 200.into()).unwrap();
}

#[test]
fn rules_at_the_root_see_the_name() {
    let mut definition = widgets(&json!({"type": "object"}));
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] =
        json!([{"rule": "self.metadata.name.startsWith('w-')", "message": "w- first"}]);
    let rig = rig(definition);
    assert_eq!(said(rig.create(WIDGETS, widget("a", &json!({})))), "<nil>: Invalid value: \"object\": w- first");
    rig.create(WIDGETS, widget("w-a", &json!({}))).unwrap();
}

#[track_caller]
fn refused(spec: &Value, expect: &str) {
    let rig = Rig::new();
    let wrong = said(rig.create(DEFINITIONS, widgets(spec)));
    assert!(wrong.contains(expect), "{wrong}");
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    let with = |rule: Value| {
        json!({"type": "object", "properties": {"a": {"type": "string"},
        "list": {"type": "array", "items": {"type": "string"}}}, "x-kubernetes-validations": [rule]})
    };
    refused(&with(json!({"rule": "self.a =="})), "compilation failed: ERROR: <input>:1:");
    refused(&with(json!({"rule": "self.b == 'x'"})), "compilation failed: undefined field 'b'");
    refused(&with(json!({"rule": ""})), "rule: Required value: rule is not specified");
    refused(&with(json!({"rule": "true", "reason": "Other"})), "Unsupported value: \"Other\"");
    refused(&with(json!({"rule": "true", "fieldPath": ".zzz"})), "fieldPath must be a valid path");
    refused(
        &with(json!({"rule": "self.list.all(x, self.list.all(y, self.list.all(z, x == y || y == z)))"})),
        "estimated rule cost exceeds budget by factor of more than 100x",
    );
}

#[test]
fn a_rule_that_would_run_for_long_is_cut_short() {
    // By its schema the list is short; what is preserved is not.
    let spec = json!({"type": "object", "properties": {"m": {"type": "object", "additionalProperties": {"type": "string",
        "maxLength": 20}, "maxProperties": 100}},
        "x-kubernetes-validations": [{"rule": "self.m.all(a, self.m.all(b, self.m[a] == self.m[b] || a != b))"}]});
    let rig = rig(widgets(&spec));
    let many = |count: usize| -> Value { (0..count).map(|at| (format!("k{at}"), json!("v"))).collect() };
    rig.create(WIDGETS, widget("a", &json!({"m": many(50)}))).unwrap();
    let long = said(rig.create(WIDGETS, widget("b", &json!({"m": many(3000)}))));
    assert!(long.contains("spec.m: Too many: 3000: must have at most 100 items"), "{long}");
}
