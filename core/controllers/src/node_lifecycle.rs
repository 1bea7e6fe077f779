//! The node lifecycle controller: whether nodes live, and the taints that say so. Evicts no pod itself.
//!
//! A renewed lease only moves a note in memory; a node is looked at when it changes and when its grace may be over.

mod health;
pub(crate) mod taints;
mod view;
mod zones;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::json;
use windlass_api::{
    coordination::v1::Lease,
    core::v1::{Node, ObjectReference, Pod},
    types::{MicroTime, Time},
};
use windlass_client::{
    Cache, Client, Select,
    events::{Recorder, Severity},
    gvr,
};
use windlass_kernel::{
    Clock, Controller, Document, Result,
    api::PatchType,
    controller::{ObjectKey, Requeue, Watched},
};

use self::{
    health::Verdict,
    view::{NodeView, Ready},
};
use crate::{
    claim,
    pods::{PodView, Pods},
    registry::Tools,
};

/// Where nodes' leases are kept (KEP-589).
const LEASES: &str = "kube-node-lease";

/// The key that stands for all zones; no node is called so.
const ZONES: &str = "";

/// Judges nodes by their leases and taints them.
#[derive(Debug)]
pub struct Nodes {
    client: Client,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    nodes: Cache<Arc<NodeView>>,
    /// Keeps `beats` up to date.
    leases: Cache<MicroTime>,
    pods: Pods,
    /// When each lease was last seen to be renewed, by uptime.
    beats: Arc<Mutex<BTreeMap<String, Duration>>>,
    seen: Mutex<BTreeMap<String, Seen>>,
    last: Mutex<zones::Last>,
}

/// How a node was last found.
#[derive(Clone, Copy, Debug)]
struct Seen {
    heartbeat: Option<Time>,
    /// When its heartbeat was seen to change, by uptime.
    at: Duration,
    ready: Option<Ready>,
}

impl Nodes {
    pub(crate) fn new(tools: &Tools) -> Self {
        let clock = Arc::clone(&tools.informers.parts().clock);
        let nodes =
            tools.informers.projected::<Node, _>(Select::all(), vec![], |node| Some(Arc::new(NodeView::of(node))));
        let leases = tools.informers.cache(&Select::namespace(LEASES).of(gvr::<Lease>()), vec![], renewal);
        let beats = Arc::<Mutex<BTreeMap<String, Duration>>>::default();
        let (notes, time) = (Arc::clone(&beats), Arc::clone(&clock));
        leases.on_change(move |update| {
            let mut notes = notes.lock();
            match update.after {
                None => drop(notes.remove(&update.key.name)),
                Some(renewed) if update.before == Some(renewed) => {}
                Some(_) => drop(notes.insert(update.key.name.clone(), time.uptime())),
            }
        });
        Self {
            client: tools.client.clone(),
            clock,
            recorder: tools.recorder(),
            nodes,
            leases,
            pods: tools.pods.clone(),
            beats,
            seen: Mutex::default(),
            last: Mutex::default(),
        }
    }

    async fn node(&self, name: &str) -> Result<Requeue> {
        let Some(node) = self.nodes.get(&ObjectKey::new("", name)) else {
            self.seen.lock().remove(name);
            return Ok(Requeue::OnChange);
        };
        let (before, heard) = self.note(&node);
        if before.is_none() {
            self.tell(&node, "RegisteredNode", format!("Node {name} event: Registered Node {name} in Controller"));
        }
        if node.mismatched {
            let now = self.clock.now();
            let settle = |node: &mut Node| taints::by_condition(&node.status.conditions, &mut node.spec, now);
            claim::settled(self.client.modify::<Node>("", name, settle).await.map(drop))?;
        }
        match health::judge(node.ready, heard, self.clock.uptime()) {
            Verdict::Heard(more) => {
                if node.ready == Some(Ready::Yes) && before.is_some_and(|ready| ready != node.ready) {
                    self.tell(&node, "NodeReady", format!("Node {name} status is now: NodeReady"));
                }
                Ok(Requeue::After(more))
            }
            Verdict::Silent => {
                let now = self.clock.now();
                let lose = |node: &mut Node| health::lose(node, now);
                claim::settled(self.client.modify_status::<Node>("", name, lose).await.map(drop))?;
                tracing::warn!(node = name, "a node stopped renewing its lease");
                self.tell(&node, "NodeNotReady", format!("Node {name} status is now: NodeNotReady"));
                // The changed status brings the node here again.
                Ok(Requeue::OnChange)
            }
            Verdict::Lost => {
                for pod in self.pods.on_node(name).iter().filter(|pod| pod.ready) {
                    self.unready(pod).await?;
                }
                Ok(Requeue::OnChange)
            }
        }
    }

    /// Notes how a node is found; answers how it was before, and when it was last heard of.
    fn note(&self, node: &NodeView) -> (Option<Option<Ready>>, Duration) {
        let now = self.clock.uptime();
        let mut all = self.seen.lock();
        let before = all.get(&node.name).copied();
        let at = before.filter(|before| before.heartbeat == node.heartbeat).map_or(now, |before| before.at);
        all.insert(node.name.clone(), Seen { heartbeat: node.heartbeat, at, ready: node.ready });
        let beat = self.beats.lock().get(&node.name).copied();
        (before.map(|before| before.ready), beat.map_or(at, |beat| beat.max(at)))
    }

    fn tell(&self, node: &NodeView, reason: &str, message: String) {
        self.recorder.event_on(node.reference(), Severity::Normal, reason, message);
    }

    /// Says of a pod on a lost node that it is not ready, so that no service sends it anything.
    async fn unready(&self, pod: &PodView) -> Result<()> {
        let now = Time(self.clock.now()).to_string();
        let condition = json!({"type": "Ready", "status": "False", "lastTransitionTime": now});
        let patch = json!({"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}});
        let key = &pod.key;
        match self.client.patch_status::<Pod>(&key.namespace, &key.name, PatchType::Strategic, patch).await {
            Err(error) if claim::moot(&error) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => {
                self.recorder.event_on(about(pod), Severity::Warning, "NodeNotReady", "Node is not ready");
                Ok(())
            }
        }
    }

    /// Puts the taints that evict on ailing nodes, as fast as their zones allow, and takes them off others.
    async fn zones(&self) -> Result<Requeue> {
        let plan = zones::plan(self.nodes.values(), &mut self.last.lock(), self.clock.uptime());
        let now = self.clock.now();
        let marked = plan.marks.iter().map(|(node, key)| {
            let mark = move |node: &mut Node| taints::ailing(&mut node.spec.taints, *key, now);
            async move { claim::settled(self.client.modify::<Node>("", &node.name, mark).await.map(drop)) }
        });
        futures::future::join_all(marked).await.into_iter().collect::<Result<()>>()?;
        Ok(plan.again.map_or(Requeue::OnChange, Requeue::After))
    }
}

#[async_trait]
impl Controller for Nodes {
    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        let of_node = |document: &Document| {
            let mut keys = claim::own_key(document);
            keys.push(ObjectKey::new("", ZONES));
            keys
        };
        vec![Watched { resource: gvr::<Node>(), keys: of_node }]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        self.nodes.synced().await;
        self.leases.synced().await;
        self.pods.0.synced().await;
        if key.name == ZONES { self.zones().await } else { self.node(&key.name).await }
    }
}

/// What events about a pod refer to.
pub(crate) fn about(pod: &PodView) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: Some(pod.key.namespace.clone()),
        name: Some(pod.key.name.clone()),
        uid: Some(pod.uid.clone()),
        ..ObjectReference::default()
    }
}

/// When a lease was renewed, by its holder's clock.
fn renewal(document: &Document) -> Option<MicroTime> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Whole {
        spec: Spec,
    }
    #[derive(Default, serde::Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Spec {
        renew_time: Option<MicroTime>,
    }
    document.decode::<Whole>().ok()?.spec.renew_time
}
