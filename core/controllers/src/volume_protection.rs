//! Protection of claims and volumes in use: neither goes while it is needed, however it is deleted.
//!
//! The finalizers are set with the creation by the API server. Here they are taken away once nothing needs the object,
//! and given to objects that lack them.

use std::sync::Arc;

use async_trait::async_trait;
use windlass_api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim, Pod},
    meta::v1::ObjectMeta,
    types::Resource,
};
use windlass_client::{Cache, Client, Select, gvr};
use windlass_kernel::{
    Controller, Document, ErrorKind, Result,
    controller::{ObjectKey, Requeue, Watched},
};

use crate::{claim, registry::Tools};

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";

/// Keeps claims that pods use.
#[derive(Debug)]
pub struct ClaimProtection {
    client: Client,
    claims: Cache<Arc<PersistentVolumeClaim>>,
}

/// Keeps volumes that claims have.
#[derive(Debug)]
pub struct VolumeProtection {
    client: Client,
    volumes: Cache<Arc<PersistentVolume>>,
}

impl ClaimProtection {
    pub(crate) fn new(tools: &Tools) -> Self {
        Self { client: tools.client.clone(), claims: tools.informers.typed(Select::all()) }
    }
}

impl VolumeProtection {
    pub(crate) fn new(tools: &Tools) -> Self {
        Self { client: tools.client.clone(), volumes: tools.informers.typed(Select::all()) }
    }
}

#[async_trait]
impl Controller for ClaimProtection {
    fn name(&self) -> &'static str {
        "pvc-protection-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![
            Watched { resource: gvr::<PersistentVolumeClaim>(), keys: claim::own_key },
            Watched { resource: gvr::<Pod>(), keys: claims_of },
        ]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        let Some(claim) = self.claims.get(key) else { return Ok(Requeue::OnChange) };
        let Some(finalizers) = wanted(&claim.metadata, CLAIM) else { return Ok(Requeue::OnChange) };
        if claim.metadata.deletion_timestamp.is_some() {
            // Asked anew, because the cache may not know the pod that was just placed.
            let pods = self.client.list::<Pod>(&Select::namespace(key.namespace.clone())).await?;
            if pods.iter().any(|pod| pod.spec.node_name.is_some() && claim::claims_of(pod).any(|name| name == key.name))
            {
                return Ok(Requeue::OnChange);
            }
        }
        write(&self.client, &*claim, finalizers).await
    }
}

#[async_trait]
impl Controller for VolumeProtection {
    fn name(&self) -> &'static str {
        "pv-protection-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![Watched { resource: gvr::<PersistentVolume>(), keys: claim::own_key }]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        let Some(volume) = self.volumes.get(key) else { return Ok(Requeue::OnChange) };
        let Some(finalizers) = wanted(&volume.metadata, VOLUME) else { return Ok(Requeue::OnChange) };
        let going = volume.metadata.deletion_timestamp.is_some();
        if going && volume.status.phase.as_deref() == Some("Bound") {
            return Ok(Requeue::OnChange);
        }
        write(&self.client, &*volume, finalizers).await
    }
}

/// The finalizers of an object with ours while it lives, and without it once it is deleted; `None` where that is so.
fn wanted(meta: &ObjectMeta, ours: &str) -> Option<Vec<String>> {
    let (held, going) = (meta.finalizers.iter().any(|own| own == ours), meta.deletion_timestamp.is_some());
    match (held, going) {
        (true, true) => Some(meta.finalizers.iter().filter(|own| *own != ours).cloned().collect()),
        (false, false) => Some(meta.finalizers.iter().cloned().chain([ours.to_owned()]).collect()),
        _ => None,
    }
}

async fn write<T: Resource>(client: &Client, object: &T, finalizers: Vec<String>) -> Result<Requeue> {
    let mut changed = object.clone();
    changed.metadata_mut().finalizers = finalizers;
    match client.update(&changed).await {
        Err(error) if error.is(ErrorKind::NotFound) => Ok(Requeue::OnChange),
        written => written.map(|_| Requeue::OnChange),
    }
}

fn claims_of(document: &Document) -> Vec<ObjectKey> {
    let Ok(pod) = document.typed::<Pod>() else { return Vec::new() };
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    claim::claims_of(&pod).map(|name| ObjectKey::new(namespace.clone(), name)).collect()
}
