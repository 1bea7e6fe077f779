//! Between the version a client names and the version objects are stored in.
//!
//! Versions of the same shape differ in `apiVersion` and in fields that one of them lacks; the others are mapped field
//! by field in `convert/`.

mod autoscaling;
mod devices;
mod events;

use serde_json::Value;
use windlass_api::decode;
use windlass_kernel::{Document, error::Result};

use crate::{errors, index, object, registry::Served};

/// An object as it is stored, from what a client sent.
pub(crate) fn to_storage(served: &Served, mut value: Value) -> Result<Value> {
    if served.converts() {
        let fields = object::as_map(&mut value);
        fields.insert("apiVersion".into(), served.storage.group_version().api_version().into());
        match (served.info.group, served.info.version, served.info.plural) {
            ("events.k8s.io", ..) => events::to_core(&mut value),
            ("autoscaling", "v1", "horizontalpodautoscalers") => autoscaling::to_v2(&mut value)?,
            ("resource.k8s.io", "v1beta1", _) => devices::to_v1(&mut value),
            _ => {}
        }
        let normalized = decode::normalize(&mut value, served.storage.message);
        normalized.map_err(|error| errors::bad_request(error.to_string()))?;
    }
    Ok(value)
}

/// A stored object as a tree for the client.
pub(crate) fn from_storage(served: &Served, mut value: Value) -> Result<Value> {
    if served.converts() {
        let fields = object::as_map(&mut value);
        fields.insert("apiVersion".into(), served.api_version().into());
        match (served.info.group, served.info.version, served.info.plural) {
            ("events.k8s.io", ..) => events::from_core(&mut value),
            ("autoscaling", "v1", "horizontalpodautoscalers") => autoscaling::from_v2(&mut value),
            ("resource.k8s.io", "v1beta1", _) => devices::from_v1(&mut value),
            _ => {}
        }
        let normalized = decode::normalize(&mut value, served.info.message);
        normalized.map_err(|error| errors::bad_request(error.to_string()))?;
    }
    Ok(value)
}

/// A stored object in the version the client named.
pub(crate) fn to_client(served: &Served, document: Document) -> Result<Document> {
    if served.converts() { index::unwritten(served, from_storage(served, document.value()?)?) } else { Ok(document) }
}
