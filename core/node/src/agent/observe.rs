//! Reads what the runtime knows of a pod, asking again only for what can have changed.

use std::sync::Arc;

use windlass_api::core::v1::Pod;
use windlass_kernel::{
    Result,
    runtime::{ContainerFilter, ContainerState, ContainerStatus, SandboxFilter, SandboxState},
};

use super::worker::Round;
use crate::{
    make::{container::message_path, labels},
    pod::{self, Observed},
};

/// So much of a container's last words is told (ContainerStateTerminated.message).
const WORDS: usize = 4096;
const WORDS_OF_LOG: usize = 2048;
const LINES_OF_LOG: usize = 80;

impl Round<'_> {
    pub(super) async fn observe(&mut self, pod: &Arc<Pod>) -> Result<Observed> {
        let runtime = &self.inner.needs.runtime;
        let uid = pod::uid(pod);
        let by_uid = std::collections::BTreeMap::from([(labels::UID.to_owned(), uid.clone())]);
        let (of_sandbox, of_container) = (
            SandboxFilter { labels: by_uid.clone(), ..SandboxFilter::default() },
            ContainerFilter { labels: by_uid, ..ContainerFilter::default() },
        );
        let (sandboxes, listed) =
            futures::try_join!(runtime.sandboxes(&of_sandbox), runtime.containers(&of_container))?;
        let ids = sandboxes.iter().map(|sandbox| sandbox.id.to_string());
        self.inner.enter(&uid, ids.chain(listed.iter().map(|container| container.id.to_string())));
        self.memo.ended.retain(|id, _| listed.iter().any(|container| container.id == *id));

        let (ended, known) = (&self.memo.ended, &self.memo.ips);
        let ask = listed.iter().filter(|container| !ended.contains_key(&container.id)).map(|container| async move {
            let status = runtime.container(&container.id).await?;
            Ok::<_, windlass_kernel::Error>(status.map(|mut status| {
                // A status need not say where its container is.
                status.container.sandbox = container.sandbox.clone();
                status.container.labels.clone_from(&container.labels);
                if status.container.image_id.as_str().is_empty() {
                    status.container.image_id = container.image_id.clone();
                }
                status
            }))
        });
        let mut observed = Observed { sandboxes, ..Observed::default() };
        observed.sort();
        let newest = observed.sandboxes.first().filter(|sandbox| sandbox.state == SandboxState::Ready);
        let addresses = async {
            match (newest, known) {
                (None, _) => Ok(None),
                (Some(newest), Some((id, ips))) if *id == newest.id => Ok(Some((id.clone(), ips.clone()))),
                (Some(newest), _) => {
                    runtime.sandbox(&newest.id).await.map(|status| status.map(|status| (newest.id.clone(), status.ips)))
                }
            }
        };
        let (fresh, addresses) = futures::try_join!(futures::future::try_join_all(ask), addresses)?;
        let (fresh, old): (Vec<_>, Vec<_>) = (fresh.into_iter().flatten().collect(), ended.values().cloned().collect());
        observed.ips = addresses.as_ref().map(|(_, ips)| ips.clone()).unwrap_or_default();
        self.memo.ips = addresses.filter(|(_, ips)| !ips.is_empty());
        for status in &fresh {
            if status.container.state == ContainerState::Exited {
                self.last_words(pod, status).await?;
                self.memo.ended.insert(status.container.id.clone(), status.clone());
            }
        }
        observed.containers = fresh.into_iter().chain(old).collect();
        observed.sort();
        Ok(observed)
    }

    /// Reads what an ended instance left behind.
    async fn last_words(&mut self, pod: &Arc<Pod>, status: &ContainerStatus) -> Result<()> {
        let (name, attempt) = (&status.container.key.name, status.container.key.attempt);
        let path = self.inner.layout.message(&pod::uid(pod), name, attempt);
        let policy = pod::container(pod, name).and_then(|(container, _)| container.termination_message_policy.clone());
        let failed = status.exit.is_none_or(|exit| exit.code != 0);
        let log = status.log_path.clone();
        let from_log = failed && !log.is_empty() && policy.as_deref() == Some("FallbackToLogsOnError");
        let read = move || {
            let words = std::fs::read(&path).unwrap_or_default();
            if !words.is_empty() || !from_log {
                return String::from_utf8_lossy(&words[..words.len().min(WORDS)]).into_owned();
            }
            crate::log::tail(std::path::Path::new(&log), LINES_OF_LOG, WORDS_OF_LOG)
        };
        let words = self.blocking(read).await?;
        if !words.is_empty() {
            self.memo.records.messages.insert(status.container.id.clone(), words);
        }
        debug_assert!(pod::container(pod, name).is_none_or(|(container, _)| !message_path(&container).is_empty()));
        Ok(())
    }
}
