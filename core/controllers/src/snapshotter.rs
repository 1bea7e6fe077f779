//! The snapshotter: has the drivers here cut snapshots of the volumes of claims, and delete them when nobody wants them any
//! more.
//!
//! It does what the snapshot controller does for all drivers, which is to match snapshots and contents, and what the external
//! snapshotter does beside each driver outside, for those here. Claims are made from snapshots by the provisioner.

mod content;
mod definitions;
pub mod kinds;
mod names;
mod plan;
mod secrets;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use windlass_api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim, SecretReference},
    types::Resource,
};
use windlass_client::{
    Cache, Client, Select,
    events::{Recorder, Severity},
    gvr,
};
use windlass_kernel::{
    Clock, ClockExt, Controller, Document, Error, ErrorKind, Result, VolumeDriver,
    api::PatchType,
    controller::{ObjectKey, Requeue, Watched},
    volume::{CreateSnapshot, Snapshot, SnapshotFilter, SnapshotId, Snapshotting},
};

pub use self::definitions::{DEFINITIONS, Rules, definitions};
use self::{
    content::Step as ContentStep,
    kinds::{ContentStatus, SnapshotError, SnapshotStatus, VolumeSnapshot, VolumeSnapshotClass, VolumeSnapshotContent},
    plan::{Failure, Look, Step},
};
use crate::{claim, driver_secrets::SecretReader, registry::Tools};

/// How long a driver may take; then it is asked again.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a driver is asked whether a snapshot can be used yet.
const POLL: Duration = Duration::from_secs(5);

/// Cuts and deletes snapshots.
#[derive(Debug)]
pub struct Snapshotter {
    client: Client,
    clock: Arc<dyn Clock>,
    drivers: BTreeMap<String, Arc<dyn VolumeDriver>>,
    /// The drivers that are told which snapshot a call is for.
    knowing: BTreeSet<String>,
    reader: SecretReader,
    recorder: Recorder,
    /// What tells events in the name of each driver.
    recorders: BTreeMap<String, Recorder>,
    snapshots: Cache<Arc<VolumeSnapshot>>,
    contents: Cache<Arc<VolumeSnapshotContent>>,
    classes: Cache<Arc<VolumeSnapshotClass>>,
    claims: Cache<Arc<PersistentVolumeClaim>>,
    volumes: Cache<Arc<PersistentVolume>>,
}

/// Whether a driver cuts snapshots. Where one does, the kinds of [`definitions`] are to be there.
pub fn snapshots(driver: &dyn VolumeDriver) -> bool {
    driver.controller().is_some_and(|controller| controller.snapshotting().is_some())
}

impl Snapshotter {
    pub(crate) fn new(tools: &Tools) -> Self {
        let (informers, drivers) = (&tools.informers, &tools.config.volume_drivers);
        let drivers = || drivers.iter().filter(|own| snapshots(&*own.driver));
        Self {
            client: tools.client.clone(),
            clock: Arc::clone(&informers.parts().clock),
            drivers: drivers().map(|own| (own.name.clone(), Arc::clone(&own.driver))).collect(),
            knowing: drivers().filter(|own| own.knows_claims).map(|own| own.name.clone()).collect(),
            reader: SecretReader::new(tools),
            recorder: tools.recorder(),
            recorders: drivers()
                .map(|own| (own.name.clone(), tools.recorder_as(&format!("csi-snapshotter {}", own.name))))
                .collect(),
            snapshots: informers.typed(Select::all()),
            contents: informers.typed(Select::all()),
            classes: informers.typed(Select::all()),
            claims: informers.typed(Select::all()),
            volumes: informers.typed(Select::all()),
        }
    }

    fn look(&self, snapshot: Arc<VolumeSnapshot>) -> Look {
        let namespace = snapshot.metadata.namespace.clone().unwrap_or_default();
        let named = snapshot.body.spec.source.persistent_volume_claim_name.as_deref();
        let claim = named.and_then(|name| self.claims.get(&ObjectKey::new(namespace, name)));
        let volume = claim.as_ref().and_then(|claim| claim.spec.volume_name.clone());
        let going = snapshot.metadata.deletion_timestamp.is_some();
        Look {
            content: self.contents.get(&ObjectKey::new("", plan::content_name(&snapshot))),
            volume: volume.and_then(|name| self.volumes.get(&ObjectKey::new("", name))),
            claim,
            classes: self.classes.values(),
            restoring: going && self.claims.values().iter().any(|claim| plan::restores(claim, &snapshot)),
            snapshot,
        }
    }

    async fn snapshot(&self, key: &ObjectKey) -> Result<()> {
        let Some(snapshot) = self.snapshots.get(key) else { return Ok(()) };
        self.volumes.synced().await;
        let look = self.look(snapshot);
        let (snapshot, content) = (&*look.snapshot, plan::content_name(&look.snapshot));
        let say = |severity, reason: &str, message: String| self.recorder.event(snapshot, severity, reason, message);
        match plan::next(&look) {
            Step::Rest => Ok(()),
            Step::Wait => {
                say(Severity::Warning, "SnapshotDeletePending", "Snapshot is being used to restore a PVC".into());
                Ok(())
            }
            Step::Hold => {
                let mut finalizers = snapshot.metadata.finalizers.clone();
                let own = [names::AS_SOURCE, names::BOUND].map(str::to_owned);
                finalizers.extend(own.into_iter().filter(|own| !snapshot.metadata.finalizers.contains(own)));
                self.patch(snapshot, json!({"metadata": {"finalizers": finalizers}})).await
            }
            Step::Choose(class) => self.patch(snapshot, json!({"spec": {"volumeSnapshotClassName": class}})).await,
            Step::Make(content) => {
                self.make(key, snapshot, &content).await?;
                let message = format!("Waiting for a snapshot {key} to be created by the CSI driver.");
                say(Severity::Normal, "CreatingSnapshot", message);
                Ok(())
            }
            Step::Bind => {
                let Some(content) = &look.content else { return Ok(()) };
                let uid = &snapshot.metadata.uid;
                let reference = json!({"spec": {"volumeSnapshotRef": {"uid": uid}}});
                self.patch(&**content, reference).await
            }
            Step::Tell(status) => self.told(key, snapshot, &status).await,
            Step::Mark => {
                let Some(content) = &look.content else { return Ok(()) };
                self.mark(content, names::BEING_DELETED, json!(names::YES)).await
            }
            Step::DeleteContent => claim::settled(self.client.delete::<VolumeSnapshotContent>("", &content).await),
            Step::LetGo => self.let_go(snapshot, &content).await,
            Step::Fail(failure) => self.refused(snapshot, failure).await,
        }
    }

    /// Holds the claim, then makes the content, unless the snapshot goes by now.
    async fn make(&self, key: &ObjectKey, snapshot: &VolumeSnapshot, content: &VolumeSnapshotContent) -> Result<()> {
        let now = self.client.get_opt::<VolumeSnapshot>(&key.namespace, &key.name).await?;
        let same = |now: &Arc<VolumeSnapshot>| {
            now.metadata.uid == snapshot.metadata.uid && now.metadata.deletion_timestamp.is_none()
        };
        if !now.as_ref().is_some_and(same) {
            return Ok(());
        }
        let name = snapshot.body.spec.source.persistent_volume_claim_name.as_deref().unwrap_or_default();
        let hold = |claim: &mut PersistentVolumeClaim| {
            let held = claim.metadata.finalizers.iter().any(|own| own == names::CLAIM);
            if !held && claim.metadata.deletion_timestamp.is_none() {
                claim.metadata.finalizers.push(names::CLAIM.to_owned());
            }
        };
        self.client.modify::<PersistentVolumeClaim>(&key.namespace, name, hold).await?;
        claim::settled(self.client.create(content).await.map(drop))
    }

    /// Writes what the content says, and tells of what became of it.
    async fn told(&self, key: &ObjectKey, snapshot: &VolumeSnapshot, status: &SnapshotStatus) -> Result<()> {
        let was = snapshot.status();
        self.status(snapshot, &was, status).await?;
        let say = |reason: &str, message: String| self.recorder.event(snapshot, Severity::Normal, reason, message);
        if was.creation_time.is_none() && status.creation_time.is_some() {
            say("SnapshotCreated", format!("Snapshot {key} was successfully created by the CSI driver."));
        }
        if was.ready_to_use != Some(true) && status.ready_to_use == Some(true) {
            say("SnapshotReady", format!("Snapshot {key} is ready to use."));
        }
        Ok(())
    }

    async fn refused(&self, snapshot: &VolumeSnapshot, failure: Failure) -> Result<()> {
        let was = snapshot.status();
        let message = Some(failure.message.clone());
        if was.error.as_ref().is_some_and(|error| error.message == message) {
            return Ok(());
        }
        let error = SnapshotError { time: Some(windlass_api::types::Time(self.clock.now())), message };
        let status = SnapshotStatus { ready_to_use: Some(false), error: Some(error), ..was.clone() };
        self.status(snapshot, &was, &status).await?;
        self.recorder.event(snapshot, Severity::Warning, failure.reason, failure.message);
        Ok(())
    }

    /// Lets a snapshot go whose content is dealt with; one that was made a moment ago may not have been seen.
    async fn let_go(&self, snapshot: &VolumeSnapshot, content: &str) -> Result<()> {
        let there = self.client.get_opt::<VolumeSnapshotContent>("", content).await?;
        let held = |own: &VolumeSnapshotContent| {
            let kept = own.body.spec.deletion_policy != "Delete";
            own.is_of(snapshot) && !(kept && own.metadata.annotations.contains_key(names::BEING_DELETED))
        };
        if there.is_some_and(|own| held(&own)) {
            return Err(Error::new(ErrorKind::Conflict, format!("volumesnapshotcontent {content} is still there")));
        }
        let ours = |own: &String| [names::AS_SOURCE, names::BOUND].contains(&own.as_str());
        let mut finalizers = snapshot.metadata.finalizers.clone();
        finalizers.retain(|own| !ours(own));
        self.patch(snapshot, json!({"metadata": {"finalizers": finalizers}})).await
    }

    /// Lets a claim go that no snapshot is being cut of.
    async fn release(&self, key: &ObjectKey) -> Result<()> {
        let Some(claim) = self.claims.get(key) else { return Ok(()) };
        if !plan::releases(&claim, &self.snapshots.values()) {
            return Ok(());
        }
        // What was asked for a moment ago may not have been seen.
        let all = self.client.list::<VolumeSnapshot>(&Select::namespace(key.namespace.as_str())).await?;
        if !plan::releases(&claim, &all) {
            return Ok(());
        }
        let mut free = PersistentVolumeClaim::clone(&claim);
        free.metadata.finalizers.retain(|own| own != names::CLAIM);
        claim::settled(self.client.update(&free).await.map(drop))
    }

    async fn content(&self, key: &ObjectKey) -> Result<Requeue> {
        let Some(content) = self.contents.get(key) else { return Ok(Requeue::OnChange) };
        let driver = self.drivers.get(&content.body.spec.driver);
        let step = content::next(&content, driver.is_some());
        let service = driver.and_then(|own| own.controller()).and_then(|controller| controller.snapshotting());
        let Some(service) = service else {
            if step == ContentStep::Hold {
                self.hold_content(&content).await?;
            }
            return Ok(Requeue::OnChange);
        };
        let done = match step {
            ContentStep::Rest => Ok(()),
            ContentStep::Hold => self.hold_content(&content).await,
            ContentStep::Begin => self.mark(&content, names::BEING_CREATED, json!(names::YES)).await,
            ContentStep::Known => self.mark(&content, names::BEING_CREATED, Value::Null).await,
            ContentStep::Cut | ContentStep::Find => return self.brought(&content, service, step).await,
            ContentStep::Settle => self.settle(&content, service).await,
            ContentStep::Delete => self.delete(&content, service).await,
            ContentStep::LetGo => self.let_content_go(&content).await,
        };
        done.map(|()| Requeue::OnChange)
    }

    async fn hold_content(&self, content: &VolumeSnapshotContent) -> Result<()> {
        let mut finalizers = content.metadata.finalizers.clone();
        finalizers.push(names::CONTENT.to_owned());
        self.patch(content, json!({"metadata": {"finalizers": finalizers}})).await
    }

    async fn let_content_go(&self, content: &VolumeSnapshotContent) -> Result<()> {
        let mut finalizers = content.metadata.finalizers.clone();
        finalizers.retain(|own| own != names::CONTENT);
        self.patch(content, json!({"metadata": {"finalizers": finalizers}})).await
    }

    /// Has a snapshot cut or found, and says how it is. One that cannot be used yet is asked for again.
    async fn brought(
        &self,
        content: &VolumeSnapshotContent,
        service: &dyn Snapshotting,
        step: ContentStep,
    ) -> Result<Requeue> {
        let was = content.status();
        let asked = match step {
            ContentStep::Find => self.found(content).await,
            _ => self.cut(content, service).await,
        };
        match asked {
            Ok(status) => {
                let again = if status.ready_to_use == Some(true) { Requeue::OnChange } else { Requeue::After(POLL) };
                self.status(content, &was, &status).await.map(|()| again)
            }
            Err(error) => {
                let (reason, message) = match step {
                    ContentStep::Find => (
                        "SnapshotContentCheckandUpdateFailed",
                        format!("Failed to check and update snapshot content: {error}"),
                    ),
                    _ => ("SnapshotCreationFailed", format!("Failed to create snapshot: {error}")),
                };
                if let Some(status) = content::failed(&was, &message, self.clock.now()) {
                    self.status(content, &was, &status).await?;
                    self.say(content, Severity::Warning, reason, message);
                }
                Err(error)
            }
        }
    }

    /// Has the driver cut the snapshot of a content. Asked again it answers the same one.
    async fn cut(&self, content: &VolumeSnapshotContent, service: &dyn Snapshotting) -> Result<ContentStatus> {
        let request = self.wanted(content).await?;
        self.asked(&request, service).await.map(|own| content::told(&own))
    }

    /// The driver's own answer, and no other error than its own or that it took too long.
    async fn asked(&self, request: &CreateSnapshot, service: &dyn Snapshotting) -> Result<Snapshot> {
        self.clock.timeout(PATIENCE, service.snapshot(request)).await?
    }

    /// What a driver is asked for. Its errors are none of the driver's: they say nothing of what it has.
    async fn wanted(&self, content: &VolumeSnapshotContent) -> Result<CreateSnapshot> {
        let spec = &content.body.spec;
        let class = spec.volume_snapshot_class_name.as_deref().unwrap_or_default();
        let missing = || Error::new(ErrorKind::NotFound, format!("volumesnapshotclass {class:?} not found"));
        let class = self.classes.get(&ObjectKey::new("", class)).ok_or_else(missing)?;
        let parameters = &class.body.parameters;
        let told = self.knowing.contains(&spec.driver).then(|| secrets::told(content));
        Ok(CreateSnapshot {
            source: spec.source.volume_handle.as_deref().unwrap_or_default().into(),
            name: format!("snapshot-{}", spec.volume_snapshot_ref.uid.as_deref().unwrap_or_default()),
            secrets: self.reader.read(secrets::noted(content).as_ref()).await?,
            parameters: parameters
                .iter()
                .filter(|(name, _)| !name.starts_with(crate::driver_secrets::OWN))
                .map(|(name, value)| (name.clone(), value.clone()))
                .chain(told.into_iter().flatten())
                .collect(),
        })
    }

    /// How a snapshot is that was there before. A driver that lists none is taken at its content's word.
    async fn found(&self, content: &VolumeSnapshotContent) -> Result<ContentStatus> {
        let spec = &content.body.spec;
        let handle = content.handle().unwrap_or_default();
        let controller = self.drivers.get(&spec.driver).and_then(|driver| driver.controller());
        let Some(lists) = controller.and_then(|controller| controller.snapshot_listing()) else {
            return Ok(ContentStatus {
                snapshot_handle: Some(handle),
                ready_to_use: Some(true),
                creation_time: i64::try_from(self.clock.now().as_nanosecond()).ok(),
                ..ContentStatus::default()
            });
        };
        let secret = self.list_secret(content)?;
        let filter = SnapshotFilter {
            snapshot: Some(handle.as_str().into()),
            secrets: self.reader.read(secret.as_ref()).await?,
            ..SnapshotFilter::default()
        };
        let page = self.clock.timeout(PATIENCE, lists.list_snapshots(&filter)).await??;
        let missing = || Error::new(ErrorKind::NotFound, format!("the driver has no snapshot {handle}"));
        let found = page.entries.into_iter().find(|own| own.id.as_str() == handle).ok_or_else(missing)?;
        Ok(content::told(&found))
    }

    fn list_secret(&self, content: &VolumeSnapshotContent) -> Result<Option<SecretReference>> {
        let Some(name) = content.body.spec.volume_snapshot_class_name.as_deref() else { return Ok(None) };
        let missing = || Error::new(ErrorKind::NotFound, format!("volumesnapshotclass {name:?} not found"));
        let class = self.classes.get(&ObjectKey::new("", name)).ok_or_else(missing)?;
        let own = content.metadata.name.as_deref().unwrap_or_default();
        secrets::for_lists(&class.body.parameters, own).map_err(|why| Error::new(ErrorKind::Invalid, why))
    }

    /// Learns whether a driver has a snapshot that is to be deleted: its answer was lost. Only its own refusal says that it has
    /// none; where it cannot be asked, the content stays.
    async fn settle(&self, content: &VolumeSnapshotContent, service: &dyn Snapshotting) -> Result<()> {
        let request = match self.wanted(content).await {
            Ok(request) => request,
            Err(error) => return self.not_deleted(content, error).await,
        };
        match self.asked(&request, service).await {
            Ok(own) => self.status(content, &content.status(), &content::told(&own)).await,
            Err(error) if content::is_final(&error) => self.mark(content, names::BEING_CREATED, Value::Null).await,
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, content: &VolumeSnapshotContent, service: &dyn Snapshotting) -> Result<()> {
        let handle = SnapshotId::from(content.handle().unwrap_or_default().as_str());
        let secrets = self.reader.read_if_there(secrets::noted(content).as_ref()).await?;
        let deleting = service.delete_snapshot(&handle, &secrets);
        match self.clock.timeout(PATIENCE, deleting).await.flatten() {
            Ok(()) => self.let_content_go(content).await,
            Err(error) => self.not_deleted(content, error).await,
        }
    }

    /// Says why a snapshot is still there, and answers that.
    async fn not_deleted(&self, content: &VolumeSnapshotContent, error: Error) -> Result<()> {
        let message = format!("Failed to delete snapshot: {error}");
        if let Some(mut status) = content::failed(&content.status(), &message, self.clock.now()) {
            status.ready_to_use = content.status().ready_to_use;
            self.status(content, &content.status(), &status).await?;
        }
        self.say(content, Severity::Warning, "SnapshotDeleteError", message);
        Err(error)
    }

    fn say(&self, content: &VolumeSnapshotContent, severity: Severity, reason: &str, message: String) {
        let recorder = self.recorders.get(&content.body.spec.driver).unwrap_or(&self.recorder);
        recorder.event(content, severity, reason, message);
    }

    async fn mark(&self, content: &VolumeSnapshotContent, annotation: &str, value: Value) -> Result<()> {
        self.patch(content, json!({"metadata": {"annotations": {annotation: value}}})).await
    }

    /// Patches an object as it was read, and no other.
    async fn patch<T: Resource>(&self, object: &T, mut patch: Value) -> Result<()> {
        let meta = object.metadata();
        patch["metadata"]["uid"] = json!(meta.uid);
        patch["metadata"]["resourceVersion"] = json!(meta.resource_version);
        let (namespace, name) = (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref());
        let patched = self.client.patch::<T>(namespace, name.unwrap_or_default(), PatchType::Merge, patch).await;
        claim::settled(patched.map(drop))
    }

    async fn status<T: Resource>(
        &self,
        object: &T,
        before: &(impl serde::Serialize + Sync),
        after: &(impl serde::Serialize + Sync),
    ) -> Result<()> {
        claim::settled(self.client.write_status::<T>(object.metadata(), before, after).await)
    }
}

/// Keys of claims begin so: no namespace does. What follows is the claim's namespace.
const CLAIM: &str = "/claim/";
/// Keys that stand for the snapshots of a claim, and those that wait for it.
const OF_CLAIM: &str = "/of-claim/";
/// The key that stands for everything that a class may be missing for.
const CLASSES: &str = "/classes";

#[async_trait]
impl Controller for Snapshotter {
    fn name(&self) -> &'static str {
        "snapshot-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![
            Watched { resource: gvr::<VolumeSnapshot>(), keys: of_snapshot },
            Watched { resource: gvr::<VolumeSnapshotContent>(), keys: of_content },
            Watched { resource: gvr::<VolumeSnapshotClass>(), keys: |_| vec![ObjectKey::new(CLASSES, "")] },
            Watched { resource: gvr::<PersistentVolumeClaim>(), keys: of_claim },
            Watched { resource: gvr::<PersistentVolume>(), keys: of_volume },
        ]
    }

    fn stands_for(&self, key: &ObjectKey) -> Option<Vec<ObjectKey>> {
        let snapshots = self.snapshots.list().into_iter();
        if key.namespace == CLASSES {
            let contents = self.contents.list().into_iter();
            let contents = contents.filter(|(_, own)| own.status().ready_to_use != Some(true)).map(|(key, _)| key);
            return Some(snapshots.filter(|(_, own)| !own.is_ready()).map(|(key, _)| key).chain(contents).collect());
        }
        let namespace = key.namespace.strip_prefix(OF_CLAIM)?;
        let concerned = |own: &VolumeSnapshot| {
            let of = own.body.spec.source.persistent_volume_claim_name.as_ref() == Some(&key.name);
            own.metadata.deletion_timestamp.is_some() || (of && !own.is_ready())
        };
        let own = snapshots.filter(|(own, snapshot)| own.namespace == namespace && concerned(snapshot));
        Some(own.map(|(key, _)| key).collect())
    }

    /// A key is a content, a snapshot, or a claim that may be held.
    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        if key.namespace.is_empty() {
            return self.content(key).await;
        }
        let done = match key.namespace.strip_prefix(CLAIM) {
            Some(namespace) => self.release(&ObjectKey::new(namespace, &key.name)).await,
            None => self.snapshot(key).await,
        };
        done.map(|()| Requeue::OnChange)
    }
}

/// A snapshot, and the claim that it may hold.
fn of_snapshot(document: &Document) -> Vec<ObjectKey> {
    let Ok(own) = document.typed::<VolumeSnapshot>() else { return Vec::new() };
    let key = claim::key(&own.metadata);
    let claim = own.body.spec.source.persistent_volume_claim_name.as_ref();
    let claim = claim.map(|name| ObjectKey::new(format!("{CLAIM}{}", key.namespace), name));
    claim.into_iter().chain([key]).collect()
}

/// A content, and its snapshot.
fn of_content(document: &Document) -> Vec<ObjectKey> {
    let Ok(own) = document.typed::<VolumeSnapshotContent>() else { return Vec::new() };
    let reference = own.body.spec.volume_snapshot_ref.clone();
    let snapshot = reference.namespace.zip(reference.name).map(|(namespace, name)| ObjectKey::new(namespace, name));
    snapshot.into_iter().chain([claim::key(&own.metadata)]).collect()
}

fn of_claim(document: &Document) -> Vec<ObjectKey> {
    let Ok(own) = document.object_key() else { return Vec::new() };
    [CLAIM, OF_CLAIM].map(|at| ObjectKey::new(format!("{at}{}", own.namespace), &own.name)).into()
}

/// The snapshots of the claim that has a volume.
fn of_volume(document: &Document) -> Vec<ObjectKey> {
    let Ok(volume) = document.typed::<PersistentVolume>() else { return Vec::new() };
    let claim = volume.spec.claim_ref.as_ref();
    let key =
        claim.and_then(|own| Some(ObjectKey::new(format!("{OF_CLAIM}{}", own.namespace.clone()?), own.name.clone()?)));
    key.into_iter().collect()
}
