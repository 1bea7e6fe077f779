//! Which fields of a tree the schema does not know. Values are not checked here.

use super::MOST_NAMED;
use crate::r#gen::schema::apiextensions_v1::JSON_SCHEMA_PROPS;
use crate::schema::{Codec, Field, Kind, Message, Shape};
use serde_json::Value;

/// The fields that the message does not have, as paths such as `spec.containers[0].foo`.
///
/// Names are compared exactly, as Kubernetes does.
#[must_use]
pub fn unknown_fields(value: &Value, of: &Message) -> Vec<String> {
    let mut out = Vec::new();
    // Hardly any object has such fields, so that paths are not kept before one is seen.
    if !known(value, of) {
        message(value, of, &mut String::new(), &mut out);
    }
    out
}

/// Whether the message has all fields, as far as a walk along both in their common order can tell.
fn known(value: &Value, of: &Message) -> bool {
    match (of.codec, value) {
        (Codec::Plain, Value::Object(object)) => {
            let mut fields = of.fields.iter().filter(|field| !field.inline);
            object.iter().all(|(key, value)| {
                let field = fields.find(|field| field.json >= key.as_str());
                field.is_some_and(|field| field.json == key.as_str() && all_known(value, field))
            })
        }
        (Codec::SchemaOrBool | Codec::SchemaOrArray | Codec::SchemaOrStrings, _) => false,
        _ => true,
    }
}

fn all_known(value: &Value, field: &Field) -> bool {
    let Kind::Message(of) = field.of else { return true };
    match (field.shape, value) {
        (Shape::One, value) => known(value, of),
        (Shape::List, Value::Array(list)) => list.iter().all(|item| known(item, of)),
        (Shape::Map, Value::Object(map)) => map.values().all(|item| known(item, of)),
        _ => true,
    }
}

fn message(value: &Value, of: &Message, path: &mut String, out: &mut Vec<String>) {
    match (of.codec, value) {
        (Codec::Plain, Value::Object(object)) => {
            for (key, value) in object {
                let end = path.len();
                if end > 0 {
                    path.push('.');
                }
                path.push_str(key);
                match of.field(key) {
                    Some(known) => field(value, known, path, out),
                    None if out.len() < MOST_NAMED => out.push(path.clone()),
                    None => {}
                }
                path.truncate(end);
            }
        }
        (Codec::SchemaOrBool | Codec::SchemaOrArray | Codec::SchemaOrStrings, Value::Object(_)) => {
            message(value, &JSON_SCHEMA_PROPS, path, out);
        }
        (Codec::SchemaOrArray, Value::Array(list)) => {
            each(list, path, |item, path| message(item, &JSON_SCHEMA_PROPS, path, out));
        }
        _ => {}
    }
}

fn field(value: &Value, field: &Field, path: &mut String, out: &mut Vec<String>) {
    let Kind::Message(of) = field.of else { return };
    match (field.shape, value) {
        (Shape::One, value) => message(value, of, path, out),
        (Shape::List, Value::Array(list)) => each(list, path, |item, path| message(item, of, path, out)),
        (Shape::Map, Value::Object(map)) => {
            for (key, item) in map {
                let end = path.len();
                path.push('.');
                path.push_str(key);
                message(item, of, path, out);
                path.truncate(end);
            }
        }
        _ => {}
    }
}

fn each(list: &[Value], path: &mut String, mut visit: impl FnMut(&Value, &mut String)) {
    for (at, item) in list.iter().enumerate() {
        let end = path.len();
        path.push_str(&format!("[{at}]"));
        visit(item, path);
        path.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(value: &Value, kind: (&str, &str, &str), expect: &[&str]) {
        let of = Message::of_kind(kind.0, kind.1, kind.2).unwrap();
        assert_eq!(unknown_fields(value, of), expect);
    }

    #[test]
    fn unknown_fields_are_named_by_their_path() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"any": "x"}, "Name": "a"},
            "spec": {"containers": [{"name": "c", "foo": 1}], "volumes": [{"configMap": {"bar": {}}}]}, "extra": []});
        let expect = ["extra", "metadata.Name", "spec.containers[0].foo", "spec.volumes[0].configMap.bar"];
        check(&pod, ("", "v1", "Pod"), &expect);
    }

    #[test]
    fn free_form_values_may_hold_anything() {
        check(&json!({"data": {"a": {"b": 1}}, "revision": 1}), ("apps", "v1", "ControllerRevision"), &[]);
        let schema = json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": {"default": {"x": 1}, "items": {"y": 1},
            "properties": {"any": {"z": 1}}}}}]}});
        let at = "spec.versions[0].schema.openAPIV3Schema";
        let expect = [format!("{at}.items.y"), format!("{at}.properties.any.z")];
        check(&schema, ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"), &[&expect[0], &expect[1]]);
    }
}
