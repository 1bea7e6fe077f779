//! Strategic merge patch: like a merge patch, but lists with a merge key are merged item by item, and directives
//! (`$patch`, `$retainKeys`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`) say what a plain value cannot.
//!
//! Only built-in types can be patched this way; the schema says which lists merge and by which key.

mod order;

use std::fmt;

use serde_json::{Map, Value};

use super::{Error, ErrorKind};
use crate::schema::{Codec, Field, Kind, Message, Shape};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

type Object = Map<String, Value>;

/// Merges `patch` into `original`, an object of type `message`.
pub fn strategic(original: &mut Value, patch: &Value, message: &'static Message) -> Result<(), Error> {
    let Value::Object(patch) = patch else { return Err(malformed("invalid JSON document")) };
    if !original.is_object() {
        *original = Value::Object(Map::new());
    }
    let Value::Object(original) = original else { return Ok(()) };
    merge_map(original, patch, Type::Message(message))
}

/// What is known of a value's type.
#[derive(Clone, Copy)]
enum Type {
    Message(&'static Message),
    /// A map whose values have this type.
    MapOf(Kind),
    /// Free-form: objects merge and lists are replaced.
    Unknown,
}

impl Type {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Message(message) if message.codec == Codec::Plain => Self::Message(message),
            _ => Self::Unknown,
        }
    }

    fn field(self, name: &str) -> Member {
        match self {
            Self::Message(message) => message.field(name).map_or(Member::UNKNOWN, Member::of),
            Self::MapOf(kind) => Member { value: Self::of(kind), ..Member::UNKNOWN },
            Self::Unknown => Member::UNKNOWN,
        }
    }
}

/// A field as a patch sees it.
#[derive(Clone, Copy)]
struct Member {
    /// The type of the value, or of a list's items.
    value: Type,
    /// Whether lists merge.
    merge: bool,
    /// The merge key of a list of objects.
    key: &'static str,
}

impl Member {
    const UNKNOWN: Self = Self { value: Type::Unknown, merge: false, key: "" };

    fn of(field: &'static Field) -> Self {
        let value = if field.shape == Shape::Map { Type::MapOf(field.of) } else { Type::of(field.of) };
        Self { value, merge: field.merge.merge, key: field.merge.key }
    }
}

fn merge_map(original: &mut Object, patch: &Object, kind: Type) -> Result<(), Error> {
    match patch.get(PATCH).map(|directive| directive.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => {
            *original = patch.clone();
            original.remove(PATCH);
            return Ok(());
        }
        Some("delete") => {
            original.clear();
            return Ok(());
        }
        Some(other) => return Err(malformed(format!("unknown patch type: {other} in map: {}", Go::Map(patch)))),
    }
    if let Some(keys) = patch.get(RETAIN_KEYS) {
        retain(original, patch, keys)?;
    }
    for (directive, wanted) in patch {
        if let Some(name) = directive.strip_prefix(ELEMENT_ORDER) {
            order::set_order(original, patch.get(name), name, wanted, kind.field(name))?;
        }
    }
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix(DELETE_FROM) {
            delete_scalars(original, list, value)?;
        } else if !name.starts_with('$') && !patch.contains_key(&format!("{ELEMENT_ORDER}{name}")) || value.is_null() {
            merge_member(original, name, value, kind.field(name))?;
        }
    }
    Ok(())
}

fn merge_member(original: &mut Object, name: &str, patch: &Value, member: Member) -> Result<(), Error> {
    if patch.is_null() {
        original.remove(name);
        return Ok(());
    }
    match (original.get_mut(name), patch) {
        (Some(Value::Object(original)), Value::Object(patch)) => merge_map(original, patch, member.value),
        (Some(Value::Array(original)), Value::Array(patch)) if member.merge => merge_list(original, patch, member),
        _ => {
            original.insert(name.to_owned(), plain(patch));
            Ok(())
        }
    }
}

fn merge_list(original: &mut Vec<Value>, patch: &[Value], member: Member) -> Result<(), Error> {
    check_items(original.iter().chain(patch))?;
    let of_objects = original.iter().chain(patch).any(Value::is_object);
    let before = original.clone();
    if !of_objects {
        for item in patch {
            if !original.contains(item) {
                original.push(item.clone());
            }
        }
        *original = order::arrange(std::mem::take(original), patch, &before, "")?;
        return Ok(());
    }
    if member.key.is_empty() {
        return Err(malformed("cannot merge lists without merge key for type struct"));
    }
    let Some(rest) = special_items(original, patch, member.key)? else { return Ok(()) };
    let before = original.clone();
    for item in &rest {
        let key = key_of(item, member.key)?;
        let same = original.iter_mut().find(|o| o.get(member.key) == Some(key));
        match (same, item) {
            (Some(Value::Object(original)), Value::Object(patch)) => merge_map(original, patch, member.value)?,
            _ => original.push(plain(item)),
        }
    }
    *original = order::arrange(std::mem::take(original), &rest, &before, member.key)?;
    Ok(())
}

/// Carries out the items that are directives and returns the others; `None` when the list was replaced.
fn special_items(original: &mut Vec<Value>, patch: &[Value], key: &str) -> Result<Option<Vec<Value>>, Error> {
    let mut rest = Vec::with_capacity(patch.len());
    let mut replace = false;
    for item in patch {
        match item.get(PATCH).map(|directive| directive.as_str().unwrap_or_default()) {
            None => rest.push(item.clone()),
            Some("delete") => {
                let gone = key_of(item, key)?;
                original.retain(|o| o.get(key) != Some(gone));
            }
            Some("replace") => replace = true,
            Some("merge") => return Err(malformed("merging lists cannot yet be specified in the patch")),
            Some(other) => return Err(malformed(format!("unknown patch type: {other} in map: {}", Go::Any(item)))),
        }
    }
    if replace {
        *original = rest.iter().map(plain).collect();
        return Ok(None);
    }
    Ok(Some(rest))
}

fn retain(original: &mut Object, patch: &Object, keys: &Value) -> Result<(), Error> {
    let unfit = || malformed("invalid patch format of retainKeys");
    let keys = keys.as_array().ok_or_else(unfit)?;
    let kept = |name: &str| keys.iter().any(|key| key == name);
    if patch.iter().any(|(name, value)| !name.starts_with('$') && !value.is_null() && !kept(name)) {
        return Err(unfit());
    }
    original.retain(|name, _| kept(name));
    Ok(())
}

fn delete_scalars(original: &mut Object, name: &str, gone: &Value) -> Result<(), Error> {
    let gone = gone.as_array().ok_or_else(|| malformed("invalid patch format of primitive list"))?;
    if let Some(Value::Array(list)) = original.get_mut(name) {
        list.retain(|item| !gone.contains(item));
    }
    Ok(())
}

/// The value a patch brings where the document has none: without its nulls and directives.
fn plain(patch: &Value) -> Value {
    match patch {
        Value::Object(map) => {
            let kept = map.iter().filter(|(name, value)| !value.is_null() && !is_directive(name));
            Value::Object(kept.map(|(name, value)| (name.clone(), plain(value))).collect())
        }
        Value::Array(list) => {
            let marks = |item: &&Value| !matches!(item.get(PATCH).and_then(Value::as_str), Some("delete" | "replace"));
            Value::Array(list.iter().filter(marks).map(plain).collect())
        }
        scalar => scalar.clone(),
    }
}

fn is_directive(name: &str) -> bool {
    name == PATCH || name == RETAIN_KEYS || name.starts_with(ELEMENT_ORDER) || name.starts_with(DELETE_FROM)
}

fn key_of<'a>(item: &'a Value, key: &str) -> Result<&'a Value, Error> {
    item.get(key).ok_or_else(|| malformed(format!("map: {} does not contain declared merge key: {key}", Go::Any(item))))
}

fn check_items<'a>(items: impl Iterator<Item = &'a Value>) -> Result<(), Error> {
    let mut first = None;
    for item in items {
        if item.is_array() {
            return Err(malformed("lists of lists are not supported"));
        }
        let same = std::mem::discriminant(*first.get_or_insert(item)) == std::mem::discriminant(item);
        if !same {
            return Err(malformed(format!("list element types are not identical: {}", Go::Any(item))));
        }
    }
    Ok(())
}

fn malformed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Malformed, message)
}

/// Writes JSON the way messages of this kind always showed it: `map[name:web ports:[80]]`.
enum Go<'a> {
    Any(&'a Value),
    Map(&'a Object),
    List(&'a [Value]),
}

impl fmt::Display for Go<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(Value::Object(map)) => Self::Map(map).fmt(f),
            Self::Any(Value::Array(list)) => Self::List(list).fmt(f),
            Self::Any(Value::String(text)) => f.write_str(text),
            Self::Any(Value::Null) => f.write_str("<nil>"),
            Self::Any(other) => write!(f, "{other}"),
            Self::Map(map) => {
                f.write_str("map[")?;
                for (at, (name, value)) in map.iter().enumerate() {
                    write!(f, "{}{name}:{}", if at == 0 { "" } else { " " }, Self::Any(value))?;
                }
                f.write_str("]")
            }
            Self::List(list) => {
                f.write_str("[")?;
                for (at, value) in list.iter().enumerate() {
                    write!(f, "{}{}", if at == 0 { "" } else { " " }, Self::Any(value))?;
                }
                f.write_str("]")
            }
        }
    }
}

#[cfg(test)]
mod tests;
