//! The schema of a version: what of OpenAPI may be used, what goes with what, and defaults that fit.

use serde_json::Value;

use super::structural;
use crate::custom;
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, lookup};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
/// What the root may have beside fields where the status is written apart.
const AT_ROOT: [&str; 25] = [
    "description",
    "type",
    "format",
    "title",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "multipleOf",
    "required",
    "items",
    "properties",
    "externalDocs",
    "example",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
    "maxProperties",
    "minProperties",
    "nullable",
];
/// Deeper schemas are refused, so that no walk over one runs out of stack.
const DEPTH: usize = 60;

/// Checks a schema.
pub(super) fn check(schema: &Field<'_, '_>, status_apart: bool, errors: &mut Errors) {
    if depth(schema.value()) > DEPTH {
        errors.forbidden(schema, format!("schemas may not nest deeper than {DEPTH}"));
        return;
    }
    if status_apart && schema.entries().any(|(name, _)| !AT_ROOT.contains(&name)) {
        let allowed = "only the fields of an object and its value validations are allowed at the root of the schema if \
                       the status subresource is enabled";
        errors.invalid(schema, allowed);
    }
    if schema.get("nullable").is_true() {
        errors.forbidden(&schema.get("nullable"), "nullable cannot be true at the root");
    }
    let before = errors.len();
    place(schema, errors);
    structural::check(schema, errors);
    if errors.len() == before {
        defaults(schema, errors);
        rules(schema, errors);
    }
}

#[cfg(feature = "cel")]
fn rules(schema: &Field<'_, '_>, errors: &mut Errors) {
    custom::check_rules(schema, errors);
}

#[cfg(not(feature = "cel"))]
fn rules(schema: &Field<'_, '_>, errors: &mut Errors) {
    let own = schema.get("x-kubernetes-validations");
    if !own.is_empty() {
        errors.forbidden(&own, "this server is built without CEL (cargo feature `cel`)");
    }
    each_below(schema, &mut |below| rules(below, errors));
}

fn depth(schema: &Value) -> usize {
    match schema {
        Value::Object(fields) => {
            fields.values().map(depth).max().unwrap_or_default() + usize::from(fields.contains_key("type"))
        }
        Value::Array(items) => items.iter().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// The places right below a place: fields, items and values of maps.
fn each_below(schema: &Field<'_, '_>, each: &mut dyn FnMut(&Field<'_, '_>)) {
    let properties = schema.get("properties");
    for (name, _) in properties.entries() {
        each(&properties.key(name));
    }
    for name in ["items", "additionalProperties"] {
        let own = schema.get(name);
        if own.value().is_object() {
            each(&own);
        }
    }
}

fn place(schema: &Field<'_, '_>, errors: &mut Errors) {
    unsupported(schema, errors);
    let kind = schema.get("type");
    if kind.text() == "null" {
        errors.forbidden(&kind, "type cannot be set to null, use nullable as an alternative");
    } else if !kind.is_empty() && !TYPES.contains(&kind.text()) {
        errors.not_supported(&kind, &TYPES);
    }
    let (additional, properties) = (schema.get("additionalProperties"), schema.get("properties"));
    if additional.present() && !properties.is_empty() && *additional.value() != Value::Bool(true) {
        errors.forbidden(&additional, "additionalProperties and properties are mutual exclusive");
    }
    let preserves = schema.get("x-kubernetes-preserve-unknown-fields");
    if *preserves.value() == Value::Bool(false) {
        errors.invalid(&preserves, "must be true or undefined");
    }
    map_type(schema, errors);
    list_type(schema, errors);
    each_below(schema, &mut |below| place(below, errors));
    for name in ["allOf", "anyOf", "oneOf"] {
        schema.get(name).items().for_each(|nested| place(&nested, errors));
    }
    let not = schema.get("not");
    if not.present() {
        place(&not, errors);
    }
}

/// What OpenAPI has and definitions do not.
fn unsupported(schema: &Field<'_, '_>, errors: &mut Errors) {
    for name in ["definitions", "dependencies", "id", "additionalItems", "patternProperties", "$schema"] {
        let own = schema.get(name);
        if own.present() && !own.is_empty() {
            errors.forbidden(&own, format!("{name} is not supported"));
        }
    }
    let reference = schema.get("$ref");
    if !reference.is_empty() {
        errors.forbidden(&reference, "$ref is not supported");
    }
    let unique = schema.get("uniqueItems");
    if unique.is_true() {
        errors.forbidden(&unique, "uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
    }
    if schema.get("items").value().is_array() {
        errors.forbidden(&schema.get("items"), "items must be a schema object and not an array");
    }
}

fn map_type(schema: &Field<'_, '_>, errors: &mut Errors) {
    let (own, kind) = (schema.get("x-kubernetes-map-type"), schema.get("type"));
    if !own.present() {
        return;
    }
    if kind.text() != "object" {
        let why = "must be object if x-kubernetes-map-type is specified";
        if kind.is_empty() { errors.required(&kind, why) } else { errors.invalid(&kind, why) }
    }
    errors.optional_one_of(&own, &["atomic", "granular"]);
}

fn list_type(schema: &Field<'_, '_>, errors: &mut Errors) {
    let (own, keys) = (schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys"));
    let (kind, items) = (schema.get("type"), schema.get("items"));
    if own.present() {
        if kind.text() != "array" {
            let why = "must be array if x-kubernetes-list-type is specified";
            if kind.is_empty() { errors.required(&kind, why) } else { errors.invalid(&kind, why) }
        }
        errors.optional_one_of(&own, &["atomic", "set", "map"]);
    }
    if !keys.is_empty() && own.text() != "map" {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        if own.present() { errors.invalid(&own, why) } else { errors.required(&own, why) }
    }
    if matches!(own.text(), "set" | "map") && items.get("nullable").is_true() {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {}", own.text());
        errors.forbidden(&items.get("nullable"), why);
    }
    match own.text() {
        "set" => match items.get("type").text() {
            "object" if items.get("x-kubernetes-map-type").text() != "atomic" => errors.invalid(
                &items.get("x-kubernetes-map-type"),
                "must be atomic as item of a list with x-kubernetes-list-type=set",
            ),
            "array" if !matches!(items.get("x-kubernetes-list-type").text(), "" | "atomic") => errors.invalid(
                &items.get("x-kubernetes-list-type"),
                "must be atomic as item of a list with x-kubernetes-list-type=set",
            ),
            _ => {}
        },
        "map" => map_keys(&keys, &items, errors),
        _ => {}
    }
}

fn map_keys(keys: &Field<'_, '_>, items: &Field<'_, '_>, errors: &mut Errors) {
    if keys.is_empty() {
        errors.required(keys, "must not be empty if x-kubernetes-list-type is map");
    }
    let kind = items.get("type");
    if kind.text() != "object" {
        errors.invalid(&kind, "must be object if parent array's x-kubernetes-list-type is map");
        return;
    }
    let properties = items.get("properties");
    let required: Vec<&str> = items.get("required").strings().collect();
    let mut seen: Vec<&str> = Vec::new();
    for key in keys.items() {
        let own = properties.key(key.text());
        if seen.contains(&key.text()) {
            errors.duplicate(&key);
            continue;
        }
        seen.push(key.text());
        if !own.present() {
            errors.invalid(&key, "entries must all be names of item properties");
            continue;
        }
        if matches!(own.get("type").text(), "array" | "object") {
            let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            errors.invalid(&own.get("type"), why);
        }
        if !required.contains(&key.text()) && !own.get("default").present() {
            errors.required(
                &own.get("default"),
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            );
        }
        if own.get("nullable").is_true() {
            errors.forbidden(
                &own.get("nullable"),
                "this property is in x-kubernetes-list-map-keys, so it cannot be nullable",
            );
        }
    }
}

/// Checks that defaults fit their own place.
fn defaults(schema: &Field<'_, '_>, errors: &mut Errors) {
    let own = schema.get("default");
    if own.present() {
        let node = custom::Node::read(schema.value());
        let mut value = own.value().clone();
        if !custom::prune_below(&mut value, &node).is_empty() {
            errors.invalid(&own, "must not have unknown fields");
        }
        for cause in custom::check_default(own.value(), &node) {
            let place = own.path().to_string();
            let below = cause.field.strip_prefix("default").unwrap_or(&cause.field);
            errors.add(windlass_kernel::error::Cause { field: format!("{place}{below}"), ..cause });
        }
    } else if lookup(schema.value(), "default").is_null()
        && schema.value().get("default").is_some()
        && !schema.get("nullable").is_true()
    {
        errors.invalid(&own, "must not be null");
    }
    each_below(schema, &mut |below| defaults(below, errors));
}
