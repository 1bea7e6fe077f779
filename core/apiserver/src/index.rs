//! From an object to its stored bytes: the header that reads are answered from, then the object itself.

use serde_json::Value;
use windlass_api::apply::{self, ManagedEntry};
use windlass_kernel::{
    document::{Document, Encoder, Index},
    error::Result,
    store::Entry,
};

use crate::{object, registry::Served, rules};

/// Encodes `object`, which is in its stored version and has no resource version.
pub(crate) fn encode(served: &Served, object: &Value) -> Result<bytes::Bytes> {
    encode_owned(served, object, &[])
}

/// The same for an object whose owners, where there are any, are not in the tree.
pub(crate) fn encode_owned(served: &Served, object: &Value, owners: &[ManagedEntry]) -> Result<bytes::Bytes> {
    let mut encoder = Encoder::new();
    encoder.metadata(&object["metadata"]);
    rules::fields(served, object, &mut |name, value| {
        encoder.index(Index::Field, name, value);
    });
    let owners = (!owners.is_empty()).then(|| apply::managers_to_json(owners));
    encoder.finish_with(object, owners.as_deref().map(|json| ("managedFields", json)))
}

/// Encodes `object` without the fields that selectors may ask for: it is not in the form that its resource says.
pub(crate) fn encode_as_is(object: &Value) -> Result<bytes::Bytes> {
    let mut encoder = Encoder::new();
    encoder.metadata(&object["metadata"]);
    encoder.finish(object)
}

/// An object that was not written, in the form of those that were: for dry runs.
pub(crate) fn unwritten(served: &Served, mut object: Value) -> Result<Document> {
    let revision = object::meta_text(&object, "resourceVersion").parse().unwrap_or(0);
    object::set_meta(&mut object, "resourceVersion", None);
    let value = encode(served, &object)?;
    let key = served.key(object::meta_text(&object, "namespace"), object::name(&object));
    let revision = windlass_kernel::Revision(revision);
    Document::stored(std::sync::Arc::new(Entry::new(key, revision, revision, value, None)))
}
