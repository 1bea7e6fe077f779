//! From JSON that a server sent to the stored form: what indexes need is read, the rest stays the text that it is.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

use super::{Encoder, json};
use crate::{
    error::{Error, ErrorKind, Result},
    store::Revision,
};

/// What the header is made of.
const INDEXED: [&str; 5] = ["namespace", "name", "uid", "labels", "ownerReferences"];

pub(super) fn stored_form(text: &str, (api_version, kind): (&str, &str)) -> Result<(Bytes, Revision)> {
    let wrong = |error| Error::new(ErrorKind::Internal, "an object is not a JSON object").with_source(error);
    let none = || Error::new(ErrorKind::Internal, "an object has metadata");
    let Fields(mut fields) = serde_json::from_str(text).map_err(wrong)?;
    let metadata = fields.iter().position(|(name, _)| name == "metadata").ok_or_else(none)?;
    let Fields(mut metadata) = serde_json::from_str(fields.remove(metadata).1.get()).map_err(wrong)?;

    let version = metadata.iter().position(|(name, _)| name == "resourceVersion").map(|at| metadata.remove(at).1);
    let version: Option<Cow<'_, str>> = version.and_then(|version| serde_json::from_str(version.get()).ok());
    let revision = Revision(version.and_then(|version| version.parse().ok()).unwrap_or(0));

    let mut indexed = Map::new();
    for (name, value) in metadata.iter().filter(|(name, _)| INDEXED.contains(&&**name)) {
        indexed.insert(name.to_string(), serde_json::from_str(value.get()).map_err(wrong)?);
    }
    let mut encoder = Encoder::new();
    encoder.metadata(&Value::Object(indexed));
    let mut out = Vec::with_capacity(text.len() + 256);
    encoder.begin(&mut out);
    let body = out.len();
    out.push(b'{');
    for (name, value) in [("apiVersion", api_version), ("kind", kind)] {
        if !value.is_empty() && !fields.iter().any(|(own, _)| own == name) {
            json::text(&mut out, name);
            out.push(b':');
            json::text(&mut out, value);
            out.push(b',');
        }
    }
    out.extend_from_slice(b"\"metadata\":{");
    let splice = out.len() - body;
    raw(&mut out, &metadata);
    out.push(b'}');
    if !fields.is_empty() {
        out.push(b',');
        raw(&mut out, &fields);
    }
    out.push(b'}');
    Ok((Encoder::end(out, splice), revision))
}

/// Appends fields as they are, without braces.
fn raw(out: &mut Vec<u8>, fields: &[(Cow<'_, str>, &RawValue)]) {
    for (at, (name, value)) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json::text(out, name);
        out.push(b':');
        out.extend_from_slice(value.get().as_bytes());
    }
}

/// The fields of an object in their order, their values as they are.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    fields.push((name, map.next_value()?));
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(Each)
    }
}

/// A name that is copied only where it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
