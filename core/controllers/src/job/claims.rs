//! Whose pods are a Job's: adopting what its selector matches, letting go of what it matches no more.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::{batch::v1::Job, core::v1::Pod};
use windlass_client::Select;
use windlass_kernel::{Result, api::PatchType, controller::ObjectKey};

use super::{
    Jobs, conditions,
    pod::{self, JobPod, TRACKED},
};
use crate::{
    claim::{self, Candidate, Claim, Claimer},
    pods::PodView,
};

impl Jobs {
    /// Lets every Job of a namespace look at the pods that nobody controls; those that no Job wants are let go of.
    pub(super) async fn adopt_orphans(&self, namespace: &str) -> Result<()> {
        let mut strays = self.own.strays(namespace);
        for (_, job) in self.jobs.0.in_namespace(namespace) {
            if conditions::ended(&job).is_none() {
                let claimer = claimer(&job)?;
                // An adopted pod wakes its Job, which counts it then.
                self.adopt(&job, &claimer).await?;
                strays.retain(|pod| claimer.decide(candidate(&claimer, &pod.view)) != Claim::Adopt);
            }
        }
        self.abandon(&ObjectKey::new(namespace, claim::ORPHANS), &strays).await
    }

    /// Adopts and releases; answers what the Job controls after that, of what it controlled before.
    pub(super) async fn claim(&self, job: &Job, own: Vec<Arc<JobPod>>) -> Result<Vec<Arc<JobPod>>> {
        let claimer = claimer(job)?;
        let mut kept = Vec::new();
        for pod in own {
            match claimer.decide(candidate(&claimer, &pod.view)) {
                Claim::Keep => kept.push(pod),
                Claim::Release => {
                    let mut patch = claim::release(&claimer.uid, &pod.view.uid);
                    patch["metadata"]["$deleteFromPrimitiveList/finalizers"] = json!([TRACKED]);
                    self.patch(&pod.view, patch).await?;
                }
                Claim::Adopt | Claim::Leave => kept.push(pod),
            }
        }
        kept.extend(self.adopt(job, &claimer).await?);
        Ok(kept)
    }

    async fn adopt(&self, job: &Job, claimer: &Claimer) -> Result<Vec<Arc<JobPod>>> {
        let key = claim::key(&job.metadata);
        let Some(selector) = &job.spec.selector else { return Ok(Vec::new()) };
        let orphans = self.pods.orphans(&key.namespace, selector).into_iter();
        let wanted: Vec<_> = orphans.filter(|pod| claimer.decide(candidate(claimer, pod)) == Claim::Adopt).collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        // The cached Job may be one that is being deleted by now, whose pods must not come back to it.
        let fresh = self.client.get_opt::<Job>(&key.namespace, &key.name).await?;
        let fresh = fresh.filter(|fresh| fresh.metadata.uid == job.metadata.uid);
        if fresh.is_none_or(|fresh| fresh.metadata.deletion_timestamp.is_some()) {
            return Ok(Vec::new());
        }
        let mut adopted = Vec::new();
        for orphan in wanted {
            let mut patch = claim::adoption(&claim::reference(job), &orphan.uid);
            patch["metadata"]["finalizers"] = json!([TRACKED]);
            adopted.extend(self.patch(&orphan, patch).await?.and_then(|pod| JobPod::of(&pod)).map(Arc::new));
        }
        Ok(adopted)
    }

    /// What a patch made of a pod, unless that is gone.
    pub(super) async fn patch(&self, pod: &PodView, patch: Value) -> Result<Option<Arc<Pod>>> {
        let key = &pod.key;
        match self.client.patch(&key.namespace, &key.name, PatchType::Strategic, patch).await {
            Err(error) if claim::moot(&error) => Ok(None),
            patched => patched.map(Some),
        }
    }

    /// The Job's pods as they are now, whatever the cache says.
    pub(super) async fn list(&self, job: &Job) -> Result<Vec<Arc<JobPod>>> {
        let claimer = claimer(job)?;
        let labels: Vec<String> = pod::selector(job).iter().map(|(key, value)| format!("{key}={value}")).collect();
        let select = Select::namespace(job.metadata.namespace.as_deref().unwrap_or_default());
        let pods = self.client.list::<Pod>(&select.labels(labels.join(","))).await?;
        let own = pods.iter().filter_map(|pod| JobPod::of(pod));
        Ok(own.filter(|pod| pod.view.controller.as_deref() == Some(&*claimer.uid)).map(Arc::new).collect())
    }
}

fn claimer(job: &Job) -> Result<Claimer> {
    Claimer::new(&job.metadata, &job.spec.selector.clone().unwrap_or_default())
}

fn candidate<'a>(claimer: &Claimer, pod: &'a PodView) -> Candidate<'a> {
    Candidate {
        controller: pod.controller.as_deref(),
        matches: claimer.selector.matches(&pod.labels),
        deleting: pod.deleting,
    }
}
