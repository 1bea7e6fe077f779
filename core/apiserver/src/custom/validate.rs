//! Checking a custom object against its structural schema, in the words of upstream's validator.
//!
//! On an update what did not change is taken as it is, so that a stricter schema does not hold up unrelated changes
//! (KEP-4008).

mod value;

use serde_json::Value;
use windlass_kernel::error::Cause;

use super::{
    formats,
    schema::{Additional, Kind, List, Node},
    unique::keyed,
};
use crate::kinds::Errors;

/// Checks a whole custom object; `old` is what it was.
pub(super) fn check(object: &Value, old: Option<&Value>, node: &Node, errors: &mut Errors) {
    let mut found = Vec::new();
    check_value(object, old, node, "", Place::Root, &mut found);
    found.into_iter().for_each(|cause| errors.add(cause));
}

/// Checks a default; the fields that are named begin with `default`.
pub(crate) fn check_default(value: &Value, node: &Node) -> Vec<Cause> {
    let mut found = Vec::new();
    check_value(value, None, node, "default", Place::Below, &mut found);
    found
}

/// Whether what every object has is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Below,
}

fn check_value(value: &Value, old: Option<&Value>, node: &Node, path: &str, place: Place, found: &mut Vec<Cause>) {
    if old == Some(value) {
        return;
    }
    value::type_of(value, node, path, found);
    if !value.is_null() {
        alternatives(value, node, path, found);
        if let Value::String(text) = value {
            value::text(text, node, path, found);
        }
        if let (Value::String(text), Some(format)) = (value, &node.checks.format)
            && !formats::matches(format, text)
        {
            let said = format!("{path} in body must be of type {format}: {text:?}");
            found.push(mistyped(path, value, &said));
        }
        value::number(value, node, path, found);
        if let Value::Array(items) = value {
            value::count(items.len(), node.checks.items, "items", path, value, found);
            list(items, old, node, path, found);
        }
    }
    value::choice(value, node, path, found);
    if let Value::Object(fields) = value {
        value::count(fields.len(), node.checks.properties, "properties", path, value, found);
        object(fields, old, node, path, place, found);
    }
}

fn list(items: &[Value], old: Option<&Value>, node: &Node, path: &str, found: &mut Vec<Cause>) {
    let Some(of) = &node.items else { return };
    let before = old.and_then(Value::as_array);
    for (at, item) in items.iter().enumerate() {
        // Only what has keys can be told to be the same item.
        let before = match &node.list {
            List::Map(keys) => {
                let own = keyed(item, keys, node);
                before.and_then(|all| all.iter().find(|other| keyed(other, keys, node) == own))
            }
            List::Set => before.and_then(|all| all.iter().find(|other| *other == item)),
            List::Atomic => None,
        };
        check_value(item, before, of, &format!("{path}[{at}]"), Place::Below, found);
    }
}

fn object(
    fields: &serde_json::Map<String, Value>,
    old: Option<&Value>,
    node: &Node,
    path: &str,
    place: Place,
    found: &mut Vec<Cause>,
) {
    let checks = &node.checks;
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for name in checks.required.iter().filter(|name| !fields.contains_key(*name)) {
        let field = below(name);
        found.push(Cause { reason: "FieldValueRequired".into(), message: "Required value".into(), field });
    }
    for (name, inner) in fields {
        let before = old.and_then(|old| old.get(name));
        let known = match (node.properties.get(name), &node.additional) {
            (Some(known), _) => Some(known),
            (None, Additional::Each(each)) => Some(&**each),
            (None, Additional::Any | Additional::Unsaid) => None,
        };
        let own = place == Place::Root && matches!(name.as_str(), "apiVersion" | "kind");
        if let Some(known) = known.filter(|_| !own) {
            check_value(inner, before, known, &below(name), Place::Below, found);
        }
    }
}

fn alternatives(value: &Value, node: &Node, path: &str, found: &mut Vec<Cause>) {
    let checks = &node.checks;
    let attempt = |node: &Node| {
        let mut found = Vec::new();
        check_value(value, None, node, path, Place::Below, &mut found);
        found
    };
    if !checks.any_of.is_empty() {
        let failures: Vec<Vec<Cause>> = checks.any_of.iter().map(attempt).collect();
        if failures.iter().all(|failed| !failed.is_empty()) {
            found.push(composite(&format!("{path:?} must validate at least one schema (anyOf)")));
            found.extend(least(failures));
        }
    }
    if !checks.one_of.is_empty() {
        let failures: Vec<Vec<Cause>> = checks.one_of.iter().map(attempt).collect();
        match failures.iter().filter(|failed| failed.is_empty()).count() {
            1 => {}
            0 => {
                let why = "must validate one and only one schema (oneOf). Found none valid";
                found.push(composite(&format!("{path:?} {why}")));
                found.extend(least(failures));
            }
            several => {
                let why = "must validate one and only one schema (oneOf). Found";
                found.push(composite(&format!("{path:?} {why} {several} valid alternatives")));
            }
        }
    }
    if !checks.all_of.is_empty() {
        let failures: Vec<Vec<Cause>> = checks.all_of.iter().map(attempt).collect();
        let valid = failures.iter().filter(|failed| failed.is_empty()).count();
        if valid < failures.len() {
            found.extend(failures.into_iter().flatten());
            let more = if valid == 0 { ". None validated" } else { "" };
            found.push(composite(&format!("{path:?} must validate all the schemas (allOf){more}")));
        }
    }
    if checks.not.as_ref().is_some_and(|not| attempt(not).is_empty()) {
        found.push(composite(&format!("{path:?} must not validate the schema (not)")));
    }
}

/// What is wrong by the alternative that comes nearest.
fn least(failures: Vec<Vec<Cause>>) -> Vec<Cause> {
    failures.into_iter().min_by_key(Vec::len).unwrap_or_default()
}

/// An error of a combination of schemas, which has no place of its own.
fn composite(why: &str) -> Cause {
    Cause { reason: "FieldValueInvalid".into(), message: format!("Invalid value: \"\": {why}"), field: "<nil>".into() }
}

fn place(path: &str) -> String {
    if path.is_empty() { "<nil>".into() } else { path.to_owned() }
}

fn mistyped(path: &str, shown: &Value, why: &str) -> Cause {
    let message = format!("Invalid value: {shown}: {why}");
    Cause { reason: "FieldValueTypeInvalid".into(), message, field: place(path) }
}

fn invalid(path: &str, shown: &Value, why: &str) -> Cause {
    let message = format!("Invalid value: {shown}: {why}");
    Cause { reason: "FieldValueInvalid".into(), message, field: place(path) }
}

/// The name of a value's type.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => Kind::Boolean.as_str(),
        Value::Number(number) if number.is_f64() => Kind::Number.as_str(),
        Value::Number(_) => Kind::Integer.as_str(),
        Value::String(_) => Kind::String.as_str(),
        Value::Array(_) => Kind::Array.as_str(),
        Value::Object(_) => Kind::Object.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: &Value, object: &Value, old: Option<&Value>, expect: &str) {
        let mut errors = Errors::new();
        super::check(object, old, &Node::read(schema), &mut errors);
        assert_eq!(errors.sentence(), expect);
    }

    fn spec(of: &Value) -> Value {
        json!({"type": "object", "properties": {"spec": of}})
    }

    #[test]
    fn values_are_refused_in_upstreams_words() {
        let of =
            |schema: Value, value: Value, expect: &str| check(&spec(&schema), &json!({"spec": value}), None, expect);
        let typed = |kind: &str| json!({"type": kind});
        of(
            typed("integer"),
            json!("a"),
            r#"spec: Invalid value: "string": spec in body must be of type integer: "string""#,
        );
        of(
            typed("integer"),
            json!(1.5),
            r#"spec: Invalid value: "number": spec in body must be of type integer: "number""#,
        );
        of(typed("integer"), json!(2.0), "[]");
        of(typed("number"), json!(2), "[]");
        of(typed("string"), json!(null), r#"spec: Invalid value: "null": spec in body must be of type string: "null""#);
        of(
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            r#"spec: Invalid value: "boolean": spec in body must be of type integer,string: "boolean""#,
        );
        of(
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            r#"spec: Unsupported value: "c": supported values: "a", "b""#,
        );
        of(
            json!({"type": "string", "pattern": "^a+$"}),
            json!("b"),
            r#"spec: Invalid value: "b": spec in body should match '^a+$'"#,
        );
        of(
            json!({"type": "string", "minLength": 2}),
            json!("é"),
            r#"spec: Invalid value: "é": spec in body should be at least 2 chars long"#,
        );
        of(json!({"type": "string", "maxLength": 1}), json!("ab"), "spec: Too long: may not be more than 1 byte");
        of(
            json!({"type": "integer", "minimum": 1}),
            json!(0),
            "spec: Invalid value: 0: spec in body should be greater than or equal to 1",
        );
        of(
            json!({"type": "number", "maximum": 1.5, "exclusiveMaximum": true}),
            json!(1.5),
            "spec: Invalid value: 1.5: spec in body should be less than 1.5",
        );
        of(
            json!({"type": "integer", "multipleOf": 3}),
            json!(4),
            "spec: Invalid value: 4: spec in body should be a multiple of 3",
        );
        of(
            json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
            json!(["a", "b"]),
            "spec: Too many: 2: must have at most 1 item",
        );
        of(
            json!({"type": "array", "items": {"type": "string"}, "minItems": 1}),
            json!([]),
            "spec: Invalid value: []: spec in body should have at least 1 items",
        );
        of(
            json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}),
            json!({}),
            "spec.a: Required value",
        );
        of(
            json!({"type": "string", "format": "ipv4"}),
            json!("x"),
            r#"spec: Invalid value: "x": spec in body must be of type ipv4: "x""#,
        );
    }

    #[test]
    fn combinations_name_no_place() {
        let schema = spec(&json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}));
        check(&schema, &json!({"spec": {"a": "1"}}), None, "[]");
        check(
            &schema,
            &json!({"spec": {"a": "1", "b": "2"}}),
            None,
            "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
        );
        check(
            &schema,
            &json!({"spec": {}}),
            None,
            "[<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found none valid, \
             spec.a: Required value]",
        );
    }

    #[test]
    fn what_did_not_change_is_taken_as_it_is() {
        let schema = spec(&json!({"type": "object", "properties": {"a": {"type": "string", "maxLength": 1},
            "b": {"type": "string"}, "list": {"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "properties": {
                "k": {"type": "string"}, "v": {"type": "string", "maxLength": 1}}}}}}));
        let old = json!({"spec": {"a": "long", "b": "x", "list": [{"k": "1", "v": "long"}]}});
        let new = json!({"spec": {"a": "long", "b": "y", "list": [{"k": "0"}, {"k": "1", "v": "long"}]}});
        check(&schema, &new, Some(&old), "[]");
        let changed = json!({"spec": {"a": "longer", "b": "y"}});
        check(&schema, &changed, Some(&old), "spec.a: Too long: may not be more than 1 byte");
    }
}
