//! Telling users and making room: conditions, events, nominations and evictions. It decides nothing.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::{
    core::v1::{ObjectReference, Pod},
    types::Time,
};
use windlass_client::{
    Client,
    events::{Recorder, Severity},
};
use windlass_kernel::{
    Clock, ErrorKind, Result,
    api::PatchType,
    scheduler::{PodView, Preemption},
};

/// What is to be told about a pod that got no node.
pub(super) struct Report {
    pod: Arc<PodView>,
    reason: &'static str,
    message: String,
    preemption: Option<Preemption>,
    released: Vec<Arc<PodView>>,
}

impl Report {
    pub(super) fn failure(
        pod: &Arc<PodView>,
        reason: &'static str,
        message: String,
        preemption: Option<Preemption>,
    ) -> Self {
        Self { pod: Arc::clone(pod), reason, message, preemption, released: Vec::new() }
    }

    /// Pods that no room is made for any more.
    pub(super) fn releasing(mut self, released: Vec<Arc<PodView>>) -> Self {
        self.released = released;
        self
    }
}

/// Writes reports.
pub(super) struct Reporter {
    client: Client,
    clock: Arc<dyn Clock>,
}

impl Reporter {
    pub(super) fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        Self { client, clock }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) async fn run(&self, report: Report, recorder: &Recorder) {
        let about = reference(&report.pod);
        recorder.event_on(about, Severity::Warning, "FailedScheduling", report.message.clone());
        let told = self.tell(&report).await;
        let made = match &report.preemption {
            Some(preemption) if told.is_ok() => self.make_room(&report.pod, preemption, recorder).await,
            _ => Ok(()),
        };
        let mut released = Ok(());
        for pod in &report.released {
            released = released.and(gone(self.patch(pod, json!({"nominatedNodeName": null})).await));
        }
        if let Err(error) = told.and(made).and(released) {
            // The pod's next turn says it again.
            tracing::warn!(pod = %report.pod.key, %error, "cannot write down why a pod has no node");
        }
    }

    /// Writes the condition, and the node where room is made, unless the pod says so already.
    async fn tell(&self, report: &Report) -> Result<()> {
        let pod = &report.pod;
        let said = pod.complaint.as_ref().is_some_and(|(why, what)| why == report.reason && *what == report.message);
        let node = report.preemption.as_ref().map(|preemption| &*preemption.node);
        let nominated = node.is_none() || node == pod.nominated.as_deref();
        if said && nominated {
            return Ok(());
        }
        let mut status =
            json!({"conditions": [self.condition("PodScheduled", "False", report.reason, &report.message)]});
        if pod.generation > 0 {
            status["conditions"][0]["observedGeneration"] = pod.generation.into();
        }
        if pod.complaint.is_some() {
            // The status does not change, so the time of its last change stays.
            status["conditions"][0].as_object_mut().map(|condition| condition.remove("lastTransitionTime"));
        }
        if let Some(node) = node {
            status["nominatedNodeName"] = node.into();
        }
        gone(self.patch(pod, status).await)
    }

    /// Evicts the victims, each with a condition that says why.
    async fn make_room(&self, pod: &PodView, preemption: &Preemption, recorder: &Recorder) -> Result<()> {
        for victim in preemption.victims.iter().filter(|victim| !victim.terminating) {
            let message = format!("{}: preempting to accommodate a higher priority pod", pod.scheduler);
            let condition = self.condition("DisruptionTarget", "True", "PreemptionByScheduler", &message);
            gone(self.patch(victim, json!({"conditions": [condition]})).await)?;
            let mut options = windlass_kernel::api::Options::default();
            options.preconditions.uid = Some(victim.uid.clone());
            gone(self.client.delete_with::<Pod>(&victim.key.namespace, &victim.key.name, options).await)?;
            let message = format!("Preempted by pod {} on node {}", pod.uid, preemption.node);
            recorder.event_on(reference(victim), Severity::Normal, "Preempted", message);
        }
        Ok(())
    }

    fn condition(&self, kind: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastProbeTime": null, "lastTransitionTime": Time(self.clock.now()).to_string(),
        })
    }

    async fn patch(&self, pod: &PodView, status: Value) -> Result<()> {
        // With the uid, the patch cannot reach another pod of the same name.
        let patch = json!({"metadata": {"uid": pod.uid}, "status": status});
        let (namespace, name) = (&pod.key.namespace, &pod.key.name);
        self.client.patch_status::<Pod>(namespace, name, PatchType::Strategic, patch).await.map(drop)
    }
}

/// A pod that is gone, or is another one, needs no telling.
fn gone(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => Ok(()),
        other => other,
    }
}

pub(super) fn reference(pod: &PodView) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: Some(pod.key.namespace.clone()),
        name: Some(pod.key.name.clone()),
        uid: Some(pod.uid.clone()),
        ..ObjectReference::default()
    }
}
