//! The controller's services over CSI's controller service.

use std::collections::BTreeMap;

use async_trait::async_trait;
use windlass_kernel::{
    Result,
    volume::{
        AttachVolume, Attaching, AvailableCapacity, CapacityQuery, CapacityReporting, ControllerFeatures,
        CreateSnapshot, CreateVolume, ExpandVolume, Expanded, Expanding, Inspecting, Listing, ModifyVolume, Modifying,
        NodeId, Page, Provisioning, Secrets, Snapshot, SnapshotFilter, SnapshotId, SnapshotListing, Snapshotting,
        ValidateVolume, Validated, Volume, VolumeController, VolumeId, VolumeState,
    },
};

use super::{RemoteDriver, answered, asked, broken};
use crate::wire::{self, ControllerOffers, OnWire, csi, within};

impl RemoteDriver {
    fn offers(&self) -> ControllerOffers {
        self.controller.unwrap_or_default()
    }
}

/// The driver as a service that it may have.
macro_rules! if_offered {
    ($($name:ident: $service:ident),*) => {$(
        fn $name(&self) -> Option<&dyn $service> {
            self.offers().$name.then_some(self)
        }
    )*};
}

#[async_trait]
impl VolumeController for RemoteDriver {
    fn features(&self) -> ControllerFeatures {
        self.offers().features
    }

    async fn validate(&self, request: &ValidateVolume) -> Result<Validated> {
        let what = format!("look at what volume {} can", request.volume);
        asked(&what, self.controller_client().validate_volume_capabilities(request.to_wire())).await
    }

    if_offered! {
        provisioning: Provisioning, attaching: Attaching, listing: Listing, inspecting: Inspecting,
        capacity: CapacityReporting, snapshotting: Snapshotting, snapshot_listing: SnapshotListing,
        expanding: Expanding, modifying: Modifying
    }
}

#[async_trait]
impl Provisioning for RemoteDriver {
    async fn create(&self, request: &CreateVolume) -> Result<Volume> {
        let what = format!("create volume {}", request.name);
        let answer = answered(&what, self.controller_client().create_volume(request.to_wire())).await?;
        let volume = within("volume", answer.volume).and_then(Volume::from_wire);
        volume.map_err(|error| broken(&what, error))
    }

    async fn delete(&self, volume: &VolumeId, secrets: &Secrets) -> Result<()> {
        let request = csi::DeleteVolumeRequest { volume_id: volume.to_string(), secrets: secrets.0.clone() };
        answered(&format!("delete volume {volume}"), self.controller_client().delete_volume(request)).await.map(drop)
    }
}

#[async_trait]
impl Attaching for RemoteDriver {
    async fn attach(&self, request: &AttachVolume) -> Result<BTreeMap<String, String>> {
        let what = format!("attach volume {} to node {}", request.volume, request.node);
        let answer = answered(&what, self.controller_client().controller_publish_volume(request.to_wire())).await?;
        wire::attached(answer).map_err(|error| broken(&what, error))
    }

    async fn detach(&self, volume: &VolumeId, node: Option<&NodeId>, secrets: &Secrets) -> Result<()> {
        let request = csi::ControllerUnpublishVolumeRequest {
            volume_id: volume.to_string(),
            node_id: node.map(ToString::to_string).unwrap_or_default(),
            secrets: secrets.0.clone(),
        };
        let what = format!("detach volume {volume}");
        // NOT_FOUND says that it is not known to be detached (CSI, ControllerUnpublishVolume errors).
        answered(&what, self.controller_client().controller_unpublish_volume(request)).await.map(drop)
    }
}

#[async_trait]
impl Listing for RemoteDriver {
    async fn list(&self, limit: Option<u32>, token: Option<&str>) -> Result<Page<VolumeState>> {
        let request = csi::ListVolumesRequest {
            max_entries: limit.map_or(0, |limit| i32::try_from(limit).unwrap_or(i32::MAX)),
            starting_token: token.unwrap_or_default().into(),
        };
        asked("list volumes", self.controller_client().list_volumes(request)).await
    }
}

#[async_trait]
impl Inspecting for RemoteDriver {
    async fn inspect(&self, volume: &VolumeId) -> Result<VolumeState> {
        let request = csi::ControllerGetVolumeRequest { volume_id: volume.to_string() };
        asked(&format!("look at volume {volume}"), self.controller_client().controller_get_volume(request)).await
    }
}

#[async_trait]
impl CapacityReporting for RemoteDriver {
    async fn available(&self, query: &CapacityQuery) -> Result<AvailableCapacity> {
        asked("ask for capacity", self.controller_client().get_capacity(query.to_wire())).await
    }
}

#[async_trait]
impl Snapshotting for RemoteDriver {
    async fn snapshot(&self, request: &CreateSnapshot) -> Result<Snapshot> {
        let what = format!("create snapshot {} of volume {}", request.name, request.source);
        let answer = answered(&what, self.controller_client().create_snapshot(request.to_wire())).await?;
        within("snapshot", answer.snapshot).and_then(Snapshot::from_wire).map_err(|error| broken(&what, error))
    }

    async fn delete_snapshot(&self, snapshot: &SnapshotId, secrets: &Secrets) -> Result<()> {
        let request = csi::DeleteSnapshotRequest { snapshot_id: snapshot.to_string(), secrets: secrets.0.clone() };
        let what = format!("delete snapshot {snapshot}");
        answered(&what, self.controller_client().delete_snapshot(request)).await.map(drop)
    }
}

#[async_trait]
impl SnapshotListing for RemoteDriver {
    async fn list_snapshots(&self, filter: &SnapshotFilter) -> Result<Page<Snapshot>> {
        asked("list snapshots", self.controller_client().list_snapshots(filter.to_wire())).await
    }
}

#[async_trait]
impl Expanding for RemoteDriver {
    async fn expand(&self, request: &ExpandVolume) -> Result<Expanded> {
        let what = format!("expand volume {}", request.volume);
        asked(&what, self.controller_client().controller_expand_volume(request.to_wire())).await
    }
}

#[async_trait]
impl Modifying for RemoteDriver {
    async fn modify(&self, request: &ModifyVolume) -> Result<()> {
        let what = format!("change volume {}", request.volume);
        answered(&what, self.controller_client().controller_modify_volume(request.to_wire())).await.map(drop)
    }
}
