//! The StatefulSet controller: pods with names, hosts and volumes of their own, in an order.
//!
//! The decisions are in `plan`, `claims` and `status`; what is decided is carried out in `carry`.

mod carry;
mod claims;
mod identity;
mod plan;
mod status;

use std::sync::Arc;

use async_trait::async_trait;
use windlass_api::{
    apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus},
    core::v1::{PersistentVolumeClaim, Pod},
};
use windlass_client::{Cache, Client, Select, events::Recorder, gvr};
use windlass_kernel::{
    Clock, Controller, Document, Result,
    controller::{ObjectKey, Requeue, Wakes, Watched},
};

use self::{carry::Templates, claims::ClaimView, plan::Seen};
use crate::{
    adopt,
    amount::seconds,
    claim::{self, ORPHANS},
    history::{self, Snapshot},
    owned::{self, Owned},
    pods::{PodView, Pods, available_next},
    registry::Tools,
    written::Written,
};

/// The label of a StatefulSet's revisions that has their hash.
const HASH: &str = "controller.kubernetes.io/hash";

/// Keeps the pods of StatefulSets.
#[derive(Debug)]
pub(crate) struct StatefulSets {
    client: Client,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    sets: Cache<Arc<StatefulSet>>,
    revisions: Owned<ControllerRevision>,
    claims: Cache<Arc<ClaimView>>,
    pods: Pods,
    written: Written,
}

/// The revisions that a set comes from and goes to.
struct Path {
    current: Arc<ControllerRevision>,
    update: Arc<ControllerRevision>,
}

impl StatefulSets {
    pub(crate) fn new(tools: &Tools) -> Self {
        let view = |claim: &PersistentVolumeClaim| Some(Arc::new(ClaimView::of(claim)));
        Self {
            client: tools.client.clone(),
            clock: Arc::clone(&tools.informers.parts().clock),
            recorder: tools.recorder(),
            sets: tools.informers.typed(Select::all()),
            revisions: tools.revisions.clone(),
            claims: tools.informers.projected::<PersistentVolumeClaim, _>(Select::all(), Vec::new(), view),
            pods: tools.pods.clone(),
            written: Written::new(gvr::<Pod>()),
        }
    }

    /// Claims the pods that can be the set's by their names.
    async fn claim_pods(&self, set: &StatefulSet) -> Result<Vec<Arc<PodView>>> {
        let member = |pod: &PodView| identity::ordinal(set, &pod.key.name).is_some();
        let owner = (&set.metadata, &set.spec.selector);
        adopt::claim_where::<StatefulSet, _>(&self.client, owner, &self.pods, member).await
    }

    /// Makes the set's template its latest revision; `None` where that must be tried again under another name.
    async fn path(&self, set: &StatefulSet, revisions: &mut Vec<Arc<ControllerRevision>>) -> Result<Option<Path>> {
        let snapshot = Snapshot {
            owner: &set.metadata,
            reference: claim::reference(set),
            template: &set.spec.template,
            collision_count: set.status.collision_count,
            label: HASH,
        };
        let Some(update) = history::settle::<StatefulSet>(&self.client, &snapshot, revisions).await? else {
            return Ok(None);
        };
        let current = set.status.current_revision.as_deref();
        let current = revisions.iter().find(|own| Some(history::name(own)) == current).unwrap_or(&update);
        Ok(Some(Path { current: Arc::clone(current), update }))
    }

    async fn set(&self, set: &StatefulSet, pods: &[Arc<PodView>], path: &Path) -> Result<Requeue> {
        let now = self.clock.now();
        let key = claim::key(&set.metadata);
        let look = |name: &str| self.claims.get(&ObjectKey::new(&*key.namespace, name)).map(|view| (*view).clone());
        let (current, update) = (history::name(&path.current), history::name(&path.update));
        let steps = plan::plan(&Seen { set, pods, update, claims: &look, now });
        let done = self.carry_out(set, &Templates::of(set, path), steps).await;
        self.write_status(set, status::of(set, pods, (current, update), now)).await?;
        done?;
        let min_ready = seconds(set.spec.min_ready_seconds);
        Ok(available_next(pods, min_ready, now).map_or(Requeue::OnChange, Requeue::After))
    }

    async fn write_status(&self, set: &StatefulSet, status: StatefulSetStatus) -> Result<()> {
        if status == set.status {
            return Ok(());
        }
        crate::status::write(&self.client, &StatefulSet { status, ..set.clone() }).await
    }
}

#[async_trait]
impl Controller for StatefulSets {
    fn name(&self) -> &'static str {
        "statefulset-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![
            Watched { resource: gvr::<StatefulSet>(), keys: claim::own_key },
            Watched { resource: gvr::<ControllerRevision>(), keys: claim::controller_key::<StatefulSet> },
            Watched { resource: gvr::<PersistentVolumeClaim>(), keys: of_claim },
        ]
    }

    fn wakes(&self) -> Option<Wakes> {
        Some(self.pods.wakes::<StatefulSet>())
    }

    fn stands_for(&self, key: &ObjectKey) -> Option<Vec<ObjectKey>> {
        (key.name == ORPHANS).then(|| {
            let sets = self.sets.in_namespace(&key.namespace);
            let owners = sets.iter().map(|(_, set)| (&set.metadata, &set.spec.selector));
            owned::adopters(&key.namespace, owners, (&self.pods, &self.revisions))
        })
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        self.written.seen_in(key, &self.pods.0, &self.client).await?;
        let Some(set) = self.sets.get(key) else { return Ok(Requeue::OnChange) };
        let owner = (&set.metadata, &set.spec.selector);
        let mut revisions = adopt::claim::<StatefulSet, _>(&self.client, owner, &self.revisions).await?;
        let pods = self.claim_pods(&set).await?;
        // A revision that is made anew would hold up a deletion that waits for all dependents.
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(Requeue::OnChange);
        }
        let Some(path) = self.path(&set, &mut revisions).await? else {
            let mut status = set.status.clone();
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
            return self.write_status(&set, status).await.map(|()| Requeue::OnChange);
        };
        let requeue = self.set(&set, &pods, &path).await?;
        let in_use = |own: &ControllerRevision| {
            let name = history::name(own);
            [&path.current, &path.update].iter().any(|own| history::name(own) == name)
                || pods.iter().any(|pod| plan::revision(pod) == name)
        };
        let surplus = history::surplus(&revisions, set.spec.revision_history_limit, in_use);
        history::forget(&self.client, &surplus).await?;
        Ok(requeue)
    }
}

/// The sets that a claim can be of: its name ends with a set's name and an ordinal.
fn of_claim(document: &Document) -> Vec<ObjectKey> {
    let Ok(key) = document.object_key() else { return Vec::new() };
    let Some((name, ordinal)) = key.name.rsplit_once('-') else { return Vec::new() };
    if ordinal.is_empty() || !ordinal.bytes().all(|byte| byte.is_ascii_digit()) {
        return Vec::new();
    }
    let sets = name.match_indices('-').map(|(at, _)| &name[at + 1..]).filter(|set| !set.is_empty());
    sets.map(|set| ObjectKey::new(&*key.namespace, set)).collect()
}
