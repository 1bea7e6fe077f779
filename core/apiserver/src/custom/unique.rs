//! Lists whose items are told apart by value (`set`) or by keys (`map`) hold none twice.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use windlass_api::path::Path;

use super::schema::{List, Node};
use crate::kinds::{Errors, Field};

/// Names every item that occurs twice.
pub(super) fn check(object: &Value, node: &Node, errors: &mut Errors) {
    value(object, node, &Path::NOWHERE, errors);
}

fn value(value: &Value, node: &Node, path: &Path<'_>, errors: &mut Errors) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                let below = if node.properties.contains_key(name) { path.child(name) } else { path.key(name) };
                if let Some(of) = node.field(name) {
                    self::value(inner, of, &below, errors);
                }
            }
        }
        Value::Array(items) => {
            let mut seen = BTreeSet::new();
            for (at, item) in items.iter().enumerate() {
                let key = match &node.list {
                    List::Atomic => None,
                    List::Set => Some(item.clone()),
                    List::Map(keys) => Some(keyed(item, keys, node)),
                };
                let below = path.index(at);
                if let Some(key) = key.filter(|key| !seen.insert(key.to_string())) {
                    errors.duplicate(&Field::at(below, &key));
                }
                if let Some(of) = &node.items {
                    self::value(item, of, &below, errors);
                }
            }
        }
        _ => {}
    }
}

/// The keys of an item.
pub(super) fn keyed(item: &Value, keys: &[String], list: &Node) -> Value {
    let default = |key: &str| list.items.as_ref()?.properties.get(key)?.default.as_deref().cloned();
    let value = |key: &String| item.get(key).cloned().or_else(|| default(key));
    let found: Map<String, Value> = keys.iter().filter_map(|key| Some((key.clone(), value(key)?))).collect();
    Value::Object(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn items_that_occur_twice_are_named() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"],
                "items": {"type": "object", "properties": {"port": {"type": "integer"}}}}}}}});
        let object = json!({"spec": {"set": ["a", "b", "a"], "map": [{"port": 1}, {"port": 1, "x": 2}]}});
        let mut errors = Errors::new();
        check(&object, &Node::read(&schema), &mut errors);
        let said = errors.sentence();
        assert_eq!(said, "[spec.map[1]: Duplicate value: {\"port\":1}, spec.set[2]: Duplicate value: \"a\"]");
    }
}
