//! Following claims, volumes, storage classes and what drivers say, and writing down what a pod's claims get before the pod is bound.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use futures::{FutureExt, future};
use parking_lot::Mutex;
use serde_json::json;
use windlass_api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass},
    types::Resource,
};
use windlass_client::{
    Cache, Client, Informers, Select,
    informer::{Subscription, Update},
};
use windlass_kernel::{
    Error, ErrorKind, Result,
    api::PatchType,
    controller::ObjectKey,
    scheduler::{NodeView, PodView},
};

use crate::storage::{
    Claim, Class, Plan, Storage, Stored, Unready, Volume,
    csi::{Attachment, Capacity, Driver, Limits},
    views::SELECTED,
};

/// On a volume: that its claim was chosen by a controller.
const BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";

/// What is followed. Clones share it.
#[derive(Clone)]
pub(super) struct Stores {
    followed: Arc<[Box<dyn Followed>]>,
    now: Arc<Mutex<Arc<Storage>>>,
}

/// Says when any of it has changed.
pub(super) struct Changes(Vec<Subscription>);

/// A cache of anything.
#[async_trait]
trait Followed: Send + Sync {
    async fn synced(&self);
    fn subscribe(&self) -> Subscription;
}

#[async_trait]
impl<P: Clone + Send + Sync + 'static> Followed for Cache<P> {
    async fn synced(&self) {
        Self::synced(self).await;
    }

    fn subscribe(&self) -> Subscription {
        Self::subscribe(self)
    }
}

/// Follows objects, whose projections are written into the shared state.
struct Following<'a> {
    informers: &'a Informers,
    now: Arc<Mutex<Arc<Storage>>>,
    followed: Vec<Box<dyn Followed>>,
}

impl Following<'_> {
    fn add<T: Resource, P: Clone + Send + Sync + 'static>(
        &mut self,
        project: fn(&T) -> Option<P>,
        write: fn(&mut Storage, &Update<'_, P>),
    ) {
        let cache = self.informers.projected(Select::all(), Vec::new(), project);
        let now = Arc::clone(&self.now);
        cache.on_change(move |update| write(Arc::make_mut(&mut now.lock()), update));
        self.followed.push(Box::new(cache));
    }

    /// Those that are kept by their name.
    fn named<T: Resource, P: Send + Sync + 'static>(
        &mut self,
        project: fn(&T) -> Option<Arc<P>>,
        map: fn(&mut Storage) -> &mut BTreeMap<String, Arc<P>>,
    ) {
        let cache = self.informers.projected(Select::all(), Vec::new(), project);
        let now = Arc::clone(&self.now);
        cache.on_change(move |update| {
            keep(map(Arc::make_mut(&mut now.lock())), update.key.name.clone(), update.after.cloned());
        });
        self.followed.push(Box::new(cache));
    }
}

fn keep<K: Ord, P>(map: &mut BTreeMap<K, P>, key: K, value: Option<P>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

impl Stores {
    pub(super) fn new(informers: &Informers) -> Self {
        let mut all = Following { informers, now: Arc::default(), followed: Vec::new() };
        all.add(
            |own: &PersistentVolumeClaim| Some(Arc::new(Claim::of(own))),
            |all, update| keep(&mut all.claims, update.key.clone(), update.after.cloned()),
        );
        all.named(|own: &PersistentVolume| Some(Arc::new(Volume::of(own))), |all| &mut all.volumes);
        all.named(|own: &StorageClass| Some(Arc::new(Class::of(own))), |all| &mut all.classes);
        all.named(|own: &CSIDriver| Some(Arc::new(Driver::of(own))), |all| &mut all.drivers);
        all.named(|own: &CSINode| Some(Arc::new(Limits::of(own))), |all| &mut all.limits);
        all.add(
            |own: &CSIStorageCapacity| Some(Arc::new(Capacity::of(own))),
            |all, update| keep(&mut all.capacities, update.key.clone(), update.after.cloned()),
        );
        all.add(Attachment::of, |all, update| all.attach(&update.key.name, update.before, update.after));
        Self { followed: all.followed.into(), now: all.now }
    }

    pub(super) async fn synced(&self) {
        for one in &*self.followed {
            one.synced().await;
        }
    }

    pub(super) fn now(&self) -> Stored {
        Stored(Arc::clone(&self.now.lock()))
    }

    pub(super) fn changes(&self) -> Changes {
        Changes(self.followed.iter().map(|one| one.subscribe()).collect())
    }

    /// Lets the pod's claims get the volumes that were found for it on a node. Whether they have to be waited for.
    pub(super) async fn bind(&self, client: &Client, pod: &PodView, node: &NodeView) -> Result<bool> {
        let storage = self.now().0;
        let failed = |why: &str| Error::new(ErrorKind::Conflict, format!("binding volumes of pod {}: {why}", pod.key));
        let claimed = storage.claims(pod).map_err(|unready| failed(&format!("{unready:?}")))?;
        let plan = storage.plan(&claimed, node).map_err(|reasons| failed(&reasons.join(", ")))?;
        if plan.bind.is_empty() && plan.provision.is_empty() {
            return Ok(false);
        }
        write(client, &plan, &node.name).await?;
        Ok(true)
    }

    /// Waits until every claim of a pod is bound to a volume that the node reaches.
    pub(super) async fn bound(&self, pod: &PodView, node: &NodeView) -> Result<()> {
        let failed = |why: String| Err(Error::new(ErrorKind::Conflict, format!("binding volumes: {why}")));
        let changes = self.changes();
        let mut asked = BTreeSet::new();
        loop {
            // Also what was there before: the state that is read next holds it all.
            changes.take();
            let storage = self.now().0;
            match storage.claims(pod) {
                Ok(claimed) if claimed.waiting.is_empty() => {
                    return match storage.plan(&claimed, node) {
                        Ok(_) => Ok(()),
                        Err(reasons) => failed(reasons.join(", ")),
                    };
                }
                Ok(claimed) => {
                    // A provisioner that cannot do it there takes the node away, so that another one is chosen.
                    let here = |claim: &&Arc<Claim>| claim.selected.as_deref() == Some(&*node.name);
                    let reset = claimed.waiting.iter().find(|claim| asked.contains(&claim.key) && !here(claim));
                    if let Some(claim) = reset {
                        return failed(format!("the selected node of claim {} was reset", claim.key));
                    }
                    asked.extend(claimed.waiting.iter().filter(here).map(|claim| claim.key.clone()));
                }
                // Its volume is chosen, and it is not done yet.
                Err(Unready::Unbound(_)) => {}
                Err(unready) => return failed(format!("{unready:?}")),
            }
            changes.next().await;
        }
    }
}

impl Changes {
    /// Whether anything has changed since it was last asked.
    pub(super) fn take(&self) -> bool {
        let mut any = false;
        for one in &self.0 {
            while one.take().is_some() {
                any = true;
            }
        }
        any
    }

    /// Waits for a change.
    pub(super) async fn next(&self) {
        future::select_all(self.0.iter().map(|one| one.next().boxed())).await;
    }
}

/// Writes whose a volume is, and where volumes are to be made. Doing it again changes nothing.
async fn write(client: &Client, plan: &Plan, node: &str) -> Result<()> {
    for (claim, volume) in &plan.bind {
        let whose = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.key.namespace,
            "name": claim.key.name, "uid": claim.uid,
        });
        // With the version that was looked at: two pods that chose one volume cannot both have it.
        let mut patch = json!({"metadata": {"resourceVersion": volume.version}, "spec": {"claimRef": whose}});
        if volume.claim.is_none() {
            patch["metadata"]["annotations"] = json!({BY_CONTROLLER: "yes"});
        }
        client.patch::<PersistentVolume>("", &volume.name, PatchType::Merge, patch).await?;
    }
    for claim in plan.provision.iter().filter(|claim| claim.selected.is_none()) {
        let patch = json!({"metadata": {"uid": claim.uid, "annotations": {SELECTED: node}}});
        let ObjectKey { namespace, name } = &claim.key;
        client.patch::<PersistentVolumeClaim>(namespace, name, PatchType::Merge, patch).await?;
    }
    Ok(())
}
