//! A CSI plugin whose volumes have a largest size; the rest is the hostpath driver's.
//!
//! `docs/guide/writing-a-volume-driver.md` tells how it is written and proved.

use std::{process::ExitCode, sync::Arc};

use async_trait::async_trait;
use windlass::{
    csi::{
        hostpath::{HostPath, Settings},
        skel,
    },
    kernel::{
        Result, VolumeDriver,
        volume::{
            Attaching, CapacityReporting, ControllerFeatures, CreateVolume, DriverInfo, ExpandVolume, Expanded,
            Expanding, Inspecting, Listing, Modifying, Provisioning, Refusal, Secrets, SnapshotListing, Snapshotting,
            ValidateVolume, Validated, Volume, VolumeController, VolumeId, VolumeNode,
        },
    },
};

/// The hostpath driver, whose volumes have at most so many bytes.
#[derive(Debug)]
struct Limited {
    inner: HostPath,
    most: u64,
}

impl Limited {
    /// Refuses a size before anything is made.
    fn fits(&self, wanted: Option<u64>) -> Result<()> {
        if wanted.is_none_or(|bytes| bytes <= self.most) {
            return Ok(());
        }
        Err(Refusal::OutOfRange.error(format!("volumes of this driver have at most {} bytes", self.most)))
    }

    fn inner(&self) -> &dyn VolumeController {
        &self.inner
    }
}

#[async_trait]
impl VolumeDriver for Limited {
    async fn info(&self) -> Result<DriverInfo> {
        Ok(DriverInfo { name: "limited.example.com".into(), ..self.inner.info().await? })
    }

    async fn ready(&self) -> Result<bool> {
        self.inner.ready().await
    }

    fn controller(&self) -> Option<&dyn VolumeController> {
        Some(self)
    }

    fn node(&self) -> Option<&dyn VolumeNode> {
        self.inner.node()
    }
}

#[async_trait]
impl VolumeController for Limited {
    fn features(&self) -> ControllerFeatures {
        self.inner().features()
    }

    async fn validate(&self, request: &ValidateVolume) -> Result<Validated> {
        self.inner().validate(request).await
    }

    fn provisioning(&self) -> Option<&dyn Provisioning> {
        Some(self)
    }

    fn attaching(&self) -> Option<&dyn Attaching> {
        self.inner().attaching()
    }

    fn listing(&self) -> Option<&dyn Listing> {
        self.inner().listing()
    }

    fn inspecting(&self) -> Option<&dyn Inspecting> {
        self.inner().inspecting()
    }

    fn capacity(&self) -> Option<&dyn CapacityReporting> {
        self.inner().capacity()
    }

    fn snapshotting(&self) -> Option<&dyn Snapshotting> {
        self.inner().snapshotting()
    }

    fn snapshot_listing(&self) -> Option<&dyn SnapshotListing> {
        self.inner().snapshot_listing()
    }

    fn expanding(&self) -> Option<&dyn Expanding> {
        Some(self)
    }

    fn modifying(&self) -> Option<&dyn Modifying> {
        // The driver has nothing that could be changed: then it cannot be asked to.
        None
    }
}

#[async_trait]
impl Provisioning for Limited {
    async fn create(&self, request: &CreateVolume) -> Result<Volume> {
        self.fits(request.capacity.required)?;
        Provisioning::create(&self.inner, request).await
    }

    async fn delete(&self, volume: &VolumeId, secrets: &Secrets) -> Result<()> {
        Provisioning::delete(&self.inner, volume, secrets).await
    }
}

#[async_trait]
impl Expanding for Limited {
    async fn expand(&self, request: &ExpandVolume) -> Result<Expanded> {
        self.fits(request.capacity.required)?;
        Expanding::expand(&self.inner, request).await
    }
}

fn main() -> ExitCode {
    let root = std::env::args().nth(1).unwrap_or_else(|| "/var/lib/limited".into());
    skel::main(|setup| {
        let inner = HostPath::open(Settings::at(root, "this-node"), setup)?;
        Ok(Arc::new(Limited { inner, most: 10 << 30 }))
    })
}
