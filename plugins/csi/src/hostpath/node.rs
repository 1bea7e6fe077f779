//! The node's services: each takes what it works on and does the work apart from tasks.

use std::path::Path;

use async_trait::async_trait;
use windlass_kernel::{
    Result,
    volume::{
        ExpandOnNode, NodeExpanding, NodeFeatures, NodeInfo, PublishVolume, StageVolume, Staging, UsageQuery,
        UsageReporting, VolumeId, VolumeNode, VolumeUsage,
    },
};

use super::{HostPath, targets::busy_path};

#[async_trait]
impl VolumeNode for HostPath {
    fn features(&self) -> NodeFeatures {
        NodeFeatures { conditions: true, writers: true, mount_group: false }
    }

    async fn node_info(&self) -> Result<NodeInfo> {
        let id = self.inner.settings.node.as_str().into();
        Ok(NodeInfo { id, max_volumes: None, topology: Some(self.inner.topology()) })
    }

    async fn publish(&self, request: &PublishVolume) -> Result<()> {
        let request = request.clone();
        let (id, path) = (request.volume.clone(), busy_path(&request.target));
        self.run(&[id.as_str(), &path], move |inner| inner.publish(&request)).await
    }

    async fn unpublish(&self, volume: &VolumeId, target: &Path) -> Result<()> {
        let (id, target) = (volume.clone(), target.to_owned());
        self.run(&[volume.as_str(), &busy_path(&target.clone())], move |inner| inner.unpublish(&id, &target)).await
    }

    fn staging(&self) -> Option<&dyn Staging> {
        Some(self)
    }

    fn usage(&self) -> Option<&dyn UsageReporting> {
        Some(self)
    }

    fn expanding(&self) -> Option<&dyn NodeExpanding> {
        Some(self)
    }
}

#[async_trait]
impl Staging for HostPath {
    async fn stage(&self, request: &StageVolume) -> Result<()> {
        let request = request.clone();
        let (id, path) = (request.volume.clone(), busy_path(&request.staging));
        self.run(&[id.as_str(), &path], move |inner| inner.stage(&request)).await
    }

    async fn unstage(&self, volume: &VolumeId, staging: &Path) -> Result<()> {
        let (id, staging) = (volume.clone(), staging.to_owned());
        self.run(&[volume.as_str(), &busy_path(&staging.clone())], move |inner| inner.unstage(&id, &staging)).await
    }
}

#[async_trait]
impl UsageReporting for HostPath {
    async fn usage_of(&self, query: &UsageQuery) -> Result<VolumeUsage> {
        let query = query.clone();
        self.run(&[], move |inner| inner.usage_of(&query)).await
    }
}

#[async_trait]
impl NodeExpanding for HostPath {
    async fn expand(&self, request: &ExpandOnNode) -> Result<Option<u64>> {
        let request = request.clone();
        let id = request.volume.clone();
        self.run(&[id.as_str()], move |inner| inner.expand_on_node(&request)).await
    }
}
