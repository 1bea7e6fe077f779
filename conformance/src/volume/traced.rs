//! Each call of a driver, noted in a trace.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use async_trait::async_trait;
use windlass_kernel::{
    Result, VolumeDriver,
    volume::{
        AttachVolume, Attaching, AvailableCapacity, CapacityQuery, CapacityReporting, ControllerFeatures,
        CreateSnapshot, CreateVolume, DriverInfo, ExpandOnNode, ExpandVolume, Expanded, Expanding, Inspecting, Listing,
        ModifyVolume, Modifying, NodeExpanding, NodeFeatures, NodeId, NodeInfo, Page, Provisioning, PublishVolume,
        Secrets, Snapshot, SnapshotFilter, SnapshotId, SnapshotListing, Snapshotting, StageVolume, Staging, UsageQuery,
        UsageReporting, ValidateVolume, Validated, Volume, VolumeController, VolumeId, VolumeNode, VolumeState,
        VolumeUsage,
    },
};

use crate::report::Trace;

/// Notes each call of a driver in a trace, with what was answered, and passes it on. Secrets are not noted.
#[derive(Debug)]
pub struct Traced {
    inner: Arc<dyn VolumeDriver>,
    trace: Trace,
}

impl Traced {
    /// The driver, noted.
    pub fn new(inner: Arc<dyn VolumeDriver>, trace: Trace) -> Self {
        Self { inner, trace }
    }

    /// A service that is only asked for where the driver has it.
    fn controller(&self) -> &dyn VolumeController {
        self.inner.controller().expect("the driver had a controller")
    }

    fn node(&self) -> &dyn VolumeNode {
        self.inner.node().expect("the driver had a node service")
    }
}

/// The driver's service behind this one.
macro_rules! service {
    ($self:ident.$side:ident.$name:ident) => {
        $self.$side().$name().expect("the driver had the service")
    };
}

/// This one as a service that the driver has.
macro_rules! if_had {
    ($side:ident; $($name:ident: $service:ident),*) => {$(
        fn $name(&self) -> Option<&dyn $service> {
            self.$side().$name().is_some().then_some(self)
        }
    )*};
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl VolumeDriver for Traced {
    async fn info(&self) -> Result<DriverInfo> {
        self.trace.noted("info".into(), self.inner.info()).await
    }

    async fn ready(&self) -> Result<bool> {
        self.trace.noted("ready".into(), self.inner.ready()).await
    }

    fn controller(&self) -> Option<&dyn VolumeController> {
        self.inner.controller().is_some().then_some(self)
    }

    fn node(&self) -> Option<&dyn VolumeNode> {
        self.inner.node().is_some().then_some(self)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl VolumeController for Traced {
    fn features(&self) -> ControllerFeatures {
        self.controller().features()
    }

    async fn validate(&self, request: &ValidateVolume) -> Result<Validated> {
        self.trace.noted(format!("validate {request:?}"), self.controller().validate(request)).await
    }

    if_had! {
        controller; provisioning: Provisioning, attaching: Attaching, listing: Listing, inspecting: Inspecting,
        capacity: CapacityReporting, snapshotting: Snapshotting, snapshot_listing: SnapshotListing,
        expanding: Expanding, modifying: Modifying
    }
}

#[async_trait]
impl Provisioning for Traced {
    async fn create(&self, request: &CreateVolume) -> Result<Volume> {
        self.trace.noted(format!("create {request:?}"), service!(self.controller.provisioning).create(request)).await
    }

    async fn delete(&self, volume: &VolumeId, secrets: &Secrets) -> Result<()> {
        self.trace
            .noted(format!("delete {volume}"), service!(self.controller.provisioning).delete(volume, secrets))
            .await
    }
}

#[async_trait]
impl Attaching for Traced {
    async fn attach(&self, request: &AttachVolume) -> Result<BTreeMap<String, String>> {
        self.trace.noted(format!("attach {request:?}"), service!(self.controller.attaching).attach(request)).await
    }

    async fn detach(&self, volume: &VolumeId, node: Option<&NodeId>, secrets: &Secrets) -> Result<()> {
        let call = format!("detach {volume} from {node:?}");
        self.trace.noted(call, service!(self.controller.attaching).detach(volume, node, secrets)).await
    }
}

#[async_trait]
impl Listing for Traced {
    async fn list(&self, limit: Option<u32>, token: Option<&str>) -> Result<Page<VolumeState>> {
        let call = format!("list {limit:?} from {token:?}");
        self.trace.noted(call, service!(self.controller.listing).list(limit, token)).await
    }
}

#[async_trait]
impl Inspecting for Traced {
    async fn inspect(&self, volume: &VolumeId) -> Result<VolumeState> {
        self.trace.noted(format!("inspect {volume}"), service!(self.controller.inspecting).inspect(volume)).await
    }
}

#[async_trait]
impl CapacityReporting for Traced {
    async fn available(&self, query: &CapacityQuery) -> Result<AvailableCapacity> {
        self.trace.noted(format!("available {query:?}"), service!(self.controller.capacity).available(query)).await
    }
}

#[async_trait]
impl Snapshotting for Traced {
    async fn snapshot(&self, request: &CreateSnapshot) -> Result<Snapshot> {
        self.trace
            .noted(format!("snapshot {request:?}"), service!(self.controller.snapshotting).snapshot(request))
            .await
    }

    async fn delete_snapshot(&self, snapshot: &SnapshotId, secrets: &Secrets) -> Result<()> {
        let call = format!("delete_snapshot {snapshot}");
        self.trace.noted(call, service!(self.controller.snapshotting).delete_snapshot(snapshot, secrets)).await
    }
}

#[async_trait]
impl SnapshotListing for Traced {
    async fn list_snapshots(&self, filter: &SnapshotFilter) -> Result<Page<Snapshot>> {
        let call = format!("list_snapshots {filter:?}");
        self.trace.noted(call, service!(self.controller.snapshot_listing).list_snapshots(filter)).await
    }
}

#[async_trait]
impl Expanding for Traced {
    async fn expand(&self, request: &ExpandVolume) -> Result<Expanded> {
        self.trace.noted(format!("expand {request:?}"), service!(self.controller.expanding).expand(request)).await
    }
}

#[async_trait]
impl Modifying for Traced {
    async fn modify(&self, request: &ModifyVolume) -> Result<()> {
        self.trace.noted(format!("modify {request:?}"), service!(self.controller.modifying).modify(request)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl VolumeNode for Traced {
    fn features(&self) -> NodeFeatures {
        self.node().features()
    }

    async fn node_info(&self) -> Result<NodeInfo> {
        self.trace.noted("node_info".into(), self.node().node_info()).await
    }

    async fn publish(&self, request: &PublishVolume) -> Result<()> {
        self.trace.noted(format!("publish {request:?}"), self.node().publish(request)).await
    }

    async fn unpublish(&self, volume: &VolumeId, target: &Path) -> Result<()> {
        self.trace
            .noted(format!("unpublish {volume} at {}", target.display()), self.node().unpublish(volume, target))
            .await
    }

    if_had! { node; staging: Staging, usage: UsageReporting, expanding: NodeExpanding }
}

#[async_trait]
impl Staging for Traced {
    async fn stage(&self, request: &StageVolume) -> Result<()> {
        self.trace.noted(format!("stage {request:?}"), service!(self.node.staging).stage(request)).await
    }

    async fn unstage(&self, volume: &VolumeId, staging: &Path) -> Result<()> {
        let call = format!("unstage {volume} at {}", staging.display());
        self.trace.noted(call, service!(self.node.staging).unstage(volume, staging)).await
    }
}

#[async_trait]
impl UsageReporting for Traced {
    async fn usage_of(&self, query: &UsageQuery) -> Result<VolumeUsage> {
        self.trace.noted(format!("usage_of {query:?}"), service!(self.node.usage).usage_of(query)).await
    }
}

#[async_trait]
impl NodeExpanding for Traced {
    async fn expand(&self, request: &ExpandOnNode) -> Result<Option<u64>> {
        self.trace.noted(format!("expand {request:?}"), service!(self.node.expanding).expand(request)).await
    }
}
