//! Between the version a client names and the version a custom object is stored in, and from what was stored under an
//! older schema to what the schema says now.
//!
//! What was brought into form by the present state of its definition carries the definition's stamp in its header, so
//! that reading it costs nothing.

use std::sync::Arc;

use serde_json::Value;
use windlass_api::apply::{self, ManagedEntry};
use windlass_kernel::{
    Document,
    document::Index,
    error::{Error, ErrorKind, Result},
    store::Entry,
};

use super::{
    coerce::{Malformed, coerce},
    definition::Shape,
    fill::fill,
    prune::prune,
    version::Version,
};
use crate::{body::api_version, index, object, registry::Served, server::ApiServer};

/// The name of the header line that holds the stamp; no field is called that.
pub(crate) const STAMP: &str = "";

/// How objects get from one version to another.
#[derive(Clone, Debug, Default)]
pub(crate) enum Conversion {
    /// Only `apiVersion` changes.
    #[default]
    None,
    /// A webhook converts; its configuration as it is written.
    Webhook(#[cfg_attr(not(feature = "http"), expect(dead_code, reason = "only HTTPS calls go out"))] Value),
}

impl Conversion {
    /// Reads the `conversion` of a definition.
    pub(crate) fn read(conversion: &Value) -> Self {
        match conversion["strategy"].as_str() {
            Some("Webhook") => Self::Webhook(conversion["webhook"].clone()),
            _ => Self::None,
        }
    }
}

/// A stored object as the version that the request names has it; built-in objects are as they are stored.
pub(crate) async fn open(server: &ApiServer, served: &Served, document: &Document) -> Result<Value> {
    let value = document.value()?;
    let Some(version) = served.definition().filter(|version| !is_ready(version, document)) else { return Ok(value) };
    let mut opened = opened(server, version, vec![value]).await?;
    opened.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "a conversion lost its object"))
}

/// Stored objects as the version that the request names has them.
pub(crate) async fn open_all(server: &ApiServer, served: &Served, documents: Vec<Document>) -> Result<Vec<Document>> {
    let Some(version) = served.definition() else { return Ok(documents) };
    if documents.iter().all(|document| is_ready(version, document)) {
        return Ok(documents);
    }
    let stale = documents.iter().filter(|document| !is_ready(version, document));
    let values = stale.map(Document::value).collect::<Result<Vec<_>>>()?;
    let mut opened = opened(server, version, values).await?.into_iter();
    let mut all = Vec::with_capacity(documents.len());
    for document in documents {
        if is_ready(version, &document) {
            all.push(document);
            continue;
        }
        let value = opened.next().ok_or_else(|| Error::new(ErrorKind::Internal, "a conversion lost an object"))?;
        all.push(reframed(served, &document, value)?);
    }
    Ok(all)
}

/// A document with other content and the same revision.
fn reframed(served: &Served, document: &Document, mut value: Value) -> Result<Document> {
    object::set_meta(&mut value, "resourceVersion", Some(document.revision().to_string().into()));
    index::unwritten(served, value)
}

/// An object of the version that the request names, as it is stored.
async fn close(server: &ApiServer, served: &Served, value: Value) -> Result<Value> {
    let Some(version) = served.definition().filter(|version| version.name != version.definition.storage) else {
        return Ok(value);
    };
    let storage = &version.definition.storage;
    let mut converted = converted(server, version, storage, vec![value]).await?;
    let mut value = converted.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "a conversion lost its object"))?;
    if let Some(shape) = version.definition.shapes.get(storage) {
        prune(&mut value, &shape.node);
    }
    Ok(value)
}

/// A custom object in another of its versions.
pub(crate) async fn between(server: &ApiServer, served: &Served, to: &str, value: Value) -> Result<Value> {
    let Some(version) = served.definition() else { return Ok(value) };
    let mut converted = converted(server, version, to, vec![value]).await?;
    converted.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "a conversion lost its object"))
}

/// Whether a document is in the version's form already.
fn is_ready(version: &Version, document: &Document) -> bool {
    version.name == version.definition.storage && document.find(Index::Field, STAMP) == Some(version.definition.stamp())
}

async fn opened(server: &ApiServer, version: &Version, mut values: Vec<Value>) -> Result<Vec<Value>> {
    for value in &mut values {
        if let Some(shape) = version.definition.shapes.get(version_of(value)) {
            reform(value, shape)?;
        }
    }
    let mut values = converted(server, version, &version.name, values).await?;
    if let Some(shape) = version.definition.shapes.get(&version.name) {
        values.iter_mut().try_for_each(|value| reform(value, shape))?;
    }
    Ok(values)
}

fn reform(value: &mut Value, shape: &Shape) -> Result<()> {
    prune(value, &shape.node);
    coerce(value, &shape.node, Malformed::Dropped)?;
    fill(value, &shape.node);
    Ok(())
}

fn version_of(value: &Value) -> &str {
    value["apiVersion"].as_str().and_then(|version| version.rsplit('/').next()).unwrap_or_default()
}

/// The objects in another version.
async fn converted(server: &ApiServer, version: &Version, to: &str, values: Vec<Value>) -> Result<Vec<Value>> {
    if values.iter().all(|value| version_of(value) == to) {
        return Ok(values);
    }
    let definition = &version.definition;
    let wanted = api_version(&definition.group, to);
    match &definition.conversion {
        Conversion::None => {
            let mut values = values;
            for value in &mut values {
                object::as_map(value).insert("apiVersion".into(), wanted.as_str().into());
            }
            Ok(values)
        }
        #[cfg(feature = "http")]
        Conversion::Webhook(webhook) => super::webhook::convert(server, definition, webhook, &wanted, values).await,
        #[cfg(not(feature = "http"))]
        Conversion::Webhook(_) => {
            let _ = server;
            Err(crate::errors::not_supported(&format!("conversion of {} by webhook", definition.names.plural)))
        }
    }
}

/// The bytes that an object of the path of writes is stored as.
///
/// Owners that are not in the tree are given apart.
pub(crate) async fn encode(
    server: &ApiServer,
    served: &Served,
    object: &Value,
    owners: &[ManagedEntry],
) -> Result<bytes::Bytes> {
    match served.definition() {
        Some(version) if version.name != version.definition.storage => {
            let mut object = object.clone();
            if !owners.is_empty() {
                apply::write_managers(&mut object, owners);
            }
            index::encode(served, &close(server, served, object).await?)
        }
        _ => index::encode_owned(served, object, owners),
    }
}

/// What was written, in the version that the request names.
pub(crate) fn written(served: &Served, object: &Value, stored: Document) -> Result<Document> {
    match served.definition() {
        Some(version) if version.name != version.definition.storage => reframed(served, &stored, object.clone()),
        _ => Ok(stored),
    }
}

/// Whether writing these bytes would change nothing but the stamp.
pub(crate) fn unchanged(served: &Served, value: &bytes::Bytes, current: &Document) -> bool {
    let entry = current.entry();
    if *value == entry.value {
        return true;
    }
    let other = || Arc::new(Entry::new(entry.key.clone(), entry.created, entry.modified, value.clone(), entry.lease));
    served.definition().is_some() && Document::stored(other()).is_ok_and(|other| other.to_bytes() == current.to_bytes())
}

/// The bytes of a change of metadata that leaves an object in the form that it was stored in.
pub(crate) fn encode_as(served: &Served, current: &Document, object: &Value) -> Result<bytes::Bytes> {
    match served.definition() {
        Some(version) if !is_ready(version, current) => index::encode_as_is(object),
        _ => index::encode(served, object),
    }
}
