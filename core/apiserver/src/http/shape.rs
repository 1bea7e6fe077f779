//! Objects, lists and rows in the shape and encoding that was asked for. Pure.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_api::{
    protobuf,
    schema::{Kind, Message},
};
use windlass_kernel::{
    Result,
    api::List,
    error::{Error, ErrorKind},
};

use super::negotiate::{Encoding, Shape};
use crate::{
    discovery::Resource,
    table::{IncludeObject, Look},
};

/// How one answer is written.
#[derive(Clone, Debug)]
pub(super) struct Format {
    pub(super) encoding: Encoding,
    pub(super) shape: Shape,
    pub(super) pretty: bool,
    pub(super) include: IncludeObject,
    /// The kind of the objects.
    pub(super) kind: String,
    /// Whose columns a table has.
    pub(super) look: Look,
}

impl Format {
    pub(super) fn new(encoding: Encoding, shape: Shape, resource: Option<&Resource>) -> Self {
        let (group, kind) = resource.map(|r| (r.group.to_string(), r.kind.to_string())).unwrap_or_default();
        let look = match resource.and_then(|resource| resource.columns.clone()) {
            Some(columns) => Look::Custom(columns),
            None => Look::BuiltIn { group, kind: kind.clone() },
        };
        Self { encoding, shape, pretty: false, include: IncludeObject::default(), kind, look }
    }

    /// Whether objects are sent as the bytes they are stored as.
    pub(super) fn verbatim(&self) -> bool {
        self.encoding == Encoding::Json && self.shape == Shape::Whole && !self.pretty
    }

    /// An object in the shape asked for.
    pub(super) fn object(&self, object: Value, now: Timestamp) -> Value {
        match self.shape {
            Shape::Whole => object,
            // A Status has no rows and no metadata of its own.
            _ if object["kind"] == "Status" => object,
            Shape::Metadata(version) => partial(&object, version),
            Shape::Table(version) => {
                let meta = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                self.table([&object], meta, version, now)
            }
        }
    }

    /// The page of a list in the shape and encoding asked for.
    pub(super) fn page(&self, list: &List, now: Timestamp) -> Result<Bytes> {
        if self.encoding == Encoding::Protobuf && self.shape == Shape::Whole {
            return list_protobuf(list);
        }
        self.encode(&self.list(list, now)?)
    }

    fn list(&self, list: &List, now: Timestamp) -> Result<Value> {
        let items = list.items.iter().map(|document| document.value());
        let items: Vec<Value> = items.collect::<Result<_>>()?;
        let meta = list_meta(list);
        Ok(match self.shape {
            Shape::Whole => {
                json!({"kind": list.kind, "apiVersion": list.api_version, "metadata": meta, "items": items})
            }
            Shape::Metadata(version) => {
                let items: Vec<Value> = items.iter().map(|item| partial(item, version)).collect();
                json!({
                    "kind": "PartialObjectMetadataList", "apiVersion": format!("meta.k8s.io/{version}"),
                    "metadata": meta, "items": items,
                })
            }
            Shape::Table(version) => self.table(&items, meta, version, now),
        })
    }

    fn table<'v>(
        &self,
        items: impl IntoIterator<Item = &'v Value>,
        meta: Value,
        version: &str,
        now: Timestamp,
    ) -> Value {
        let mut table = self.look.table(items, meta, self.include, now);
        table["apiVersion"] = format!("meta.k8s.io/{version}").into();
        if let Some(rows) = table["rows"].as_array_mut() {
            for row in rows.iter_mut().filter(|row| row["object"]["kind"] == "PartialObjectMetadata") {
                row["object"]["apiVersion"] = format!("meta.k8s.io/{version}").into();
            }
        }
        table
    }

    /// A tree in the encoding asked for.
    pub(super) fn encode(&self, value: &Value) -> Result<Bytes> {
        match self.encoding {
            Encoding::Json if self.pretty => Ok(format!("{value:#}\n").into()),
            Encoding::Json => Ok(value.to_string().into()),
            Encoding::Yaml => match yaml_serde::to_string(value) {
                Ok(text) => Ok(text.into()),
                Err(error) => Err(Error::new(ErrorKind::Internal, "cannot write YAML").with_source(error)),
            },
            Encoding::Protobuf => encode_protobuf(value),
        }
    }
}

fn encode_protobuf(value: &Value) -> Result<Bytes> {
    let text = |key: &str| value[key].as_str().unwrap_or_default();
    let message = protobuf::message_of(text("apiVersion"), text("kind"));
    let message = message.ok_or_else(|| {
        Error::new(
            ErrorKind::NotAcceptable,
            "only the following media types are accepted: application/json, application/yaml",
        )
    })?;
    match protobuf::encode(value, message) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(Error::new(ErrorKind::Internal, "cannot write protobuf").with_source(error)),
    }
}

/// A whole list in protobuf, item by item, so that no tree of all items is ever held.
fn list_protobuf(list: &List) -> Result<Bytes> {
    let message = protobuf::message_of(&list.api_version, &list.kind);
    let parts = message.and_then(|message| Some((field(message, "metadata")?, field(message, "items")?)));
    let Some(((meta_number, meta), (item_number, item))) = parts else {
        let message = "only the following media types are accepted: application/json, application/yaml";
        return Err(Error::new(ErrorKind::NotAcceptable, message));
    };
    let wrong = |error| Error::new(ErrorKind::Internal, "cannot write protobuf").with_source(error);
    let mut part = Vec::new();
    protobuf::encode_message(&list_meta(list), meta, &mut part).map_err(wrong)?;
    let mut raw = Vec::new();
    put(&mut raw, meta_number, &part);
    for document in &list.items {
        part.clear();
        protobuf::encode_message(&document.value()?, item, &mut part).map_err(wrong)?;
        put(&mut raw, item_number, &part);
    }
    let mut kind = Vec::new();
    put(&mut kind, 1, list.api_version.as_bytes());
    put(&mut kind, 2, list.kind.as_bytes());
    let mut out = Vec::with_capacity(raw.len() + kind.len() + 24);
    out.extend(protobuf::MAGIC);
    put(&mut out, 1, &kind);
    put(&mut out, 2, &raw);
    Ok(out.into())
}

fn field(message: &'static Message, name: &str) -> Option<(u32, &'static Message)> {
    let field = message.field(name)?;
    match field.of {
        Kind::Message(of) => Some((field.number, of)),
        _ => None,
    }
}

/// A length-delimited protobuf field.
fn put(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    varint(out, u64::from(number) << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// `ListMeta`.
pub(super) fn list_meta(list: &List) -> Value {
    let mut meta = json!({"resourceVersion": list.revision.to_string()});
    if !list.continue_token.is_empty() {
        meta["continue"] = list.continue_token.as_str().into();
    }
    if let Some(remaining) = list.remaining.filter(|remaining| *remaining > 0) {
        meta["remainingItemCount"] = remaining.into();
    }
    meta
}

fn partial(object: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": object["metadata"],
    })
}
