//! What a list or watch selects, decided from the header of stored objects without decoding them.

use std::sync::Arc;

use windlass_api::selector::{Fields, Labels};
use windlass_kernel::{
    api::Options,
    document::{Document, Index},
    error::Result,
    store::{Entry, Key, KeyRange, Pick},
};

use crate::{custom, errors, registry::Served, rules, server::ApiServer};

/// Why a field is no selector. Upstream has one text for kinds with fields of their own and one for all others.
fn unknown(served: &Served, field: &str) -> String {
    let (group, kind) = (&*served.info.group, &*served.info.kind);
    if group == "batch" {
        return format!("field label {field:?} not supported for {kind:?}");
    }
    if !served.rules.field_names.is_empty() || served.definition().is_some() || group == "events.k8s.io" {
        return format!("field label not supported: {field}");
    }
    format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
}

/// A label selector, a field selector and a namespace.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    labels: Labels,
    fields: Fields,
}

impl Selection {
    /// Reads the selectors of a request.
    pub(crate) fn parse(served: &Served, options: &Options) -> Result<Self> {
        let labels = options.label_selector.parse::<Labels>();
        let labels = labels.map_err(|error| errors::bad_request(error.to_string()))?;
        let fields = options.field_selector.parse::<Fields>();
        let fields = fields.map_err(|error| errors::bad_request(error.to_string()))?;
        let fields = fields.map(|mut term| {
            term.field = rules::stored_field(served, &term.field)
                .ok_or_else(|| errors::bad_request(unknown(served, &term.field)))?
                .to_owned();
            Ok(term)
        });
        Ok(Self { labels, fields: fields? })
    }

    /// Whether nothing is left out.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// The keys that can hold what is selected.
    pub(crate) fn range(&self, served: &Served, namespace: &str) -> KeyRange {
        let namespace =
            if namespace.is_empty() { self.fields.exact("metadata.namespace").unwrap_or_default() } else { namespace };
        match self.fields.exact("metadata.name") {
            Some(name) if !name.is_empty() && (!served.info.namespaced || !namespace.is_empty()) => {
                let key = served.key(namespace, name);
                let end = Key::from(format!("{}\0", key.as_str()));
                KeyRange { start: key, end: Some(end) }
            }
            _ => KeyRange::prefix(&served.collection(namespace)),
        }
    }

    /// What every selected object says of itself, where the store can find those that do: a node's pods are followed by
    /// each node, and must not cost the others anything.
    pub(crate) fn pick(&self, served: &Served) -> Option<Pick> {
        const FIELD: &str = "spec.nodeName";
        let says = |entry: &Arc<Entry>| {
            let document = Document::stored(Arc::clone(entry)).ok()?;
            document.find(Index::Field, FIELD).map(str::to_owned)
        };
        let wanted = self.fields.exact(FIELD).filter(|node| served.is("", "pods") && !node.is_empty())?;
        Some(Pick { name: FIELD, says, wanted: wanted.to_owned() })
    }

    /// Stored objects in a form that says what the selectors ask for: those of custom resources may be of another
    /// version, or older than the field that is asked for.
    pub(crate) async fn readable(
        &self,
        server: &ApiServer,
        served: &Served,
        documents: Vec<Document>,
    ) -> Result<Vec<Document>> {
        let metadata = |field: &str| matches!(field, "metadata.name" | "metadata.namespace");
        if served.definition().is_none() || self.fields.terms().iter().all(|term| metadata(&term.field)) {
            return Ok(documents);
        }
        custom::open_all(server, served, documents).await
    }

    /// Whether the object is selected.
    pub(crate) fn matches(&self, served: &Served, document: &Document) -> bool {
        if self.is_everything() {
            return true;
        }
        let (namespace, name) = served.name_of(document.entry().key.as_str());
        self.labels.matches_with(|label| document.label(label))
            && self.fields.matches_with(|field| match field {
                "metadata.name" => Some(name),
                "metadata.namespace" => Some(namespace),
                field => document.find(Index::Field, field),
            })
    }
}
