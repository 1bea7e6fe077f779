//! The attacher: has the drivers here attach the volumes that VolumeAttachments ask for, and detach them when those go.
//!
//! It does what the external attacher does for drivers outside. What a driver has attached is held by finalizers, of the
//! attachment and of the volume, until the driver has detached it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use windlass_api::{
    core::v1::PersistentVolume,
    storage::v1::{CSINode, VolumeAttachment, VolumeAttachmentStatus, VolumeError},
    types::{Resource, Time},
};
use windlass_client::{Cache, Client, Select, gvr};
use windlass_kernel::{
    Clock, ClockExt, Controller, Document, Error, ErrorKind, Result, VolumeDriver,
    controller::{ObjectKey, Requeue, Watched},
    volume::{Access, AccessMode, AttachVolume, Attaching, NodeId, Secrets, VolumeCapability, VolumeId},
};

use crate::{
    attach_detach::{VOLUMES, of_volume, volume_of},
    claim,
    driver_secrets::SecretReader,
    registry::Tools,
};

/// How long a driver may take; then it is asked again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Attaches volumes by drivers.
#[derive(Debug)]
pub struct Attacher {
    client: Client,
    secrets: SecretReader,
    clock: Arc<dyn Clock>,
    drivers: BTreeMap<String, Arc<dyn VolumeDriver>>,
    attachments: Cache<Arc<VolumeAttachment>>,
    volumes: Cache<Arc<PersistentVolume>>,
    on_nodes: Cache<Arc<CSINode>>,
}

impl Attacher {
    pub(crate) fn new(tools: &Tools) -> Self {
        let (informers, drivers) = (&tools.informers, &tools.config.volume_drivers);
        Self {
            client: tools.client.clone(),
            secrets: SecretReader::new(tools),
            clock: Arc::clone(&informers.parts().clock),
            drivers: drivers.iter().map(|own| (own.name.clone(), Arc::clone(&own.driver))).collect(),
            attachments: informers.typed(Select::all()),
            volumes: informers.typed(Select::all()),
            on_nodes: informers.typed(Select::all()),
        }
    }

    async fn attachment(&self, own: &VolumeAttachment, driver: &dyn VolumeDriver) -> Result<()> {
        let held = finalizer(&own.spec.attacher);
        let service = driver.controller().and_then(|controller| controller.attaching());
        if own.metadata.deletion_timestamp.is_some() {
            if own.metadata.finalizers.contains(&held) {
                self.detach(own, service, &held).await?;
            }
            return Ok(());
        }
        if own.status.attached {
            return Ok(());
        }
        let Some(service) = service else {
            // Nothing has to be done for it to be used.
            return self.tell(own, |status| status.attached = true).await;
        };
        if !own.metadata.finalizers.contains(&held) {
            // The write brings the next look.
            return claim::settled(self.client.update(&with(own, &held)).await.map(drop));
        }
        match self.attach(own, driver, service, &held).await {
            Ok(Some(metadata)) => {
                self.tell(own, |status| {
                    status.attached = true;
                    status.attachment_metadata.clone_from(&metadata);
                    status.attach_error = None;
                })
                .await
            }
            // The write of the volume brings the next look.
            Ok(None) => Ok(()),
            Err(error) => {
                let told = self.failed(&error);
                self.tell(own, |status| status.attach_error = Some(told.clone())).await?;
                Err(error)
            }
        }
    }

    /// Has a volume attached; `None` where the volume had to be written first.
    async fn attach(
        &self,
        own: &VolumeAttachment,
        driver: &dyn VolumeDriver,
        service: &dyn Attaching,
        held: &String,
    ) -> Result<Option<BTreeMap<String, String>>> {
        let volume = self.volume(own)?;
        let Some(csi) = &volume.spec.csi else {
            return Err(Error::new(ErrorKind::Invalid, "the volume is not of a CSI driver"));
        };
        // What is said in the attachment itself has no object that could be held.
        let named = own.spec.source.persistent_volume_name.is_some();
        if named && !volume.metadata.finalizers.contains(held) {
            let hold = |volume: &mut PersistentVolume| {
                if !volume.metadata.finalizers.contains(held) {
                    volume.metadata.finalizers.push(held.clone());
                }
            };
            let name = volume.metadata.name.as_deref().unwrap_or_default();
            self.client.modify::<PersistentVolume>("", name, hold).await?;
            return Ok(None);
        }
        let features = driver.controller().map(|controller| controller.features()).unwrap_or_default();
        let request = AttachVolume {
            volume: csi.volume_handle.as_str().into(),
            node: self.node(own)?,
            capability: capability(&volume, features.writers)?,
            read_only: features.read_only && csi.read_only == Some(true),
            secrets: self.secrets.read(csi.controller_publish_secret_ref.as_ref()).await?,
            context: csi.volume_attributes.clone(),
        };
        self.clock.timeout(PATIENCE, service.attach(&request)).await?.map(Some)
    }

    async fn detach(&self, own: &VolumeAttachment, service: Option<&dyn Attaching>, held: &str) -> Result<()> {
        if let Some(service) = service {
            let known = self.volume(own).and_then(|volume| Ok((handle(&volume)?, self.node(own)?, volume)));
            let known = match known {
                Ok((handle, node, volume)) => self.secret_of(&volume).await.map(|secrets| (handle, node, secrets)),
                Err(error) => Err(error),
            };
            let detached = match known {
                Ok((handle, node, secrets)) => {
                    let call = service.detach(&handle, Some(&node), &secrets);
                    self.clock.timeout(PATIENCE, call).await.flatten()
                }
                Err(error) => Err(error),
            };
            if let Err(error) = detached {
                let told = self.failed(&error);
                self.tell(own, |status| status.detach_error = Some(told.clone())).await?;
                return Err(error);
            }
        }
        claim::settled(self.client.update(&without(own, held)).await.map(drop))
    }

    /// Lets a volume go that is going and attached nowhere any more.
    async fn let_go(&self, volume: &PersistentVolume, driver: &str) -> Result<()> {
        let (held, name) = (finalizer(driver), volume.metadata.name.as_deref());
        if volume.metadata.deletion_timestamp.is_none() || !volume.metadata.finalizers.contains(&held) {
            return Ok(());
        }
        let used = |own: &Arc<VolumeAttachment>| own.spec.source.persistent_volume_name.as_deref() == name;
        if self.attachments.values().iter().any(used) {
            return Ok(());
        }
        claim::settled(self.client.update(&without(volume, &held)).await.map(drop))
    }

    /// The secret that attaching a volume took; nothing where it is gone, since what is attached must be detachable.
    async fn secret_of(&self, volume: &PersistentVolume) -> Result<Secrets> {
        let csi = volume.spec.csi.as_ref();
        self.secrets.read_if_there(csi.and_then(|csi| csi.controller_publish_secret_ref.as_ref())).await
    }

    /// The volume that an attachment names, or the one that it says itself.
    fn volume(&self, own: &VolumeAttachment) -> Result<Arc<PersistentVolume>> {
        if let Some(spec) = &own.spec.source.inline_volume_spec {
            return Ok(Arc::new(PersistentVolume { spec: spec.clone(), ..PersistentVolume::default() }));
        }
        let name = own.spec.source.persistent_volume_name.as_deref();
        let name = name.ok_or_else(|| Error::new(ErrorKind::Invalid, "the attachment names no volume"))?;
        let missing = || Error::new(ErrorKind::NotFound, format!("persistentvolume {name:?} not found"));
        self.volumes.get(&ObjectKey::new("", name)).ok_or_else(missing)
    }

    /// What the driver calls the node.
    fn node(&self, own: &VolumeAttachment) -> Result<NodeId> {
        let (driver, node) = (&own.spec.attacher, &own.spec.node_name);
        let on_node = self.on_nodes.get(&ObjectKey::new("", node));
        let found = on_node.and_then(|own| own.spec.drivers.iter().find(|own| own.name == *driver).cloned());
        let missing = || {
            let message = format!("driver {driver} is not registered on node {node}: its CSINode does not list it");
            Error::new(ErrorKind::Unavailable, message)
        };
        found.map(|own| own.node_id.as_str().into()).ok_or_else(missing)
    }

    fn failed(&self, error: &Error) -> VolumeError {
        VolumeError { message: Some(error.to_string()), time: Some(Time(self.clock.now())), ..VolumeError::default() }
    }

    async fn tell(
        &self,
        own: &VolumeAttachment,
        change: impl Fn(&mut VolumeAttachmentStatus) + Send + Sync,
    ) -> Result<()> {
        let name = own.metadata.name.as_deref().unwrap_or_default();
        let written = self.client.modify_status::<VolumeAttachment>("", name, |own| change(&mut own.status)).await;
        claim::settled(written.map(drop))
    }
}

fn handle(volume: &PersistentVolume) -> Result<VolumeId> {
    let missing = || Error::new(ErrorKind::Invalid, "the volume is not of a CSI driver");
    volume.spec.csi.as_ref().map(|csi| csi.volume_handle.as_str().into()).ok_or_else(missing)
}

/// How a volume is to be used on the node.
fn capability(volume: &PersistentVolume, writers: bool) -> Result<VolumeCapability> {
    let word = volume.spec.access_modes.first().map_or("ReadWriteOnce", String::as_str);
    let unknown = || Error::new(ErrorKind::Invalid, format!("access mode {word} is not known"));
    let mode = AccessMode::named(word, writers).ok_or_else(unknown)?;
    let fs_type = volume.spec.csi.as_ref().and_then(|csi| csi.fs_type.clone()).unwrap_or_default();
    let mount = || Access::Mount { fs_type, flags: volume.spec.mount_options.clone(), group: String::new() };
    let block = volume.spec.volume_mode.as_deref() == Some("Block");
    Ok(VolumeCapability { access: if block { Access::Block } else { mount() }, mode })
}

/// What holds an object that a driver has attached, as the external attacher names it.
fn finalizer(driver: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    format!("external-attacher/{}", driver.chars().map(plain).collect::<String>())
}

fn with<T: Resource>(object: &T, finalizer: &str) -> T {
    let mut changed = object.clone();
    changed.metadata_mut().finalizers.push(finalizer.to_owned());
    changed
}

fn without<T: Resource>(object: &T, finalizer: &str) -> T {
    let mut changed = object.clone();
    changed.metadata_mut().finalizers.retain(|own| own != finalizer);
    changed
}

/// Keys in this place are nodes with drivers: no namespace is called so.
const NODES: &str = "/csinodes";

#[async_trait]
impl Controller for Attacher {
    fn name(&self) -> &'static str {
        "csi-attacher"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![
            Watched { resource: gvr::<VolumeAttachment>(), keys: of_attachment },
            Watched { resource: gvr::<PersistentVolume>(), keys: of_volume },
            Watched { resource: gvr::<CSINode>(), keys: of_node },
        ]
    }

    fn stands_for(&self, key: &ObjectKey) -> Option<Vec<ObjectKey>> {
        // A volume and a node's drivers concern their attachments.
        let of = |own: &Arc<VolumeAttachment>| match key.namespace.as_str() {
            VOLUMES => own.spec.source.persistent_volume_name.as_deref() == Some(&key.name),
            NODES => own.spec.node_name == key.name,
            _ => false,
        };
        let all = self.attachments.values();
        let keys: Vec<_> = all.iter().filter(|own| of(own)).map(|own| claim::key(&own.metadata)).collect();
        (!keys.is_empty() || key.namespace == NODES).then_some(keys)
    }

    /// A key is an attachment, or a volume that has none.
    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        if key.namespace == VOLUMES {
            let Some(volume) = self.volumes.get(&ObjectKey::new("", &key.name)) else { return Ok(Requeue::OnChange) };
            let driver = volume.spec.csi.as_ref().map(|csi| csi.driver.as_str());
            if let Some(driver) = driver.filter(|driver| self.drivers.contains_key(*driver)) {
                self.let_go(&volume, driver).await?;
            }
        } else if let Some(own) = self.attachments.get(key)
            && let Some(driver) = self.drivers.get(&own.spec.attacher)
        {
            self.attachment(&own, &**driver).await?;
        }
        Ok(Requeue::OnChange)
    }
}

/// An attachment, and its volume: where it goes, the volume may go.
fn of_attachment(document: &Document) -> Vec<ObjectKey> {
    let Ok(own) = document.typed::<VolumeAttachment>() else { return Vec::new() };
    volume_of(&own).into_iter().chain([claim::key(&own.metadata)]).collect()
}

fn of_node(document: &Document) -> Vec<ObjectKey> {
    claim::own_key(document).into_iter().map(|key| ObjectKey::new(NODES, key.name)).collect()
}
