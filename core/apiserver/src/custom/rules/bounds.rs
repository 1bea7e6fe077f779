//! The sizes that rules run over: those a schema allows, and those an object has.

use serde_json::Value;

use super::super::schema::{Additional, Kind, Node};
use crate::cel::{Extent, escaped};

/// The largest request, which bounds what a schema does not.
const REQUEST: u64 = 3 * 1024 * 1024;
/// Of more values than this only the largest size is kept.
const FOLLOWED: usize = 10_000;

/// What a schema allows at a place.
#[derive(Clone, Debug)]
pub(super) enum Allowed<'s> {
    /// A value of this type; at the root it has what every object has.
    Of(&'s Node, bool),
    /// Something of this size.
    Sized(u64),
}

impl Extent for Allowed<'_> {
    fn sized(size: u64) -> Self {
        Self::Sized(size)
    }

    fn named(name: &str) -> Result<Self, String> {
        let unknown = || format!("undeclared reference to '{name}' (in container '')");
        if known(name) { Ok(Self::Sized(1)) } else { Err(unknown()) }
    }

    fn field(&self, name: &str) -> Result<Self, String> {
        let Self::Of(node, root) = self else { return Ok(self.clone()) };
        let whole = *root || node.embeds;
        if whole && matches!(name, "apiVersion" | "kind" | "metadata") {
            return Ok(Self::Sized(253));
        }
        let found = node.properties.iter().find(|(own, _)| escaped(own).as_deref() == Some(name));
        match (found, &node.additional) {
            (Some((_, found)), _) => Ok(Self::Of(found, false)),
            (None, Additional::Each(each)) => Ok(Self::Of(each, false)),
            (None, Additional::Any) => Ok(Self::Sized(REQUEST)),
            (None, Additional::Unsaid) if node.kind == Some(Kind::Object) => Err(format!("undefined field '{name}'")),
            (None, Additional::Unsaid) => Ok(Self::Sized(REQUEST)),
        }
    }

    fn each(&self) -> Self {
        let Self::Of(node, _) = self else { return self.clone() };
        match (&node.items, &node.additional) {
            (Some(items), _) => Self::Of(items, false),
            (None, Additional::Each(each)) => Self::Of(each, false),
            (None, _) => Self::Sized(REQUEST),
        }
    }

    fn size(&self) -> u64 {
        match self {
            Self::Sized(size) => *size,
            Self::Of(node, _) => most(node),
        }
    }
}

/// Whether a rule may mention the name although it is no variable: types, and groups of functions.
fn known(name: &str) -> bool {
    const TYPES: [&str; 16] = [
        "int",
        "uint",
        "double",
        "bool",
        "string",
        "bytes",
        "list",
        "map",
        "null_type",
        "type",
        "optional",
        "sets",
        "math",
        "base64",
        "ip",
        "cidr",
    ];
    matches!(name, "self" | "oldSelf" | "format" | "cel" | "jsonpatch")
        || TYPES.contains(&name)
        || name.starts_with('@')
}

/// The most elements or characters that a value of the type has.
pub(super) fn most(node: &Node) -> u64 {
    let limit = |limit: Option<i64>| limit.and_then(|limit| u64::try_from(limit).ok());
    let checks = &node.checks;
    match node.kind {
        Some(Kind::Array) => {
            let least = node.items.as_deref().map_or(1, least);
            limit(checks.items.most).unwrap_or((REQUEST - 2) / (least + 1))
        }
        Some(Kind::Object) => match &node.additional {
            Additional::Each(each) => limit(checks.properties.most).unwrap_or((REQUEST - 2) / (least(each) + 5)),
            Additional::Any => limit(checks.properties.most).unwrap_or((REQUEST - 2) / 6),
            Additional::Unsaid => node.properties.len() as u64,
        },
        Some(Kind::String) => match checks.format.as_deref() {
            Some("date") => 10,
            Some("date-time" | "datetime" | "duration") => 40,
            _ => limit(checks.length.most).unwrap_or(REQUEST - 2),
        },
        Some(Kind::Integer | Kind::Number | Kind::Boolean) => 1,
        None => REQUEST,
    }
}

/// The fewest bytes that a value of the type takes.
fn least(node: &Node) -> u64 {
    match node.kind {
        Some(Kind::String | Kind::Array) => 2,
        Some(Kind::Object) => {
            let required = node.checks.required.iter().filter_map(|name| Some((name, node.properties.get(name)?)));
            required.fold(2, |sum, (name, node)| sum + name.len() as u64 + 4 + least(node))
        }
        _ => 1,
    }
}

/// Values that are there.
#[derive(Clone, Debug)]
pub(super) enum Actual<'v> {
    /// These.
    These(Vec<&'v Value>),
    /// Something of this size.
    Sized(u64),
}

impl<'v> Actual<'v> {
    pub(super) fn of(value: &'v Value) -> Self {
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
