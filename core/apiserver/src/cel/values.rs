//! Between JSON and CEL, for values without a schema.

use std::sync::Arc;

use kube_cel::cel::{
    Value as Cel,
    objects::{Key, Map, OptionalValue},
};
use serde_json::Value;

/// A value without a type.
pub(crate) fn plain(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(own) => match (own.as_i64(), own.as_u64(), own.as_f64()) {
            (Some(whole), ..) => Cel::Int(whole),
            (None, Some(whole), _) => Cel::UInt(whole),
            (None, None, Some(number)) => Cel::Float(number),
            (None, None, None) => Cel::Null,
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(plain).collect())),
        Value::Object(fields) => {
            let map = fields.iter().map(|(name, value)| (Key::from(name.clone()), plain(value))).collect();
            Cel::Map(Map { map: Arc::new(map) })
        }
    }
}

/// A map with texts as keys.
pub(crate) fn map(entries: Vec<(String, Cel)>) -> Cel {
    Cel::Map(Map { map: Arc::new(entries.into_iter().map(|(name, value)| (name.into(), value)).collect()) })
}

/// What an expression made, as JSON.
///
/// # Errors
///
/// Where there is no JSON for it.
pub(crate) fn to_json(value: &Cel) -> Result<Value, String> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    Ok(match value {
        Cel::Null => Value::Null,
        Cel::Bool(flag) => (*flag).into(),
        Cel::Int(whole) => (*whole).into(),
        Cel::UInt(whole) => (*whole).into(),
        Cel::Float(number) => serde_json::Number::from_f64(*number).map_or(Value::Null, Value::Number),
        Cel::String(text) => Value::String((**text).clone()),
        Cel::Bytes(bytes) => STANDARD.encode(&**bytes).into(),
        Cel::List(items) => items.iter().map(to_json).collect::<Result<_, _>>().map(Value::Array)?,
        Cel::Map(map) => {
            let field = |(key, value): (&Key, &Cel)| Ok((key.to_string(), to_json(value)?));
            Value::Object(map.map.iter().map(field).collect::<Result<_, String>>()?)
        }
        Cel::Timestamp(time) => time.to_rfc3339().into(),
        Cel::Opaque(opaque) => match opaque.downcast_ref::<OptionalValue>().map(OptionalValue::value) {
            Some(Some(value)) => to_json(value)?,
            Some(None) => Value::Null,
            None => return Err(format!("a value of type {} is no JSON", opaque.runtime_type_name())),
        },
        other => return Err(format!("a value of type {} is no JSON", other.type_of())),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_comes_back_as_it_went() {
        let value = json!({"a": [1, -2, 1.5, true, null, "x"], "b": {"c-d": {}}, "e": 18_446_744_073_709_551_615_u64});
        assert_eq!(to_json(&plain(&value)).unwrap(), value);
    }
}
