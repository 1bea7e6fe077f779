//! Small texts that many rows share: lists, selectors, containers, times.

use jiff::Timestamp;
use serde_json::Value;

use super::age;
use crate::kinds::field::{dig, items, lookup, text};
use crate::kinds::scale::selector_text;

/// What stands for nothing at all.
pub(super) const NONE: &str = "<none>";
/// What stands for a choice that was not made.
pub(super) const UNSET: &str = "<unset>";
/// What stands for something that cannot be told.
pub(super) const UNKNOWN: &str = "<unknown>";

/// The object's name.
pub(super) fn name(object: &Value) -> Value {
    text(object, &["metadata", "name"]).into()
}

/// How long ago the object was made.
pub(super) fn born(object: &Value, now: Timestamp) -> Value {
    since(object, &["metadata", "creationTimestamp"], now)
}

/// How long ago the time at a path was.
pub(super) fn since(object: &Value, path: &[&str], now: Timestamp) -> Value {
    age(text(object, path), now).into()
}

/// The text at a path.
pub(super) fn cell(object: &Value, path: &[&str]) -> Value {
    text(object, path).into()
}

/// The text at a path, or another when there is none.
pub(super) fn cell_or(object: &Value, path: &[&str], other: &str) -> Value {
    match text(object, path) {
        "" => other.into(),
        found => found.into(),
    }
}

/// The whole number at a path, zero when there is none.
pub(super) fn number(object: &Value, path: &[&str]) -> i64 {
    dig(object, path).as_i64().unwrap_or_default()
}

/// Whether the condition of this type is true.
pub(super) fn condition(object: &Value, kind: &str) -> bool {
    items(object, &["status", "conditions"]).any(|c| text(c, &["type"]) == kind && text(c, &["status"]) == "True")
}

/// A selector as text; `<none>` when it selects nothing in particular.
pub(super) fn selector(selector: &Value) -> Value {
    match selector_text(selector).as_str() {
        "" => NONE.into(),
        shown => shown.into(),
    }
}

/// The names of the containers of a pod's spec, and their images.
pub(super) fn containers(spec: &Value) -> [Value; 2] {
    ["name", "image"].map(|field| {
        let all: Vec<&str> = items(spec, &["containers"]).map(|container| text(container, &[field])).collect();
        all.join(",").into()
    })
}

/// The first `most` of some texts, and how many more there are.
pub(super) fn some_of(all: &[String], most: usize, nothing: &str) -> Value {
    if all.is_empty() {
        return nothing.into();
    }
    let mut shown = all[..all.len().min(most)].join(",");
    if all.len() > most {
        shown.push_str(&format!(" + {} more...", all.len() - most));
    }
    shown.into()
}

/// Texts with a comma between them, or another text when there are none.
pub(super) fn joined<'a>(all: impl Iterator<Item = &'a str>, other: &str) -> Value {
    let all: Vec<&str> = all.collect();
    if all.is_empty() { other.into() } else { all.join(",").into() }
}

/// A number, a text or a percentage as it was written, or another text when there is none.
pub(super) fn plain(value: &Value, other: &str) -> Value {
    match value {
        Value::Null => other.into(),
        Value::String(text) => text.as_str().into(),
        value => value.to_string().into(),
    }
}

/// `True` or `False`, or another text when there is neither.
pub(super) fn truth(value: &Value, other: &str) -> Value {
    match value.as_bool() {
        Some(true) => "True".into(),
        Some(false) => "False".into(),
        None => other.into(),
    }
}

/// Whether the object is on its way out.
pub(super) fn leaving(object: &Value) -> bool {
    !dig(object, &["metadata", "deletionTimestamp"]).is_null()
}

/// How many entries a map or list has.
pub(super) fn count(object: &Value, field: &str) -> usize {
    match lookup(object, field) {
        Value::Object(entries) => entries.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    }
}
