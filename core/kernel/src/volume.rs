//! Volumes of any storage: what CSI is, without its wire.
//!
//! Which claims are served by which driver, and on which node a volume is wanted, is the orchestrator's business; a driver
//! knows volumes, snapshots, and paths of the node that it runs on.

mod capability;
mod controller;
mod id;
mod node;
mod refusal;

use std::{collections::BTreeMap, fmt::Debug};

use async_trait::async_trait;

pub use self::{
    capability::{Access, AccessMode, CapacityRange, Topology, TopologyRequirement, VolumeCapability},
    controller::{
        AttachVolume, Attaching, AvailableCapacity, CapacityQuery, CapacityReporting, Condition, ControllerFeatures,
        CreateSnapshot, CreateVolume, ExpandVolume, Expanded, Expanding, Inspecting, Listing, ModifyVolume, Modifying,
        Page, Provisioning, Snapshot, SnapshotFilter, SnapshotListing, Snapshotting, Source, ValidateVolume, Validated,
        Volume, VolumeController, VolumeState,
    },
    id::{NodeId, Secrets, SnapshotId, VolumeId},
    node::{
        ExpandOnNode, NodeExpanding, NodeFeatures, NodeInfo, PublishVolume, StageVolume, Staging, Usage, UsageQuery,
        UsageReporting, VolumeNode, VolumeUsage,
    },
    refusal::Refusal,
};
use crate::error::Result;

/// What a driver is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriverInfo {
    /// Its name, as a domain name such as `hostpath.csi.windlass.dev`: at most 63 bytes. It never changes.
    pub name: String,
    /// Its version. Not empty.
    pub version: String,
    /// Whatever else it says of itself.
    pub manifest: BTreeMap<String, String>,
    /// Whether its volumes may be reached from some nodes only.
    pub topology: bool,
    /// Whether volumes can grow, and when; `None` where they cannot.
    pub expansion: Option<Expansion>,
}

/// When volumes can grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expansion {
    /// While they are in use, and else.
    Online,
    /// Only while they are not published.
    Offline,
}

/// Makes volumes, and brings them to the paths of a node.
///
/// A caller that lost an answer makes the same call again. Dropping a future does not take the call back: what was begun
/// goes on, or stops half-way and is continued by the same call, or undone by its opposite.
///
/// What a driver lacks cannot be called: its services are values that it has or has not. The clauses are those of the CSI
/// specification 1.12.
///
/// # Contract
///
/// 1. **Named.** [`info`](VolumeDriver::info) says a name and a version, the same each time.
/// 2. **Made by name.** Creating a volume or snapshot again by the same name answers the same one. With another size,
///    capability, parameter or source than it has, it is refused with [`AlreadyExists`](crate::ErrorKind::AlreadyExists),
///    and what exists is not changed.
/// 3. **As large as asked.** A volume has at least the bytes required and at most the limit; a range that cannot be
///    is refused, and nothing is made.
/// 4. **Gone is success.** Deleting, detaching, unpublishing and unstaging what was before, or never was, succeeds.
/// 5. **Gone is an error elsewhere.** Any other call on a volume, snapshot or node that does not exist answers
///    [`NotFound`](crate::ErrorKind::NotFound).
/// 6. **Nonsense is refused.** A request without what is required, or with what cannot be, answers
///    [`Invalid`](crate::ErrorKind::Invalid) and leaves nothing.
/// 7. **Published is there.** After stage and publish the target path shows the volume, as a mounted folder or as a
///    block device. What is written stays through unpublish, unstage and all that brings the volume back.
/// 8. **Once is enough.** Attach, stage, publish and their opposites succeed again and change nothing. Publishing the same
///    target differently is refused with [`AlreadyExists`](crate::ErrorKind::AlreadyExists).
/// 9. **Nothing is left.** After unpublish the target path is gone; after all opposites and delete nothing of the volume
///    remains on the machine.
/// 10. **Read-only is kept.** A volume that is published read-only cannot be written to there.
/// 11. **Growth keeps.** An expanded volume is as large as asked, and has what was in it. Again is success.
/// 12. **Copies are of their moment.** A volume made from a snapshot or another volume has what that held then, whatever
///     happens to the source later; and it is never smaller.
/// 13. **Lists are exact.** All pages together have everything once and nothing else; a token that was never given is
///     refused with [`Conflict`](crate::ErrorKind::Conflict).
/// 14. **One at a time.** Of calls on one volume at once, each succeeds or is refused with
///     [`Conflict`](crate::ErrorKind::Conflict); made again when the others have ended, each succeeds.
/// 15. **Any instant.** Whenever the driver is killed, the same call completes what it left, and the opposite call removes
///     it.
/// 16. **Usage is told.** The usage of a published volume has its size, and the files in it count; where the path shows no
///     volume the answer is [`NotFound`](crate::ErrorKind::NotFound).
/// 17. **Places.** A volume can be reached from where it says; the node says where it is. Space elsewhere is none.
/// 18. **One writer is one.** A volume published for one writer is not published at another target meanwhile, by drivers that
///     tell [writers](NodeFeatures::writers) apart.
///
/// `windlass_conformance::volume` checks them.
#[async_trait]
pub trait VolumeDriver: Debug + Send + Sync + 'static {
    /// What it is.
    async fn info(&self) -> Result<DriverInfo>;

    /// Whether it can do its work; `false` while it is starting. An error says what is missing.
    async fn ready(&self) -> Result<bool>;

    /// What makes volumes, if it runs here.
    fn controller(&self) -> Option<&dyn VolumeController>;

    /// What brings volumes to this node, if it runs here.
    fn node(&self) -> Option<&dyn VolumeNode>;
}
