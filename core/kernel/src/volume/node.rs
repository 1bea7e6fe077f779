//! What brings volumes to paths of the node that it runs on.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use async_trait::async_trait;

use super::{CapacityRange, Condition, NodeId, Secrets, Topology, VolumeCapability, VolumeId};
use crate::error::Result;

/// Words for whoever understands them.
type Words = BTreeMap<String, String>;

/// Brings volumes to paths of this node. Its services beyond that are optional.
#[async_trait]
pub trait VolumeNode: Send + Sync {
    /// What it does beyond its services.
    fn features(&self) -> NodeFeatures;

    /// Which node this is.
    async fn node_info(&self) -> Result<NodeInfo>;

    /// Shows a volume at its target path. The folder that the target lies in exists; the target itself need not.
    async fn publish(&self, request: &PublishVolume) -> Result<()>;

    /// Takes a volume from its target path, and the path away.
    async fn unpublish(&self, volume: &VolumeId, target: &Path) -> Result<()>;

    /// Preparing volumes once for all their targets (`STAGE_UNSTAGE_VOLUME`).
    fn staging(&self) -> Option<&dyn Staging>;

    /// Telling how full volumes are (`GET_VOLUME_STATS`).
    fn usage(&self) -> Option<&dyn UsageReporting>;

    /// Growing volumes on the node (`EXPAND_VOLUME`).
    fn expanding(&self) -> Option<&dyn NodeExpanding>;
}

/// What a node does beyond its services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeFeatures {
    /// Usage tells conditions (`VOLUME_CONDITION`).
    pub conditions: bool,
    /// The two modes of one node with one or many writers are told apart (`SINGLE_NODE_MULTI_WRITER`).
    pub writers: bool,
    /// Mounts are given to a group (`VOLUME_MOUNT_GROUP`).
    pub mount_group: bool,
}

/// Prepares volumes.
#[async_trait]
pub trait Staging: Send + Sync {
    /// Prepares a volume at its staging path, an empty folder.
    async fn stage(&self, request: &StageVolume) -> Result<()>;

    /// Undoes that. The folder stays.
    async fn unstage(&self, volume: &VolumeId, staging: &Path) -> Result<()>;
}

/// Tells how full volumes are.
#[async_trait]
pub trait UsageReporting: Send + Sync {
    /// What of a volume is used.
    async fn usage_of(&self, query: &UsageQuery) -> Result<VolumeUsage>;
}

/// Grows volumes on the node.
#[async_trait]
pub trait NodeExpanding: Send + Sync {
    /// Grows what a path shows to what the volume has. The answer is its size in bytes, where it is known.
    async fn expand(&self, request: &ExpandOnNode) -> Result<Option<u64>>;
}

/// Which node this is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeInfo {
    /// What the driver calls it. At most 256 bytes.
    pub id: NodeId,
    /// How many volumes it can have; `None` where nothing is known of that.
    pub max_volumes: Option<u64>,
    /// Where it is; `None` for anywhere.
    pub topology: Option<Topology>,
}

/// A volume to be prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageVolume {
    /// The volume.
    pub volume: VolumeId,
    /// What [attaching](super::Attaching::attach) answered.
    pub publish_context: Words,
    /// Where, absolute.
    pub staging: PathBuf,
    /// How it is to be used.
    pub capability: VolumeCapability,
    /// Secrets.
    pub secrets: Secrets,
    /// The volume's context.
    pub context: Words,
}

/// A volume to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishVolume {
    /// The volume.
    pub volume: VolumeId,
    /// What [attaching](super::Attaching::attach) answered.
    pub publish_context: Words,
    /// Where it was prepared, where it was.
    pub staging: Option<PathBuf>,
    /// Where, absolute.
    pub target: PathBuf,
    /// How it is to be used.
    pub capability: VolumeCapability,
    /// Whether it is only to be read.
    pub read_only: bool,
    /// Secrets.
    pub secrets: Secrets,
    /// The volume's context.
    pub context: Words,
}

/// Whose usage is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageQuery {
    /// The volume.
    pub volume: VolumeId,
    /// Where it is published or prepared, absolute.
    pub path: PathBuf,
    /// Where it is prepared, where it is.
    pub staging: Option<PathBuf>,
}

/// What of a volume is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeUsage {
    /// Bytes, where they are counted.
    pub bytes: Option<Usage>,
    /// Inodes, where they are counted.
    pub inodes: Option<Usage>,
    /// How the volume is, if the node tells.
    pub condition: Option<Condition>,
}

/// A part of a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The whole.
    pub total: u64,
    /// What is used of it.
    pub used: u64,
    /// What can still be.
    pub available: u64,
}

/// What is to grow on the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpandOnNode {
    /// The volume.
    pub volume: VolumeId,
    /// Where it is published, absolute.
    pub path: PathBuf,
    /// Where it is prepared, where it is.
    pub staging: Option<PathBuf>,
    /// How large it is to be.
    pub capacity: CapacityRange,
    /// How it is used.
    pub capability: Option<VolumeCapability>,
    /// Secrets.
    pub secrets: Secrets,
}
