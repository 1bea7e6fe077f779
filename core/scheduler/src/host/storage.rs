//! Following claims, volumes and storage classes, and writing down what a pod's claims get before the pod is bound.

use std::{collections::BTreeSet, sync::Arc};

use futures::{FutureExt, select_biased};
use parking_lot::Mutex;
use serde_json::json;
use windlass_api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
    types::Resource,
};
use windlass_client::{Cache, Client, Informers, Select, informer::Subscription};
use windlass_kernel::{
    Error, ErrorKind, Result,
    api::PatchType,
    controller::ObjectKey,
    scheduler::{NodeView, PodView},
};

use crate::storage::{Claim, Class, Plan, Storage, Stored, Unready, Volume, views::SELECTED};

/// On a volume: that its claim was chosen by a controller.
const BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";

/// What is followed. Clones share it.
#[derive(Clone)]
pub(super) struct Stores {
    claims: Cache<Arc<Claim>>,
    volumes: Cache<Arc<Volume>>,
    classes: Cache<Arc<Class>>,
    now: Arc<Mutex<Arc<Storage>>>,
}

/// Says when any of it has changed.
pub(super) struct Changes(Subscription, Subscription, Subscription);

/// A cache whose projections are written into the shared state, too.
fn follow<T: Resource, P: Clone + Send + Sync + 'static>(
    informers: &Informers,
    now: &Arc<Mutex<Arc<Storage>>>,
    project: fn(&T) -> P,
    keep: fn(&mut Storage, &ObjectKey, Option<P>),
) -> Cache<P> {
    let cache = informers.projected(Select::all(), Vec::new(), move |object: &T| Some(project(object)));
    let now = Arc::clone(now);
    cache.on_change(move |update| keep(Arc::make_mut(&mut now.lock()), update.key, update.after.cloned()));
    cache
}

fn keep<K: Ord, P>(map: &mut std::collections::BTreeMap<K, P>, key: K, value: Option<P>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

impl Stores {
    pub(super) fn new(informers: &Informers) -> Self {
        let now = Arc::default();
        Self {
            claims: follow(
                informers,
                &now,
                |own: &PersistentVolumeClaim| Arc::new(Claim::of(own)),
                |all, key, value| {
                    keep(&mut all.claims, key.clone(), value);
                },
            ),
            volumes: follow(
                informers,
                &now,
                |own: &PersistentVolume| Arc::new(Volume::of(own)),
                |all, key, value| {
                    keep(&mut all.volumes, key.name.clone(), value);
                },
            ),
            classes: follow(
                informers,
                &now,
                |own: &StorageClass| Arc::new(Class::of(own)),
                |all, key, value| {
                    keep(&mut all.classes, key.name.clone(), value);
                },
            ),
            now,
        }
    }

    pub(super) async fn synced(&self) {
        self.claims.synced().await;
        self.volumes.synced().await;
        self.classes.synced().await;
    }

    pub(super) fn now(&self) -> Stored {
        Stored(Arc::clone(&self.now.lock()))
    }

    pub(super) fn changes(&self) -> Changes {
        Changes(self.claims.subscribe(), self.volumes.subscribe(), self.classes.subscribe())
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
        for one in [&self.0, &self.1, &self.2] {
            while one.take().is_some() {
                any = true;
            }
        }
        any
    }

    /// Waits for a change.
    pub(super) async fn next(&self) {
        select_biased! {
            _ = self.0.next().fuse() => {}
            _ = self.1.next().fuse() => {}
            _ = self.2.next().fuse() => {}
        }
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
