//! Protobuf for built-in kinds: bytes to JSON trees and back, driven by the schema tables.
//!
//! The wire form is upstream's: four magic bytes, an envelope that names the kind, and the kind's proto2 message.
//! Defaults and zero values that only JSON writes are not added here; [`decode::normalize`](crate::decode::normalize)
//! does that for every format. Custom resources have no protobuf form.

mod read;
#[cfg(test)]
mod tests;
mod wire;
mod write;

use crate::schema::Message;
use serde_json::Value;
use std::fmt;

pub use self::read::decode_message;
pub use self::wire::{put_bytes, put_double, put_int};
pub use self::write::encode_message;

/// What every protobuf body starts with.
pub const MAGIC: [u8; 4] = *b"k8s\0";

/// How deep messages may nest.
const MAX_DEPTH: usize = 100;

/// Why bytes could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// They do not start with the magic bytes.
    NotEnveloped,
    /// They hold a kind that has no built-in schema.
    UnknownKind {
        /// The group and version, as the envelope says.
        api_version: String,
        /// The kind, as the envelope says.
        kind: String,
    },
    /// They are not what they claim to be.
    Malformed {
        /// The field, from the top; empty for the message itself.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl DecodeError {
    fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed { path: String::new(), reason: reason.into() }
    }

    fn within(self, name: &str) -> Self {
        match self {
            Self::Malformed { path, reason } if path.is_empty() => Self::Malformed { path: name.to_owned(), reason },
            Self::Malformed { path, reason } => Self::Malformed { path: format!("{name}.{path}"), reason },
            other => other,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEnveloped => f.write_str("the body does not start with the protobuf prefix of Kubernetes"),
            Self::UnknownKind { api_version, kind } => write!(f, "no kind {kind:?} is known in {api_version:?}"),
            Self::Malformed { path, reason } if path.is_empty() => write!(f, "cannot read protobuf: {reason}"),
            Self::Malformed { path, reason } => write!(f, "cannot read protobuf field {path}: {reason}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why a tree could not be written: a field that does not have the type of its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeError {
    path: String,
    reason: String,
}

impl EncodeError {
    fn new(reason: impl Into<String>) -> Self {
        Self { path: String::new(), reason: reason.into() }
    }

    fn within(self, name: &str) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{name}.{}", self.path) };
        Self { path, ..self }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write protobuf field {:?}: {}", self.path, self.reason)
    }
}

impl std::error::Error for EncodeError {}

/// An opened envelope: what it says it holds, and the bytes of that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The group and version: `v1`, `apps/v1`.
    pub api_version: &'a str,
    /// The kind.
    pub kind: &'a str,
    /// The kind's message, or JSON where the content type says so.
    pub raw: &'a [u8],
    /// The compression of `raw`; none is in use.
    pub content_encoding: &'a str,
    /// The format of `raw`; empty for protobuf.
    pub content_type: &'a str,
}

/// Opens an envelope without reading what is inside.
pub fn open(bytes: &[u8]) -> Result<Envelope<'_>, DecodeError> {
    read::envelope(bytes.strip_prefix(&MAGIC).ok_or(DecodeError::NotEnveloped)?)
}

/// Reads an enveloped object of a built-in kind; the tree carries its `apiVersion` and `kind`.
pub fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    read::enveloped(bytes, 0)
}

/// Writes an object with its envelope; `apiVersion` and `kind` are taken from the tree.
pub fn encode(value: &Value, of: &Message) -> Result<Vec<u8>, EncodeError> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut raw = Vec::new();
    encode_message(value, of, &mut raw)?;
    let mut meta = Vec::new();
    put_bytes(&mut meta, 1, text("apiVersion").as_bytes());
    put_bytes(&mut meta, 2, text("kind").as_bytes());
    let mut out = MAGIC.to_vec();
    put_bytes(&mut out, 1, &meta);
    put_bytes(&mut out, 2, &raw);
    Ok(out)
}

/// Writes one frame of a watch stream: a big-endian length and the event, whose object is enveloped.
pub fn encode_watch_event(event: &str, object: &[u8]) -> Vec<u8> {
    let mut extension = Vec::new();
    put_bytes(&mut extension, 1, object);
    let mut body = Vec::new();
    put_bytes(&mut body, 1, event.as_bytes());
    put_bytes(&mut body, 2, &extension);
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut out = length.to_be_bytes().to_vec();
    out.extend(body);
    out
}

/// Finds the message of an `apiVersion` and kind; meta kinds such as `DeleteOptions` exist in every group.
#[must_use]
pub fn message_of(api_version: &str, kind: &str) -> Option<&'static Message> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let shared = || {
        Message::named(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}")).filter(|m| m.field("kind").is_some())
    };
    Message::of_kind(group, version, kind).or_else(shared)
}
