//! Filling in the defaults of a structural schema, on what clients send and on what was stored under an older schema.

use serde_json::Value;

use super::schema::{Additional, Node};

/// Fills in what is missing in a custom object; nulls that the schema does not allow count as missing.
pub(super) fn fill(object: &mut Value, node: &Node) {
    let Value::Object(fields) = object else { return };
    for (name, node) in &node.properties {
        // What every object has, the schema can only restrict.
        if !matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            field(fields, name, node);
        }
    }
    others(fields, node, |name| matches!(name, "apiVersion" | "kind" | "metadata"));
}

fn field(fields: &mut serde_json::Map<String, Value>, name: &str, node: &Node) {
    let missing = match fields.get(name) {
        None => true,
        Some(Value::Null) => !node.nullable,
        Some(_) => false,
    };
    if missing {
        match &node.default {
            Some(default) => _ = fields.insert(name.to_owned(), (**default).clone()),
            None => _ = fields.remove(name),
        }
    }
    if let Some(inner) = fields.get_mut(name) {
        value(inner, node);
    }
}

/// The entries that only `additionalProperties` speaks of.
fn others(fields: &mut serde_json::Map<String, Value>, node: &Node, skip: impl Fn(&str) -> bool) {
    let Additional::Each(each) = &node.additional else { return };
    let names: Vec<String> =
        fields.keys().filter(|name| !node.properties.contains_key(*name) && !skip(name)).cloned().collect();
    for name in names {
        field(fields, &name, each);
    }
}

fn value(value: &mut Value, node: &Node) {
    match value {
        Value::Object(fields) => {
            for (name, node) in &node.properties {
                field(fields, name, node);
            }
            others(fields, node, |_| false);
        }
        Value::Array(items) => {
            let Some(of) = &node.items else { return };
            for item in items {
                if let (Value::Null, false, Some(default)) = (&*item, of.nullable, &of.default) {
                    *item = (**default).clone();
                }
                self::value(item, of);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: &Value, mut object: Value, expect: &Value) {
        fill(&mut object, &Node::read(schema));
        assert_eq!(&object, expect);
    }

    #[test]
    fn defaults_fill_what_is_missing_or_may_not_be_null() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "default": {}, "properties": {
            "a": {"type": "string", "default": "A"},
            "n": {"type": "string", "nullable": true, "default": "N"},
            "plain": {"type": "string"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"p": {"type": "integer", "default": 1}}}},
            "map": {"type": "object", "additionalProperties": {"type": "string", "default": "E"}}}}}});
        check(&schema, json!({}), &json!({"spec": {"a": "A", "n": "N"}}));
        let sparse = json!({"spec": {"a": null, "n": null, "plain": null, "list": [{}, {"p": 2}], "map": {"k": null}}});
        let full = json!({"spec": {"a": "A", "n": null, "list": [{"p": 1}, {"p": 2}], "map": {"k": "E"}}});
        check(&schema, sparse, &full);
    }
}
