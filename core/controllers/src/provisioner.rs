//! The provisioner: makes a volume for a claim whose class names one of the drivers here, and deletes it when nobody wants it
//! any more.
//!
//! It does what the external provisioner does for drivers outside. Which volume a claim gets is the binder's business: a volume
//! is made for its claim, and says so.

mod plan;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use windlass_api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
    storage::v1::{CSINode, StorageClass, VolumeAttachment},
};
use windlass_client::{
    Cache, Client, Select,
    events::{Recorder, Severity},
    gvr,
    informer::Subscription,
};
use windlass_kernel::{
    Clock, ClockExt, Controller, Document, Error, ErrorKind, Result, VolumeDriver,
    controller::{ObjectKey, Requeue, Wakes, Watched},
    volume::{Source, TopologyRequirement},
};

use self::plan::{Origin, Refused};
use crate::{
    claim,
    driver_secrets::SecretReader,
    registry::Tools,
    snapshotter::{
        self,
        kinds::{VolumeSnapshot, VolumeSnapshotContent},
    },
    written::Written,
};

/// How long a driver may take; then it is asked again.
const PATIENCE: Duration = Duration::from_secs(60);

/// A driver and its name, which does not change.
#[derive(Clone, Debug)]
pub struct NamedDriver {
    /// What classes and volumes call it.
    pub name: String,
    /// The driver.
    pub driver: Arc<dyn VolumeDriver>,
    /// Whether it is told in parameters which claim, volume or snapshot a call is for, as upstream's sidecars do with
    /// `--extra-create-metadata`: drivers that know no such parameters may refuse them.
    pub knows_claims: bool,
}

impl NamedDriver {
    /// A driver by the name that it says.
    ///
    /// # Errors
    ///
    /// Those of [`VolumeDriver::info`].
    pub async fn of(driver: Arc<dyn VolumeDriver>) -> Result<Self> {
        Ok(Self { name: driver.info().await?.name, driver, knows_claims: false })
    }
}

/// Makes and deletes volumes.
#[derive(Debug)]
pub struct Provisioner {
    client: Client,
    /// What reads snapshots.
    reading: Client,
    secrets: SecretReader,
    clock: Arc<dyn Clock>,
    drivers: BTreeMap<String, Arc<dyn VolumeDriver>>,
    /// The drivers that are told which claim a volume is for.
    knowing: BTreeSet<String>,
    /// What tells events in the name of each driver.
    recorders: BTreeMap<String, Recorder>,
    written: Written,
    volumes: Cache<Arc<PersistentVolume>>,
    claims: Cache<Arc<PersistentVolumeClaim>>,
    classes: Cache<Arc<StorageClass>>,
    nodes: Cache<Arc<Node>>,
    on_nodes: Cache<Arc<CSINode>>,
    attachments: Cache<Arc<VolumeAttachment>>,
    /// The snapshots that claims may wait for, where a driver here cuts any.
    snapshots: Option<Cache<Arc<VolumeSnapshot>>>,
}

impl Provisioner {
    /// `reader` is for what the provisioner's own account may not read.
    pub(crate) fn new(tools: &Tools, reader: &Tools) -> Self {
        let (informers, drivers) = (&tools.informers, &tools.config.volume_drivers);
        let cuts = drivers.iter().any(|own| snapshotter::snapshots(&*own.driver));
        Self {
            client: tools.client.clone(),
            reading: reader.client.clone(),
            secrets: SecretReader::new(reader),
            snapshots: cuts.then(|| informers.typed(Select::all())),
            clock: Arc::clone(&informers.parts().clock),
            drivers: drivers.iter().map(|own| (own.name.clone(), Arc::clone(&own.driver))).collect(),
            knowing: drivers.iter().filter(|own| own.knows_claims).map(|own| own.name.clone()).collect(),
            recorders: drivers.iter().map(|own| (own.name.clone(), tools.recorder_as(&own.name))).collect(),
            written: Written::new(gvr::<PersistentVolume>()),
            volumes: informers.typed(Select::all()),
            claims: informers.typed(Select::all()),
            classes: informers.typed(Select::all()),
            nodes: informers.typed(Select::all()),
            on_nodes: informers.typed(Select::all()),
            attachments: informers.typed(Select::all()),
        }
    }

    /// Makes the volume of a claim that waits for one of a driver here.
    async fn claim(&self, key: &ObjectKey) -> Result<()> {
        // What was made a moment ago may be deleted already: made again, nobody would delete it.
        self.written.seen_in(key, &self.volumes, &self.client).await?;
        let Some(claim) = self.claims.get(key) else { return Ok(()) };
        let Some((name, class)) = plan::asked_for(&claim) else { return Ok(()) };
        let (Some(driver), Some(recorder)) = (self.drivers.get(name), self.recorders.get(name)) else { return Ok(()) };
        let Some(class) = self.classes.get(&ObjectKey::new("", class)) else { return Ok(()) };
        let own = plan::volume_name(&claim);
        if class.provisioner != *name || (plan::waits(&class) && plan::selected_node(&claim).is_none()) {
            return Ok(());
        }
        if self.volumes.get(&ObjectKey::new("", &own)).is_some() {
            return Ok(());
        }
        let message = format!(
            "External provisioner is provisioning volume for claim {:?}",
            format!("{}/{}", key.namespace, key.name)
        );
        recorder.event(&*claim, Severity::Normal, "Provisioning", message);
        match self.made(key, (name, &**driver), &claim, &class).await {
            Ok(()) => {
                recorder.event(
                    &*claim,
                    Severity::Normal,
                    "ProvisioningSucceeded",
                    format!("Successfully provisioned volume {own}"),
                );
                Ok(())
            }
            Err(error) => {
                let class = class.metadata.name.as_deref().unwrap_or_default();
                let message = format!("failed to provision volume with StorageClass {class:?}: {error}");
                recorder.event(&*claim, Severity::Warning, "ProvisioningFailed", message);
                self.reschedule(&claim, &error).await?;
                Err(error)
            }
        }
    }

    async fn made(
        &self,
        key: &ObjectKey,
        (name, driver): (&str, &dyn VolumeDriver),
        claim: &PersistentVolumeClaim,
        class: &StorageClass,
    ) -> Result<()> {
        let service = driver.controller().and_then(|controller| controller.provisioning());
        let writers = driver.controller().is_some_and(|controller| controller.features().writers);
        let lacks = || Error::new(ErrorKind::NotSupported, format!("driver {name} makes no volumes"));
        let service = service.ok_or_else(lacks)?;
        let info = self.clock.timeout(PATIENCE, driver.info()).await??;
        let refused = |Refused(why)| Error::new(ErrorKind::Invalid, why);
        let topology = if info.topology { self.topology(name, claim, class)? } else { None };
        let source = self.source(name, claim).await?;
        let secrets = plan::secrets(claim, class).map_err(refused)?;
        let mut request = plan::request(claim, class, source, (topology, writers)).map_err(refused)?;
        if self.knowing.contains(name) {
            request.parameters.extend(plan::told(claim));
        }
        request.secrets = self.secrets.read(secrets.provisioner.as_ref()).await?;
        let made = self.clock.timeout(PATIENCE, service.create(&request)).await??;
        let volume = plan::volume(name, (claim, class), &secrets, &request, &made);
        let writing = self.written.begin(key);
        let created = self.client.create(&volume).await;
        if let Ok(created) = &created {
            writing.wrote_version(created.metadata.resource_version.as_deref());
        }
        writing.end(&created);
        match created {
            Err(error) if error.is(ErrorKind::AlreadyExists) => Ok(()),
            done => done.map(drop),
        }
    }

    /// Where a volume is to be reached from: the selected node alone, what the class allows, or any node with the driver.
    fn topology(
        &self,
        name: &str,
        claim: &PersistentVolumeClaim,
        class: &StorageClass,
    ) -> Result<Option<TopologyRequirement>> {
        let at = |node: &str| {
            let driver = self.on_nodes.get(&ObjectKey::new("", node));
            let driver = driver.and_then(|found| found.spec.drivers.iter().find(|own| own.name == name).cloned())?;
            plan::place(&driver, &*self.nodes.get(&ObjectKey::new("", node))?)
        };
        if let Some(node) = plan::selected_node(claim) {
            let place = at(node).ok_or_else(|| {
                let message = format!("driver {name} is not registered on node {node}: its CSINode does not list it");
                Error::new(ErrorKind::Unavailable, message)
            })?;
            let (requisite, preferred) = (vec![place.clone()], vec![place]);
            return Ok(Some(TopologyRequirement { requisite, preferred }));
        }
        let allowed = plan::allowed(class);
        let places = if allowed.is_empty() {
            self.nodes.list().into_iter().filter_map(|(key, _)| at(&key.name)).collect()
        } else {
            allowed
        };
        Ok(plan::spread(claim, places))
    }

    /// What a claim is to be a copy of.
    async fn source(&self, name: &str, claim: &PersistentVolumeClaim) -> Result<Option<Source>> {
        let refused = |Refused(why)| Error::new(ErrorKind::Invalid, why);
        match plan::copied(claim).map_err(refused)? {
            None => Ok(None),
            Some(Origin::Claim(other)) => self.of_claim(name, claim, other).map(Some),
            Some(Origin::Snapshot(snapshot)) => self.of_snapshot(name, claim, snapshot).await.map(Some),
        }
    }

    fn of_claim(&self, name: &str, claim: &PersistentVolumeClaim, other: &str) -> Result<Source> {
        let namespace = claim.metadata.namespace.clone().unwrap_or_default();
        let unbound =
            || Error::new(ErrorKind::Unavailable, format!("claim {other}, which is to be copied, is not bound"));
        let found = self.claims.get(&ObjectKey::new(namespace, other)).ok_or_else(unbound)?;
        let volume = found.spec.volume_name.as_deref().filter(|volume| !volume.is_empty()).ok_or_else(unbound)?;
        let volume = self.volumes.get(&ObjectKey::new("", volume)).ok_or_else(unbound)?;
        match &volume.spec.csi {
            Some(csi) if csi.driver == name => Ok(Source::Volume(csi.volume_handle.as_str().into())),
            _ => Err(Error::new(ErrorKind::Invalid, format!("claim {other} has a volume of another driver"))),
        }
    }

    /// The snapshot of that name, as its driver calls it. What is read is what there is now: a snapshot that goes is held
    /// by the claims that are seen to wait for it.
    async fn of_snapshot(&self, name: &str, claim: &PersistentVolumeClaim, snapshot: &str) -> Result<Source> {
        let missing = |what: &str, of: &str| Error::new(ErrorKind::Unavailable, format!("{what} {of} not found"));
        let namespace = claim.metadata.namespace.as_deref().unwrap_or_default();
        let found = self.reading.get_opt::<VolumeSnapshot>(namespace, snapshot).await?;
        let found = found.ok_or_else(|| missing("volumesnapshot", snapshot))?;
        let content = plan::content_of(&found).map_err(|Refused(why)| Error::new(ErrorKind::Unavailable, why))?;
        let own = self.reading.get_opt::<VolumeSnapshotContent>("", &content).await?;
        let own = own.ok_or_else(|| missing("volumesnapshotcontent", &content))?;
        let handle = plan::restored(claim, name, &found, &own);
        handle
            .map(|own| Source::Snapshot(own.as_str().into()))
            .map_err(|Refused(why)| Error::new(ErrorKind::Invalid, why))
    }

    /// A claim that cannot be served on its node goes back to the scheduler.
    async fn reschedule(&self, claim: &PersistentVolumeClaim, error: &Error) -> Result<()> {
        if !error.is(ErrorKind::Full) || plan::selected_node(claim).is_none() {
            return Ok(());
        }
        let done = self.client.update(&plan::without_node(claim)).await;
        match done {
            Err(error) if error.is(ErrorKind::NotFound) || error.is(ErrorKind::Conflict) => Ok(()),
            done => done.map(drop),
        }
    }

    /// Deletes a volume that no claim has, where its class wanted that; and lets go of it where not.
    async fn volume(&self, key: &ObjectKey) -> Result<()> {
        let Some(volume) = self.volumes.get(key) else { return Ok(()) };
        let Some(csi) = &volume.spec.csi else { return Ok(()) };
        let (Some(driver), Some(recorder)) = (self.drivers.get(&csi.driver), self.recorders.get(&csi.driver)) else {
            return Ok(());
        };
        let Some(end) = plan::end_of(&volume) else { return Ok(()) };
        if end == plan::End::Delete {
            let service = driver.controller().and_then(|controller| controller.provisioning());
            let lacks = || Error::new(ErrorKind::NotSupported, format!("driver {} deletes no volumes", csi.driver));
            let id = csi.volume_handle.as_str().into();
            let used =
                |own: &Arc<VolumeAttachment>| own.spec.source.persistent_volume_name.as_deref() == Some(&key.name);
            let attached = self.attachments.values().into_iter().find(used).map(|own| {
                let message = format!("persistentvolume {} is still attached to node {}", key.name, own.spec.node_name);
                Error::new(ErrorKind::Conflict, message)
            });
            let secrets = self.secrets.read_if_there(plan::deletion_secret(&volume).as_ref()).await;
            let ready = attached.map_or_else(|| service.ok_or_else(lacks), Err).and_then(|own| Ok((own, secrets?)));
            let deleted = match ready {
                Ok((service, secrets)) => self.clock.timeout(PATIENCE, service.delete(&id, &secrets)).await.flatten(),
                Err(error) => Err(error),
            };
            if let Err(error) = deleted {
                recorder.event(&*volume, Severity::Warning, "VolumeFailedDelete", error.to_string());
                return Err(error);
            }
        }
        if let Some(free) = plan::let_go(&volume) {
            match self.client.update(&free).await {
                Err(error) if error.is(ErrorKind::NotFound) => return Ok(()),
                done => done.map(drop)?,
            }
        }
        if end == plan::End::LetGo || volume.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        match self.client.delete::<PersistentVolume>("", &key.name).await {
            Err(error) if error.is(ErrorKind::NotFound) => Ok(()),
            done => done,
        }
    }
}

#[async_trait]
impl Controller for Provisioner {
    fn name(&self) -> &'static str {
        "persistent-volume-provisioner"
    }

    fn watches(&self) -> Vec<Watched> {
        if self.drivers.is_empty() {
            return Vec::new();
        }
        vec![
            Watched { resource: gvr::<PersistentVolumeClaim>(), keys: claim::own_key },
            Watched { resource: gvr::<PersistentVolume>(), keys: claim::own_key },
            Watched { resource: gvr::<StorageClass>(), keys: |_: &Document| vec![WAITING] },
        ]
    }

    /// A snapshot that changed may be what claims wait for.
    fn wakes(&self) -> Option<Wakes> {
        let changed = self.snapshots.as_ref()?.subscribe();
        let next = |changed: Subscription| async move {
            changed.next().await;
            Some((WAITING, changed))
        };
        Some(stream::unfold(changed, next).boxed())
    }

    fn stands_for(&self, key: &ObjectKey) -> Option<Vec<ObjectKey>> {
        let waiting = || {
            let all = self.claims.list().into_iter();
            all.filter(|(_, claim)| plan::asked_for(claim).is_some()).map(|(key, _)| key).collect()
        };
        (*key == WAITING).then(waiting)
    }

    /// A key is a claim or a volume.
    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        let done = if key.namespace.is_empty() { self.volume(key).await } else { self.claim(key).await };
        done.map(|()| Requeue::OnChange)
    }
}

/// The key that stands for all claims that wait.
const WAITING: ObjectKey = ObjectKey { namespace: String::new(), name: String::new() };
