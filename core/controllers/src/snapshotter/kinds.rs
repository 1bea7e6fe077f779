//! The kinds of `snapshot.storage.k8s.io/v1`, as far as the snapshotter and the provisioner read them. They are custom
//! resources: [`definitions`](super::definitions) says their schemas.

use std::{any::Any, collections::BTreeMap, fmt::Debug};

use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned};
use windlass_api::{
    meta::v1::ObjectMeta,
    types::{Quantity, Resource, Time},
};

/// The group of all three kinds.
pub const GROUP: &str = "snapshot.storage.k8s.io";

/// What a kind has beside its metadata.
pub trait Body:
    Any + Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The kind.
    const KIND: &'static str;
    /// The name in paths.
    const PLURAL: &'static str;
    /// Whether objects live in namespaces.
    const NAMESPACED: bool;
}

/// An object of one of the kinds. Fields that are not named here are not kept: it is written by patches.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, bound = "B: Body")]
pub struct Custom<B> {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Everything else.
    #[serde(flatten)]
    pub body: B,
}

/// A snapshot as somebody asks for it, in a namespace.
pub type VolumeSnapshot = Custom<Snapshot>;
/// A snapshot as a driver has it.
pub type VolumeSnapshotContent = Custom<Content>;
/// How snapshots are made.
pub type VolumeSnapshotClass = Custom<Class>;

impl<B: Body> Serialize for Custom<B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Whole<'a, B> {
            api_version: String,
            kind: &'static str,
            metadata: &'a ObjectMeta,
            #[serde(flatten)]
            body: &'a B,
        }
        let (api_version, kind) = (Self::api_version(), B::KIND);
        Whole { api_version, kind, metadata: &self.metadata, body: &self.body }.serialize(serializer)
    }
}

impl<B: Body> Resource for Custom<B> {
    const GROUP: &'static str = GROUP;
    const VERSION: &'static str = "v1";
    const KIND: &'static str = B::KIND;
    const PLURAL: &'static str = B::PLURAL;
    const NAMESPACED: bool = B::NAMESPACED;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Body for Snapshot {
    const KIND: &'static str = "VolumeSnapshot";
    const PLURAL: &'static str = "volumesnapshots";
    const NAMESPACED: bool = true;
}

impl Body for Content {
    const KIND: &'static str = "VolumeSnapshotContent";
    const PLURAL: &'static str = "volumesnapshotcontents";
    const NAMESPACED: bool = false;
}

impl Body for Class {
    const KIND: &'static str = "VolumeSnapshotClass";
    const PLURAL: &'static str = "volumesnapshotclasses";
    const NAMESPACED: bool = false;
}

/// What a [`VolumeSnapshot`] says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Snapshot {
    /// What is wanted.
    pub spec: SnapshotSpec,
    /// What there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<SnapshotStatus>,
}

/// A snapshot that is wanted.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SnapshotSpec {
    /// Of what.
    pub source: SnapshotSource,
    /// The class; without one the default class of the claim's driver is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_snapshot_class_name: Option<String>,
}

/// What a snapshot is of: one of the two is set.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SnapshotSource {
    /// The claim in its namespace of whose volume a snapshot is to be cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim_name: Option<String>,
    /// The content that stands for a snapshot which exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_snapshot_content_name: Option<String>,
}

/// A snapshot as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SnapshotStatus {
    /// Its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound_volume_snapshot_content_name: Option<String>,
    /// When it was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_time: Option<Time>,
    /// Whether claims can be made from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_to_use: Option<bool>,
    /// How large a claim made from it must be at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_size: Option<Quantity>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<SnapshotError>,
}

/// What went wrong, and when.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct SnapshotError {
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// What.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What a [`VolumeSnapshotContent`] says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Content {
    /// What is wanted.
    pub spec: ContentSpec,
    /// What there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ContentStatus>,
}

/// What a driver is to have.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContentSpec {
    /// What becomes of the driver's snapshot with the content: `Delete` or `Retain`.
    pub deletion_policy: String,
    /// The driver.
    pub driver: String,
    /// Of what it is.
    pub source: ContentSource,
    /// The mode of the volume that it was cut of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_volume_mode: Option<String>,
    /// The class that it was made by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_snapshot_class_name: Option<String>,
    /// The snapshot that it is for.
    pub volume_snapshot_ref: SnapshotReference,
}

/// What a driver's snapshot is of: one of the two is set.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContentSource {
    /// A snapshot that exists, as the driver calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_handle: Option<String>,
    /// The volume that one is to be cut of, as the driver calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_handle: Option<String>,
}

/// A reference to a [`VolumeSnapshot`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SnapshotReference {
    /// The version of its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its uid, once both are bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The version that it had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

/// What a driver has.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContentStatus {
    /// The snapshot, as the driver calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_handle: Option<String>,
    /// When it was cut, in nanoseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_time: Option<i64>,
    /// Whether it can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_to_use: Option<bool>,
    /// How many bytes a volume made from it needs at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_size: Option<i64>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<SnapshotError>,
}

/// What a [`VolumeSnapshotClass`] says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Class {
    /// The driver.
    pub driver: String,
    /// What becomes of the driver's snapshots: `Delete` or `Retain`.
    pub deletion_policy: String,
    /// The driver's parameters, and the snapshotter's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
}

impl Custom<Snapshot> {
    /// What there is, as far as it is known.
    #[must_use]
    pub fn status(&self) -> SnapshotStatus {
        self.body.status.clone().unwrap_or_default()
    }

    /// Whether claims can be made from it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.body.status.as_ref().is_some_and(|status| status.ready_to_use == Some(true))
    }
}

impl Custom<Content> {
    /// What the driver has, as far as it is known.
    #[must_use]
    pub fn status(&self) -> ContentStatus {
        self.body.status.clone().unwrap_or_default()
    }

    /// The snapshot as the driver calls it, where it is known.
    #[must_use]
    pub fn handle(&self) -> Option<String> {
        let known = self.body.status.as_ref().and_then(|status| status.snapshot_handle.clone());
        known.or_else(|| self.body.spec.source.snapshot_handle.clone()).filter(|handle| !handle.is_empty())
    }

    /// Whether it is for that snapshot and no other of its name.
    #[must_use]
    pub fn is_of(&self, snapshot: &VolumeSnapshot) -> bool {
        let (own, meta) = (&self.body.spec.volume_snapshot_ref, &snapshot.metadata);
        own.namespace == meta.namespace && own.name == meta.name && own.uid == meta.uid
    }
}
