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
    ClockExt, ErrorKind, Result,
    api::{Options, Preconditions},
    controller::ObjectKey,
    node::Report,
};

use super::{RETRY, gone, merge::merge};

/// So many pods are written at once, so that one sync of the server's log serves several.
const WRITERS: usize = 8;

/// Which pod it is. One of the same name and another uid is another pod, whose reports the former's must not displace.
type Id = (ObjectKey, String);

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
    latest: BTreeMap<Id, Report>,
    dirty: BTreeSet<Id>,
    /// Those whose report is being written: a later one waits, so that it is not overwritten.
    working: BTreeSet<Id>,
}

impl Pending {
    /// A report that is to be written, until it is [`done`](Self::done). Pods that nothing was reported of are passed
    /// over.
    fn next(&mut self) -> Option<Report> {
        loop {
            let id = self.dirty.iter().find(|id| !self.working.contains(*id))?.clone();
            self.dirty.remove(&id);
            if let Some(report) = self.latest.get(&id) {
                self.working.insert(id);
                return Some(report.clone());
            }
        }
    }

    /// Ends the writing of a pod's report; whether another one of it waits.
    fn done(&mut self, id: &Id) -> bool {
        self.working.remove(id);
        self.dirty.contains(id)
    }

    fn set(&mut self, report: Report) {
        let id = id(&report);
        self.dirty.insert(id.clone());
        self.latest.insert(id, report);
    }

    /// Looks again at the word on the pod that has a name now, and forgets those on the pods that had it before. Whether
    /// there is such a word.
    fn look(&mut self, key: &ObjectKey, uid: Option<&str>) -> bool {
        let mut found = false;
        let named = self.latest.range((key.clone(), String::new())..).take_while(|((name, _), _)| name == key);
        for id in named.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            if Some(id.1.as_str()) == uid {
                self.dirty.insert(id);
                found = true;
            } else {
                self.latest.remove(&id);
            }
        }
        found
    }
}

impl Statuses {
    pub(super) fn new(client: Client, pods: Cache<Arc<Pod>>, parts: Parts) -> Self {
        Self { client, pods, parts, pending: Mutex::default(), event: Event::new() }
    }

    /// Takes a report. An earlier one of the same pod that is not written yet is forgotten. Nothing is kept of a pod that
    /// is not there any more.
    pub(super) fn set(&self, report: Report) {
        if self.pod(&report).is_some() {
            self.pending.lock().set(report);
            self.event.notify(usize::MAX);
        }
    }

    /// The pod that a report is about, if it is there still.
    fn pod(&self, report: &Report) -> Option<Arc<Pod>> {
        self.pods.get(&report.pod).filter(|pod| pod.metadata.uid.as_deref() == Some(report.uid.as_str()))
    }

    /// Writes until it is dropped.
    pub(super) async fn run(&self) {
        // A pod whose deletion comes after its last report is looked at again.
        let changed = self.pods.subscribe();
        let look = async {
            loop {
                let key = changed.next().await;
                let there = self.pods.get(&key);
                let uid = there.as_ref().and_then(|pod| pod.metadata.uid.as_deref());
                if self.pending.lock().look(&key, uid) {
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
                let id = id(&report);
                if failed {
                    pending.dirty.insert(id.clone());
                }
                pending.done(&id)
            };
            if waits {
                self.event.notify(usize::MAX);
            }
        }
    }

    /// Writes a report into the latest status.
    async fn write_over(&self, report: &Report, now: &Time) -> Result<()> {
        let change = |latest: &mut Pod| {
            if latest.metadata.uid.as_deref() == Some(report.uid.as_str()) {
                latest.status = merge(&latest.status, &report.status, now);
            }
        };
        let key = &report.pod;
        gone(self.client.modify_status::<Pod>(&key.namespace, &key.name, change).await.map(drop))
    }

    async fn write_one(&self, report: &Report) -> Result<()> {
        let Some(pod) = self.pod(report) else { return Ok(()) };
        let now = Time(self.parts.clock.now());
        let merged = merge(&pod.status, &report.status, &now);
        if merged != pod.status {
            match self.client.write_status::<Pod>(&pod.metadata, &pod.status, &merged).await {
                // Somebody else wrote it, and the cache does not show that yet.
                Err(error) if error.is(ErrorKind::Conflict) => self.write_over(report, &now).await,
                written => gone(written),
            }?;
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

fn id(report: &Report) -> Id {
    (report.pod.clone(), report.uid.clone())
}

#[cfg(test)]
mod tests {
    use windlass_api::core::v1::PodStatus;

    use super::*;

    fn report(name: &str, uid: &str) -> Report {
        Report { pod: ObjectKey::new("ns", name), uid: uid.into(), status: PodStatus::default(), released: false }
    }

    #[test]
    fn a_pod_is_written_by_one_writer_at_a_time() {
        let mut pending = Pending::default();
        for name in ["a", "b"] {
            pending.set(report(name, "1"));
        }
        pending.dirty.insert(id(&report("unheard-of", "1")));
        let first = pending.next().unwrap();
        pending.dirty.insert(id(&first));
        let second = pending.next().unwrap();
        assert_eq!((&*first.pod.name, &*second.pod.name), ("a", "b"));
        assert!(pending.next().is_none());
        assert!(pending.done(&id(&first)) && !pending.done(&id(&second)));
        assert_eq!(pending.next().unwrap().pod, first.pod);
    }

    #[test]
    fn only_the_pod_that_has_the_name_now_is_looked_at_again() {
        let mut pending = Pending::default();
        for (name, uid) in [("a", "1"), ("a", "2"), ("b", "1")] {
            pending.set(report(name, uid));
        }
        pending.dirty.clear();
        assert!(pending.look(&ObjectKey::new("ns", "a"), Some("2")));
        assert_eq!(pending.dirty, BTreeSet::from([id(&report("a", "2"))]));
        assert!(!pending.look(&ObjectKey::new("ns", "a"), None));
        assert!(pending.next().is_none() && pending.latest.len() == 1, "{pending:?}");
    }
}
