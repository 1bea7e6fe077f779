//! Carries a Job's plan out: creates, deletes and lets go of pods.

use std::sync::Arc;

use futures::future::join_all;
use serde_json::json;
use windlass_api::{batch::v1::Job, core::v1::Pod};
use windlass_client::events::reference;
use windlass_kernel::{Result, controller::ObjectKey};

use super::{
    Jobs,
    plan::Plan,
    pod::{JobPod, TRACKED},
    template::pod_of,
};
use crate::{pods::worse, written::Writing};

impl Jobs {
    /// Creates and deletes pods, as planned.
    pub(super) async fn change_pods(&self, key: &ObjectKey, job: &Job, plan: &Plan) -> Result<()> {
        if plan.delete.is_empty() && plan.create.is_empty() {
            return Ok(());
        }
        let writing = self.written.begin(key);
        let done = self.change(job, plan, &writing).await;
        writing.end(&done);
        done
    }

    async fn change(&self, job: &Job, plan: &Plan, writing: &Writing<'_>) -> Result<()> {
        let about = reference(job);
        if !plan.counts {
            let tracked: Vec<_> = plan.delete.iter().filter(|pod| pod.tracked).cloned().collect();
            self.untrack(&tracked, writing).await?;
        }
        let victims: Vec<_> = plan.delete.iter().map(|pod| Arc::clone(&pod.view)).collect();
        self.changes.delete(&about, &victims, writing).await?;
        let pods: Vec<Pod> = plan.create.iter().map(|new| pod_of(job, *new)).collect();
        self.changes.create(&about, &pods, writing).await
    }

    /// Lets go of pods whose end is recorded.
    pub(super) async fn release(&self, key: &ObjectKey, pods: &[Arc<JobPod>]) -> Result<()> {
        if pods.is_empty() {
            return Ok(());
        }
        let writing = self.written.begin(key);
        let done = self.untrack(pods, &writing).await;
        writing.end(&done);
        done
    }

    async fn untrack(&self, pods: &[Arc<JobPod>], writing: &Writing<'_>) -> Result<()> {
        let released = join_all(pods.iter().map(|pod| async {
            let patch = json!({"metadata": {"uid": pod.view.uid, "$deleteFromPrimitiveList/finalizers": [TRACKED]}});
            if let Some(pod) = self.patch(&pod.view, patch).await? {
                writing.wrote_version(pod.metadata.resource_version.as_deref());
            }
            Ok(())
        }));
        released.await.into_iter().filter_map(Result::err).fold(None, worse).map_or(Ok(()), Err)
    }
}
