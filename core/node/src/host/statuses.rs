//! Writes what the agent reports: the latest word on each pod, once, and again until it is taken.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use event_listener::Event;
use parking_lot::Mutex;
use windlass_api::{core::v1::Pod, types::Time};
use windlass_client::{Cache, Client, informer::Parts};
use windlass_kernel::{
    ClockExt, Result,
    api::{Options, Preconditions},
    controller::ObjectKey,
    node::Report,
};

use super::{RETRY, gone, merge::merge, place};

/// The latest report of each pod, and which of them are still to be written.
#[derive(Debug)]
pub(super) struct Statuses {
    client: Client,
    pods: Cache<Arc<Pod>>,
    parts: Parts,
    pending: Mutex<Pending>,
    event: Event,
}

#[derive(Debug, Default)]
struct Pending {
    latest: BTreeMap<ObjectKey, Report>,
    dirty: BTreeSet<ObjectKey>,
}

impl Pending {
    /// A report that is to be written. Pods that nothing was reported of are passed over.
    fn next(&mut self) -> Option<Report> {
        loop {
            let key = self.dirty.pop_first()?;
            if let Some(report) = self.latest.get(&key) {
                return Some(report.clone());
            }
        }
    }
}

impl Statuses {
    pub(super) fn new(client: Client, pods: Cache<Arc<Pod>>, parts: Parts) -> Self {
        Self { client, pods, parts, pending: Mutex::default(), event: Event::new() }
    }

    /// Takes a report. An earlier one of the same pod that is not written yet is forgotten.
    pub(super) fn set(&self, report: Report) {
        let mut pending = self.pending.lock();
        pending.dirty.insert(report.pod.clone());
        pending.latest.insert(report.pod.clone(), report);
        drop(pending);
        self.event.notify(usize::MAX);
    }

    /// Writes until it is dropped.
    pub(super) async fn run(&self) {
        // A pod whose deletion comes after its last report is looked at again.
        let changed = self.pods.subscribe();
        let look = async {
            loop {
                let key = changed.next().await;
                let mut pending = self.pending.lock();
                if !self.pods.contains(&key) {
                    pending.latest.remove(&key);
                } else if pending.latest.contains_key(&key) {
                    pending.dirty.insert(key);
                    drop(pending);
                    self.event.notify(usize::MAX);
                }
            }
        };
        futures::join!(look, self.write());
    }

    async fn write(&self) {
        let mut backoff = RETRY;
        loop {
            let listener = self.event.listen();
            let next = self.pending.lock().next();
            let Some(report) = next else {
                listener.await;
                continue;
            };
            if let Err(error) = self.write_one(&report).await {
                tracing::warn!(pod = %report.pod, %error, "cannot write the pod's status yet");
                self.pending.lock().dirty.insert(report.pod);
                self.parts.clock.sleep(backoff.next(&*self.parts.entropy)).await;
            } else {
                backoff.reset();
            }
        }
    }

    async fn write_one(&self, report: &Report) -> Result<()> {
        let Some(pod) = self.pods.get(&report.pod) else { return Ok(()) };
        if pod.metadata.uid.as_deref() != Some(report.uid.as_str()) {
            return Ok(());
        }
        let now = Time(self.parts.clock.now());
        let mut wanted = Pod::clone(&pod);
        wanted.status = merge(&pod.status, &report.status, &now);
        if wanted.status != pod.status {
            let key = place(&pod);
            let uid = report.uid.as_str();
            let change = |latest: &mut Pod| {
                if latest.metadata.uid.as_deref() == Some(uid) {
                    latest.status = merge(&latest.status, &report.status, &now);
                }
            };
            gone(self.client.modify_status::<Pod>(&key.namespace, &key.name, change).await.map(drop))?;
        }
        if report.released && pod.metadata.deletion_timestamp.is_some() {
            let options = Options {
                grace_period: Some(0),
                preconditions: Preconditions { uid: Some(report.uid.clone()), resource_version: None },
                ..Options::default()
            };
            let key = &report.pod;
            gone(self.client.delete_with::<Pod>(&key.namespace, &key.name, options).await)?;
        }
        Ok(())
    }
}
