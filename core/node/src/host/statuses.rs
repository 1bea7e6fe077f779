//! Writes what the agent reports: the latest word on each pod, once, and again until it is taken.
//!
//! Pods do not wait for each other: several are written at once, each by one writer at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use event_listener::Event;
use futures::future::join_all;
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

/// So many pods are written at once, so that one sync of the server's log serves several.
const WRITERS: usize = 8;

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
    /// Those whose report is being written: a later one waits, so that it is not overwritten.
    working: BTreeSet<ObjectKey>,
}

impl Pending {
    /// A report that is to be written, until it is [`done`](Self::done). Pods that nothing was reported of are passed
    /// over.
    fn next(&mut self) -> Option<Report> {
        loop {
            let key = self.dirty.iter().find(|key| !self.working.contains(*key))?.clone();
            self.dirty.remove(&key);
            if let Some(report) = self.latest.get(&key) {
                self.working.insert(key);
                return Some(report.clone());
            }
        }
    }

    /// Ends the writing of a pod's report; whether another one of it waits.
    fn done(&mut self, key: &ObjectKey) -> bool {
        self.working.remove(key);
        self.dirty.contains(key)
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
        futures::join!(look, join_all((0..WRITERS).map(|_| self.write())));
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
            let written = self.write_one(&report).await;
            let failed = written.is_err();
            match written {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    tracing::warn!(pod = %report.pod, %error, "cannot write the pod's status yet");
                    self.parts.clock.sleep(backoff.next(&*self.parts.entropy)).await;
                }
            }
            let waits = {
                let mut pending = self.pending.lock();
                if failed {
                    pending.dirty.insert(report.pod.clone());
                }
                pending.done(&report.pod)
            };
            if waits {
                self.event.notify(usize::MAX);
            }
        }
    }

    async fn write_one(&self, report: &Report) -> Result<()> {
        let Some(pod) = self.pods.get(&report.pod) else { return Ok(()) };
        if pod.metadata.uid.as_deref() != Some(report.uid.as_str()) {
            return Ok(());
        }
        let now = Time(self.parts.clock.now());
        if merge(&pod.status, &report.status, &now) != pod.status {
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

#[cfg(test)]
mod tests {
    use windlass_api::core::v1::PodStatus;

    use super::*;

    fn report(name: &str) -> Report {
        Report { pod: ObjectKey::new("ns", name), uid: String::new(), status: PodStatus::default(), released: false }
    }

    #[test]
    fn a_pod_is_written_by_one_writer_at_a_time() {
        let mut pending = Pending::default();
        for name in ["a", "b"] {
            let report = report(name);
            pending.dirty.insert(report.pod.clone());
            pending.latest.insert(report.pod.clone(), report);
        }
        pending.dirty.insert(ObjectKey::new("ns", "unheard-of"));
        let first = pending.next().unwrap();
        pending.dirty.insert(first.pod.clone());
        let second = pending.next().unwrap();
        assert_eq!((&*first.pod.name, &*second.pod.name), ("a", "b"));
        assert!(pending.next().is_none());
        assert!(pending.done(&first.pod) && !pending.done(&second.pod));
        assert_eq!(pending.next().unwrap().pod, first.pod);
    }
}
