//! The sizes that a schema allows.

use super::super::schema::{Additional, Kind, Node};
use crate::cel::{Extent, declares, escaped};

/// The largest request, which bounds what a schema does not.
const REQUEST: u64 = 3 * 1024 * 1024;

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
        if matches!(name, "self" | "oldSelf") || declares(name) { Ok(Self::Sized(1)) } else { Err(unknown()) }
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
