//! Custom objects as CEL sees them: by their schema, with the fields that it names.

use std::sync::Arc;

use kube_cel::cel::{
    Value as Cel,
    objects::{Key, Map},
};
use serde_json::{Number, Value};

use super::super::schema::{Additional, Kind, Node};
use crate::cel::{escaped, plain};

/// A value of this type. At the root `apiVersion`, `kind` and the names of `metadata` are there whatever the schema says.
pub(super) fn to_cel(value: &Value, node: &Node, root: bool) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => self::number(number, node),
        Value::String(text) => self::text(text, node),
        Value::Array(items) => {
            let item = |item: &Value| node.items.as_ref().map_or_else(|| plain(item), |of| to_cel(item, of, false));
            Cel::List(Arc::new(items.iter().map(item).collect()))
        }
        Value::Object(fields) => object(fields, node, root),
    }
}

fn object(fields: &serde_json::Map<String, Value>, node: &Node, root: bool) -> Cel {
    let whole = root || node.embeds;
    let mut map: Vec<(Key, Cel)> = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        if let Some(of) = node.properties.get(name).filter(|_| !(whole && name == "metadata")) {
            if let Some(name) = escaped(name) {
                map.push((name.into(), to_cel(value, of, false)));
            }
        } else if whole && matches!(name.as_str(), "apiVersion" | "kind") {
            map.push((name.clone().into(), plain(value)));
        } else if whole && name == "metadata" {
            let named = ["name", "generateName"].into_iter().filter_map(|name| Some((name, value.get(name)?)));
            let named = named.map(|(name, value)| (Key::from(name), plain(value))).collect();
            map.push(("metadata".into(), Cel::Map(Map { map: Arc::new(named) })));
        } else if let Additional::Each(of) = &node.additional {
            map.push((name.clone().into(), to_cel(value, of, false)));
        } else if matches!(node.additional, Additional::Any) {
            map.push((name.clone().into(), plain(value)));
        }
    }
    Cel::Map(Map { map: Arc::new(map.into_iter().collect()) })
}

fn number(number: &Number, node: &Node) -> Cel {
    match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) if node.kind != Some(Kind::Number) => Cel::Int(whole),
        (None, Some(number)) if node.kind == Some(Kind::Integer) => Cel::Int(number as i64),
        (_, Some(number)) => Cel::Float(number),
        (Some(whole), None) => Cel::Int(whole),
        (None, None) => Cel::Null,
    }
}

fn text(text: &str, node: &Node) -> Cel {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let plain = || Cel::String(Arc::new(text.to_owned()));
    let format = node.checks.format.as_deref().filter(|_| !node.int_or_string);
    match format {
        Some("date-time" | "datetime") => by_function("timestamp", text).unwrap_or_else(plain),
        Some("date") => by_function("timestamp", &format!("{text}T00:00:00Z")).unwrap_or_else(plain),
        Some("duration") => by_function("duration", text).unwrap_or_else(plain),
        Some("byte") => STANDARD.decode(text).map_or_else(|_| plain(), |bytes| Cel::Bytes(Arc::new(bytes))),
        _ => plain(),
    }
}

/// A value that CEL itself reads from a text.
fn by_function(function: &str, text: &str) -> Option<Cel> {
    use kube_cel::cel::{Context, Program};
    let mut scope = Context::default();
    scope.add_variable_from_value("text", Cel::String(Arc::new(text.to_owned())));
    Program::compile(&format!("{function}(text)")).ok()?.execute(&scope).ok()
}
