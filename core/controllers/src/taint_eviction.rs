//! The taint eviction controller: pods leave nodes whose `NoExecute` taints they do not tolerate, or no longer.
//!
//! Keys are nodes. What is due follows from the taints' times, so nothing is lost with this process.

mod plan;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::json;
use windlass_api::{
    core::v1::{Node, ObjectReference, Pod},
    types::Time,
};
use windlass_client::{
    Cache, Client, Select,
    events::{Recorder, Severity},
    gvr,
    informer::{Index, Parts},
};
use windlass_kernel::{
    Clock, Controller, Document, ErrorKind, Result,
    api::{Options, PatchType, Preconditions},
    controller::{ObjectKey, Requeue, Watched},
    scheduler::{Effect, Taint},
};

use self::plan::{Fate, Since, Tolerations};
use crate::{claim, node_lifecycle::taints::NO_EXECUTE, registry::Tools};

const NAME: &str = "taint-eviction-controller";
const BY_NODE: &str = "node";

/// A node's taints that evict, each with its time if it carries one.
type Taints = Arc<[(Taint, Option<Timestamp>)]>;

/// Deletes pods from tainted nodes.
#[derive(Debug)]
pub struct TaintEvictions {
    client: Client,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    /// Only nodes with such taints.
    nodes: Cache<Taints>,
    pods: Cache<Arc<Lodger>>,
    /// When taints without a time were first seen, by node.
    first: Mutex<BTreeMap<String, Vec<Since>>>,
    /// The pods that wait to be evicted, by node.
    doomed: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

/// A pod on a node.
#[derive(Clone, Debug)]
struct Lodger {
    key: ObjectKey,
    uid: String,
    node: String,
    placed: Timestamp,
    tolerations: Tolerations,
}

impl Lodger {
    /// A pod on a node that nobody deletes yet.
    fn of(pod: &Pod) -> Option<Self> {
        let meta = &pod.metadata;
        let node = pod.spec.node_name.clone().filter(|node| !node.is_empty() && meta.deletion_timestamp.is_none())?;
        let scheduled = pod.status.conditions.iter().find(|own| own.type_ == "PodScheduled" && own.status == "True");
        let placed = scheduled.and_then(|condition| condition.last_transition_time).or(meta.creation_timestamp);
        Some(Self {
            key: claim::key(meta),
            uid: meta.uid.clone().unwrap_or_default(),
            node,
            placed: placed.unwrap_or_default().0,
            tolerations: plan::tolerations(pod),
        })
    }

    fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            namespace: Some(self.key.namespace.clone()),
            name: Some(self.key.name.clone()),
            uid: Some(self.uid.clone()),
            ..ObjectReference::default()
        }
    }
}

impl TaintEvictions {
    pub(crate) fn new(tools: &Tools) -> Self {
        let by_node = Index { name: BY_NODE, values: |_, pod: &Arc<Lodger>| vec![pod.node.clone()] };
        let informers = &tools.informers;
        let parts = Parts { client: tools.client.clone(), ..informers.parts().clone() };
        Self {
            client: tools.client.clone(),
            clock: Arc::clone(&informers.parts().clock),
            recorder: Recorder::start(&parts, NAME, ""),
            nodes: informers.projected::<Node, _>(Select::all(), vec![], evicting),
            pods: informers.projected::<Pod, _>(Select::all(), vec![by_node], |pod| Lodger::of(pod).map(Arc::new)),
            first: Mutex::default(),
            doomed: Mutex::default(),
        }
    }

    /// A node's taints with the times since when they count.
    fn taints(&self, node: &str) -> Vec<Since> {
        let mut first = self.first.lock();
        let Some(taints) = self.nodes.get(&ObjectKey::new("", node)) else {
            first.remove(node);
            return Vec::new();
        };
        let noted = first.remove(node).unwrap_or_default();
        let now = self.clock.now();
        let known = |taint: &Taint| noted.iter().find(|since| since.taint == *taint).map(|since| since.at);
        let since = |(taint, added): &(Taint, Option<Timestamp>)| Since {
            at: added.or_else(|| known(taint)).unwrap_or(now),
            taint: taint.clone(),
        };
        let taints: Vec<Since> = taints.iter().map(since).collect();
        first.insert(node.to_owned(), taints.clone());
        taints
    }

    /// Notes who waits to be evicted from a node; answers who no longer does.
    fn doom(&self, node: &str, doomed: &BTreeSet<String>) -> BTreeSet<String> {
        let mut all = self.doomed.lock();
        let next = doomed.clone();
        let before = if next.is_empty() { all.remove(node) } else { all.insert(node.to_owned(), next) };
        before.unwrap_or_default().difference(doomed).cloned().collect()
    }

    async fn evict(&self, pod: &Lodger) -> Result<()> {
        let ObjectKey { namespace, name } = &pod.key;
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
            "message": "The node has a NoExecute taint that the pod does not tolerate, or no longer",
            "lastTransitionTime": Time(self.clock.now()).to_string(),
        });
        let patch = json!({"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}});
        match self.client.patch_status::<Pod>(namespace, name, PatchType::Strategic, patch).await {
            Err(error) if claim::moot(&error) => return Ok(()),
            patched => patched?,
        };
        let message = format!("Marking for deletion Pod {}", pod.key);
        self.recorder.event_on(pod.reference(), Severity::Normal, "TaintManagerEviction", message);
        let preconditions = Preconditions { uid: Some(pod.uid.clone()), resource_version: None };
        let options = Options { preconditions, ..Options::default() };
        match self.client.delete_with::<Pod>(namespace, name, options).await {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => Ok(()),
            deleted => deleted,
        }
    }
}

#[async_trait]
impl Controller for TaintEvictions {
    fn name(&self) -> &'static str {
        NAME
    }

    fn watches(&self) -> Vec<Watched> {
        vec![
            Watched { resource: gvr::<Node>(), keys: claim::own_key },
            Watched { resource: gvr::<Pod>(), keys: node_of },
        ]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        self.nodes.synced().await;
        self.pods.synced().await;
        let taints = self.taints(&key.name);
        let pods = if taints.is_empty() { Vec::new() } else { self.pods.indexed(BY_NODE, &key.name) };
        let now = self.clock.now();
        let (mut due, mut doomed, mut next) = (Vec::new(), BTreeSet::new(), None::<Timestamp>);
        for pod in pods {
            match plan::fate(&taints, &pod.tolerations, pod.placed) {
                Fate::Stays => {}
                Fate::Goes(end) if end <= now => due.push(pod),
                Fate::Goes(end) => {
                    doomed.insert(pod.uid.clone());
                    next = Some(next.map_or(end, |next| next.min(end)));
                }
            }
        }
        let gone = due.iter().map(|pod| pod.uid.clone());
        let spared = self.doom(&key.name, &doomed.into_iter().chain(gone).collect());
        if !spared.is_empty() {
            for pod in self.pods.indexed(BY_NODE, &key.name) {
                if spared.contains(&pod.uid) {
                    let message = format!("Cancelling deletion of Pod {}", pod.key);
                    self.recorder.event_on(pod.reference(), Severity::Normal, "TaintManagerEviction", message);
                }
            }
        }
        let evicted = futures::future::join_all(due.iter().map(|pod| self.evict(pod))).await;
        evicted.into_iter().collect::<Result<()>>()?;
        let wait = |end: Timestamp| Duration::try_from(end.duration_since(now)).unwrap_or_default();
        Ok(next.map_or(Requeue::OnChange, |end| Requeue::After(wait(end))))
    }
}

/// The taints of a node that evict; `None` where it has none.
fn evicting(node: &Node) -> Option<Taints> {
    let taints = node.spec.taints.iter().filter(|taint| taint.effect == NO_EXECUTE);
    let taints: Taints = taints
        .map(|own| {
            let value = own.value.clone().unwrap_or_default();
            (Taint::new(own.key.clone(), value, Effect::NoExecute), own.time_added.map(|time| time.0))
        })
        .collect();
    (!taints.is_empty()).then_some(taints)
}

/// The node that a pod is on.
fn node_of(document: &Document) -> Vec<ObjectKey> {
    let pod = document.typed::<Pod>().ok();
    let node = pod.as_ref().and_then(|pod| pod.spec.node_name.as_deref()).unwrap_or_default();
    if node.is_empty() { Vec::new() } else { vec![ObjectKey::new("", node)] }
}
