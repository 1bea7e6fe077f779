//! One object as the garbage collector sees it, from its metadata alone.

use std::sync::Arc;

use serde::{Deserialize, de::IgnoredAny};
use windlass_api::meta::v1::OwnerReference;
use windlass_kernel::{Document, controller::ObjectKey, document::Index};

use crate::resources::Deletable;

/// What the JSON of an object that is being deleted has in it.
const DELETING: &str = "\"deletionTimestamp\":";
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// A uid. Cheap to clone.
pub(super) type Uid = Arc<str>;

/// An object in the graph.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) uid: Uid,
    pub(super) resource: Arc<Deletable>,
    pub(super) key: ObjectKey,
    pub(super) owners: Vec<OwnerReference>,
    pub(super) state: Deletion,
}

/// How far an object's own deletion is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Deletion {
    /// It is not being deleted.
    #[default]
    None,
    /// It is, and its dependents are to be left alone.
    Orphaning,
    /// It is, as soon as its dependents are gone.
    Foreground,
    /// It is, and waits for others.
    Pending,
}

/// The metadata that collecting needs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Meta {
    namespace: String,
    name: String,
    pub(super) uid: String,
    pub(super) finalizers: Vec<String>,
    pub(super) owner_references: Vec<OwnerReference>,
    deletion_timestamp: Option<IgnoredAny>,
}

impl Meta {
    pub(super) fn state(&self) -> Deletion {
        match self.deletion_timestamp {
            None => Deletion::None,
            Some(_) if self.asks(ORPHAN) => Deletion::Orphaning,
            Some(_) if self.asks(FOREGROUND) => Deletion::Foreground,
            Some(_) => Deletion::Pending,
        }
    }

    /// Whether the object is to be deleted leaving its dependents, whenever that happens.
    pub(super) fn orphans(&self) -> bool {
        self.asks(ORPHAN)
    }

    /// Whether the object is to be deleted after its dependents, whenever that happens.
    pub(super) fn waits(&self) -> bool {
        self.asks(FOREGROUND)
    }

    /// The finalizers without the one that the collector takes away for this kind of deletion.
    pub(super) fn finalizers_after(&self, state: Deletion) -> Vec<String> {
        let done = if state == Deletion::Orphaning { ORPHAN } else { FOREGROUND };
        self.finalizers.iter().filter(|own| *own != done).cloned().collect()
    }

    fn asks(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|own| own == finalizer)
    }
}

impl Node {
    pub(super) fn read(resource: &Arc<Deletable>, document: &Document) -> Option<Arc<Self>> {
        // Most objects own themselves and stay: their header says all there is to know.
        let plain = document.indexed(Index::Owner).next().is_none() && !document.mentions(DELETING);
        if let Ok(key) = document.object_key()
            && plain
        {
            let (resource, state) = (Arc::clone(resource), Deletion::None);
            return Some(Arc::new(Self { uid: Uid::from(document.uid()), resource, key, owners: Vec::new(), state }));
        }
        let meta = document.metadata::<Meta>();
        let meta = meta.inspect_err(|error| tracing::error!(?document, %error, "metadata cannot be read")).ok()?;
        Some(Arc::new(Self {
            uid: Uid::from(meta.uid.as_str()),
            resource: Arc::clone(resource),
            state: meta.state(),
            key: ObjectKey { namespace: meta.namespace, name: meta.name },
            owners: meta.owner_references,
        }))
    }

    /// Whether this object keeps that owner from going in the foreground.
    pub(super) fn blocks(&self, owner: &str) -> bool {
        self.owners.iter().any(|own| own.uid == owner && own.block_owner_deletion == Some(true))
    }

    /// Whether a reference from an object in `namespace` means this object: with the uid alone it may be a lie.
    pub(super) fn is_meant(&self, owner: &OwnerReference, namespace: &str) -> bool {
        let same_kind =
            self.resource.kind == owner.kind && self.resource.resource.group == crate::claim::group(&owner.api_version);
        let reachable = !self.resource.namespaced || self.key.namespace == namespace;
        *self.uid == *owner.uid && self.key.name == owner.name && same_kind && reachable
    }
}
