//! Whether a schema is structural: every place has one type, said outside of `allOf`, `anyOf`, `oneOf` and `not`.

use serde_json::{Value, json};

use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, lookup};

/// Where in an object a place of the schema is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Checks that the schema is structural.
pub(super) fn check(schema: &Field<'_, '_>, errors: &mut Errors) {
    let mut found = Errors::new();
    place(schema, Level::Root, &mut found);
    complete(schema, &mut found);
    errors.append(found.sorted());
}

fn flag(schema: &Field<'_, '_>, name: &str) -> bool {
    schema.get(name).is_true()
}

fn place(schema: &Field<'_, '_>, level: Level, errors: &mut Errors) {
    let kind = schema.get("type");
    let items = schema.get("items");
    if kind.text() == "array" && !items.present() {
        errors.required(&items, "must be specified");
    }
    if items.value().is_object() {
        place(&items, Level::Item, errors);
    }
    let properties = schema.get("properties");
    for (name, _) in properties.entries() {
        place(&properties.key(name), Level::Field, errors);
    }
    let additional = schema.get("additionalProperties");
    let embeds = flag(schema, "x-kubernetes-embedded-resource");
    if additional.present() {
        if level == Level::Root {
            errors.forbidden(&additional, "must not be used at the root");
        }
        if additional.value().is_object() {
            place(&additional, Level::Field, errors);
        }
        if embeds {
            errors.forbidden(&additional, "must not be used if x-kubernetes-embedded-resource is set");
        }
    }
    extensions(schema, errors);
    let (any, all) = int_or_string(schema);
    combinations(schema, any, all, errors);
    let preserves = flag(schema, "x-kubernetes-preserve-unknown-fields");
    if embeds && kind.text() != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        if kind.is_empty() { errors.required(&kind, why) } else { errors.invalid(&kind, why) }
    } else if kind.is_empty() && !flag(schema, "x-kubernetes-int-or-string") && !preserves {
        let why = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.required(&kind, why);
    }
    if level == Level::Root && !kind.is_empty() && kind.text() != "object" {
        errors.invalid(&kind, "must be object at the root");
    }
    if embeds && !preserves && properties.is_empty() {
        errors.required(
            &properties,
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        );
    }
    if level == Level::Root || embeds {
        metadata(&properties, level, errors);
    }
}

/// What every object has, a schema can hardly restrict.
fn metadata(properties: &Field<'_, '_>, level: Level, errors: &mut Errors) {
    for name in ["apiVersion", "kind"] {
        let own = properties.key(name);
        let kind = own.get("type");
        if own.present() && kind.text() != "string" {
            errors.invalid(&kind.with(&json!(kind.text())), "must be string");
        }
    }
    let meta = properties.key("metadata");
    if !meta.present() {
        return;
    }
    let kind = meta.get("type");
    if kind.text() != "object" {
        errors.invalid(&kind.with(&json!(kind.text())), "must be object");
    }
    if level == Level::Root {
        let named = |name: &str| matches!(name, "name" | "generateName");
        let own = |field: &str| matches!(field, "type" | "properties" | "description");
        let plain = meta.entries().all(|(field, _)| own(field));
        if !plain || !meta.get("properties").entries().all(|(name, _)| named(name)) {
            errors.forbidden(
                &meta,
                "must not specify anything other than name and generateName, but metadata is implicitly specified",
            );
        }
    }
}

fn extensions(schema: &Field<'_, '_>, errors: &mut Errors) {
    if !flag(schema, "x-kubernetes-int-or-string") {
        return;
    }
    for name in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
        if flag(schema, name) {
            errors.invalid(&schema.get(name), "must be false if x-kubernetes-int-or-string is true");
        }
    }
}

/// Whether `anyOf`, or that of the first `allOf`, is the one that goes with int-or-string and may state types.
fn int_or_string(schema: &Field<'_, '_>) -> (bool, bool) {
    let pattern = json!([{"type": "integer"}, {"type": "string"}]);
    let first = schema.value().pointer("/allOf/0/anyOf");
    (*schema.get("anyOf").value() == pattern, first == Some(&pattern))
}

fn combinations(schema: &Field<'_, '_>, skip_any: bool, skip_all: bool, errors: &mut Errors) {
    for name in ["anyOf", "allOf", "oneOf"] {
        let list = schema.get(name);
        for (at, nested) in list.items().enumerate() {
            if name != "anyOf" || !skip_any {
                inside(&nested, name == "allOf" && at == 0 && skip_all, errors);
            }
        }
    }
    let not = schema.get("not");
    if not.present() {
        inside(&not, false, errors);
    }
    let pattern = schema.get("pattern");
    if let Some(why) = (!pattern.is_empty()).then(|| crate::custom::compile(pattern.text()).err()).flatten() {
        errors.invalid(&pattern, format!("must be a valid regular expression, but isn't: {why}"));
    }
}

/// Checks a schema inside a combination: it says what values are like and nothing of their type.
fn inside(schema: &Field<'_, '_>, skip_any: bool, errors: &mut Errors) {
    combinations(schema, skip_any, false, errors);
    let items = schema.get("items");
    if items.value().is_object() {
        inside(&items, false, errors);
    }
    let properties = schema.get("properties");
    for (name, _) in properties.entries() {
        inside(&properties.key(name), false, errors);
    }
    let empty = "must be empty to be structural";
    let undefined = "must be undefined to be structural";
    let off = "must be false to be structural";
    let forbidden = [
        ("type", empty),
        ("additionalProperties", undefined),
        ("default", undefined),
        ("title", empty),
        ("description", empty),
        ("nullable", off),
        ("externalDocs", undefined),
        ("x-kubernetes-preserve-unknown-fields", off),
        ("x-kubernetes-embedded-resource", off),
        ("x-kubernetes-int-or-string", off),
        ("x-kubernetes-list-map-keys", empty),
        ("x-kubernetes-list-type", undefined),
        ("x-kubernetes-map-type", undefined),
        ("x-kubernetes-validations", empty),
    ];
    for (name, why) in forbidden {
        let own = schema.get(name);
        if own.present() && *own.value() != json!(false) && !(why == empty && own.is_empty()) {
            errors.forbidden(&own, why);
        }
    }
    let meta = properties.key("metadata");
    if meta.present() {
        errors.forbidden(&meta, "must not be specified in a nested context");
    }
}

/// Checks that what combinations speak of is there outside of them.
fn complete(schema: &Field<'_, '_>, errors: &mut Errors) {
    spoken_of(schema, schema.value(), schema, errors);
    let properties = schema.get("properties");
    for (name, _) in properties.entries() {
        complete(&properties.key(name), errors);
    }
    for name in ["items", "additionalProperties"] {
        let own = schema.get(name);
        if own.value().is_object() {
            complete(&own, errors);
        }
    }
}

/// Checks the combinations of `schema`; `outside` is what stands outside of all combinations, at `place`.
fn spoken_of(schema: &Field<'_, '_>, outside: &Value, place: &Field<'_, '_>, errors: &mut Errors) {
    for name in ["anyOf", "allOf", "oneOf"] {
        for nested in schema.get(name).items() {
            within(&nested, outside, place, errors);
        }
    }
    let not = schema.get("not");
    if not.present() {
        within(&not, outside, place, errors);
    }
}

fn within(nested: &Field<'_, '_>, outside: &Value, place: &Field<'_, '_>, errors: &mut Errors) {
    spoken_of(nested, outside, place, errors);
    let why = |path: &Field<'_, '_>| format!("because it is defined in {}", path.path());
    let items = nested.get("items");
    if items.value().is_object() {
        let (own, at) = (lookup(outside, "items"), place.get("items"));
        if own.is_object() { within(&items, own, &at, errors) } else { errors.required(&at, &why(&items)) }
    }
    let properties = nested.get("properties");
    let at = place.get("properties");
    for (name, _) in properties.entries() {
        let (inner, at) = (properties.key(name), at.key(name));
        match (lookup(lookup(outside, "properties"), name), lookup(outside, "additionalProperties")) {
            (own @ Value::Object(_), _) | (_, own @ Value::Object(_)) => within(&inner, own, &at, errors),
            _ if lookup(outside, "x-kubernetes-preserve-unknown-fields").as_bool() == Some(true) => {}
            _ => errors.required(&at, &why(&inner)),
        }
    }
}
