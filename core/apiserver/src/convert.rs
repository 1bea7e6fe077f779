//! Between the version a client names and the version objects are stored in.
//!
//! Versions of the same shape differ in `apiVersion` and in fields that one of them lacks; the others are mapped field
//! by field in `convert/`. Custom objects are converted where they are read from the store and written to it (`custom`).

mod autoscaling;
mod devices;
mod events;

use serde_json::Value;
use windlass_api::decode;
use windlass_kernel::{
    Document,
    error::{Error, ErrorKind, Result},
};

use crate::{
    custom, errors, index, object,
    registry::{Info, Schema, Served},
    server::ApiServer,
};

/// An object as it is stored, from what a client sent.
pub(crate) fn to_storage(served: &Served, mut value: Value) -> Result<Value> {
    if served.converts() {
        let fields = object::as_map(&mut value);
        fields.insert("apiVersion".into(), served.storage.api_version().into());
        match (&*served.info.group, &*served.info.version, &*served.info.plural) {
            ("events.k8s.io", ..) => events::to_core(&mut value),
            ("autoscaling", "v1", "horizontalpodautoscalers") => autoscaling::to_v2(&mut value)?,
            ("resource.k8s.io", "v1beta1", _) => devices::to_v1(&mut value),
            _ => {}
        }
        normalize(&mut value, &served.storage)?;
    }
    Ok(value)
}

/// A stored object as a tree for the client.
pub(crate) fn from_storage(served: &Served, mut value: Value) -> Result<Value> {
    if served.converts() {
        let fields = object::as_map(&mut value);
        fields.insert("apiVersion".into(), served.api_version().into());
        match (&*served.info.group, &*served.info.version, &*served.info.plural) {
            ("events.k8s.io", ..) => events::from_core(&mut value),
            ("autoscaling", "v1", "horizontalpodautoscalers") => autoscaling::from_v2(&mut value),
            ("resource.k8s.io", "v1beta1", _) => devices::from_v1(&mut value),
            _ => {}
        }
        normalize(&mut value, &served.info)?;
    }
    Ok(value)
}

fn normalize(value: &mut Value, info: &Info) -> Result<()> {
    let Schema::BuiltIn(message) = info.schema else { return Ok(()) };
    decode::normalize(value, message).map_err(|error| errors::bad_request(error.to_string()))
}

/// An object of the path of writes in the version the client named.
pub(crate) fn to_client(served: &Served, document: Document) -> Result<Document> {
    if served.converts() { index::unwritten(served, from_storage(served, document.value()?)?) } else { Ok(document) }
}

/// Stored objects in the version the client named.
pub(crate) async fn all_to_client(
    server: &ApiServer,
    served: &Served,
    documents: Vec<Document>,
) -> Result<Vec<Document>> {
    if served.converts() {
        return documents.into_iter().map(|document| to_client(served, document)).collect();
    }
    custom::open_all(server, served, documents).await
}

/// A stored object in the version the client named.
pub(crate) async fn stored_to_client(server: &ApiServer, served: &Served, document: Document) -> Result<Document> {
    let mut converted = all_to_client(server, served, vec![document]).await?;
    converted.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "a conversion lost its object"))
}
