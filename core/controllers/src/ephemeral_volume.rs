//! Generic ephemeral volumes: a claim for each volume of a pod that asks for one by a template (KEP-1698).
//!
//! The claim is the pod's: it goes with it, as the garbage collector sees to.

use std::sync::Arc;

use async_trait::async_trait;
use windlass_api::{
    core::v1::{PersistentVolumeClaim, PersistentVolumeClaimTemplate, Pod, Volume},
    meta::v1::ObjectMeta,
};
use windlass_client::{
    Cache, Client, Select,
    events::{Recorder, Severity},
    gvr,
};
use windlass_kernel::{
    Controller, Document, Error, ErrorKind, Result,
    controller::{ObjectKey, Requeue, Watched},
};

use crate::{claim, registry::Tools};

/// Makes the claims of pods' own volumes.
#[derive(Debug)]
pub struct EphemeralVolumes {
    client: Client,
    recorder: Recorder,
    /// Those that ask for claims, and no others.
    pods: Cache<Arc<Pod>>,
    claims: Cache<Arc<PersistentVolumeClaim>>,
}

impl EphemeralVolumes {
    pub(crate) fn new(tools: &Tools) -> Self {
        let asks = |pod: &Pod| asked_for(pod).next().is_some().then(|| Arc::new(pod.clone()));
        Self {
            client: tools.client.clone(),
            recorder: tools.recorder(),
            pods: tools.informers.projected::<Pod, _>(Select::all(), Vec::new(), asks),
            claims: tools.informers.typed(Select::all()),
        }
    }

    async fn volume(&self, pod: &Pod, volume: &Volume) -> Result<()> {
        let claim = wanted(pod, volume);
        let key = claim::key(&claim.metadata);
        let there = match self.claims.get(&key) {
            Some(there) => there,
            None => match self.client.create(&claim).await {
                // The cache does not know it yet.
                Err(error) if error.is(ErrorKind::AlreadyExists) => self.client.get(&key.namespace, &key.name).await?,
                Err(error) if claim::terminating(&error) => return Ok(()),
                Err(error) => {
                    return Err(
                        self.failed(pod, format!("ephemeral volume {}: create PVC {}: {error}", volume.name, key.name))
                    );
                }
                Ok(_) => return Ok(()),
            },
        };
        let uid = pod.metadata.uid.as_deref();
        if claim::controller_of(&there.metadata).is_some_and(|owner| Some(owner.uid.as_str()) == uid) {
            return Ok(());
        }
        let why = format!(
            "PVC {}/{} was not created for pod {}/{}",
            key.namespace,
            key.name,
            key.namespace,
            claim::key(&pod.metadata).name
        );
        Err(self.failed(pod, format!("{why} (pod is not owner)")))
    }

    /// Tells the pod; the answer is for whoever tries again.
    fn failed(&self, pod: &Pod, why: String) -> Error {
        self.recorder.event(pod, Severity::Warning, "FailedCreate", why.clone());
        Error::new(ErrorKind::Conflict, why)
    }
}

/// The volumes of a pod that are made by templates.
fn asked_for(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec.volumes.iter().filter(|volume| template(volume).is_some())
}

fn template(volume: &Volume) -> Option<&PersistentVolumeClaimTemplate> {
    volume.ephemeral.as_ref()?.volume_claim_template.as_deref()
}

/// The claim of a pod's volume.
fn wanted(pod: &Pod, volume: &Volume) -> PersistentVolumeClaim {
    let template = template(volume).cloned().unwrap_or_default();
    let (key, meta) = (claim::key(&pod.metadata), template.metadata);
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            namespace: Some(key.namespace),
            name: Some(format!("{}-{}", key.name, volume.name)),
            labels: meta.labels,
            annotations: meta.annotations,
            owner_references: vec![claim::reference(pod)],
            ..ObjectMeta::default()
        },
        spec: template.spec,
        ..PersistentVolumeClaim::default()
    }
}

#[async_trait]
impl Controller for EphemeralVolumes {
    fn name(&self) -> &'static str {
        "ephemeral-volume-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![
            Watched { resource: gvr::<Pod>(), keys: of_pod },
            Watched { resource: gvr::<PersistentVolumeClaim>(), keys: claim::controller_key::<Pod> },
        ]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        let Some(pod) = self.pods.get(key) else { return Ok(Requeue::OnChange) };
        if pod.metadata.deletion_timestamp.is_some() {
            return Ok(Requeue::OnChange);
        }
        for volume in asked_for(&pod) {
            self.volume(&pod, volume).await?;
        }
        Ok(Requeue::OnChange)
    }
}

fn of_pod(document: &Document) -> Vec<ObjectKey> {
    let Ok(pod) = document.typed::<Pod>() else { return Vec::new() };
    if asked_for(&pod).next().is_some() { vec![claim::key(&pod.metadata)] } else { Vec::new() }
}
