//! Carries a StatefulSet's plan out, and tells about it in the set's events.

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::json;
use windlass_api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod, PodTemplateSpec},
};
use windlass_client::events::Severity;
use windlass_kernel::{
    Error, ErrorKind, Result,
    api::{Answer, PatchType},
};

use super::{
    Path, StatefulSets, claims, identity,
    plan::{Of, Step},
};
use crate::{
    claim, history,
    pods::{self, PodView},
    written::Writing,
};

/// The templates that new pods are made of, with the names of their revisions.
pub(super) struct Templates {
    current: (String, PodTemplateSpec),
    update: (String, PodTemplateSpec),
}

impl Templates {
    pub(super) fn of(set: &StatefulSet, path: &Path) -> Self {
        let named = |revision| {
            // One that cannot be read is not this controller's work; the set's own template is what is wanted now.
            let template = history::template_of(revision).unwrap_or_else(|| set.spec.template.clone());
            (history::name(revision).to_owned(), template)
        };
        Self { current: named(&path.current), update: named(&path.update) }
    }

    fn pod(&self, set: &StatefulSet, ordinal: i32, of: Of) -> Pod {
        let (revision, template) = if of == Of::Current { &self.current } else { &self.update };
        identity::pod(set, ordinal, (revision, template))
    }
}

impl StatefulSets {
    /// Takes the steps in their order; the first that fails is the last. Pods that may come at once do.
    pub(super) async fn carry_out(&self, set: &StatefulSet, templates: &Templates, steps: Vec<Step>) -> Result<()> {
        if steps.is_empty() {
            return Ok(());
        }
        let key = claim::key(&set.metadata);
        let writing = self.written.begin(&key);
        let done = self.take(set, templates, steps, &writing).await;
        writing.end(&done);
        done
    }

    async fn take(
        &self,
        set: &StatefulSet,
        templates: &Templates,
        steps: Vec<Step>,
        writing: &Writing<'_>,
    ) -> Result<()> {
        let mut rest = Vec::new();
        let mut new = Vec::new();
        for step in steps {
            match step {
                Step::Create(ordinal, of) => new.push((ordinal, templates.pod(set, ordinal, of))),
                other => rest.push(other),
            }
        }
        // Batches double while all goes well, so that a lasting failure costs few calls.
        let (mut left, mut size) = (new.as_slice(), 1);
        while !left.is_empty() {
            let (batch, after) = left.split_at(size.min(left.len()));
            let created = join_all(batch.iter().map(|(ordinal, pod)| self.create(set, *ordinal, pod, writing))).await;
            created.into_iter().collect::<Result<Vec<()>>>()?;
            (left, size) = (after, size * 2);
        }
        for step in rest {
            match step {
                Step::Create(..) => {}
                Step::Delete(pod) => self.delete(set, &pod, writing).await?,
                Step::Identify(ordinal, pod) => self.identify(set, ordinal, &pod).await?,
                Step::Claims(ordinal, pod) => self.claims(set, ordinal, Some(&pod)).await?,
            }
        }
        Ok(())
    }

    async fn create(&self, set: &StatefulSet, ordinal: i32, pod: &Pod, writing: &Writing<'_>) -> Result<()> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let created = match self.claims(set, ordinal, None).await {
            Ok(()) => self.client.create(pod).await,
            Err(error) => Err(error),
        };
        match created {
            Ok(created) => {
                writing.wrote_version(created.metadata.resource_version.as_deref());
                self.tell_pod(set, "create", name, None);
                Ok(())
            }
            Err(error) if claim::terminating(&error) => Ok(()),
            Err(error) => {
                // Whose pod that is shows once it is seen.
                if !error.is(ErrorKind::AlreadyExists) {
                    self.tell_pod(set, "create", name, Some(&error));
                }
                Err(error)
            }
        }
    }

    async fn delete(&self, set: &StatefulSet, pod: &PodView, writing: &Writing<'_>) -> Result<()> {
        match pods::delete(&self.client, pod).await {
            Ok(answer) => {
                if let Answer::Object(last) = answer {
                    writing.wrote(last.revision());
                }
                self.tell_pod(set, "delete", &pod.key.name, None);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => Ok(()),
            Err(error) => {
                self.tell_pod(set, "delete", &pod.key.name, Some(&error));
                Err(error)
            }
        }
    }

    /// Gives a pod that was adopted the labels that say which it is.
    async fn identify(&self, set: &StatefulSet, ordinal: i32, pod: &PodView) -> Result<()> {
        let labels: BTreeMap<_, _> = identity::labels(set, ordinal).into();
        let patch = json!({"metadata": {"uid": pod.uid, "labels": labels}});
        let patched = self.client.patch::<Pod>(&pod.key.namespace, &pod.key.name, PatchType::Strategic, patch).await;
        match patched {
            Ok(_) => {
                self.tell_pod(set, "update", &pod.key.name, None);
                Ok(())
            }
            Err(error) if claim::moot(&error) => Ok(()),
            Err(error) => {
                self.tell_pod(set, "update", &pod.key.name, Some(&error));
                Err(error)
            }
        }
    }

    /// Creates the claims of an ordinal that are missing, and gives those that are there their owners.
    async fn claims(&self, set: &StatefulSet, ordinal: i32, pod: Option<&PodView>) -> Result<()> {
        for claim in claims::wanted(set, ordinal) {
            let key = claim::key(&claim.metadata);
            let known = self.claims.contains(&key);
            let there = if known { None } else { self.create_claim(set, ordinal, &claim).await? };
            if there.is_some() {
                continue;
            }
            let own = |claim: &mut PersistentVolumeClaim| {
                if let Some(owners) = claims::owners(set, ordinal, pod, &claim.metadata.owner_references) {
                    claim.metadata.owner_references = owners;
                }
            };
            claim::settled(self.client.modify(&key.namespace, &key.name, own).await.map(drop))?;
        }
        Ok(())
    }

    /// The claim that was created; `None` where it was there.
    async fn create_claim(&self, set: &StatefulSet, ordinal: i32, claim: &PersistentVolumeClaim) -> Result<Option<()>> {
        let (name, pod) = (claim.metadata.name.as_deref().unwrap_or_default(), identity::pod_name(set, ordinal));
        let own = set.metadata.name.as_deref().unwrap_or_default();
        match self.client.create(claim).await {
            Ok(_) => {
                let message = format!("create Claim {name} Pod {pod} in StatefulSet {own} success");
                self.recorder.event(set, Severity::Normal, "SuccessfulCreate", message);
                Ok(Some(()))
            }
            Err(error) if error.is(ErrorKind::AlreadyExists) => Ok(None),
            Err(error) => {
                let message = format!("create Claim {name} for Pod {pod} in StatefulSet {own} failed error: {error}");
                self.recorder.event(set, Severity::Warning, "FailedCreate", message);
                Err(error)
            }
        }
    }

    fn tell_pod(&self, set: &StatefulSet, what: &str, pod: &str, failed: Option<&Error>) {
        let own = set.metadata.name.as_deref().unwrap_or_default();
        let (severity, result) = match failed {
            None => (Severity::Normal, "Successful"),
            Some(_) => (Severity::Warning, "Failed"),
        };
        let outcome = failed.map_or_else(|| "successful".to_owned(), |error| format!("failed error: {error}"));
        let title = match what {
            "create" => "Create",
            "delete" => "Delete",
            _ => "Update",
        };
        let message = format!("{what} Pod {pod} in StatefulSet {own} {outcome}");
        self.recorder.event(set, severity, &format!("{result}{title}"), message);
    }
}
