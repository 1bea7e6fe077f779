//! The controller service.

use tonic::{Request, Response, Status, async_trait};
use windlass_kernel::{
    Result as KernelResult,
    volume::{
        AttachVolume, CapacityQuery, CreateSnapshot, CreateVolume, ExpandVolume, ModifyVolume, Secrets, SnapshotFilter,
        ValidateVolume, VolumeController,
    },
};

use super::{Served, answer, lacks};
use crate::wire::{ControllerOffers, OnWire, controller_server::Controller, csi, refused, required, text, words};

type Answer<T> = Result<Response<T>, Status>;

impl Served {
    fn controller(&self) -> KernelResult<&dyn VolumeController> {
        self.0.controller().ok_or_else(|| lacks("make volumes: it runs on nodes only"))
    }
}

#[async_trait]
impl Controller for Served {
    async fn create_volume(&self, request: Request<csi::CreateVolumeRequest>) -> Answer<csi::CreateVolumeResponse> {
        answer("CreateVolume", async {
            let service = self.controller()?.provisioning().ok_or_else(|| lacks("create volumes"))?;
            let volume = service.create(&CreateVolume::from_wire(request.into_inner())?).await?;
            Ok(csi::CreateVolumeResponse { volume: Some(volume.to_wire()) })
        })
        .await
    }

    async fn delete_volume(&self, request: Request<csi::DeleteVolumeRequest>) -> Answer<csi::DeleteVolumeResponse> {
        answer("DeleteVolume", async {
            let service = self.controller()?.provisioning().ok_or_else(|| lacks("delete volumes"))?;
            let request = request.into_inner();
            let secrets = words("secrets", request.secrets).map(Secrets)?;
            service.delete(&required("volume_id", request.volume_id)?.into(), &secrets).await?;
            Ok(csi::DeleteVolumeResponse {})
        })
        .await
    }

    async fn controller_publish_volume(
        &self,
        request: Request<csi::ControllerPublishVolumeRequest>,
    ) -> Answer<csi::ControllerPublishVolumeResponse> {
        answer("ControllerPublishVolume", async {
            let service = self.controller()?.attaching().ok_or_else(|| lacks("attach volumes"))?;
            let publish_context = service.attach(&AttachVolume::from_wire(request.into_inner())?).await?;
            Ok(csi::ControllerPublishVolumeResponse { publish_context })
        })
        .await
    }

    async fn controller_unpublish_volume(
        &self,
        request: Request<csi::ControllerUnpublishVolumeRequest>,
    ) -> Answer<csi::ControllerUnpublishVolumeResponse> {
        answer("ControllerUnpublishVolume", async {
            let service = self.controller()?.attaching().ok_or_else(|| lacks("detach volumes"))?;
            let request = request.into_inner();
            let volume = required("volume_id", request.volume_id)?.into();
            let node = Some(text("node_id", request.node_id)?).filter(|id| !id.is_empty()).map(Into::into);
            let secrets = words("secrets", request.secrets).map(Secrets)?;
            service.detach(&volume, node.as_ref(), &secrets).await?;
            Ok(csi::ControllerUnpublishVolumeResponse {})
        })
        .await
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<csi::ValidateVolumeCapabilitiesRequest>,
    ) -> Answer<csi::ValidateVolumeCapabilitiesResponse> {
        answer("ValidateVolumeCapabilities", async {
            let request = ValidateVolume::from_wire(request.into_inner())?;
            Ok(self.controller()?.validate(&request).await?.to_wire())
        })
        .await
    }

    async fn list_volumes(&self, request: Request<csi::ListVolumesRequest>) -> Answer<csi::ListVolumesResponse> {
        answer("ListVolumes", async {
            let service = self.controller()?.listing().ok_or_else(|| lacks("list volumes"))?;
            let request = request.into_inner();
            let limit = u32::try_from(request.max_entries)
                .map_err(|_| refused("max_entries", format!("{} is below zero", request.max_entries)))?;
            let limit = Some(limit).filter(|limit| *limit > 0);
            let token = Some(request.starting_token.as_str()).filter(|token| !token.is_empty());
            Ok(service.list(limit, token).await?.to_wire())
        })
        .await
    }

    async fn get_capacity(&self, request: Request<csi::GetCapacityRequest>) -> Answer<csi::GetCapacityResponse> {
        answer("GetCapacity", async {
            let service = self.controller()?.capacity().ok_or_else(|| lacks("tell its capacity"))?;
            Ok(service.available(&CapacityQuery::from_wire(request.into_inner())?).await?.to_wire())
        })
        .await
    }

    async fn controller_get_capabilities(
        &self,
        _: Request<csi::ControllerGetCapabilitiesRequest>,
    ) -> Answer<csi::ControllerGetCapabilitiesResponse> {
        answer("ControllerGetCapabilities", async { Ok(ControllerOffers::of(self.controller()?).to_wire()) }).await
    }

    async fn create_snapshot(
        &self,
        request: Request<csi::CreateSnapshotRequest>,
    ) -> Answer<csi::CreateSnapshotResponse> {
        answer("CreateSnapshot", async {
            let service = self.controller()?.snapshotting().ok_or_else(|| lacks("make snapshots"))?;
            let snapshot = service.snapshot(&CreateSnapshot::from_wire(request.into_inner())?).await?;
            Ok(csi::CreateSnapshotResponse { snapshot: Some(snapshot.to_wire()) })
        })
        .await
    }

    async fn delete_snapshot(
        &self,
        request: Request<csi::DeleteSnapshotRequest>,
    ) -> Answer<csi::DeleteSnapshotResponse> {
        answer("DeleteSnapshot", async {
            let service = self.controller()?.snapshotting().ok_or_else(|| lacks("delete snapshots"))?;
            let request = request.into_inner();
            let secrets = words("secrets", request.secrets).map(Secrets)?;
            service.delete_snapshot(&required("snapshot_id", request.snapshot_id)?.into(), &secrets).await?;
            Ok(csi::DeleteSnapshotResponse {})
        })
        .await
    }

    async fn list_snapshots(&self, request: Request<csi::ListSnapshotsRequest>) -> Answer<csi::ListSnapshotsResponse> {
        answer("ListSnapshots", async {
            let service = self.controller()?.snapshot_listing().ok_or_else(|| lacks("list snapshots"))?;
            Ok(service.list_snapshots(&SnapshotFilter::from_wire(request.into_inner())?).await?.to_wire())
        })
        .await
    }

    async fn controller_expand_volume(
        &self,
        request: Request<csi::ControllerExpandVolumeRequest>,
    ) -> Answer<csi::ControllerExpandVolumeResponse> {
        answer("ControllerExpandVolume", async {
            let service = self.controller()?.expanding().ok_or_else(|| lacks("expand volumes"))?;
            Ok(service.expand(&ExpandVolume::from_wire(request.into_inner())?).await?.to_wire())
        })
        .await
    }

    async fn controller_get_volume(
        &self,
        request: Request<csi::ControllerGetVolumeRequest>,
    ) -> Answer<csi::ControllerGetVolumeResponse> {
        answer("ControllerGetVolume", async {
            let service = self.controller()?.inspecting().ok_or_else(|| lacks("look at single volumes"))?;
            Ok(service.inspect(&required("volume_id", request.into_inner().volume_id)?.into()).await?.to_wire())
        })
        .await
    }

    async fn controller_modify_volume(
        &self,
        request: Request<csi::ControllerModifyVolumeRequest>,
    ) -> Answer<csi::ControllerModifyVolumeResponse> {
        answer("ControllerModifyVolume", async {
            let service = self.controller()?.modifying().ok_or_else(|| lacks("change volumes"))?;
            service.modify(&ModifyVolume::from_wire(request.into_inner())?).await?;
            Ok(csi::ControllerModifyVolumeResponse {})
        })
        .await
    }
}
