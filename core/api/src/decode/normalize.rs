//! Trees as upstream's types would write them after reading: checked, pruned, canonical, with their zero values.

use crate::r#gen::schema::apiextensions_v1::JSON_SCHEMA_PROPS;
use crate::quantity;
use crate::schema::{Codec, Field, Kind, Message, Shape, Zero};
use crate::types::{MicroTime, Time, parse_time};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;

type Result<T> = std::result::Result<T, TypeError>;

/// Gives a written value its canonical form, or says what is wrong with it.
pub type Canonical = fn(&str) -> std::result::Result<String, String>;

/// How values are written whose notation is another module's knowledge.
#[derive(Clone, Copy, Debug)]
pub struct Notation {
    /// How quantities are written; none keeps them as they are.
    pub quantity: Option<Canonical>,
}

impl Default for Notation {
    fn default() -> Self {
        let quantity = |text: &str| quantity::normalize(text).map(Cow::into_owned).map_err(|e| e.to_string());
        Self { quantity: Some(quantity) }
    }
}

/// A value that does not have the type of its field, in the words of upstream's decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeError {
    reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    Type { got: String, wanted: String, owner: Option<&'static str>, path: String },
    Other(String),
}

impl TypeError {
    fn new(got: &Value, wanted: impl Into<String>) -> Self {
        let got = match got {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Number(number) => format!("number {number}"),
            Value::String(_) => "string".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
        };
        let wanted = wanted.into();
        // Upstream repeats the number only where a number was wanted.
        let got = if got.starts_with("number") && !wanted.starts_with("int") { "number".to_owned() } else { got };
        Self { reason: Reason::Type { got, wanted, owner: None, path: String::new() } }
    }

    fn other(text: impl Into<String>) -> Self {
        Self { reason: Reason::Other(text.into()) }
    }

    fn within(mut self, of: &'static str, field: &str) -> Self {
        if let Reason::Type { owner, path, .. } = &mut self.reason {
            owner.get_or_insert(of);
            let dot = if path.is_empty() { "" } else { "." };
            *path = format!("{field}{dot}{path}");
        }
        self
    }
}

impl fmt::Display for TypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Type { got, wanted, owner: Some(owner), path } => {
                write!(f, "json: cannot unmarshal {got} into Go struct field {owner}.{path} of type {wanted}")
            }
            Reason::Type { got, wanted, .. } => {
                write!(f, "json: cannot unmarshal {got} into Go value of type {wanted}")
            }
            Reason::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for TypeError {}

/// Normalizes a value of a message type; a null becomes the type's zero value.
pub(super) fn message(value: &mut Value, of: &'static Message, notation: &Notation) -> Result<()> {
    let is_null = value.is_null();
    match of.codec {
        Codec::Plain => {
            if is_null {
                *value = Value::Object(Map::new());
            }
            match value {
                Value::Object(map) => object(map, of, notation)?,
                other => return Err(TypeError::new(other, go_name(of))),
            }
        }
        Codec::Time | Codec::MicroTime if is_null => {}
        Codec::Time => *value = Time(time(value, "2006-01-02T15:04:05Z07:00")?).to_string().into(),
        Codec::MicroTime => *value = MicroTime(time(value, "2006-01-02T15:04:05.000000Z07:00")?).to_string().into(),
        Codec::Duration if value.is_string() || is_null => {}
        Codec::Duration => return Err(TypeError::new(value, "string")),
        Codec::Quantity => *value = canonical_quantity(value, notation)?.into(),
        Codec::IntOrString => match value {
            Value::Null => *value = 0.into(),
            Value::String(_) => {}
            Value::Number(n) if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => {}
            other => return Err(TypeError::new(other, "int32")),
        },
        Codec::RawExtension | Codec::FieldsV1 | Codec::Json => {}
        Codec::SchemaOrBool => match value {
            Value::Bool(_) | Value::Null => {}
            Value::Object(map) => object(map, &JSON_SCHEMA_PROPS, notation)?,
            _ => return Err(TypeError::other("boolean or JSON schema expected")),
        },
        Codec::SchemaOrArray => match value {
            Value::Array(list) => list.iter_mut().try_for_each(|item| message(item, &JSON_SCHEMA_PROPS, notation))?,
            Value::Null => {}
            other => message(other, &JSON_SCHEMA_PROPS, notation)?,
        },
        Codec::SchemaOrStrings => match value {
            Value::Array(list) => list.iter_mut().try_for_each(|item| scalar(item, Kind::String))?,
            Value::Null => {}
            other => message(other, &JSON_SCHEMA_PROPS, notation)?,
        },
        Codec::Strings => match value {
            Value::Array(list) => list.iter_mut().try_for_each(|item| scalar(item, Kind::String))?,
            Value::Null => {}
            other => return Err(TypeError::new(other, go_name(of))),
        },
    }
    Ok(())
}

/// Goes through the object and its type side by side: both are sorted by name.
fn object(map: &mut Map<String, Value>, of: &'static Message, notation: &Notation) -> Result<()> {
    let mut fields = of.fields.iter().filter(|f| !f.inline).peekable();
    let mut absent = Vec::new();
    let mut done = Ok(());
    map.retain(|key, value| {
        while let Some(field) = fields.next_if(|field| field.json < key.as_str()) {
            if field.zero == Zero::Write {
                absent.push(field);
            }
        }
        let Some(field) = fields.next_if(|field| field.json == key.as_str()) else { return false };
        if done.is_err() {
            return true;
        }
        if value.is_null() {
            done = if field.zero == Zero::Write { zero(field, notation).map(|zero| *value = zero) } else { Ok(()) };
            return field.zero == Zero::Write;
        }
        done = present(value, field, notation).map_err(|e| e.within(of.short_name(), field.json));
        field.zero != Zero::Omit || done.is_err() || !is_zero(value)
    });
    done?;
    for field in absent.into_iter().chain(fields.filter(|field| field.zero == Zero::Write)) {
        map.insert(field.json.to_owned(), zero(field, notation)?);
    }
    Ok(())
}

fn present(value: &mut Value, field: &Field, notation: &Notation) -> Result<()> {
    match field.shape {
        Shape::One => single(value, field.of, notation),
        Shape::List => match value {
            Value::Array(list) => list.iter_mut().try_for_each(|item| single(item, field.of, notation)),
            other => Err(TypeError::new(other, format!("[]{}", go_type(field.of)))),
        },
        Shape::Map => match value {
            Value::Object(map) => map.values_mut().try_for_each(|item| single(item, field.of, notation)),
            other => Err(TypeError::new(other, format!("map[string]{}", go_type(field.of)))),
        },
    }
}

/// What is written for an absent field whose zero value is written.
fn zero(field: &Field, notation: &Notation) -> Result<Value> {
    let mut value = Value::Null;
    if field.shape == Shape::One && !matches!(field.of, Kind::Bytes) {
        single(&mut value, field.of, notation)?;
    }
    Ok(value)
}

fn single(value: &mut Value, of: Kind, notation: &Notation) -> Result<()> {
    match of {
        Kind::Message(of) => message(value, of, notation),
        _ => scalar(value, of),
    }
}

fn scalar(value: &mut Value, of: Kind) -> Result<()> {
    if value.is_null() {
        *value = match of {
            Kind::String => "".into(),
            Kind::Bool => false.into(),
            Kind::Int32 | Kind::Int64 | Kind::Double => 0.into(),
            Kind::Bytes | Kind::Message(_) => Value::Null,
        };
        return Ok(());
    }
    let fits = match of {
        Kind::String => value.is_string(),
        Kind::Bool => value.is_boolean(),
        Kind::Int32 => value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
        Kind::Int64 => value.is_i64(),
        Kind::Double => value.is_number(),
        Kind::Bytes => {
            let text = value.as_str().ok_or_else(|| TypeError::new(value, go_type(of)))?;
            // Go's decoder skips line ends.
            let clean: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
            let bytes = STANDARD.decode(&clean).map_err(|e| {
                let at = match e {
                    base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                    _ => clean.len(),
                };
                TypeError::other(format!("illegal base64 data at input byte {at}"))
            })?;
            *value = STANDARD.encode(bytes).into();
            true
        }
        Kind::Message(_) => true,
    };
    if fits { Ok(()) } else { Err(TypeError::new(value, go_type(of))) }
}

fn time(value: &Value, layout: &str) -> Result<jiff::Timestamp> {
    let text = value.as_str().ok_or_else(|| TypeError::new(value, "string"))?;
    parse_time(text).ok_or_else(|| {
        TypeError::other(format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""))
    })
}

fn canonical_quantity(value: &Value, notation: &Notation) -> Result<String> {
    let text = match value {
        Value::Null => return Ok("0".to_owned()),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        other => return Err(TypeError::new(other, "string")),
    };
    match notation.quantity {
        Some(canonical) => canonical(&text).map_err(TypeError::other),
        None => Ok(text),
    }
}

/// `io.k8s.api.core.v1.Pod` is `v1.Pod` in Go.
fn go_name(of: &Message) -> String {
    let mut parts = of.name.rsplitn(3, '.');
    let (name, package) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("{package}.{name}")
}

fn go_type(of: Kind) -> String {
    match of {
        Kind::String => "string".to_owned(),
        Kind::Bytes => "[]uint8".to_owned(),
        Kind::Bool => "bool".to_owned(),
        Kind::Int32 => "int32".to_owned(),
        Kind::Int64 => "int64".to_owned(),
        Kind::Double => "float64".to_owned(),
        Kind::Message(of) => go_name(of),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(yes) => !yes,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use crate::decode::normalize;
    use crate::schema::Message;
    use serde_json::{Value, json};

    fn check(group: &str, kind: &str, mut value: Value, expect: Result<Value, &str>) {
        let of = Message::of_kind(group, "v1", kind).unwrap();
        let result = normalize(&mut value, of).map(|()| value).map_err(|e| e.to_string());
        assert_eq!(result, expect.map_err(str::to_owned));
    }

    #[test]
    fn zero_values_come_and_go_as_upstream_writes_them() {
        check(
            "",
            "Pod",
            json!({"metadata": {"name": "a", "creationTimestamp": null, "labels": {}}, "foo": 1,
                "spec": {"hostNetwork": false, "containers": [{"name": "c", "image": "", "env": null}], "priority": 0}}),
            Ok(
                json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "resources": {}}], "priority": 0},
                "status": {}}),
            ),
        );
        check(
            "apps",
            "Deployment",
            json!({"spec": {"replicas": 0}}),
            Ok(json!({"metadata": {}, "spec": {"replicas": 0, "strategy": {},
                "template": {"metadata": {}, "spec": {"containers": null}}}, "status": {}})),
        );
        check(
            "",
            "Service",
            json!({"spec": {"ports": [{"port": 80}]}}),
            Ok(
                json!({"metadata": {}, "spec": {"ports": [{"port": 80, "targetPort": 0}]}, "status": {"loadBalancer": {}}}),
            ),
        );
    }

    #[test]
    fn values_get_their_canonical_notation() {
        check(
            "",
            "Secret",
            json!({"metadata": {"deletionTimestamp": "2026-01-02T03:04:05.9+01:00"}, "data": {"a": "YQ=\n=", "b": null}}),
            Ok(json!({"metadata": {"deletionTimestamp": "2026-01-02T02:04:05Z"}, "data": {"a": "YQ==", "b": null}})),
        );
        check(
            "",
            "ResourceQuota",
            json!({"spec": {"hard": {"pods": 10, "memory": "1024Mi"}}}),
            Ok(json!({"metadata": {}, "spec": {"hard": {"pods": "10", "memory": "1Gi"}}, "status": {}})),
        );
    }

    #[test]
    fn wrong_types_are_refused_in_upstreams_words() {
        let field = "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32";
        check("apps", "Deployment", json!({"spec": {"replicas": "3"}}), Err(field));
        let list = "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container";
        check("", "Pod", json!({"spec": {"containers": {}}}), Err(list));
        let item = "json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string";
        check("", "Pod", json!({"spec": {"containers": [{"name": 1}]}}), Err(item));
        let whole = "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32";
        check("apps", "Deployment", json!({"spec": {"replicas": 1.5}}), Err(whole));
        check("", "Pod", json!([]), Err("json: cannot unmarshal array into Go value of type v1.Pod"));
        check("", "Secret", json!({"data": {"a": "!"}}), Err("illegal base64 data at input byte 0"));
    }
}
