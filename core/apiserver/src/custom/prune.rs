//! Dropping the fields that a structural schema does not name. Values are not checked here.

use serde_json::Value;

use super::schema::{Additional, Node};

/// Drops unknown fields below `object`, which is a whole custom object, and names them as `spec.list[0].field`.
pub(super) fn prune(object: &mut Value, node: &Node) -> Vec<String> {
    let mut dropped = Vec::new();
    value(object, Some(node), Root::Yes, &mut String::new(), &mut dropped);
    dropped.sort();
    dropped
}

/// Drops unknown fields of a value that stands somewhere in an object.
pub(crate) fn prune_below(of: &mut Value, node: &Node) -> Vec<String> {
    let mut dropped = Vec::new();
    value(of, Some(node), Root::No, &mut String::new(), &mut dropped);
    dropped
}

/// Whether an object has the fields that all objects have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Root {
    Yes,
    No,
}

fn value(value: &mut Value, node: Option<&Node>, root: Root, path: &mut String, dropped: &mut Vec<String>) {
    match value {
        Value::Object(fields) => object(fields, node, root, path, dropped),
        Value::Array(items) => {
            let of = node.and_then(|node| node.items.as_deref());
            // Without a type for its items a list that is kept is kept whole.
            if node.is_some_and(|node| node.preserves && node.items.is_none()) {
                return;
            }
            for (at, item) in items.iter_mut().enumerate() {
                let end = path.len();
                path.push_str(&format!("[{at}]"));
                self::value(item, of, Root::No, path, dropped);
                path.truncate(end);
            }
        }
        _ => {}
    }
}

fn object(
    fields: &mut serde_json::Map<String, Value>,
    node: Option<&Node>,
    root: Root,
    path: &mut String,
    dropped: &mut Vec<String>,
) {
    let whole = root == Root::Yes || node.is_some_and(|node| node.embeds);
    let preserves = node.is_some_and(|node| node.preserves || matches!(node.additional, Additional::Any));
    let end = path.len();
    fields.retain(|name, inner| {
        path.truncate(end);
        if end > 0 {
            path.push('.');
        }
        path.push_str(name);
        if whole && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            return true;
        }
        match node.and_then(|node| node.field(name)) {
            Some(known) => value(inner, Some(known), Root::No, path, dropped),
            None if preserves => {}
            None => {
                dropped.push(path.clone());
                return false;
            }
        }
        true
    });
    path.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: &Value, mut object: Value, expect: &Value, dropped: &[&str]) {
        assert_eq!(prune(&mut object, &Node::read(schema)), dropped);
        assert_eq!(&object, expect);
    }

    #[test]
    fn unknown_fields_go_unless_the_schema_keeps_them() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object"}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"known": {"type": "object"}}},
            "any": {"type": "object", "additionalProperties": true}}}}});
        let object = json!({"apiVersion": "v", "kind": "K", "metadata": {"name": "x"}, "extra": 1, "spec": {
            "list": [{"a": "1", "b": 2}], "map": {"k": {"x": 1}}, "free": {"x": {"y": 1}, "known": {"z": 1}},
            "any": {"q": {"r": 1}}}});
        let expect = json!({"apiVersion": "v", "kind": "K", "metadata": {"name": "x"}, "spec": {
            "list": [{"a": "1"}], "map": {"k": {}}, "free": {"x": {"y": 1}, "known": {}}, "any": {"q": {"r": 1}}}});
        check(&schema, object, &expect, &["extra", "spec.free.known.z", "spec.list[0].b", "spec.map.k.x"]);
    }

    #[test]
    fn an_embedded_object_keeps_what_makes_it_one() {
        let schema = json!({"type": "object", "properties": {"t": {"type": "object",
            "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}}}});
        let object = json!({"t": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "x": 1}});
        let expect = json!({"t": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}});
        check(&schema, object, &expect, &["t.x"]);
    }
}
