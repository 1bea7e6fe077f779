//! The DaemonSet controller: one pod on each node that wants one.
//!
//! The decisions are in `nodes`, `plan`, `roll` and `status`.

mod nodes;
mod pauses;
mod plan;
mod roll;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use windlass_api::{
    apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus},
    core::v1::{Node, Pod},
};
use windlass_client::{
    Cache, Client, Select,
    events::{self, Recorder, Severity},
    gvr,
};
use windlass_kernel::{
    Clock, Controller, Result,
    controller::{ObjectKey, Requeue, Wakes, Watched},
    scheduler::NodeView,
};

use self::{
    nodes::Wish,
    pauses::Pauses,
    plan::{Plan, Seen},
};
use crate::{
    adopt,
    amount::seconds,
    claim::{self, ORPHANS},
    history::{self, REVISION, Snapshot},
    owned::{self, Owned},
    pods::{Changes, Phase, Pods, available_next},
    registry::Tools,
    written::Written,
};

/// Keeps the pods of DaemonSets.
#[derive(Debug)]
pub(crate) struct DaemonSets {
    client: Client,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    changes: Changes,
    sets: Cache<Arc<DaemonSet>>,
    revisions: Owned<ControllerRevision>,
    nodes: Cache<Arc<NodeView>>,
    /// The nodes as they were when all sets last looked at them.
    looked_at: Mutex<BTreeMap<String, Arc<NodeView>>>,
    pods: Pods,
    written: Written,
    pauses: Pauses,
}

impl DaemonSets {
    pub(crate) fn new(tools: &Tools) -> Self {
        let recorder = tools.recorder_as("daemonset-controller");
        Self {
            client: tools.client.clone(),
            clock: Arc::clone(&tools.informers.parts().clock),
            changes: Changes::new(&tools.client, &recorder),
            recorder,
            sets: tools.informers.typed(Select::all()),
            revisions: tools.revisions.clone(),
            nodes: tools.informers.projected::<Node, _>(Select::all(), Vec::new(), |node| Some(Arc::new(view(node)))),
            looked_at: Mutex::default(),
            pods: tools.pods.clone(),
            written: Written::new(gvr::<Pod>()),
            pauses: Pauses::default(),
        }
    }

    /// All sets, where a node is not what it was when they looked at it.
    fn all_for(&self, node: &str) -> Vec<ObjectKey> {
        let now = self.nodes.get(&ObjectKey::new("", node));
        let mut looked_at = self.looked_at.lock();
        if looked_at.get(node) == now.as_ref() {
            return Vec::new();
        }
        match now {
            Some(now) => drop(looked_at.insert(node.to_owned(), now)),
            None => drop(looked_at.remove(node)),
        }
        self.sets.with(|sets| sets.map(|(key, _)| key.clone()).collect())
    }

    async fn carry_out(&self, set: &DaemonSet, hash: &str, plan: &Plan) -> Result<()> {
        if plan.create.is_empty() && plan.delete.is_empty() {
            return Ok(());
        }
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        for pod in &plan.ended {
            let what = |how: &str, what: &str| {
                format!("Found {how} daemon pod {} on node {}, will try to {what} it", pod.key, pod.node)
            };
            let (severity, reason, message) = match pod.phase {
                Phase::Succeeded => (Severity::Normal, "SucceededDaemonPod", what("succeeded", "delete")),
                _ => (Severity::Warning, "FailedDaemonPod", what("failed", "kill")),
            };
            self.recorder.event(set, severity, reason, message);
            self.pauses.replaced(uid, pod.target(), self.clock.uptime());
        }
        let pods: Vec<Pod> = plan.create.iter().map(|node| nodes::pod(set, &set.spec.template, hash, node)).collect();
        let (key, about) = (claim::key(&set.metadata), events::reference(set));
        let writing = self.written.begin(&key);
        let deleted = self.changes.delete(&about, &plan.delete, &writing).await;
        let created = self.changes.create(&about, &pods, &writing).await;
        let done = deleted.and(created);
        writing.end(&done);
        done
    }

    async fn write_status(&self, set: &DaemonSet, status: DaemonSetStatus) -> Result<()> {
        if status == set.status {
            return Ok(());
        }
        crate::status::write(&self.client, &DaemonSet { status, ..set.clone() }).await
    }

    async fn set(&self, set: &DaemonSet) -> Result<Requeue> {
        let owner = (&set.metadata, &set.spec.selector);
        let mut revisions = adopt::claim::<DaemonSet, _>(&self.client, owner, &self.revisions).await?;
        let pods = adopt::claim::<DaemonSet, _>(&self.client, owner, &self.pods).await?;
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(Requeue::OnChange);
        }
        let snapshot = Snapshot {
            owner: &set.metadata,
            reference: claim::reference(set),
            template: &set.spec.template,
            collision_count: set.status.collision_count,
            label: REVISION,
        };
        let Some(current) = history::settle::<DaemonSet>(&self.client, &snapshot, &mut revisions).await? else {
            let mut status = set.status.clone();
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
            return self.write_status(set, status).await.map(|()| Requeue::OnChange);
        };
        let equal = revisions.iter().filter(|own| history::holds(own, &set.spec.template));
        let hashes: BTreeSet<String> = equal.map(|own| hash(own).to_owned()).collect();
        let wish = Wish::of(set);
        let nodes = self.nodes.with(|all| all.map(|(key, node)| (key.name.clone(), wish.fit(node))).collect());
        let (uid, uptime) = (set.metadata.uid.as_deref().unwrap_or_default(), self.clock.uptime());
        let pause = |node: &str| self.pauses.left(uid, node, uptime);
        let now = self.clock.now();
        let seen = Seen { set, nodes: &nodes, pods: &pods, hashes: &hashes, pause: &pause, now };
        let plan = plan::plan(&seen);
        let done = self.carry_out(set, hash(&current), &plan).await;
        self.write_status(set, status::of(&seen)).await?;
        done?;
        let in_use = |own: &ControllerRevision| {
            history::name(own) == history::name(&current)
                || pods.iter().any(|pod| pod.labels.get(REVISION).is_some_and(|of| of == hash(own)))
        };
        history::forget(&self.client, &history::surplus(&revisions, set.spec.revision_history_limit, in_use)).await?;
        let available = available_next(&pods, seconds(set.spec.min_ready_seconds), now);
        let next = [plan.next, available].into_iter().flatten().min();
        Ok(next.map_or(Requeue::OnChange, Requeue::After))
    }
}

#[async_trait]
impl Controller for DaemonSets {
    fn name(&self) -> &'static str {
        "daemonset-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![
            Watched { resource: gvr::<DaemonSet>(), keys: claim::own_key },
            Watched { resource: gvr::<ControllerRevision>(), keys: claim::controller_key::<DaemonSet> },
            Watched { resource: gvr::<Node>(), keys: claim::own_key },
        ]
    }

    fn wakes(&self) -> Option<Wakes> {
        Some(self.pods.wakes::<DaemonSet>())
    }

    fn stands_for(&self, key: &ObjectKey) -> Option<Vec<ObjectKey>> {
        if key.namespace.is_empty() {
            return Some(self.all_for(&key.name));
        }
        (key.name == ORPHANS).then(|| {
            let sets = self.sets.in_namespace(&key.namespace);
            let owners = sets.iter().map(|(_, set)| (&set.metadata, &set.spec.selector));
            owned::adopters(&key.namespace, owners, (&self.pods, &self.revisions))
        })
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        self.written.seen_in(key, &self.pods.0, &self.client).await?;
        let Some(set) = self.sets.get(key) else { return Ok(Requeue::OnChange) };
        let selector = &set.spec.selector;
        if selector.match_labels.is_empty() && selector.match_expressions.is_empty() {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.recorder.event(&*set, Severity::Warning, "SelectingAll", message);
            return Ok(Requeue::OnChange);
        }
        self.set(&set).await
    }
}

/// What the pods of a revision are labelled with; a revision that somebody else made may have no hash.
fn hash(revision: &ControllerRevision) -> &str {
    revision.metadata.labels.get(REVISION).map_or_else(|| history::name(revision), String::as_str)
}

/// What sets look at: not how full a node is.
fn view(node: &Node) -> NodeView {
    let whole = NodeView::of(node);
    let mut view = NodeView::named(&whole.name);
    (view.labels, view.taints) = (whole.labels, whole.taints);
    view
}
