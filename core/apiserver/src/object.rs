//! Reading and changing the metadata of objects that are JSON trees. What the fields mean is decided elsewhere.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// An object's metadata, read.
pub(crate) fn meta<'o>(object: &'o Value, field: &str) -> &'o Value {
    &object["metadata"][field]
}

/// A text of an object's metadata; empty where it is absent.
pub(crate) fn meta_text<'o>(object: &'o Value, field: &str) -> &'o str {
    meta(object, field).as_str().unwrap_or_default()
}

/// An object's name.
pub(crate) fn name(object: &Value) -> &str {
    meta_text(object, "name")
}

/// An object's metadata, to change; made where there is none.
pub(crate) fn meta_mut(object: &mut Value) -> &mut Map<String, Value> {
    child_mut(object, "metadata")
}

/// A field that is an object, to change; made where there is none.
pub(crate) fn child_mut<'o>(object: &'o mut Value, field: &str) -> &'o mut Map<String, Value> {
    as_map(as_map(object).entry(field).or_insert_with(|| Value::Object(Map::new())))
}

/// The value as a map; anything else becomes an empty one.
pub(crate) fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was just made one"),
    }
}

/// Sets a metadata field, or removes it.
pub(crate) fn set_meta(object: &mut Value, field: &str, value: Option<Value>) {
    let meta = meta_mut(object);
    match value {
        Some(value) => {
            meta.insert(field.into(), value);
        }
        None => {
            meta.remove(field);
        }
    }
}

/// An object's labels, to change; made where there are none.
#[cfg(feature = "http")]
pub(crate) fn labels_mut(object: &mut Value) -> &mut Map<String, Value> {
    as_map(meta_mut(object).entry("labels").or_insert_with(|| Value::Object(Map::new())))
}

/// An object's finalizers.
pub(crate) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    meta(object, "finalizers").as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Whether a value is absent or says nothing.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A time as objects state it: whole seconds.
pub(crate) fn time(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// A time as leases state it: microseconds.
#[cfg(feature = "http")]
pub(crate) fn micro_time(at: Timestamp) -> String {
    format!("{at:.6}")
}
