//! The ReplicaSet controller: as many pods of a template as wanted. The decisions are in `plan`, `rank` and `status`.

mod plan;
mod rank;
mod status;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::join_all;
use windlass_api::{apps::v1::ReplicaSet, core::v1::Pod, meta::v1::ObjectMeta};
use windlass_client::{
    Client,
    events::{Recorder, Severity},
    gvr,
};
use windlass_kernel::{
    Clock, Controller, Document, Error, ErrorKind, Result,
    api::{Answer, Options, PatchType, Preconditions, Verb},
    controller::{ObjectKey, Requeue, Watched},
    error::Certainty,
};

use self::{
    plan::Step,
    status::{Failure, Observed},
};
use crate::{
    claim::{self, Candidate, Claim, Claimer},
    pods::{PodView, Pods},
    registry::Tools,
    sets::Sets,
    written::{Writing, Written},
};

/// Keys of pods that nobody controls, in a queue of ReplicaSets: no set has such a name.
const ORPHAN: &str = "pod/";

/// Keeps the pods of each ReplicaSet as many as wanted.
#[derive(Debug)]
pub struct ReplicaSets {
    client: Client,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    sets: Sets,
    pods: Pods,
    written: Written,
}

impl ReplicaSets {
    pub(crate) fn new(tools: &Tools) -> Self {
        Self {
            client: tools.client.clone(),
            clock: Arc::clone(&tools.informers.parts().clock),
            recorder: tools.recorder(),
            sets: tools.sets.clone(),
            pods: tools.pods.clone(),
            written: Written::new(gvr::<Pod>()),
        }
    }

    /// Lets the ReplicaSets of its namespace look at a pod that nobody controls.
    async fn adopt_orphan(&self, key: &ObjectKey) -> Result<()> {
        let Some(pod) = self.pods.0.get(key).filter(|pod| pod.controller.is_none() && !pod.deleting) else {
            return Ok(());
        };
        for (_, set) in self.sets.0.in_namespace(&key.namespace) {
            let claimer = Claimer::new(&set.metadata, &set.spec.selector)?;
            // An adopted pod wakes its ReplicaSet, which counts it then.
            if claimer.decide(candidate(&claimer, &pod)) == Claim::Adopt && !self.adopt(&set, &[&pod]).await?.is_empty()
            {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Adopts and releases; answers what the ReplicaSet controls after that.
    async fn claim(&self, set: &ReplicaSet) -> Result<Vec<Arc<PodView>>> {
        let claimer = Claimer::new(&set.metadata, &set.spec.selector)?;
        let mut own = Vec::new();
        let mut adopted = Vec::new();
        let orphans = self.pods.orphans(set.metadata.namespace.as_deref().unwrap_or_default(), &set.spec.selector);
        for pod in self.pods.controlled_by(&claimer.uid).into_iter().chain(orphans) {
            match claimer.decide(candidate(&claimer, &pod)) {
                Claim::Keep => own.push(pod),
                Claim::Adopt => adopted.push(pod),
                Claim::Release => self.patch(&pod, claim::release(&claimer.uid, &pod.uid)).await.map(drop)?,
                Claim::Leave => {}
            }
        }
        own.extend(self.adopt(set, &adopted.iter().collect::<Vec<_>>()).await?);
        Ok(own)
    }

    async fn adopt(&self, set: &ReplicaSet, pods: &[&Arc<PodView>]) -> Result<Vec<Arc<PodView>>> {
        let mut adopted = Vec::new();
        if pods.is_empty() {
            return Ok(adopted);
        }
        // The cached set may be one that is being deleted by now, whose pods must not come back to it.
        let key = claim::key(&set.metadata);
        let fresh = self.client.get_opt::<ReplicaSet>(&key.namespace, &key.name).await?;
        let fresh = fresh.filter(|fresh| fresh.metadata.uid == set.metadata.uid);
        if fresh.is_none_or(|fresh| fresh.metadata.deletion_timestamp.is_some()) {
            return Ok(adopted);
        }
        for pod in pods {
            if self.patch(pod, claim::adoption(&claim::reference(set), &pod.uid)).await? {
                adopted.push(Arc::clone(pod));
            }
        }
        Ok(adopted)
    }

    /// Whether a pod was patched; it may be gone.
    async fn patch(&self, pod: &PodView, patch: serde_json::Value) -> Result<bool> {
        let key = &pod.key;
        match self.client.patch::<Pod>(&key.namespace, &key.name, PatchType::Strategic, patch).await {
            Err(error) if claim::moot(&error) => Ok(false),
            patched => patched.map(|_| true),
        }
    }

    /// Creates or deletes pods, as planned.
    async fn carry_out(&self, set: &ReplicaSet, step: Step) -> Result<()> {
        if step == Step::Rest {
            return Ok(());
        }
        let key = claim::key(&set.metadata);
        let writing = self.written.begin(&key);
        let done = match step {
            Step::Rest => Ok(()),
            Step::Create(count) => self.create(set, count, &writing).await,
            Step::Delete(victims) => self.delete(set, &victims, &writing).await,
        };
        if done.as_ref().err().is_none_or(|error| error.certainty() == Certainty::NotApplied) {
            writing.done();
        }
        done
    }

    /// Creates pods in batches that double while all goes well, so that a lasting failure costs few calls.
    async fn create(&self, set: &ReplicaSet, count: usize, writing: &Writing<'_>) -> Result<()> {
        let pod = pod_of(set);
        let (mut left, mut batch) = (count, 1);
        while left > 0 {
            let size = batch.min(left);
            let created = join_all((0..size).map(|_| self.client.create(&pod))).await;
            let mut failed = None;
            for created in created {
                match created {
                    Ok(pod) => {
                        writing.wrote_version(pod.metadata.resource_version.as_deref());
                        let name = pod.metadata.name.as_deref().unwrap_or_default();
                        let message = format!("Created pod: {name}");
                        self.recorder.event(set, Severity::Normal, "SuccessfulCreate", message);
                    }
                    Err(error) if terminating(&error) => return Ok(()),
                    Err(error) => {
                        self.recorder.event(set, Severity::Warning, "FailedCreate", format!("Error creating: {error}"));
                        failed = worse(failed, error);
                    }
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
            left -= size;
            batch *= 2;
        }
        Ok(())
    }

    async fn delete(&self, set: &ReplicaSet, victims: &[Arc<PodView>], writing: &Writing<'_>) -> Result<()> {
        let deleted = join_all(victims.iter().map(|pod| self.delete_pod(pod))).await;
        let mut failed = None;
        for (pod, deleted) in victims.iter().zip(deleted) {
            let name = &pod.key.name;
            match deleted {
                Ok(answer) => {
                    if let Answer::Object(last) = answer {
                        writing.wrote(last.revision());
                    }
                    self.recorder.event(set, Severity::Normal, "SuccessfulDelete", format!("Deleted pod: {name}"));
                }
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {}
                Err(error) => {
                    self.recorder.event(set, Severity::Warning, "FailedDelete", format!("Error deleting: {error}"));
                    failed = worse(failed, error);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn delete_pod(&self, pod: &PodView) -> Result<Answer> {
        let request = self.client.request(Verb::Delete, gvr::<Pod>());
        let mut request = request.in_namespace(&pod.key.namespace).named(&pod.key.name);
        let preconditions = Preconditions { uid: Some(pod.uid.clone()), resource_version: None };
        request.options = Options { preconditions, ..request.options };
        Ok(self.client.call(request).await?.answer)
    }

    async fn write_status(&self, set: &ReplicaSet, observed: &Observed<'_>) -> Result<()> {
        let status = status::of(set, observed, self.clock.now());
        if status == set.status {
            return Ok(());
        }
        match self.client.update_status(&ReplicaSet { status, ..set.clone() }).await {
            // Whoever wrote in between wakes this controller again.
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => Ok(()),
            written => written.map(drop),
        }
    }

    /// The active pods of the sets that share this one's controller: those that it should not double up with.
    fn related(&self, set: &ReplicaSet) -> Vec<Arc<PodView>> {
        let Some(owner) = claim::controller_of(&set.metadata) else {
            return self.pods.controlled_by(set.metadata.uid.as_deref().unwrap_or_default());
        };
        let siblings = self.sets.controlled_by(&owner.uid).into_iter();
        siblings.flat_map(|set| self.pods.controlled_by(set.metadata.uid.as_deref().unwrap_or_default())).collect()
    }
}

#[async_trait]
impl Controller for ReplicaSets {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![
            Watched { resource: gvr::<ReplicaSet>(), keys: claim::own_key },
            Watched { resource: gvr::<Pod>(), keys: set_or_orphan },
        ]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        if let Some(pod) = key.name.strip_prefix(ORPHAN) {
            let orphan = ObjectKey::new(key.namespace.as_str(), pod);
            return self.adopt_orphan(&orphan).await.map(|()| Requeue::OnChange);
        }
        self.written.seen_in(key, &self.pods.0, &self.client).await?;
        let Some(set) = self.sets.0.get(key) else { return Ok(Requeue::OnChange) };
        let own = self.claim(&set).await?;
        let wanted = usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or(0);
        let now = self.clock.now();
        let mut failed = None;
        if set.metadata.deletion_timestamp.is_none() {
            let active: Vec<_> = own.iter().filter(|pod| pod.active()).cloned().collect();
            let step = plan::plan(wanted, &active, || self.related(&set), now);
            let creates = matches!(step, Step::Create(_));
            if let Err(error) = self.carry_out(&set, step).await {
                failed = Some((if creates { Failure::Create } else { Failure::Delete }, error));
            }
        }
        let failure = failed.as_ref().map(|(failure, error)| (*failure, error.to_string()));
        let observed = Observed { pods: &own, failure };
        self.write_status(&set, &observed).await?;
        match failed {
            Some((_, error)) => Err(error),
            None => Ok(status::available_next(&set, &own, now).map_or(Requeue::OnChange, Requeue::After)),
        }
    }
}

/// The set that controls a pod, or the pod itself where nobody does.
fn set_or_orphan(pod: &Document) -> Vec<ObjectKey> {
    claim::controlled_by::<ReplicaSet>(pod, |key| ObjectKey::new(key.namespace, format!("{ORPHAN}{}", key.name)))
}

fn candidate<'a>(claimer: &Claimer, pod: &'a PodView) -> Candidate<'a> {
    Candidate {
        controller: pod.controller.as_deref(),
        matches: claimer.selector.matches(&pod.labels),
        // A pod that ended is of no more use than one that is going.
        deleting: pod.deleting || pod.ended(),
    }
}

/// The pod that a set wants.
fn pod_of(set: &ReplicaSet) -> Pod {
    let template = &set.spec.template;
    let name = set.metadata.name.as_deref().unwrap_or_default();
    let metadata = ObjectMeta {
        generate_name: Some(format!("{name}-")),
        namespace: set.metadata.namespace.clone(),
        labels: template.metadata.labels.clone(),
        annotations: template.metadata.annotations.clone(),
        finalizers: template.metadata.finalizers.clone(),
        owner_references: vec![claim::reference(set)],
        ..ObjectMeta::default()
    };
    Pod { metadata, spec: template.spec.clone(), ..Pod::default() }
}

/// Whether a creation was refused because its namespace is going away.
pub(crate) fn terminating(error: &Error) -> bool {
    error.details().is_some_and(|details| details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating"))
}

/// Of two errors the one whose outcome is less known.
fn worse(before: Option<Error>, error: Error) -> Option<Error> {
    match before {
        Some(before) if before.certainty() == Certainty::Unknown || error.certainty() == Certainty::NotApplied => {
            Some(before)
        }
        _ => Some(error),
    }
}

/// Seconds of a spec; what is negative counts as none.
pub(crate) fn seconds(seconds: Option<i32>) -> Duration {
    Duration::from_secs(u64::try_from(seconds.unwrap_or(0)).unwrap_or(0))
}
