//! The volume binder: brings claims and volumes together, and says what became of either.
//!
//! One write at a time, each of which brings the next look: first the volume says whose it is (which only one claim can
//! have said), then the claim, then their statuses. Volumes are made and deleted by provisioners outside.

mod fit;
mod plan;

use std::sync::Arc;

use async_trait::async_trait;
use windlass_api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
use windlass_client::{Cache, Client, Select, events::Recorder, gvr};
use windlass_kernel::{
    Clock, Controller, Document, ErrorKind, Result,
    controller::{ObjectKey, Requeue, Watched},
};

use self::plan::{Plan, Write};
use crate::{claim, registry::Tools};

/// The key that stands for all claims that wait.
const WAITING: ObjectKey = ObjectKey { namespace: String::new(), name: String::new() };

/// Binds claims to volumes.
#[derive(Debug)]
pub struct Binder {
    client: Client,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    volumes: Cache<Arc<PersistentVolume>>,
    claims: Cache<Arc<PersistentVolumeClaim>>,
    classes: Cache<Arc<StorageClass>>,
}

impl Binder {
    pub(crate) fn new(tools: &Tools) -> Self {
        let informers = &tools.informers;
        Self {
            client: tools.client.clone(),
            clock: Arc::clone(&informers.parts().clock),
            recorder: tools.recorder_as("persistentvolume-controller"),
            volumes: informers.typed(Select::all()),
            claims: informers.typed(Select::all()),
            classes: informers.typed(Select::all()),
        }
    }

    async fn claim(&self, key: &ObjectKey) -> Result<()> {
        let Some(claim) = self.claims.get(key) else { return Ok(()) };
        if claim.metadata.deletion_timestamp.is_some() && !plan::is_bound(&claim) {
            return Ok(());
        }
        let class = fit::class_of_claim(&claim).and_then(|name| self.classes.get(&ObjectKey::new("", name)));
        let plan = match claim.spec.volume_name.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => {
                let volume = self.volumes.get(&ObjectKey::new("", name));
                plan::named(&claim, volume.as_deref())
            }
            None => {
                let classes = self.classes.values();
                let class = (class.as_deref(), fit::default_class(&classes));
                self.volumes.with(|volumes| plan::unnamed(&claim, class, &mut volumes.map(|(_, volume)| volume)))
            }
        };
        for (severity, reason, message) in &plan.news {
            self.recorder.event(&*claim, *severity, reason, message.clone());
        }
        self.carry_out(plan).await
    }

    async fn volume(&self, key: &ObjectKey) -> Result<()> {
        let Some(volume) = self.volumes.get(key) else { return Ok(()) };
        let Some(owner) = plan::claimed_by(&volume) else {
            return self.carry_out(plan::free(&volume, self.clock.now())).await;
        };
        let uid = volume.spec.claim_ref.as_ref().and_then(|own| own.uid.as_deref());
        let same = |claim: &Arc<PersistentVolumeClaim>| claim.metadata.uid.as_deref() == uid;
        let mut claim = self.claims.get(&owner).filter(same);
        if claim.is_none() {
            // The claim may be too new for the cache; a volume must not be given up for that.
            claim = self.client.get_opt(&owner.namespace, &owner.name).await?.filter(same);
        }
        let plan = plan::taken(&volume, claim.as_deref(), self.clock.now());
        for (severity, reason, message) in &plan.news {
            self.recorder.event(&*volume, *severity, reason, message.clone());
        }
        self.carry_out(plan).await
    }

    async fn carry_out(&self, plan: Plan) -> Result<()> {
        let done = match plan.write {
            None => return Ok(()),
            Some(Write::Claim(claim)) => self.client.update(&*claim).await.map(drop),
            Some(Write::ClaimStatus(claim)) => self.client.update_status(&*claim).await.map(drop),
            Some(Write::Volume(volume)) => self.client.update(&*volume).await.map(drop),
            Some(Write::VolumeStatus(volume)) => self.client.update_status(&*volume).await.map(drop),
        };
        match done {
            Err(error) if error.is(ErrorKind::NotFound) => Ok(()),
            done => done,
        }
    }
}

#[async_trait]
impl Controller for Binder {
    fn name(&self) -> &'static str {
        "persistent-volume-binder"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![
            Watched { resource: gvr::<PersistentVolumeClaim>(), keys: of_claim },
            Watched { resource: gvr::<PersistentVolume>(), keys: of_volume },
            Watched { resource: gvr::<StorageClass>(), keys: |_| vec![WAITING] },
        ]
    }

    fn stands_for(&self, key: &ObjectKey) -> Option<Vec<ObjectKey>> {
        let waiting = || {
            let all = self.claims.list().into_iter();
            all.filter(|(_, claim)| !plan::is_bound(claim)).map(|(key, _)| key).collect()
        };
        (*key == WAITING).then(waiting)
    }

    /// A key is a claim or a volume.
    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        let done = if key.namespace.is_empty() { self.volume(key).await } else { self.claim(key).await };
        done.map(|()| Requeue::OnChange)
    }
}

/// A claim, and the volume that it names.
fn of_claim(document: &Document) -> Vec<ObjectKey> {
    let mut keys = claim::own_key(document);
    if let Ok(claim) = document.typed::<PersistentVolumeClaim>() {
        keys.extend(claim.spec.volume_name.clone().map(|name| ObjectKey::new("", name)));
    }
    keys
}

/// A volume, and the claim that has it; all that wait where none has.
fn of_volume(document: &Document) -> Vec<ObjectKey> {
    let mut keys = claim::own_key(document);
    if let Ok(volume) = document.typed::<PersistentVolume>() {
        keys.push(plan::claimed_by(&volume).unwrap_or(WAITING));
    }
    keys
}
