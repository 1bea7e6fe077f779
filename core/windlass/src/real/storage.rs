//! Storage on this machine: the hostpath driver, in this process, and its classes as the cluster's defaults.

use std::{path::Path, sync::Arc};

use serde_json::json;
use windlass_api::{
    storage::v1::{CSIDriver, StorageClass},
    types::Resource,
};
use windlass_client::Client;
use windlass_controllers::snapshotter::kinds::VolumeSnapshotClass;
use windlass_csi::{
    hostpath::{HostPath, NAME, Settings},
    skel::Setup,
};
use windlass_kernel::{Clock, Error, ErrorKind, Result, Spawn};

/// What the classes are called.
pub const CLASS: &str = "hostpath";

/// Opens the driver of a node whose volumes are below the data directory.
///
/// # Errors
///
/// Those of [`HostPath::open`].
pub fn open_volumes(data_dir: &Path, node: &str, clock: Arc<dyn Clock>, spawn: Arc<dyn Spawn>) -> Result<HostPath> {
    HostPath::open(Settings::at(data_dir.join("volumes"), node), Setup { clock, spawn })
}

/// Tells the cluster of the driver, and makes its classes the defaults for claims and snapshots without one. What is there
/// already is left as somebody may have changed it. Where snapshots are not defined, there is no class of them.
///
/// # Errors
///
/// Those of the API.
pub async fn announce_volumes(client: &Client) -> Result<()> {
    let driver = json!({
        "metadata": {"name": NAME},
        "spec": {
            // Folders of the node are attached to it at all times.
            "attachRequired": false,
            "podInfoOnMount": true,
            "fsGroupPolicy": "File",
            "volumeLifecycleModes": ["Persistent", "Ephemeral"],
        },
    });
    let class = json!({
        "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": NAME,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": true,
    });
    let snapshots = json!({
        "metadata": {"name": CLASS, "annotations": {"snapshot.storage.kubernetes.io/is-default-class": "true"}},
        "driver": NAME,
        "deletionPolicy": "Delete",
    });
    create::<CSIDriver>(client, driver).await?;
    create::<StorageClass>(client, class).await?;
    match create::<VolumeSnapshotClass>(client, snapshots).await {
        Err(error) if error.is(ErrorKind::NotFound) => Ok(()),
        done => done,
    }
}

async fn create<T: Resource>(client: &Client, object: serde_json::Value) -> Result<()> {
    let object: T = serde_json::from_value(object)
        .map_err(|error| Error::new(ErrorKind::Internal, "a built-in object has no such form").with_source(error))?;
    match client.create(&object).await {
        Err(error) if error.is(ErrorKind::AlreadyExists) => Ok(()),
        made => made.map(drop),
    }
}
