//! A value together with where it stands in its object, so that a check can name what it refuses.
//!
//! Absent and null are the same thing here, as they are to Kubernetes.

use std::cmp::Ordering;

use serde_json::Value;
use windlass_api::path::Path;
use windlass_api::quantity::Amount;

static NULL: Value = Value::Null;

/// A value (`'v`) and its path (`'p`).
#[derive(Clone, Copy, Debug)]
pub struct Field<'p, 'v> {
    path: Path<'p>,
    value: &'v Value,
}

impl<'p, 'v> Field<'p, 'v> {
    /// The top-level field of an object.
    #[must_use]
    pub fn top(object: &'v Value, name: &'p str) -> Self {
        Self { path: Path::new(name), value: lookup(object, name) }
    }

    /// A value at a path of the caller's choice.
    #[must_use]
    pub fn at(path: Path<'p>, value: &'v Value) -> Self {
        Self { path, value }
    }

    /// The field of this name.
    #[must_use]
    pub fn get<'s>(&'s self, name: &'s str) -> Field<'s, 'v> {
        Field { path: self.path.child(name), value: lookup(self.value, name) }
    }

    /// The entry of this key of a map, with the path of the entry.
    #[must_use]
    pub fn key<'s>(&'s self, key: &'s str) -> Field<'s, 'v> {
        Field { path: self.path.key(key), value: lookup(self.value, key) }
    }

    /// The same place holding another value.
    #[must_use]
    pub fn with<'w>(&self, value: &'w Value) -> Field<'p, 'w> {
        Field { path: self.path, value }
    }

    /// The same value, said to stand where another field does.
    #[must_use]
    pub fn renamed<'q>(&self, place: &Field<'q, '_>) -> Field<'q, 'v> {
        Field { path: place.path, value: self.value }
    }

    /// The place of an item of a list, whether or not there is one.
    #[must_use]
    pub fn index(&self, at: usize) -> Field<'_, 'v> {
        Field { path: self.path.index(at), value: self.value.get(at).unwrap_or(&NULL) }
    }

    /// The items of a list.
    pub fn items<'s>(&'s self) -> impl DoubleEndedIterator<Item = Field<'s, 'v>> + ExactSizeIterator {
        let items = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().enumerate().map(|(at, value)| Field { path: self.path.index(at), value })
    }

    /// The entries of a map.
    pub fn entries(&self) -> impl Iterator<Item = (&'v str, &'v Value)> {
        self.value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
    }

    /// The strings of a list.
    pub fn strings(&self) -> impl Iterator<Item = &'v str> {
        self.value.as_array().into_iter().flatten().map(|value| value.as_str().unwrap_or_default())
    }

    /// One text field of each item of a list.
    pub fn strings_of(&self, name: &str) -> impl Iterator<Item = &'v str> {
        self.value.as_array().into_iter().flatten().map(move |item| lookup(item, name).as_str().unwrap_or_default())
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path<'p> {
        &self.path
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &'v Value {
        self.value
    }

    /// The text, empty when absent.
    #[must_use]
    pub fn text(&self) -> &'v str {
        self.value.as_str().unwrap_or_default()
    }

    /// The whole number.
    #[must_use]
    pub fn int(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// The whole number, zero when absent.
    #[must_use]
    pub fn number(&self) -> i64 {
        self.int().unwrap_or_default()
    }

    /// Whether the field is true.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.value.as_bool() == Some(true)
    }

    /// The quantity, if it can be read as one.
    #[must_use]
    pub fn amount(&self) -> Option<Amount> {
        if self.value.is_null() { None } else { Amount::from_json(self.value).ok() }
    }

    /// Whether the field is there.
    #[must_use]
    pub fn present(&self) -> bool {
        !self.value.is_null()
    }

    /// Whether the field is absent or an empty text, list or map.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            _ => false,
        }
    }

    /// How many items or entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.value {
            Value::Array(items) => items.len(),
            Value::Object(entries) => entries.len(),
            Value::String(text) => text.len(),
            _ => 0,
        }
    }
}

/// A field of a value; null when there is none.
#[must_use]
pub fn lookup<'v>(value: &'v Value, name: &str) -> &'v Value {
    value.get(name).unwrap_or(&NULL)
}

/// The value at a chain of fields; null when there is none.
#[must_use]
pub fn dig<'v>(value: &'v Value, path: &[&str]) -> &'v Value {
    path.iter().fold(value, |value, name| lookup(value, name))
}

/// The text at a chain of fields; empty when there is none.
#[must_use]
pub fn text<'v>(value: &'v Value, path: &[&str]) -> &'v str {
    dig(value, path).as_str().unwrap_or_default()
}

/// The items at a chain of fields.
pub fn items<'v>(value: &'v Value, path: &[&str]) -> impl DoubleEndedIterator<Item = &'v Value> + use<'v> {
    dig(value, path).as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

/// Whether two values mean the same: absent, null and empty lists are equal, numbers compare by value.
#[must_use]
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(items), Value::Null) | (Value::Null, Value::Array(items)) => items.is_empty(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.iter().all(|(key, value)| same(value, b.get(key).unwrap_or(&NULL)))
                && b.iter().all(|(key, value)| a.contains_key(key) || same(&NULL, value))
        }
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64().partial_cmp(&b.as_f64()) == Some(Ordering::Equal),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_null_and_empty_lists_are_the_same() {
        assert!(same(&json!({"a": []}), &json!({"b": null})));
        assert!(same(&json!({"a": 1}), &json!({"a": 1.0})));
        assert!(!same(&json!({"a": {}}), &json!({})));
        assert!(!same(&json!([1]), &json!([2])));
    }

    #[test]
    fn a_field_knows_its_path() {
        let object = json!({"spec": {"list": [{"name": "x"}]}});
        let spec = Field::top(&object, "spec");
        let list = spec.get("list");
        for item in list.items() {
            assert_eq!(item.get("name").path().to_string(), "spec.list[0].name");
            assert_eq!(item.get("name").text(), "x");
        }
    }
}
