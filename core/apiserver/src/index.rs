//! From an object to its stored bytes: the header that reads are answered from, then the object itself.

use serde_json::Value;
use windlass_kernel::{
    document::{Document, Encoder, Index},
    error::Result,
    store::Entry,
};

use crate::{object, registry::Served, rules};

/// Encodes `object`, which is in its stored version and has no resource version.
pub(crate) fn encode(served: &Served, object: &Value) -> Result<bytes::Bytes> {
    let mut encoder = header(object);
    rules::fields(served, object, &mut |name, value| {
        encoder.index(Index::Field, name, value);
    });
    encoder.finish(object)
}

/// Encodes `object` without the fields that selectors may ask for: it is not in the form that its resource says.
pub(crate) fn encode_as_is(object: &Value) -> Result<bytes::Bytes> {
    header(object).finish(object)
}

fn header(object: &Value) -> Encoder {
    let mut encoder = Encoder::new();
    let meta = &object["metadata"];
    encoder.index(Index::Uid, "", meta["uid"].as_str().unwrap_or_default());
    for (name, value) in meta["labels"].as_object().into_iter().flatten() {
        encoder.index(Index::Label, name, value.as_str().unwrap_or_default());
    }
    for owner in meta["ownerReferences"].as_array().into_iter().flatten() {
        let managing = owner["controller"].as_bool().unwrap_or_default();
        let name = if managing { "controller" } else { "" };
        encoder.index(Index::Owner, name, owner["uid"].as_str().unwrap_or_default());
    }
    encoder
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
