//! The disruption controller: says in each PodDisruptionBudget how many of its pods may be evicted now.
//!
//! The eviction sub-resource spends what is said here; both write with a precondition, so that neither loses a change of
//! the other's. A pod that was to be evicted and was not is noticed here too.

mod expected;
mod plan;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;
use windlass_api::{
    apps::v1::ReplicaSet,
    core::v1::{ObjectReference, Pod, PodCondition},
    policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    types::{Resource, Time},
};
use windlass_client::{
    Cache, Client, Select,
    events::{Recorder, Severity},
    gvr,
};
use windlass_kernel::{
    Clock, Controller, Document, ErrorKind, Result,
    api::PatchType,
    controller::{ObjectKey, Requeue, Watched},
};

use self::plan::Expected;
use crate::{
    claim,
    owned::Owned,
    pods::{PodView, Pods},
    registry::Tools,
    resources::{self, Deletable},
};

/// What the name of the key of a pod begins with; no name has a slash.
const POD: char = '/';
const TARGET: &str = "DisruptionTarget";
/// A pod that was to be disrupted so long ago and is still there was spared.
const SPARED: Duration = Duration::from_secs(120);

/// Keeps the statuses of disruption budgets.
#[derive(Debug)]
pub struct Budgets {
    client: Client,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    budgets: Cache<Arc<PodDisruptionBudget>>,
    pods: Pods,
    sets: Owned<ReplicaSet>,
    custom: Cache<Arc<Deletable>>,
    /// The pods that are to be disrupted: which they are, and since when.
    targets: Cache<(String, Timestamp)>,
}

impl Budgets {
    pub(crate) fn new(tools: &Tools) -> Self {
        let informers = &tools.informers;
        Self {
            client: tools.client.clone(),
            clock: Arc::clone(&informers.parts().clock),
            recorder: tools.recorder_as("controllermanager"),
            budgets: informers.typed(Select::all()),
            pods: tools.pods.clone(),
            sets: tools.sets.clone(),
            custom: resources::custom(informers),
            targets: informers.projected::<Pod, _>(Select::all(), Vec::new(), |pod| {
                Some((pod.metadata.uid.clone()?, targeted(pod)?.last_transition_time?.0))
            }),
        }
    }

    async fn reconcile_budget(&self, key: &ObjectKey) -> Result<Requeue> {
        let Some(budget) = self.budgets.get(key) else { return Ok(Requeue::OnChange) };
        let pods = self.selected(&budget)?;
        if pods.is_empty() {
            self.recorder.event(&*budget, Severity::Normal, "NoPods", "No matching pods found");
        }
        let now = self.clock.now();
        let found = expected::find(self, &budget, &pods).await;
        if let Ok(Expected { unmanaged: true, .. }) = &found {
            let message = "Pods selected by this PodDisruptionBudget were found to be unmanaged. As a result, the status \
                           of the PDB cannot be calculated correctly, which may result in undefined behavior. To account \
                           for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.";
            self.recorder.event(&*budget, Severity::Warning, "UnmanagedPods", message);
        }
        match found {
            Ok(expected) => {
                let plan = plan::plan(&budget, &pods, expected, now);
                for pod in &plan.spared {
                    let message = format!("Pod was expected by PDB {key} to be deleted but it wasn't");
                    self.recorder.event_on(about(pod), Severity::Warning, "NotDeleted", message);
                }
                self.write(&budget, plan.status).await?;
                Ok(plan.next.map_or(Requeue::OnChange, Requeue::After))
            }
            Err(error) => {
                let message = format!("Failed to calculate the number of expected pods: {error}");
                self.recorder.event(&*budget, Severity::Warning, "CalculateExpectedPodCountFailed", message);
                // What is not known must not be disrupted.
                self.write(&budget, plan::unknown(&budget, error.to_string(), now)).await?;
                Err(error)
            }
        }
    }

    /// The pods that a budget is about. A budget without a selector is about none, one with an empty selector about all.
    fn selected(&self, budget: &PodDisruptionBudget) -> Result<Vec<Arc<PodView>>> {
        let Some(selector) = &budget.spec.selector else { return Ok(Vec::new()) };
        let labels = claim::labels(selector)?;
        let namespace = budget.metadata.namespace.as_deref().unwrap_or_default();
        let pods = self.pods.0.in_namespace(namespace).into_iter().map(|(_, pod)| pod);
        Ok(pods.filter(|pod| labels.matches(&pod.labels)).collect())
    }

    async fn write(&self, budget: &PodDisruptionBudget, status: PodDisruptionBudgetStatus) -> Result<()> {
        if status == budget.status {
            return Ok(());
        }
        match self.client.update_status(&PodDisruptionBudget { status, ..budget.clone() }).await {
            Err(error) if error.is(ErrorKind::NotFound) => Ok(()),
            written => written.map(drop),
        }
    }

    /// Takes back that a pod is to be disrupted, where that did not happen for long.
    async fn spare(&self, key: &ObjectKey) -> Result<Requeue> {
        let Some((uid, since)) = self.targets.get(key) else { return Ok(Requeue::OnChange) };
        let now = self.clock.now();
        let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        if passed < SPARED {
            return Ok(Requeue::After(SPARED - passed));
        }
        let time = Time(now).to_string();
        let condition =
            json!({"type": TARGET, "status": "False", "lastTransitionTime": time, "reason": null, "message": null});
        let patch = json!({"metadata": {"uid": uid}, "status": {"conditions": [condition]}});
        match self.client.patch_status::<Pod>(&key.namespace, &key.name, PatchType::Strategic, patch).await {
            Err(error) if claim::moot(&error) => Ok(Requeue::OnChange),
            patched => patched.map(|_| Requeue::OnChange),
        }
    }
}

#[async_trait]
impl Controller for Budgets {
    fn name(&self) -> &'static str {
        "disruption-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![
            Watched { resource: gvr::<PodDisruptionBudget>(), keys: claim::own_key },
            Watched { resource: gvr::<Pod>(), keys: concerned },
            Watched { resource: gvr::<ReplicaSet>(), keys: namespace },
            Watched { resource: gvr::<windlass_api::apps::v1::Deployment>(), keys: namespace },
            Watched { resource: gvr::<windlass_api::apps::v1::StatefulSet>(), keys: namespace },
            Watched { resource: gvr::<windlass_api::core::v1::ReplicationController>(), keys: namespace },
        ]
    }

    /// A key without a name is all budgets of its namespace.
    fn stands_for(&self, key: &ObjectKey) -> Option<Vec<ObjectKey>> {
        let all = || self.budgets.in_namespace(&key.namespace).into_iter().map(|(key, _)| key).collect();
        key.name.is_empty().then(all)
    }

    /// A key is a budget or a pod.
    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        match key.name.strip_prefix(POD) {
            Some(name) => self.spare(&ObjectKey::new(key.namespace.clone(), name)).await,
            None => self.reconcile_budget(key).await,
        }
    }
}

/// The condition of a pod that is to be disrupted, while that has not begun.
fn targeted(pod: &Pod) -> Option<&PodCondition> {
    let over = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
    if over || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    pod.status.conditions.iter().find(|own| own.type_ == TARGET && own.status == "True")
}

fn about(pod: &PodView) -> ObjectReference {
    ObjectReference {
        api_version: Some(Pod::api_version()),
        kind: Some(Pod::KIND.into()),
        namespace: Some(pod.key.namespace.clone()),
        name: Some(pod.key.name.clone()),
        uid: Some(pod.uid.clone()),
        ..ObjectReference::default()
    }
}

/// The key that stands for all budgets of an object's namespace.
fn namespace(document: &Document) -> Vec<ObjectKey> {
    document.object_key().map(|key| ObjectKey::new(key.namespace, "")).into_iter().collect()
}

fn concerned(pod: &Document) -> Vec<ObjectKey> {
    let mut keys = namespace(pod);
    if let (Ok(key), Ok(pod)) = (pod.object_key(), pod.typed::<Pod>())
        && targeted(&pod).is_some()
    {
        keys.push(ObjectKey::new(key.namespace, format!("{POD}{}", key.name)));
    }
    keys
}
