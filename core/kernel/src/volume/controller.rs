//! What makes, lists, grows and copies volumes. It may run anywhere.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{CapacityRange, NodeId, Secrets, SnapshotId, Topology, TopologyRequirement, VolumeCapability, VolumeId};
use crate::error::Result;

/// Words for whoever understands them.
type Words = BTreeMap<String, String>;

/// Makes volumes. Its services are optional.
#[async_trait]
pub trait VolumeController: Send + Sync {
    /// What it does beyond its services.
    fn features(&self) -> ControllerFeatures;

    /// Whether a volume has all the capabilities and parameters named.
    async fn validate(&self, request: &ValidateVolume) -> Result<Validated>;

    /// Making and deleting volumes (`CREATE_DELETE_VOLUME`).
    fn provisioning(&self) -> Option<&dyn Provisioning>;

    /// Attaching volumes to nodes (`PUBLISH_UNPUBLISH_VOLUME`).
    fn attaching(&self) -> Option<&dyn Attaching>;

    /// Listing volumes (`LIST_VOLUMES`).
    fn listing(&self) -> Option<&dyn Listing>;

    /// Looking at one volume (`GET_VOLUME`).
    fn inspecting(&self) -> Option<&dyn Inspecting>;

    /// Telling how much space there is (`GET_CAPACITY`).
    fn capacity(&self) -> Option<&dyn CapacityReporting>;

    /// Making and deleting snapshots (`CREATE_DELETE_SNAPSHOT`).
    fn snapshotting(&self) -> Option<&dyn Snapshotting>;

    /// Listing snapshots (`LIST_SNAPSHOTS`).
    fn snapshot_listing(&self) -> Option<&dyn SnapshotListing>;

    /// Growing volumes (`EXPAND_VOLUME`).
    fn expanding(&self) -> Option<&dyn Expanding>;

    /// Changing volumes that exist (`MODIFY_VOLUME`).
    fn modifying(&self) -> Option<&dyn Modifying>;
}

/// What a controller does beyond its services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControllerFeatures {
    /// Volumes can be made from other volumes (`CLONE_VOLUME`).
    pub clones: bool,
    /// Volumes can be attached read-only (`PUBLISH_READONLY`).
    pub read_only: bool,
    /// Lists tell where volumes are attached (`LIST_VOLUMES_PUBLISHED_NODES`).
    pub published_nodes: bool,
    /// States tell conditions (`VOLUME_CONDITION`).
    pub conditions: bool,
    /// The two modes of one node with one or many writers are told apart (`SINGLE_NODE_MULTI_WRITER`).
    pub writers: bool,
}

/// Makes and deletes volumes.
#[async_trait]
pub trait Provisioning: Send + Sync {
    /// Makes a volume, or answers the one of that name.
    async fn create(&self, request: &CreateVolume) -> Result<Volume>;

    /// Deletes a volume.
    async fn delete(&self, volume: &VolumeId, secrets: &Secrets) -> Result<()>;
}

/// Attaches volumes to nodes.
#[async_trait]
pub trait Attaching: Send + Sync {
    /// Makes a volume usable on a node. The answer is for that node's [`stage`](super::Staging::stage) and
    /// [`publish`](super::VolumeNode::publish).
    async fn attach(&self, request: &AttachVolume) -> Result<Words>;

    /// Takes a volume from a node, or from all with `None`.
    async fn detach(&self, volume: &VolumeId, node: Option<&NodeId>, secrets: &Secrets) -> Result<()>;
}

/// Lists volumes.
#[async_trait]
pub trait Listing: Send + Sync {
    /// One page of them.
    async fn list(&self, limit: Option<u32>, token: Option<&str>) -> Result<Page<VolumeState>>;
}

/// Looks at volumes.
#[async_trait]
pub trait Inspecting: Send + Sync {
    /// One volume as it is now.
    async fn inspect(&self, volume: &VolumeId) -> Result<VolumeState>;
}

/// Tells how much space there is.
#[async_trait]
pub trait CapacityReporting: Send + Sync {
    /// How much there is for volumes of such a kind.
    async fn available(&self, query: &CapacityQuery) -> Result<AvailableCapacity>;
}

/// Makes and deletes snapshots.
#[async_trait]
pub trait Snapshotting: Send + Sync {
    /// Cuts a snapshot, or answers the one of that name. It has been cut when the call succeeds; whether it can be used
    /// yet is in [`ready`](Snapshot::ready).
    async fn snapshot(&self, request: &CreateSnapshot) -> Result<Snapshot>;

    /// Deletes a snapshot.
    async fn delete_snapshot(&self, snapshot: &SnapshotId, secrets: &Secrets) -> Result<()>;
}

/// Lists snapshots.
#[async_trait]
pub trait SnapshotListing: Send + Sync {
    /// One page of those that the filter lets through. One that does not exist gives an empty page.
    async fn list_snapshots(&self, filter: &SnapshotFilter) -> Result<Page<Snapshot>>;
}

/// Grows volumes.
#[async_trait]
pub trait Expanding: Send + Sync {
    /// Grows a volume. It never shrinks.
    async fn expand(&self, request: &ExpandVolume) -> Result<Expanded>;
}

/// Changes volumes that exist.
#[async_trait]
pub trait Modifying: Send + Sync {
    /// Changes the parameters that can be changed.
    async fn modify(&self, request: &ModifyVolume) -> Result<()>;
}

/// A volume that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateVolume {
    /// The name that the orchestrator chose. One name is one volume.
    pub name: String,
    /// How large it is to be.
    pub capacity: CapacityRange,
    /// Every way in which it is to be used. At least one.
    pub capabilities: Vec<VolumeCapability>,
    /// The driver's parameters.
    pub parameters: Words,
    /// Those that can be changed later.
    pub mutable_parameters: Words,
    /// Secrets.
    pub secrets: Secrets,
    /// What it is a copy of.
    pub source: Option<Source>,
    /// Where it is to be reached from.
    pub topology: Option<TopologyRequirement>,
}

/// What a volume is a copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A snapshot.
    Snapshot(SnapshotId),
    /// A volume, as it is when the copy is made.
    Volume(VolumeId),
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Its id.
    pub id: VolumeId,
    /// Its size in bytes, where it is known.
    pub capacity: Option<u64>,
    /// For every later call on it.
    pub context: Words,
    /// What it is a copy of.
    pub source: Option<Source>,
    /// Where it is reached from; empty for everywhere.
    pub topology: Vec<Topology>,
}

/// A volume that is wanted on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachVolume {
    /// The volume.
    pub volume: VolumeId,
    /// The node.
    pub node: NodeId,
    /// How it is to be used there.
    pub capability: VolumeCapability,
    /// Whether it is only to be read.
    pub read_only: bool,
    /// Secrets.
    pub secrets: Secrets,
    /// The volume's context.
    pub context: Words,
}

/// What a volume is to be able to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidateVolume {
    /// The volume.
    pub volume: VolumeId,
    /// Its context.
    pub context: Words,
    /// The capabilities. At least one.
    pub capabilities: Vec<VolumeCapability>,
    /// The parameters that it was made with.
    pub parameters: Words,
    /// Those that can be changed.
    pub mutable_parameters: Words,
    /// Secrets.
    pub secrets: Secrets,
}

impl ValidateVolume {
    /// The answer about a volume that can do what is asked, made with `parameters`, none of which can be changed later.
    #[must_use]
    pub fn confirm(&self, parameters: &Words) -> Validated {
        if !self.parameters.is_empty() && self.parameters != *parameters {
            return Validated::Refused("the volume was made with other parameters".into());
        }
        if !self.mutable_parameters.is_empty() {
            return Validated::Refused("no parameters of this driver can be changed".into());
        }
        Validated::Confirmed {
            context: self.context.clone(),
            capabilities: self.capabilities.clone(),
            parameters: self.parameters.clone(),
            mutable_parameters: Words::new(),
        }
    }
}

/// Whether it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validated {
    /// It has all of them, as far as they were looked at.
    Confirmed {
        /// The context that was looked at.
        context: Words,
        /// The capabilities.
        capabilities: Vec<VolumeCapability>,
        /// The parameters.
        parameters: Words,
        /// The parameters that can be changed.
        mutable_parameters: Words,
    },
    /// It has not, and why.
    Refused(String),
}

/// Some of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<String>,
}

/// A volume as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeState {
    /// The volume.
    pub volume: Volume,
    /// Where it is attached, if the controller tells.
    pub nodes: Vec<NodeId>,
    /// How it is, if the controller tells.
    pub condition: Option<Condition>,
}

/// How a volume is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Whether something is wrong.
    pub abnormal: bool,
    /// A sentence on it. Not empty.
    pub message: String,
}

/// For which volumes space is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapacityQuery {
    /// Their capabilities.
    pub capabilities: Vec<VolumeCapability>,
    /// Their parameters.
    pub parameters: Words,
    /// Where they are to be reached from.
    pub topology: Option<Topology>,
}

/// Space, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AvailableCapacity {
    /// In all.
    pub available: u64,
    /// The largest volume, where it is known.
    pub maximum: Option<u64>,
    /// The smallest volume, where it is known.
    pub minimum: Option<u64>,
}

/// A snapshot that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateSnapshot {
    /// Of which volume.
    pub source: VolumeId,
    /// The name that the orchestrator chose. One name is one snapshot.
    pub name: String,
    /// Secrets.
    pub secrets: Secrets,
    /// The driver's parameters.
    pub parameters: Words,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// What it is of.
    pub source: VolumeId,
    /// How many bytes a volume made from it needs at least, where that is known.
    pub size: Option<u64>,
    /// When it was cut.
    pub created: Timestamp,
    /// Whether it can be used.
    pub ready: bool,
}

/// Which snapshots are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotFilter {
    /// At most so many; `None` for the driver's choice.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub token: Option<String>,
    /// Only those of this volume.
    pub source: Option<VolumeId>,
    /// Only this one.
    pub snapshot: Option<SnapshotId>,
    /// Secrets.
    pub secrets: Secrets,
}

/// How a volume is to grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpandVolume {
    /// The volume.
    pub volume: VolumeId,
    /// How large it is to be.
    pub capacity: CapacityRange,
    /// How it is used, where it is.
    pub capability: Option<VolumeCapability>,
    /// Secrets.
    pub secrets: Secrets,
}

/// How it grew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// Its size now, in bytes.
    pub capacity: u64,
    /// Whether the node must [go on](super::NodeExpanding::expand).
    pub node_expansion: bool,
}

/// What is to change of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModifyVolume {
    /// The volume.
    pub volume: VolumeId,
    /// All parameters that can be changed, as they are to be.
    pub mutable_parameters: Words,
    /// Secrets.
    pub secrets: Secrets,
}
