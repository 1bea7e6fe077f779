//! Creating and deleting the pods of an owner, and telling about it in the owner's events.

use std::sync::Arc;

use futures::future::join_all;
use windlass_api::{
    core::v1::{ObjectReference, Pod, PodTemplateSpec},
    meta::v1::{ObjectMeta, OwnerReference},
};
use windlass_client::{
    Client,
    events::{Recorder, Severity},
    gvr,
};
use windlass_kernel::{
    Error, ErrorKind, Result,
    api::{Answer, Options, Preconditions, Verb},
    error::Certainty,
};

use super::PodView;
use crate::{claim, written::Writing};

/// Creates and deletes pods.
#[derive(Debug)]
pub(crate) struct Changes {
    client: Client,
    recorder: Recorder,
}

impl Changes {
    pub(crate) fn new(client: &Client, recorder: &Recorder) -> Self {
        Self { client: client.clone(), recorder: recorder.clone() }
    }

    /// Creates pods in batches that double while all goes well, so that a lasting failure costs few calls.
    ///
    /// # Errors
    ///
    /// The worst of those of the batch that failed. A namespace that is going away is none: nothing more is created.
    pub(crate) async fn create(
        &self,
        about: &ObjectReference,
        pods: impl IntoIterator<Item = &Pod>,
        writing: &Writing<'_>,
    ) -> Result<()> {
        let mut left = pods.into_iter().peekable();
        let mut size = 1;
        while left.peek().is_some() {
            let batch = left.by_ref().take(size).map(|pod| self.client.create(pod));
            let mut failed = None;
            for created in join_all(batch).await {
                match created {
                    Ok(pod) => {
                        writing.wrote_version(pod.metadata.resource_version.as_deref());
                        let name = pod.metadata.name.as_deref().unwrap_or_default();
                        self.tell(about, Severity::Normal, "SuccessfulCreate", format!("Created pod: {name}"));
                    }
                    Err(error) if claim::terminating(&error) => return Ok(()),
                    Err(error) => {
                        self.tell(about, Severity::Warning, "FailedCreate", format!("Error creating: {error}"));
                        failed = worse(failed, error);
                    }
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
            size *= 2;
        }
        Ok(())
    }

    /// Deletes pods. One that is gone, or is another one by now, is no error.
    ///
    /// # Errors
    ///
    /// The worst of those of all deletions.
    pub(crate) async fn delete(
        &self,
        about: &ObjectReference,
        victims: &[Arc<PodView>],
        writing: &Writing<'_>,
    ) -> Result<()> {
        let deleted = join_all(victims.iter().map(|pod| delete(&self.client, pod))).await;
        let mut failed = None;
        for (pod, deleted) in victims.iter().zip(deleted) {
            let name = &pod.key.name;
            match deleted {
                Ok(answer) => {
                    if let Answer::Object(last) = answer {
                        writing.wrote(last.revision());
                    }
                    self.tell(about, Severity::Normal, "SuccessfulDelete", format!("Deleted pod: {name}"));
                }
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {}
                Err(error) => {
                    self.tell(about, Severity::Warning, "FailedDelete", format!("Error deleting: {error}"));
                    failed = worse(failed, error);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn tell(&self, about: &ObjectReference, severity: Severity, reason: &str, message: String) {
        self.recorder.event_on(about.clone(), severity, reason, message);
    }
}

/// Deletes the pod of that uid.
pub(crate) async fn delete(client: &Client, pod: &PodView) -> Result<Answer> {
    let request = client.request(Verb::Delete, gvr::<Pod>());
    let mut request = request.in_namespace(&pod.key.namespace).named(&pod.key.name);
    let preconditions = Preconditions { uid: Some(pod.uid.clone()), resource_version: None };
    request.options = Options { preconditions, ..request.options };
    Ok(client.call(request).await?.answer)
}

/// The pod that a template asks for, named after its owner by the API server.
pub(crate) fn from_template(template: &PodTemplateSpec, owner: OwnerReference, namespace: Option<&String>) -> Pod {
    let metadata = ObjectMeta {
        generate_name: Some(format!("{}-", owner.name)),
        namespace: namespace.cloned(),
        labels: template.metadata.labels.clone(),
        annotations: template.metadata.annotations.clone(),
        finalizers: template.metadata.finalizers.clone(),
        owner_references: vec![owner],
        ..ObjectMeta::default()
    };
    Pod { metadata, spec: template.spec.clone(), ..Pod::default() }
}

/// Of two errors the one whose outcome is less known.
pub(crate) fn worse(before: Option<Error>, error: Error) -> Option<Error> {
    match before {
        Some(before) if before.certainty() == Certainty::Unknown || error.certainty() == Certainty::NotApplied => {
            Some(before)
        }
        _ => Some(error),
    }
}
