//! The sizes of values that are there.

use serde_json::Value;

use super::{Extent, escaped};

/// Of more values than this only the largest size is kept.
const FOLLOWED: usize = 10_000;

/// Values that are there.
#[derive(Clone, Debug)]
pub(crate) enum Actual<'v> {
    /// These.
    These(Vec<&'v Value>),
    /// Something of this size.
    Sized(u64),
}

impl<'v> Actual<'v> {
    pub(crate) fn of(value: &'v Value) -> Self {
        Self::These(vec![value])
    }

    fn from(values: Vec<&'v Value>) -> Self {
        if values.len() > FOLLOWED {
            return Self::Sized(values.into_iter().map(largest).max().unwrap_or_default());
        }
        Self::These(values)
    }
}

impl Extent for Actual<'_> {
    fn sized(size: u64) -> Self {
        Self::Sized(size)
    }

    fn named(_: &str) -> Result<Self, String> {
        Ok(Self::Sized(1))
    }

    fn field(&self, name: &str) -> Result<Self, String> {
        let Self::These(values) = self else { return Ok(self.clone()) };
        Ok(Self::from(values.iter().filter_map(|value| member(value, name)).collect()))
    }

    fn each(&self) -> Self {
        let Self::These(values) = self else { return self.clone() };
        let mut each = Vec::new();
        for value in values {
            match value {
                Value::Array(items) => each.extend(items),
                Value::Object(fields) => each.extend(fields.values()),
                other => each.push(other),
            }
        }
        Self::from(each)
    }

    fn size(&self) -> u64 {
        match self {
            Self::Sized(size) => *size,
            Self::These(values) => values.iter().map(|value| size(value)).max().unwrap_or_default(),
        }
    }
}

/// The field that an expression has this name for.
fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    let fields = value.as_object()?;
    let other = || fields.iter().find(|(own, _)| escaped(own).as_deref() == Some(name)).map(|(_, value)| value);
    fields.get(name).or_else(other)
}

fn size(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.len() as u64,
        Value::Object(fields) => fields.len() as u64,
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
    }
}

/// The largest size in a value or below it.
fn largest(value: &Value) -> u64 {
    let below = match value {
        Value::Array(items) => items.iter().map(largest).max(),
        Value::Object(fields) => fields.values().map(largest).max(),
        _ => None,
    };
    size(value).max(below.unwrap_or_default())
}
