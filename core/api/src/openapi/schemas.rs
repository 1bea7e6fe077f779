//! The schema of a definition: its properties with types, defaults, and how lists are merged.

use super::Describe;
use crate::r#gen::schema::{KINDS, UNPUBLISHED, ZERO_DEFAULTS};
use crate::resources::GroupVersion;
use crate::schema::{Codec, Field, Kind, ListType, Message, Shape, Zero};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A definition's schema as it stands in the document of a group and version.
#[must_use]
pub fn schema(of: &Message, at: Option<GroupVersion>, describe: Describe<'_>) -> Value {
    let mut out = match of.codec {
        Codec::Plain => object(of, describe),
        Codec::Time | Codec::MicroTime => json!({"type": "string", "format": "date-time"}),
        Codec::Duration => json!({"type": "string"}),
        Codec::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Codec::IntOrString => json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
        Codec::RawExtension | Codec::FieldsV1 => json!({"type": "object"}),
        Codec::Json if of.short_name() == "Patch" => json!({"type": "object"}),
        Codec::Json | Codec::SchemaOrBool | Codec::SchemaOrArray | Codec::SchemaOrStrings => json!({}),
        Codec::Strings => json!({"type": "array", "items": {"type": "string"}}),
    };
    if let Some(text) = describe(of.name, "") {
        out["description"] = text.into();
    }
    let kinds = kinds(of, at);
    if !kinds.is_empty() {
        out["x-kubernetes-group-version-kind"] = kinds.into();
    }
    if of.is_atomic() {
        out["x-kubernetes-map-type"] = "atomic".into();
    }
    out
}

/// The kinds that a definition stands for; options and watch events are kinds of the document's group, too.
fn kinds(of: &Message, at: Option<GroupVersion>) -> Vec<Value> {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let own = KINDS.iter().filter(|k| k.3.name == of.name && k.0 != "meta.k8s.io");
    let mut out: Vec<Value> = own.map(|k| kind(k.0, k.1, k.2)).collect();
    if let (Some(at), "DeleteOptions" | "WatchEvent") = (at, of.short_name()) {
        let here = kind(at.group, at.version, of.short_name());
        if !out.contains(&here) {
            out.push(here);
        }
    }
    out
}

fn object(of: &Message, describe: Describe<'_>) -> Value {
    let mut properties = Map::new();
    for field in of.fields.iter().filter(|f| !f.inline) {
        properties.insert(field.json.to_owned(), property(of, field, describe));
    }
    let mut out = json!({"type": "object"});
    if !properties.is_empty() {
        out["properties"] = properties.into();
    }
    let required: Vec<&str> = of.fields.iter().filter(|f| f.required).map(|f| f.json).collect();
    if !required.is_empty() {
        out["required"] = required.into();
    }
    out
}

fn property(of: &Message, field: &Field, describe: Describe<'_>) -> Value {
    let mut out = match (field.shape, field.of) {
        (Shape::One, Kind::Message(m)) if m.codec != Codec::Strings => json!({"allOf": [reference(m)]}),
        (Shape::One, kind) => value(kind),
        (Shape::List, kind) => json!({"type": "array", "items": value(kind)}),
        (Shape::Map, kind) => json!({"type": "object", "additionalProperties": value(kind)}),
    };
    if let Some(default) = default(of, field) {
        out["default"] = default;
    }
    if let Some(text) = describe(of.name, field.json) {
        out["description"] = text.into();
    }
    let merge = &field.merge;
    let list_type = match merge.list {
        ListType::Default => None,
        ListType::Atomic => Some("atomic"),
        ListType::Set => Some("set"),
        ListType::Map => Some("map"),
    };
    let atomic_type = field.shape == Shape::One && matches!(field.of, Kind::Message(m) if m.is_atomic());
    match (field.shape, field.of, list_type) {
        (Shape::List, _, Some(name)) | (_, Kind::Bytes, Some(name)) => out["x-kubernetes-list-type"] = name.into(),
        (_, _, Some(name)) if !atomic_type => out["x-kubernetes-map-type"] = name.into(),
        (_, _, None) if atomic_type => out["x-kubernetes-map-type"] = "granular".into(),
        _ => {}
    }
    if !merge.keys.is_empty() {
        out["x-kubernetes-list-map-keys"] = merge.keys.into();
    }
    let strategies: Vec<&str> =
        [(merge.merge, "merge"), (merge.retain_keys, "retainKeys")].into_iter().filter(|s| s.0).map(|s| s.1).collect();
    if !strategies.is_empty() {
        out["x-kubernetes-patch-strategy"] = strategies.join(",").into();
    }
    if !merge.key.is_empty() {
        out["x-kubernetes-patch-merge-key"] = merge.key.into();
    }
    out
}

fn default(of: &Message, field: &Field) -> Option<Value> {
    if let Some(default) = of.default_of(field.json) {
        return serde_json::from_str(default).ok();
    }
    let has_zero = field.zero == Zero::Write || ZERO_DEFAULTS.binary_search(&(of.name, field.json)).is_ok();
    if field.shape != Shape::One || !has_zero {
        return None;
    }
    match field.of {
        Kind::String => Some("".into()),
        Kind::Bool => Some(false.into()),
        Kind::Int32 | Kind::Int64 | Kind::Double => Some(0.into()),
        Kind::Message(m) if m.codec == Codec::Plain => Some(json!({})),
        Kind::Message(_) | Kind::Bytes => None,
    }
}

fn value(of: Kind) -> Value {
    match of {
        Kind::String => json!({"type": "string"}),
        Kind::Bytes => json!({"type": "string", "format": "byte"}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Int32 => json!({"type": "integer", "format": "int32"}),
        Kind::Int64 => json!({"type": "integer", "format": "int64"}),
        Kind::Double => json!({"type": "number", "format": "double"}),
        Kind::Message(m) if m.codec == Codec::Strings => json!({"type": "array", "items": {"type": "string"}}),
        Kind::Message(m) => reference(m),
    }
}

fn reference(of: &Message) -> Value {
    json!({"$ref": format!("#/components/schemas/{}", of.name)})
}

/// The definitions that are reachable from the given ones.
pub(super) fn closure(roots: impl IntoIterator<Item = String>) -> BTreeMap<&'static str, &'static Message> {
    let mut out = BTreeMap::new();
    let mut next: Vec<&'static Message> = roots.into_iter().filter_map(|name| Message::named(&name)).collect();
    while let Some(message) = next.pop() {
        if UNPUBLISHED.binary_search(&message.name).is_ok() || out.insert(message.name, message).is_some() {
            continue;
        }
        for field in message.fields.iter().filter(|f| !f.inline) {
            if let Kind::Message(of) = field.of {
                next.push(of);
            }
        }
    }
    out
}
