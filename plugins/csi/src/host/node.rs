//! The node's services over CSI's node service.

use std::path::Path;

use async_trait::async_trait;
use windlass_kernel::{
    Result,
    volume::{
        ExpandOnNode, NodeExpanding, NodeFeatures, NodeInfo, PublishVolume, StageVolume, Staging, UsageQuery,
        UsageReporting, VolumeId, VolumeNode, VolumeUsage,
    },
};

use super::{RemoteDriver, answered, asked, broken, undone};
use crate::wire::{NodeOffers, OnWire, bytes, csi};

impl RemoteDriver {
    fn on_node(&self) -> NodeOffers {
        self.node.unwrap_or_default()
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[async_trait]
impl VolumeNode for RemoteDriver {
    fn features(&self) -> NodeFeatures {
        self.on_node().features
    }

    async fn node_info(&self) -> Result<NodeInfo> {
        asked("ask which node the driver is on", self.node_client().node_get_info(csi::NodeGetInfoRequest {})).await
    }

    async fn publish(&self, request: &PublishVolume) -> Result<()> {
        let what = format!("publish volume {} at {}", request.volume, request.target.display());
        answered(&what, self.node_client().node_publish_volume(request.to_wire())).await.map(drop)
    }

    async fn unpublish(&self, volume: &VolumeId, target: &Path) -> Result<()> {
        let request = csi::NodeUnpublishVolumeRequest { volume_id: volume.to_string(), target_path: text(target) };
        let what = format!("unpublish volume {volume} at {}", target.display());
        undone(&what, self.node_client().node_unpublish_volume(request)).await
    }

    fn staging(&self) -> Option<&dyn Staging> {
        self.on_node().staging.then_some(self)
    }

    fn usage(&self) -> Option<&dyn UsageReporting> {
        self.on_node().usage.then_some(self)
    }

    fn expanding(&self) -> Option<&dyn NodeExpanding> {
        self.on_node().expanding.then_some(self)
    }
}

#[async_trait]
impl Staging for RemoteDriver {
    async fn stage(&self, request: &StageVolume) -> Result<()> {
        let what = format!("stage volume {} at {}", request.volume, request.staging.display());
        answered(&what, self.node_client().node_stage_volume(request.to_wire())).await.map(drop)
    }

    async fn unstage(&self, volume: &VolumeId, staging: &Path) -> Result<()> {
        let request =
            csi::NodeUnstageVolumeRequest { volume_id: volume.to_string(), staging_target_path: text(staging) };
        let what = format!("unstage volume {volume} at {}", staging.display());
        undone(&what, self.node_client().node_unstage_volume(request)).await
    }
}

#[async_trait]
impl UsageReporting for RemoteDriver {
    async fn usage_of(&self, query: &UsageQuery) -> Result<VolumeUsage> {
        let what = format!("ask for the usage of volume {}", query.volume);
        asked(&what, self.node_client().node_get_volume_stats(query.to_wire())).await
    }
}

#[async_trait]
impl NodeExpanding for RemoteDriver {
    async fn expand(&self, request: &ExpandOnNode) -> Result<Option<u64>> {
        let what = format!("expand volume {} on the node", request.volume);
        let answer = answered(&what, self.node_client().node_expand_volume(request.to_wire())).await?;
        let capacity = bytes("capacity_bytes", answer.capacity_bytes).map_err(|error| broken(&what, error))?;
        Ok(Some(capacity).filter(|capacity| *capacity > 0))
    }
}
