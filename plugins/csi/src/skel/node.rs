//! The node service.

use tonic::{Request, Response, Status, async_trait};
use windlass_kernel::{
    Result as KernelResult,
    volume::{ExpandOnNode, PublishVolume, StageVolume, UsageQuery, VolumeNode},
};

use super::{Served, answer, lacks};
use crate::wire::{NodeOffers, OnWire, csi, node_server::Node, path, required};

type Answer<T> = Result<Response<T>, Status>;

impl Served {
    fn node(&self) -> KernelResult<&dyn VolumeNode> {
        self.0.node().ok_or_else(|| lacks("bring volumes to nodes: it runs as a controller only"))
    }
}

#[async_trait]
impl Node for Served {
    async fn node_stage_volume(
        &self,
        request: Request<csi::NodeStageVolumeRequest>,
    ) -> Answer<csi::NodeStageVolumeResponse> {
        answer("NodeStageVolume", async {
            let service = self.node()?.staging().ok_or_else(|| lacks("stage volumes"))?;
            service.stage(&StageVolume::from_wire(request.into_inner())?).await?;
            Ok(csi::NodeStageVolumeResponse {})
        })
        .await
    }

    async fn node_unstage_volume(
        &self,
        request: Request<csi::NodeUnstageVolumeRequest>,
    ) -> Answer<csi::NodeUnstageVolumeResponse> {
        answer("NodeUnstageVolume", async {
            let service = self.node()?.staging().ok_or_else(|| lacks("unstage volumes"))?;
            let request = request.into_inner();
            let volume = required("volume_id", request.volume_id)?.into();
            service.unstage(&volume, &path("staging_target_path", request.staging_target_path)?).await?;
            Ok(csi::NodeUnstageVolumeResponse {})
        })
        .await
    }

    async fn node_publish_volume(
        &self,
        request: Request<csi::NodePublishVolumeRequest>,
    ) -> Answer<csi::NodePublishVolumeResponse> {
        answer("NodePublishVolume", async {
            self.node()?.publish(&PublishVolume::from_wire(request.into_inner())?).await?;
            Ok(csi::NodePublishVolumeResponse {})
        })
        .await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<csi::NodeUnpublishVolumeRequest>,
    ) -> Answer<csi::NodeUnpublishVolumeResponse> {
        answer("NodeUnpublishVolume", async {
            let request = request.into_inner();
            let volume = required("volume_id", request.volume_id)?.into();
            self.node()?.unpublish(&volume, &path("target_path", request.target_path)?).await?;
            Ok(csi::NodeUnpublishVolumeResponse {})
        })
        .await
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<csi::NodeGetVolumeStatsRequest>,
    ) -> Answer<csi::NodeGetVolumeStatsResponse> {
        answer("NodeGetVolumeStats", async {
            let service = self.node()?.usage().ok_or_else(|| lacks("tell the usage of volumes"))?;
            Ok(service.usage_of(&UsageQuery::from_wire(request.into_inner())?).await?.to_wire())
        })
        .await
    }

    async fn node_expand_volume(
        &self,
        request: Request<csi::NodeExpandVolumeRequest>,
    ) -> Answer<csi::NodeExpandVolumeResponse> {
        answer("NodeExpandVolume", async {
            let service = self.node()?.expanding().ok_or_else(|| lacks("expand volumes on nodes"))?;
            let capacity = service.expand(&ExpandOnNode::from_wire(request.into_inner())?).await?;
            let capacity_bytes = capacity.map_or(0, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
            Ok(csi::NodeExpandVolumeResponse { capacity_bytes })
        })
        .await
    }

    async fn node_get_capabilities(
        &self,
        _: Request<csi::NodeGetCapabilitiesRequest>,
    ) -> Answer<csi::NodeGetCapabilitiesResponse> {
        answer("NodeGetCapabilities", async { Ok(NodeOffers::of(self.node()?).to_wire()) }).await
    }

    async fn node_get_info(&self, _: Request<csi::NodeGetInfoRequest>) -> Answer<csi::NodeGetInfoResponse> {
        answer("NodeGetInfo", async { Ok(self.node()?.node_info().await?.to_wire()) }).await
    }
}
