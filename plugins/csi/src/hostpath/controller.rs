//! The controller's services: each takes what it works on and does the work apart from tasks.

use std::collections::BTreeMap;

use async_trait::async_trait;
use windlass_kernel::{
    Error, ErrorKind, Result,
    volume::{
        AttachVolume, Attaching, AvailableCapacity, CapacityQuery, CapacityReporting, ControllerFeatures,
        CreateSnapshot, CreateVolume, ExpandVolume, Expanded, Expanding, Inspecting, Listing, Modifying, NodeId, Page,
        Provisioning, Secrets, Snapshot, SnapshotFilter, SnapshotId, SnapshotListing, Snapshotting, Source,
        ValidateVolume, Validated, Volume, VolumeController, VolumeId, VolumeState,
    },
};

use super::{HostPath, records::key};

#[async_trait]
impl VolumeController for HostPath {
    fn features(&self) -> ControllerFeatures {
        ControllerFeatures { clones: true, read_only: true, published_nodes: true, conditions: true, writers: true }
    }

    async fn validate(&self, request: &ValidateVolume) -> Result<Validated> {
        let request = request.clone();
        self.run(&[], move |inner| inner.validate(&request)).await
    }

    fn provisioning(&self) -> Option<&dyn Provisioning> {
        Some(self)
    }

    fn attaching(&self) -> Option<&dyn Attaching> {
        Some(self)
    }

    fn listing(&self) -> Option<&dyn Listing> {
        Some(self)
    }

    fn inspecting(&self) -> Option<&dyn Inspecting> {
        Some(self)
    }

    fn capacity(&self) -> Option<&dyn CapacityReporting> {
        Some(self)
    }

    fn snapshotting(&self) -> Option<&dyn Snapshotting> {
        Some(self)
    }

    fn snapshot_listing(&self) -> Option<&dyn SnapshotListing> {
        Some(self)
    }

    fn expanding(&self) -> Option<&dyn Expanding> {
        Some(self)
    }

    fn modifying(&self) -> Option<&dyn Modifying> {
        None
    }
}

fn named(name: &str) -> Result<()> {
    if name.is_empty() { Err(Error::new(ErrorKind::Invalid, "name: is required")) } else { Ok(()) }
}

#[async_trait]
impl Provisioning for HostPath {
    async fn create(&self, request: &CreateVolume) -> Result<Volume> {
        named(&request.name)?;
        let (key, request) = (key('v', &request.name), request.clone());
        // What is copied stays as it is meanwhile.
        let mut keys = vec![key.clone()];
        keys.extend(request.source.as_ref().map(|source| match source {
            Source::Snapshot(id) => id.to_string(),
            Source::Volume(id) => id.to_string(),
        }));
        keys.dedup();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        self.run(&keys, move |inner| inner.create(&key, &request)).await
    }

    async fn delete(&self, volume: &VolumeId, _: &Secrets) -> Result<()> {
        let id = volume.clone();
        self.run(&[volume.as_str()], move |inner| inner.delete(&id)).await
    }
}

#[async_trait]
impl Attaching for HostPath {
    async fn attach(&self, request: &AttachVolume) -> Result<BTreeMap<String, String>> {
        let request = request.clone();
        let id = request.volume.clone();
        self.run(&[id.as_str()], move |inner| inner.attach(&request)).await.map(|()| BTreeMap::new())
    }

    async fn detach(&self, volume: &VolumeId, node: Option<&NodeId>, _: &Secrets) -> Result<()> {
        let (id, node) = (volume.clone(), node.cloned());
        self.run(&[volume.as_str()], move |inner| inner.detach(&id, node.as_ref())).await
    }
}

#[async_trait]
impl Listing for HostPath {
    async fn list(&self, limit: Option<u32>, token: Option<&str>) -> Result<Page<VolumeState>> {
        let token = token.map(ToOwned::to_owned);
        self.run(&[], move |inner| inner.list(limit, token.as_deref())).await
    }
}

#[async_trait]
impl Inspecting for HostPath {
    async fn inspect(&self, volume: &VolumeId) -> Result<VolumeState> {
        let id = volume.clone();
        self.run(&[], move |inner| Ok(inner.state(id.as_str(), &inner.volume(&id)?))).await
    }
}

#[async_trait]
impl CapacityReporting for HostPath {
    async fn available(&self, query: &CapacityQuery) -> Result<AvailableCapacity> {
        let query = query.clone();
        self.run(&[], move |inner| inner.available(&query)).await
    }
}

#[async_trait]
impl Snapshotting for HostPath {
    async fn snapshot(&self, request: &CreateSnapshot) -> Result<Snapshot> {
        named(&request.name)?;
        let (key, request) = (key('s', &request.name), request.clone());
        let keys = [key.clone(), request.source.to_string()];
        self.run(&keys.each_ref().map(String::as_str), move |inner| inner.snapshot(&key, &request)).await
    }

    async fn delete_snapshot(&self, snapshot: &SnapshotId, _: &Secrets) -> Result<()> {
        let id = snapshot.clone();
        self.run(&[snapshot.as_str()], move |inner| inner.delete_snapshot(&id)).await
    }
}

#[async_trait]
impl SnapshotListing for HostPath {
    async fn list_snapshots(&self, filter: &SnapshotFilter) -> Result<Page<Snapshot>> {
        let filter = filter.clone();
        self.run(&[], move |inner| inner.list_snapshots(&filter)).await
    }
}

#[async_trait]
impl Expanding for HostPath {
    async fn expand(&self, request: &ExpandVolume) -> Result<Expanded> {
        let request = request.clone();
        let id = request.volume.clone();
        self.run(&[id.as_str()], move |inner| inner.expand(&request)).await
    }
}
