//! The pod garbage collector: removes pods that no node will ever remove.
//!
//! Those are the pods of nodes that are gone, unplaced ones that are being deleted, and ended ones beyond a number.
//! It acts on changes; nothing here asks in intervals.

mod plan;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::json;
use windlass_api::{
    core::v1::{Node, Pod},
    types::Time,
};
use windlass_client::{Cache, Client, Select, gvr};
use windlass_kernel::{
    Clock, Controller, Document, ErrorKind, Result,
    api::{Options, PatchType, Preconditions},
    controller::{ObjectKey, Requeue, Watched},
};

use crate::{
    pods::{PodView, Pods},
    registry::Tools,
};

/// A node that is gone so long does not come back (as upstream's quarantine).
const QUARANTINE: Duration = Duration::from_secs(40);
/// So many ended pods are kept, as upstream does by default.
const ENDED: usize = 12_500;
/// The key that stands for all ended pods.
const ALL_ENDED: ObjectKey = ObjectKey { namespace: String::new(), name: String::new() };

/// Removes what nodes leave behind.
#[derive(Debug)]
pub struct PodCollector {
    client: Client,
    clock: Arc<dyn Clock>,
    nodes: Cache<()>,
    pods: Pods,
    /// Since when nodes with pods are missing, as uptime.
    missing: Mutex<BTreeMap<String, Duration>>,
}

impl PodCollector {
    pub(crate) fn new(tools: &Tools) -> Self {
        Self {
            client: tools.client.clone(),
            clock: Arc::clone(&tools.informers.parts().clock),
            nodes: tools.informers.cache(&Select::all().of(gvr::<Node>()), Vec::new(), |_| Some(())),
            pods: tools.pods.clone(),
            missing: Mutex::default(),
        }
    }

    /// Removes the pods of a node that has been gone for long enough.
    async fn of_node(&self, node: &str) -> Result<Requeue> {
        // The pods of a node that is there need not be gathered: their every change comes by here.
        let there = self.nodes.contains(&ObjectKey::new("", node));
        let pods = if there { Vec::new() } else { self.pods.on_node(node) };
        if pods.is_empty() {
            self.missing.lock().remove(node);
            return Ok(Requeue::OnChange);
        }
        let now = self.clock.uptime();
        let since = *self.missing.lock().entry(node.to_owned()).or_insert(now);
        let left = (since + QUARANTINE).saturating_sub(now);
        if !left.is_zero() {
            return Ok(Requeue::After(left));
        }
        if self.client.get_opt::<Node>("", node).await?.is_some() {
            self.missing.lock().remove(node);
            return Ok(Requeue::OnChange);
        }
        for pod in pods {
            if !pod.ended() {
                self.fail(&pod).await?;
            }
            self.remove(&pod).await?;
        }
        Ok(Requeue::OnChange)
    }

    /// Says in a pod's status that it has been lost (KEP-3329).
    async fn fail(&self, pod: &PodView) -> Result<()> {
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists", "lastTransitionTime": Time(self.clock.now()).to_string(),
        });
        let patch = json!({"metadata": {"uid": pod.uid}, "status": {"phase": "Failed", "conditions": [condition]}});
        let (namespace, name) = (&pod.key.namespace, &pod.key.name);
        match self.client.patch_status::<Pod>(namespace, name, PatchType::Strategic, patch).await {
            Err(error) if crate::claim::moot(&error) => Ok(()),
            patched => patched.map(drop),
        }
    }

    /// Removes a pod at once.
    async fn remove(&self, pod: &PodView) -> Result<()> {
        let preconditions = Preconditions { uid: Some(pod.uid.clone()), resource_version: None };
        let options = Options { grace_period: Some(0), preconditions, ..Options::default() };
        match self.client.delete_with::<Pod>(&pod.key.namespace, &pod.key.name, options).await {
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => Err(error),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Controller for PodCollector {
    fn name(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![
            Watched { resource: gvr::<Pod>(), keys: concerned },
            Watched { resource: gvr::<Node>(), keys: crate::claim::own_key },
        ]
    }

    /// A key is a pod, a node, or all ended pods.
    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        if *key == ALL_ENDED {
            let surplus = self.pods.0.with(|pods| plan::surplus(&mut pods.map(|(_, pod)| pod), ENDED));
            for pod in surplus {
                self.remove(&pod).await?;
            }
            return Ok(Requeue::OnChange);
        }
        if key.namespace.is_empty() {
            return self.of_node(&key.name).await;
        }
        match self.pods.0.get(key).filter(|pod| plan::stranded(pod)) {
            Some(pod) => self.remove(&pod).await.map(|()| Requeue::OnChange),
            None => Ok(Requeue::OnChange),
        }
    }
}

/// What a pod's change may concern: itself while it is unplaced and deleted, its node, or the number of ended pods.
fn concerned(pod: &Document) -> Vec<ObjectKey> {
    let Ok(typed) = pod.typed::<Pod>() else { return Vec::new() };
    let node = typed.spec.node_name.as_deref().unwrap_or_default();
    let node_key = ObjectKey::new("", node);
    if matches!(typed.status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return vec![ALL_ENDED, node_key];
    }
    match (node, typed.metadata.deletion_timestamp) {
        ("", None) => Vec::new(),
        ("", Some(_)) => crate::claim::own_key(pod),
        _ => vec![node_key],
    }
}
