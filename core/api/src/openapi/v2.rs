//! The version 2 document, by rewriting the version 3 documents of the groups it covers.

use super::{Describe, v3};
use crate::resources::GroupVersion;
use serde_json::{Map, Value, json};

/// One version 2 document for the given groups and versions.
#[must_use]
pub fn v2(of: &[GroupVersion], describe: Describe<'_>) -> Value {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for gv in of {
        let mut document = v3(*gv, describe);
        if let Value::Object(part) = document["paths"].take() {
            paths.extend(part.into_iter().map(|(path, item)| (path, path_item(item))));
        }
        if let Value::Object(part) = document["components"]["schemas"].take() {
            for (name, schema) in part {
                add(&mut definitions, name, schema_of(schema));
            }
        }
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "definitions": definitions,
        "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
        "security": [{"BearerToken": []}],
    })
}

/// Adds a definition; those that each group's document has differ in the kinds they stand for only.
fn add(definitions: &mut Map<String, Value>, name: String, schema: Value) {
    const KINDS: &str = "x-kubernetes-group-version-kind";
    match definitions.get_mut(&name).and_then(|before| before[KINDS].as_array_mut()) {
        Some(kinds) => {
            for kind in schema[KINDS].as_array().into_iter().flatten() {
                if !kinds.contains(kind) {
                    kinds.push(kind.clone());
                }
            }
        }
        None => {
            definitions.insert(name, schema);
        }
    }
}

/// Rewrites a schema, at every depth.
fn schema_of(schema: Value) -> Value {
    match schema {
        Value::Object(mut map) => {
            if let Some(reference) = map.get("allOf").and_then(|all| all[0].get("$ref")).cloned() {
                map.remove("allOf");
                map.remove("default");
                map.insert("$ref".to_owned(), reference);
            }
            if map.get("oneOf").is_some_and(Value::is_array) {
                map.remove("oneOf");
                map.insert("type".to_owned(), "string".into());
            }
            if map.get("default").is_some_and(|d| [json!(""), json!(0), json!(false), json!({})].contains(d)) {
                map.remove("default");
            }
            map.into_iter().map(|(key, value)| (key, schema_of(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(list) => list.into_iter().map(schema_of).collect(),
        Value::String(text) => text.replace("#/components/schemas/", "#/definitions/").into(),
        other => other,
    }
}

fn path_item(item: Value) -> Value {
    let Value::Object(item) = item else { return item };
    let each = |(key, value): (String, Value)| {
        let value = match key.as_str() {
            "parameters" => parameters(value).into(),
            _ => operation(value),
        };
        (key, value)
    };
    item.into_iter().map(each).collect::<Map<_, _>>().into()
}

fn operation(mut op: Value) -> Value {
    let mut list = parameters(op["parameters"].take());
    let mut consumes = vec![json!("*/*")];
    if let Value::Object(body) = op["requestBody"].take() {
        let content = body.get("content").and_then(Value::as_object).cloned().unwrap_or_default();
        consumes = content.keys().map(|format| format.as_str().into()).collect();
        let schema = content.into_iter().next().map_or(Value::Null, |(_, c)| schema_of(c["schema"].clone()));
        let mut parameter = json!({"in": "body", "name": "body", "schema": schema});
        if body.get("required").is_some() {
            parameter["required"] = true.into();
        }
        list.insert(0, parameter);
    }
    let mut produces: Vec<Value> = Vec::new();
    if let Some(responses) = op["responses"].as_object_mut() {
        for response in responses.values_mut() {
            if let Value::Object(content) = response["content"].take() {
                produces = content.keys().map(|format| format.as_str().into()).collect();
                response["schema"] =
                    content.into_iter().next().map_or(Value::Null, |(_, c)| schema_of(c["schema"].clone()));
            }
            drop_null(response, "content");
        }
    }
    op["consumes"] = consumes.into();
    op["produces"] = produces.into();
    op["schemes"] = json!(["https"]);
    op["parameters"] = if list.is_empty() { Value::Null } else { list.into() };
    drop_null(&mut op, "parameters");
    drop_null(&mut op, "requestBody");
    op
}

fn drop_null(value: &mut Value, key: &str) {
    if let Value::Object(map) = value
        && map.get(key).is_some_and(Value::is_null)
    {
        map.remove(key);
    }
}

/// Parameters have their type beside their name instead of in a schema.
fn parameters(list: Value) -> Vec<Value> {
    let Value::Array(list) = list else { return Vec::new() };
    let flat = |mut parameter: Value| {
        if let (Value::Object(schema), Value::Object(map)) = (parameter["schema"].take(), &mut parameter) {
            map.remove("schema");
            map.extend(schema);
        }
        parameter
    };
    list.into_iter().map(flat).collect()
}
