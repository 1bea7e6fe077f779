//! Whether a configuration fits its type closely enough to be applied.
//!
//! Everything else about its values is for validation of the merged object to say.

use std::collections::BTreeSet;

use serde_json::Value;

use super::element::{Element, Scalar};
use super::types::{Division, TypeRef};

/// Checks a configuration; the error lists each misfit with its path.
pub(super) fn validate(config: &Value, kind: TypeRef<'_>) -> Result<(), String> {
    let mut said = Vec::new();
    walk(config, kind, &mut Vec::new(), &mut said);
    match said.len() {
        0 => Ok(()),
        1 => Err(said.remove(0)),
        _ => Err(format!("errors:\n  {}", said.join("\n  "))),
    }
}

fn walk(value: &Value, kind: TypeRef<'_>, path: &mut Vec<Element>, said: &mut Vec<String>) {
    let fits = match kind.expected() {
        _ if value.is_null() => true,
        Some("map") => value.is_object(),
        Some("list") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some(_) => value.is_number(),
        None => true,
    };
    if !fits {
        let expected = kind.expected().unwrap_or_default();
        return complain(path, said, &format!("expected {expected}, got {value}"));
    }
    let (fields, items) = kind.inside();
    let division = match kind.divide(value) {
        Division::Leaf => fields,
        division => division,
    };
    match (division, value) {
        (division @ (Division::Struct(_) | Division::Map(_)), Value::Object(map)) => {
            for (name, value) in map {
                let member = division.member(name);
                path.push(Element::field(name));
                if division.is_closed() && !member.declared {
                    complain(path, said, "field not declared in schema");
                } else {
                    walk(value, member.kind, path, said);
                }
                path.pop();
            }
        }
        (Division::ListMap(keys, kind), Value::Array(items)) => {
            let mut seen = BTreeSet::new();
            for (at, item) in items.iter().enumerate() {
                match keys.element(item) {
                    Ok(element) if seen.contains(&element) => {
                        complain(path, said, &format!("duplicate entries for key {element}"));
                    }
                    Ok(element) => {
                        seen.insert(element.clone());
                        path.push(element);
                        walk(item, kind, path, said);
                        path.pop();
                    }
                    Err(key) => {
                        let words = "associative list with keys has an element that omits key field";
                        complain(
                            path,
                            said,
                            &format!("element {at}: {words} {key:?} (and doesn't have default value)"),
                        );
                    }
                }
            }
        }
        (Division::Set, Value::Array(items)) => {
            let mut seen = BTreeSet::new();
            for element in items.iter().filter_map(Scalar::from_json).map(Element::Value) {
                if seen.contains(&element) {
                    complain(path, said, &format!("duplicate entries for key {element}"));
                }
                seen.insert(element);
            }
        }
        (Division::Leaf, Value::Array(list)) => {
            for (at, item) in list.iter().enumerate() {
                path.push(Element::Index(at));
                walk(item, items.unwrap_or(TypeRef::DEDUCED), path, said);
                path.pop();
            }
        }
        _ => {}
    }
}

fn complain(path: &[Element], said: &mut Vec<String>, words: &str) {
    let path: String = path.iter().map(ToString::to_string).collect();
    said.push(if path.is_empty() { words.to_owned() } else { format!("{path}: {words}") });
}
