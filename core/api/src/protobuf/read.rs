//! Protobuf messages to JSON trees. Unknown fields are skipped, as upstream skips them.

use super::wire::{Item, Reader};
use super::{DecodeError, Envelope, MAGIC, MAX_DEPTH, message_of};
use crate::schema::{Codec, Field, Kind, Message, Shape, Zero};
use crate::types::{MicroTime, Time};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Number, Value};

type Result<T> = std::result::Result<T, DecodeError>;

/// Reads the fields of a `runtime.Unknown`.
pub(super) fn envelope(bytes: &[u8]) -> Result<Envelope<'_>> {
    let mut out = Envelope::default();
    let mut fields = Reader::new(bytes);
    while let Some((number, item)) = fields.next()? {
        match (number, item) {
            (1, Item::Bytes(meta)) => {
                let mut fields = Reader::new(meta);
                while let Some((number, item)) = fields.next()? {
                    match (number, item) {
                        (1, Item::Bytes(text)) => out.api_version = utf8(text)?,
                        (2, Item::Bytes(text)) => out.kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Item::Bytes(raw)) => out.raw = raw,
            (3, Item::Bytes(text)) => out.content_encoding = utf8(text)?,
            (4, Item::Bytes(text)) => out.content_type = utf8(text)?,
            _ => {}
        }
    }
    Ok(out)
}

/// Reads an enveloped object, which may stand inside another.
pub(super) fn enveloped(bytes: &[u8], depth: usize) -> Result<Value> {
    let open = envelope(bytes.strip_prefix(&MAGIC).ok_or(DecodeError::NotEnveloped)?)?;
    if !open.content_encoding.is_empty() {
        return Err(DecodeError::malformed(format!("unknown content encoding {:?}", open.content_encoding)));
    }
    if open.content_type == "application/json" {
        return json(open.raw);
    }
    let (api_version, kind) = (open.api_version.to_owned(), open.kind.to_owned());
    let Some(of) = message_of(&api_version, &kind) else {
        return Err(DecodeError::UnknownKind { api_version, kind });
    };
    let mut object = Map::new();
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    message(open.raw, of, depth, &mut object)?;
    Ok(Value::Object(object))
}

/// Reads a message without envelope; the tree carries no `apiVersion` and `kind`.
pub fn decode_message(bytes: &[u8], of: &Message) -> Result<Value> {
    value(of, bytes, 0)
}

fn message(bytes: &[u8], of: &Message, depth: usize, into: &mut Map<String, Value>) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(DecodeError::malformed(format!("messages nest deeper than {MAX_DEPTH}")));
    }
    let mut fields = Reader::new(bytes);
    while let Some((number, item)) = fields.next()? {
        if let Some(field) = of.numbered(number) {
            add(field, item, depth, into).map_err(|e| if field.inline { e } else { e.within(field.json) })?;
        }
    }
    Ok(())
}

fn add(field: &Field, item: Item<'_>, depth: usize, into: &mut Map<String, Value>) -> Result<()> {
    if let (true, Kind::Message(of), Item::Bytes(bytes)) = (field.inline, field.of, item) {
        return message(bytes, of, depth + 1, into);
    }
    match field.shape {
        Shape::One => {
            // A message that comes in pieces is merged, other values are replaced.
            let value = match (field.of, item, into.remove(field.json)) {
                (Kind::Message(of), Item::Bytes(bytes), Some(Value::Object(mut before)))
                    if of.codec == Codec::Plain =>
                {
                    message(bytes, of, depth + 1, &mut before)?;
                    Value::Object(before)
                }
                _ => single(field.of, item, depth)?,
            };
            let keep = match field.zero {
                Zero::Omit => !is_zero(&value),
                Zero::Pointer => !value.is_null(),
                Zero::Write => true,
            };
            if keep {
                into.insert(field.json.to_owned(), value);
            }
        }
        Shape::List => {
            let list = into.entry(field.json).or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(list) = list else { return Err(DecodeError::malformed("two fields share a name")) };
            match (field.of, item) {
                (Kind::Bool | Kind::Int32 | Kind::Int64 | Kind::Double, Item::Bytes(packed)) => {
                    unpack(field.of, packed, list)?
                }
                _ => list.push(single(field.of, item, depth)?),
            }
        }
        Shape::Map => {
            let map = into.entry(field.json).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(map) = map else { return Err(DecodeError::malformed("two fields share a name")) };
            let (key, value) = entry(field.of, item, depth)?;
            map.insert(key, value);
        }
    }
    Ok(())
}

fn unpack(of: Kind, packed: &[u8], list: &mut Vec<Value>) -> Result<()> {
    if let Kind::Double = of {
        let (chunks, rest) = packed.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(DecodeError::malformed("unexpected end"));
        }
        for chunk in chunks {
            list.push(single(of, Item::Fixed64(u64::from_le_bytes(*chunk)), 0)?);
        }
        return Ok(());
    }
    let mut numbers = Reader::new(packed);
    while !numbers.is_empty() {
        list.push(single(of, Item::Varint(numbers.varint()?), 0)?);
    }
    Ok(())
}

fn entry(of: Kind, item: Item<'_>, depth: usize) -> Result<(String, Value)> {
    let Item::Bytes(bytes) = item else { return Err(wrong("a map entry")) };
    let (mut key, mut value) = (String::new(), None);
    let mut fields = Reader::new(bytes);
    while let Some((number, item)) = fields.next()? {
        match (number, item) {
            (1, Item::Bytes(text)) => key = utf8(text)?.to_owned(),
            (2, item) => value = Some(single(of, item, depth)?),
            _ => {}
        }
    }
    let value = match value {
        Some(value) => value,
        None => single(of, zero_item(of), depth)?,
    };
    Ok((key, value))
}

/// A duration as Go writes it.
fn duration(span: SignedDuration) -> String {
    let (sign, span) = (if span.is_negative() { "-" } else { "" }, span.unsigned_abs());
    let (seconds, nanos) = (span.as_secs(), span.subsec_nanos());
    if seconds == 0 && nanos != 0 {
        let (unit, size) = match nanos {
            0..1_000 => ("ns", 1),
            1_000..1_000_000 => ("\u{b5}s", 1_000),
            _ => ("ms", 1_000_000),
        };
        return format!("{sign}{}{unit}", decimal(nanos.into(), size));
    }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let rest = decimal(seconds % 60 * 1_000_000_000 + u64::from(nanos), 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{rest}s"),
        (0, _) => format!("{sign}{minutes}m{rest}s"),
        _ => format!("{sign}{hours}h{minutes}m{rest}s"),
    }
}

/// A number of units of a size that is a power of ten, without zeros at its end.
fn decimal(number: u64, size: u64) -> String {
    let digits = size.ilog10() as usize;
    let text = format!("{}.{:0digits$}", number / size, number % size);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn zero_item(of: Kind) -> Item<'static> {
    match of {
        Kind::Bool | Kind::Int32 | Kind::Int64 => Item::Varint(0),
        Kind::Double => Item::Fixed64(0),
        Kind::String | Kind::Bytes | Kind::Message(_) => Item::Bytes(&[]),
    }
}

fn single(of: Kind, item: Item<'_>, depth: usize) -> Result<Value> {
    Ok(match (of, item) {
        (Kind::String, Item::Bytes(bytes)) => Value::from(utf8(bytes)?),
        (Kind::Bytes, Item::Bytes(bytes)) => Value::from(STANDARD.encode(bytes)),
        (Kind::Bool, Item::Varint(number)) => Value::from(number != 0),
        // Negative 32-bit numbers are written with 64 bits; upstream, too, keeps the low 32.
        (Kind::Int32, Item::Varint(number)) => Value::from(number as i32),
        (Kind::Int64, Item::Varint(number)) => Value::from(number.cast_signed()),
        (Kind::Double, Item::Fixed64(bits)) => double(f64::from_bits(bits))?,
        (Kind::Message(of), Item::Bytes(bytes)) => value(of, bytes, depth + 1)?,
        (Kind::String, _) => return Err(wrong("a string")),
        (Kind::Bytes, _) => return Err(wrong("bytes")),
        (Kind::Bool | Kind::Int32 | Kind::Int64, _) => return Err(wrong("a number")),
        (Kind::Double, _) => return Err(wrong("a double")),
        (Kind::Message(of), _) => return Err(wrong(of.short_name())),
    })
}

/// Reads a message into the JSON form of its codec.
fn value(of: &Message, bytes: &[u8], depth: usize) -> Result<Value> {
    match of.codec {
        Codec::Plain => {
            let mut object = Map::new();
            message(bytes, of, depth, &mut object)?;
            Ok(Value::Object(object))
        }
        Codec::Time | Codec::MicroTime if bytes.is_empty() => Ok(Value::Null),
        Codec::Time => Ok(Time(timestamp(numbers(bytes)?[0], 0)?).to_string().into()),
        Codec::MicroTime => {
            let [seconds, nanos, _] = numbers(bytes)?;
            Ok(MicroTime(timestamp(seconds, nanos)?).to_string().into())
        }
        Codec::Duration => Ok(duration(SignedDuration::from_nanos(numbers(bytes)?[0])).into()),
        Codec::Quantity => Ok(text(bytes, 1)?.filter(|t| !t.is_empty()).unwrap_or("0").into()),
        Codec::IntOrString => {
            let [kind, number, _] = numbers(bytes)?;
            match kind {
                0 => Ok(Value::from(number as i32)),
                1 => Ok(text(bytes, 3)?.unwrap_or_default().into()),
                other => Err(DecodeError::malformed(format!("neither a number nor a string, but type {other}"))),
            }
        }
        Codec::RawExtension | Codec::FieldsV1 | Codec::Json => match last(bytes, 1)? {
            None | Some([]) => Ok(Value::Null),
            Some(raw) if raw.starts_with(&MAGIC) && depth < MAX_DEPTH => enveloped(raw, depth + 1),
            Some(raw) => json(raw),
        },
        Codec::SchemaOrBool => match last(bytes, 2)? {
            Some(schema) => self::schema(schema, depth),
            None => Ok(Value::from(numbers(bytes)?[0] != 0)),
        },
        Codec::SchemaOrArray => match last(bytes, 1)? {
            Some(schema) if last(bytes, 2)?.is_none() => self::schema(schema, depth),
            _ => all(bytes, 2, |b| schema(b, depth)),
        },
        Codec::SchemaOrStrings => match last(bytes, 1)? {
            Some(schema) if last(bytes, 2)?.is_none() => self::schema(schema, depth),
            _ => all(bytes, 2, |b| Ok(utf8(b)?.into())),
        },
        Codec::Strings => all(bytes, 1, |b| Ok(utf8(b)?.into())),
    }
}

fn schema(bytes: &[u8], depth: usize) -> Result<Value> {
    value(&crate::r#gen::schema::apiextensions_v1::JSON_SCHEMA_PROPS, bytes, depth + 1)
}

/// The numbers in fields 1 and 2, zero where absent.
fn numbers(bytes: &[u8]) -> Result<[i64; 3]> {
    let mut out = [0; 3];
    let mut fields = Reader::new(bytes);
    while let Some((number, item)) = fields.next()? {
        if let (1..=3, Item::Varint(value)) = (number, item) {
            out[number as usize - 1] = value.cast_signed();
        }
    }
    Ok(out)
}

/// The last value of a length-delimited field.
fn last(bytes: &[u8], wanted: u32) -> Result<Option<&[u8]>> {
    let mut out = None;
    let mut fields = Reader::new(bytes);
    while let Some((number, item)) = fields.next()? {
        if let (true, Item::Bytes(value)) = (number == wanted, item) {
            out = Some(value);
        }
    }
    Ok(out)
}

fn text(bytes: &[u8], wanted: u32) -> Result<Option<&str>> {
    last(bytes, wanted)?.map(utf8).transpose()
}

fn all(bytes: &[u8], wanted: u32, read: impl Fn(&[u8]) -> Result<Value>) -> Result<Value> {
    let mut out = Vec::new();
    let mut fields = Reader::new(bytes);
    while let Some((number, item)) = fields.next()? {
        if let (true, Item::Bytes(value)) = (number == wanted, item) {
            out.push(read(value)?);
        }
    }
    Ok(Value::Array(out))
}

fn timestamp(seconds: i64, nanos: i64) -> Result<Timestamp> {
    let nanos = i32::try_from(nanos).ok().filter(|n| (0..1_000_000_000).contains(n));
    nanos.and_then(|n| Timestamp::new(seconds, n).ok()).ok_or_else(|| DecodeError::malformed("a time is out of range"))
}

fn double(number: f64) -> Result<Value> {
    Number::from_f64(number).map(Value::Number).ok_or_else(|| DecodeError::malformed("a number is not finite"))
}

fn json(raw: &[u8]) -> Result<Value> {
    serde_json::from_slice(raw).map_err(|e| DecodeError::malformed(format!("embedded JSON: {e}")))
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::malformed("a string is not UTF-8"))
}

fn wrong(wanted: &str) -> DecodeError {
    DecodeError::malformed(format!("wrong wire type for {wanted}"))
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
