//! From an object to its stored form: the header for indexes, then canonical JSON.

use bytes::{BufMut, Bytes};
use serde_json::Value;

use super::{FORMAT, json};
use crate::error::{Error, ErrorKind, Result};

/// What a header line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Index {
    /// The object's uid; the name is empty.
    Uid = 1,
    /// A label.
    Label = 2,
    /// A field that selectors may ask for, such as `spec.nodeName`.
    Field = 3,
    /// An owner's uid; the name is `controller` for the managing one and empty for others.
    Owner = 4,
    /// The object's own name; the line's name is its namespace.
    Key = 5,
}

/// Encodes objects into the stored form.
#[derive(Debug, Default)]
pub struct Encoder {
    header: Vec<u8>,
}

impl Encoder {
    /// An encoder with an empty header.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a header line.
    pub fn index(&mut self, index: Index, name: &str, value: &str) -> &mut Self {
        self.header.push(index as u8);
        for text in [name, value] {
            let length = u32::try_from(text.len()).expect("a body is limited to megabytes");
            self.header.put_u32_le(length);
            self.header.put_slice(text.as_bytes());
        }
        self
    }

    /// Adds the header lines that follow from metadata: key, uid, labels and owners.
    pub fn metadata(&mut self, meta: &Value) -> &mut Self {
        self.index(Index::Key, text_of(meta, "namespace"), text_of(meta, "name"));
        self.index(Index::Uid, "", text_of(meta, "uid"));
        for (name, value) in meta.get("labels").and_then(Value::as_object).into_iter().flatten() {
            self.index(Index::Label, name, value.as_str().unwrap_or_default());
        }
        for owner in meta.get("ownerReferences").and_then(Value::as_array).into_iter().flatten() {
            let managing = owner.get("controller").and_then(Value::as_bool).unwrap_or_default();
            self.index(Index::Owner, if managing { "controller" } else { "" }, text_of(owner, "uid"));
        }
        self
    }

    /// Encodes `object`, whose `metadata` is an object without a resource version.
    ///
    /// # Errors
    ///
    /// [`Internal`](ErrorKind::Internal) where the object has no `metadata`.
    pub fn finish(&self, object: &Value) -> Result<Bytes> {
        self.finish_with(object, None)
    }

    /// The same with one more field of the metadata, that the object does not have: its name and its JSON.
    ///
    /// # Errors
    ///
    /// Those of [`finish`](Self::finish).
    pub fn finish_with(&self, object: &Value, more: Option<(&str, &str)>) -> Result<Bytes> {
        let fields = object.as_object().ok_or_else(|| Error::new(ErrorKind::Internal, "an object is a JSON object"))?;
        let mut out = Vec::with_capacity(4096);
        self.begin(&mut out);
        let body = out.len();
        let mut splice = None;
        for (at, (name, value)) in fields.iter().enumerate() {
            out.push(if at == 0 { b'{' } else { b',' });
            json::text(&mut out, name);
            out.push(b':');
            match value {
                Value::Object(metadata) if name == "metadata" => {
                    splice = Some(out.len() + 1 - body);
                    json::object(&mut out, metadata, more);
                }
                value => json::value(&mut out, value),
            }
        }
        out.push(b'}');
        let splice = splice.ok_or_else(|| Error::new(ErrorKind::Internal, "an object has metadata"))?;
        Ok(Self::end(out, splice))
    }

    /// Everything before the JSON.
    pub(super) fn begin(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        out.put_u32_le(0);
        out.put_slice(&length(self.header.len()));
        out.put_slice(&self.header);
    }

    /// The stored form, where `splice` is the place in the JSON behind the brace that opens the metadata.
    pub(super) fn end(mut out: Vec<u8>, splice: usize) -> Bytes {
        out[1..5].copy_from_slice(&length(splice));
        // A copy has the size that it needs, for as long as the store keeps it.
        Bytes::copy_from_slice(&out)
    }
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("a body is limited to megabytes").to_le_bytes()
}

fn text_of<'v>(of: &'v Value, field: &str) -> &'v str {
    of.get(field).and_then(Value::as_str).unwrap_or_default()
}
