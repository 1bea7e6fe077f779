//! From a DaemonSet's nodes and pods to what is created and deleted next. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use windlass_api::apps::v1::DaemonSet;

use super::{nodes::Fit, roll};
use crate::{amount::seconds, pods::PodView};

/// At most so many pods are created or deleted before looking again.
const BURST: usize = 250;

/// What a plan is made from.
pub(super) struct Seen<'a> {
    pub(super) set: &'a DaemonSet,
    /// All nodes.
    pub(super) nodes: &'a BTreeMap<String, Fit>,
    /// The pods that the set controls.
    pub(super) pods: &'a [Arc<PodView>],
    /// The hashes of the set's present template.
    pub(super) hashes: &'a BTreeSet<String>,
    /// How long an ended pod on a node is to stay there, after others ended before it.
    pub(super) pause: &'a (dyn Fn(&str) -> Option<Duration> + Sync),
    pub(super) now: Timestamp,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The nodes that get a pod.
    pub(super) create: Vec<String>,
    pub(super) delete: Vec<Arc<PodView>>,
    /// Those of `delete` that had ended.
    pub(super) ended: Vec<Arc<PodView>>,
    /// When time alone asks for another look.
    pub(super) next: Option<Duration>,
}

/// What is to be done about a set now: each node gets what it lacks, and once all have it, pods of former templates are
/// replaced.
pub(super) fn plan(seen: &Seen<'_>) -> Plan {
    let on_nodes = seen.on_nodes();
    let mut plan = Plan::default();
    for (node, fit) in seen.nodes {
        let pods = on_nodes.get(node.as_str()).map_or(&[][..], Vec::as_slice);
        match fit {
            Fit::Run if pods.is_empty() => plan.create.push(node.clone()),
            Fit::Run | Fit::Stay => plan.keep(seen, node, pods),
            Fit::No => plan.delete.extend(pods.iter().filter(|pod| !pod.deleting).cloned()),
        }
    }
    // A pod that waits for a node that is gone waits for ever; those that were on it are the pod collector's.
    let lost = |pod: &&Arc<PodView>| {
        pod.node.is_empty() && !pod.deleting && !pod.meant_for.is_empty() && !seen.nodes.contains_key(&pod.meant_for)
    };
    plan.delete.extend(seen.pods.iter().filter(lost).cloned());
    if plan.create.is_empty() && plan.delete.is_empty() {
        roll::roll(seen, &on_nodes, &mut plan);
    }
    plan.create.truncate(BURST);
    plan.delete.truncate(BURST);
    plan
}

impl Seen<'_> {
    /// The pods by the node that they are on or wait for; on each the oldest first, of which placed ones are older.
    pub(super) fn on_nodes(&self) -> BTreeMap<&str, Vec<Arc<PodView>>> {
        let mut nodes: BTreeMap<&str, Vec<Arc<PodView>>> = BTreeMap::new();
        for pod in self.pods.iter().filter(|pod| !pod.target().is_empty()) {
            nodes.entry(pod.target()).or_default().push(Arc::clone(pod));
        }
        for pods in nodes.values_mut() {
            pods.sort_by(|a, b| (a.node.is_empty(), a.created, &a.key).cmp(&(b.node.is_empty(), b.created, &b.key)));
        }
        nodes
    }

    /// Whether a pod is of the present template.
    pub(super) fn fresh(&self, pod: &PodView) -> bool {
        pod.labels.get(crate::history::REVISION).is_some_and(|hash| self.hashes.contains(hash))
    }

    pub(super) fn available(&self, pod: &PodView) -> bool {
        let wait = pod.available_in(seconds(self.set.spec.min_ready_seconds), self.now);
        wait.is_some_and(|wait| wait.is_zero())
    }

    /// How many nodes are to have a pod.
    pub(super) fn desired(&self) -> usize {
        self.nodes.values().filter(|fit| **fit == Fit::Run).count()
    }
}

impl Plan {
    /// Lets a node keep one pod, or one of each template where a new one comes before the old one goes.
    fn keep(&mut self, seen: &Seen<'_>, node: &str, pods: &[Arc<PodView>]) {
        let mut running = Vec::new();
        for pod in pods.iter().filter(|pod| !pod.deleting) {
            match (pod.ended(), (seen.pause)(node)) {
                (false, _) => running.push(Arc::clone(pod)),
                (true, Some(pause)) => self.wake(pause),
                (true, None) => {
                    self.delete.push(Arc::clone(pod));
                    self.ended.push(Arc::clone(pod));
                }
            }
        }
        if roll::surge(seen) == 0 {
            self.delete.extend(running.into_iter().skip(1));
            return;
        }
        let (new, old): (Vec<_>, Vec<_>) = running.into_iter().partition(|pod| seen.fresh(pod));
        let replaced = match (new.first(), old.first()) {
            (Some(new), Some(old)) => !old.ready || seen.available(new),
            _ => false,
        };
        self.delete.extend(new.into_iter().skip(1).chain(old.into_iter().skip(usize::from(!replaced))));
    }

    /// Asks for another look after so long.
    pub(super) fn wake(&mut self, after: Duration) {
        self.next = Some(self.next.map_or(after, |next| next.min(after)));
    }
}

#[cfg(test)]
mod tests;
