//! The controller's services: each takes what it works on and does the work apart from tasks.

use async_trait::async_trait;
use windlass_kernel::{
    Result,
    volume::{
        Attaching, CapacityReporting, ControllerFeatures, CreateVolume, ExpandVolume, Expanded, Expanding, Inspecting,
        Listing, Modifying, Provisioning, Secrets, SnapshotListing, Snapshotting, ValidateVolume, Validated, Volume,
        VolumeController, VolumeId,
    },
};

use super::{
    Nfs,
    id::{Location, folder_name, key},
    parameters::Parameters,
    volumes::located,
};

/// What calls on a volume must not have at once: the place where its share is mounted meanwhile.
fn busy(id: &VolumeId) -> String {
    Location::of(id).map_or_else(|| id.to_string(), |place| place.place())
}

#[async_trait]
impl VolumeController for Nfs {
    fn features(&self) -> ControllerFeatures {
        ControllerFeatures { clones: true, ..ControllerFeatures::default() }
    }

    async fn validate(&self, request: &ValidateVolume) -> Result<Validated> {
        let request = request.clone();
        self.run(&[&busy(&request.volume.clone())], move |inner| inner.validate(&request)).await
    }

    fn provisioning(&self) -> Option<&dyn Provisioning> {
        Some(self)
    }

    fn attaching(&self) -> Option<&dyn Attaching> {
        None
    }

    fn listing(&self) -> Option<&dyn Listing> {
        None
    }

    fn inspecting(&self) -> Option<&dyn Inspecting> {
        None
    }

    fn capacity(&self) -> Option<&dyn CapacityReporting> {
        None
    }

    fn snapshotting(&self) -> Option<&dyn Snapshotting> {
        None
    }

    fn snapshot_listing(&self) -> Option<&dyn SnapshotListing> {
        None
    }

    fn expanding(&self) -> Option<&dyn Expanding> {
        Some(self)
    }

    fn modifying(&self) -> Option<&dyn Modifying> {
        None
    }
}

#[async_trait]
impl Provisioning for Nfs {
    async fn create(&self, request: &CreateVolume) -> Result<Volume> {
        let request = request.clone();
        let place = Parameters::of_class(&request.parameters).and_then(|own| located(&request.name, &own));
        // What cannot be is refused in a moment.
        let busy = place.map_or_else(|_| key(&folder_name(&request.name)), |place| place.place());
        self.run(&[&busy], move |inner| inner.create(&request)).await
    }

    async fn delete(&self, volume: &VolumeId, secrets: &Secrets) -> Result<()> {
        let (id, secrets) = (volume.clone(), secrets.clone());
        self.run(&[&busy(volume)], move |inner| inner.delete(&id, &secrets)).await
    }
}

#[async_trait]
impl Expanding for Nfs {
    async fn expand(&self, request: &ExpandVolume) -> Result<Expanded> {
        let request = request.clone();
        self.run(&[&busy(&request.volume.clone())], move |inner| inner.expand(&request)).await
    }
}
