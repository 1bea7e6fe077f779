//! JSON trees to protobuf messages. Absent and null fields are not written, which Go reads as the zero value.

use super::wire::{put_bytes, put_double, put_int};
use super::{EncodeError, MAX_DEPTH};
use crate::schema::{Codec, Field, Kind, Message, Shape};
use crate::types;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

type Result<T> = std::result::Result<T, EncodeError>;

/// Appends a message without envelope; fields that the message does not have are left out.
pub fn encode_message(value: &Value, of: &Message, out: &mut Vec<u8>) -> Result<()> {
    put_message(value, of, 0, out)
}

fn put_object(object: &Map<String, Value>, of: &Message, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(EncodeError::new(format!("messages nest deeper than {MAX_DEPTH}")));
    }
    for field in of.fields.iter().filter(|f| f.number != 0) {
        if let (true, Kind::Message(of)) = (field.inline, field.of) {
            let mut nested = Vec::new();
            put_object(object, of, depth + 1, &mut nested)?;
            if !nested.is_empty() {
                put_bytes(out, field.number, &nested);
            }
        } else if let Some(value) = object.get(field.json).filter(|v| !v.is_null()) {
            put_field(value, field, depth, out).map_err(|e| e.within(field.json))?;
        }
    }
    Ok(())
}

fn put_field(value: &Value, field: &Field, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    match field.shape {
        Shape::One => put(value, field.of, field.number, depth, out),
        Shape::List => {
            let list = value.as_array().ok_or_else(|| wrong("a list", value))?;
            list.iter().enumerate().try_for_each(|(at, item)| {
                put(item, field.of, field.number, depth, out).map_err(|e| e.within(&format!("[{at}]")))
            })
        }
        Shape::Map => {
            let map = value.as_object().ok_or_else(|| wrong("an object", value))?;
            map.iter().try_for_each(|(key, item)| {
                let mut entry = Vec::new();
                put_bytes(&mut entry, 1, key.as_bytes());
                put(item, field.of, 2, depth, &mut entry).map_err(|e| e.within(key))?;
                put_bytes(out, field.number, &entry);
                Ok(())
            })
        }
    }
}

/// Writes one value; a null stands in lists and maps only and is the zero value there.
fn put(value: &Value, of: Kind, number: u32, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    match of {
        Kind::String => put_bytes(out, number, text(value)?.as_bytes()),
        Kind::Bytes => {
            let bytes = STANDARD.decode(text(value)?).map_err(|e| EncodeError::new(format!("not base64: {e}")))?;
            put_bytes(out, number, &bytes);
        }
        Kind::Bool => {
            let yes = value.as_bool().or(value.is_null().then_some(false)).ok_or_else(|| wrong("a boolean", value))?;
            put_int(out, number, i64::from(yes));
        }
        Kind::Int32 => {
            let narrow = i32::try_from(integer(value)?).map_err(|_| wrong("a 32-bit number", value))?;
            put_int(out, number, i64::from(narrow));
        }
        Kind::Int64 => put_int(out, number, integer(value)?),
        Kind::Double => {
            let double = value.as_f64().or(value.is_null().then_some(0.0)).ok_or_else(|| wrong("a number", value))?;
            put_double(out, number, double);
        }
        Kind::Message(of) => {
            let mut nested = Vec::new();
            put_message(value, of, depth + 1, &mut nested)?;
            put_bytes(out, number, &nested);
        }
    }
    Ok(())
}

fn put_message(value: &Value, of: &Message, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    if value.is_null() && of.codec != Codec::Json {
        return Ok(());
    }
    match of.codec {
        Codec::Plain => {
            let object = value.as_object().ok_or_else(|| wrong("an object", value))?;
            put_object(object, of, depth, out)?;
        }
        Codec::Time => {
            let at = time(value)?;
            put_int(out, 1, at.as_second() - i64::from(at.subsec_nanosecond() < 0));
        }
        Codec::MicroTime => {
            // Before 1970 jiff counts both parts down; protobuf wants the fraction to count up.
            let at = time(value)?;
            let nanos = at.subsec_nanosecond();
            let (seconds, nanos) =
                if nanos < 0 { (at.as_second() - 1, nanos + 1_000_000_000) } else { (at.as_second(), nanos) };
            put_int(out, 1, seconds);
            put_int(out, 2, i64::from(nanos / 1000 * 1000));
        }
        Codec::Duration => {
            let span: SignedDuration = text(value)?.parse().map_err(|_| wrong("a duration", value))?;
            put_int(
                out,
                1,
                i64::try_from(span.as_nanos()).map_err(|_| wrong("a duration of at most 292 years", value))?,
            );
        }
        Codec::Quantity => match value {
            Value::Number(number) => put_bytes(out, 1, number.to_string().as_bytes()),
            _ => put_bytes(out, 1, text(value)?.as_bytes()),
        },
        Codec::IntOrString => match value {
            Value::String(text) => {
                put_int(out, 1, 1);
                put_bytes(out, 3, text.as_bytes());
            }
            _ => {
                let number = i32::try_from(integer(value)?).map_err(|_| wrong("a 32-bit number", value))?;
                put_int(out, 1, 0);
                put_int(out, 2, i64::from(number));
            }
        },
        Codec::RawExtension | Codec::FieldsV1 | Codec::Json => put_bytes(out, 1, value.to_string().as_bytes()),
        Codec::SchemaOrBool => match value {
            Value::Bool(yes) => put_int(out, 1, i64::from(*yes)),
            _ => {
                // Upstream marks a schema as allowed, too.
                put_int(out, 1, 1);
                put_schema(value, 2, depth, out)?;
            }
        },
        Codec::SchemaOrArray => match value {
            Value::Array(list) => list.iter().try_for_each(|item| put_schema(item, 2, depth, out))?,
            _ => put_schema(value, 1, depth, out)?,
        },
        Codec::SchemaOrStrings => match value {
            Value::Array(list) => list.iter().try_for_each(|item| put(item, Kind::String, 2, depth, out))?,
            _ => put_schema(value, 1, depth, out)?,
        },
        Codec::Strings => {
            let list = value.as_array().ok_or_else(|| wrong("a list", value))?;
            list.iter().try_for_each(|item| put(item, Kind::String, 1, depth, out))?;
        }
    }
    Ok(())
}

fn put_schema(value: &Value, number: u32, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    put(value, Kind::Message(&crate::r#gen::schema::apiextensions_v1::JSON_SCHEMA_PROPS), number, depth, out)
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().or(value.is_null().then_some("")).ok_or_else(|| wrong("a string", value))
}

fn integer(value: &Value) -> Result<i64> {
    value.as_i64().or(value.is_null().then_some(0)).ok_or_else(|| wrong("a whole number", value))
}

fn time(value: &Value) -> Result<Timestamp> {
    types::parse_time(text(value)?).ok_or_else(|| wrong("an RFC 3339 time", value))
}

fn wrong(wanted: &str, value: &Value) -> EncodeError {
    let got = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "another number",
        Value::String(_) => "another string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    EncodeError::new(format!("expected {wanted}, found {got}"))
}
