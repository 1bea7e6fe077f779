//! Small changes to a JSON tree, as defaulting and preparation make them.

use serde_json::{Map, Value};

/// Sets a field that is absent, null or an empty text.
pub(super) fn default_to(value: &mut Value, name: &str, default: impl Into<Value>) {
    if let Value::Object(fields) = value {
        let missing = match fields.get(name) {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(_) => false,
        };
        if missing {
            fields.insert(name.to_owned(), default.into());
        }
    }
}

/// Sets a number that is absent or zero, where zero means "unset".
pub(super) fn default_number(value: &mut Value, name: &str, default: i64) {
    let unset = value.get(name).is_none_or(|n| n.is_null() || n.as_i64() == Some(0));
    if let (true, Value::Object(fields)) = (unset, value) {
        fields.insert(name.to_owned(), default.into());
    }
}

/// Changes a field that is there.
pub(super) fn inside(value: &mut Value, name: &str, change: impl FnOnce(&mut Value)) {
    if let Some(inner) = value.get_mut(name).filter(|inner| !inner.is_null()) {
        change(inner);
    }
}

/// Changes a field, made an empty object first if it is absent.
pub(super) fn within(value: &mut Value, name: &str, change: impl FnOnce(&mut Value)) {
    default_to(value, name, Map::new());
    inside(value, name, change);
}

/// Changes every item of a list.
pub(super) fn each(value: &mut Value, name: &str, change: impl FnMut(&mut Value)) {
    if let Some(Value::Array(items)) = value.get_mut(name) {
        items.iter_mut().for_each(change);
    }
}

/// Sets a field.
pub(super) fn set(value: &mut Value, name: &str, to: impl Into<Value>) {
    if let Value::Object(fields) = value {
        fields.insert(name.to_owned(), to.into());
    }
}

/// Removes a field.
pub(super) fn remove(value: &mut Value, name: &str) -> Option<Value> {
    value.as_object_mut()?.remove(name)
}

/// Makes a field what it is in another value, absent included.
pub(super) fn copy(value: &mut Value, from: &Value, name: &str) {
    match from.get(name) {
        Some(kept) => set(value, name, kept.clone()),
        None => _ = remove(value, name),
    }
}
