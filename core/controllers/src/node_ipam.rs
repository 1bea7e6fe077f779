//! Node IPAM: gives each node a block of each range that the cluster's pods have addresses of (`spec.podCIDRs`).
//!
//! Nodes are served in the order of their creation, by whoever sees a change. A node keeps what it has: a second
//! instance's write is refused. That two instances never give one block to two nodes is the election's business.

mod pool;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use ipnet::IpNet;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::json;
use windlass_api::core::v1::{Node, ObjectReference};
use windlass_client::{
    Cache, Client, Select,
    events::{Recorder, Severity, reference_to},
    gvr,
};
use windlass_kernel::{
    Controller, Document, Result,
    api::PatchType,
    controller::{ObjectKey, Requeue, Watched},
};

pub use self::pool::PodRanges;
use self::pool::Pool;
use crate::{claim, registry::Tools};

/// The key that stands for all nodes: they draw from one pool.
const ALL: ObjectKey = ObjectKey { namespace: String::new(), name: String::new() };

/// Gives nodes their ranges.
#[derive(Debug)]
pub struct NodeRanges {
    client: Client,
    recorder: Recorder,
    nodes: Cache<Arc<Seen>>,
    /// `None` where nodes get no ranges.
    state: Option<Arc<Mutex<State>>>,
}

/// What is known of a node.
#[derive(Debug)]
struct Seen {
    about: ObjectReference,
    created: Option<Timestamp>,
    ranges: Vec<IpNet>,
}

#[derive(Debug)]
struct State {
    pool: Pool,
    /// Nodes without a range in the order in which they are served, and whether it was told that there is none for one.
    waiting: BTreeMap<(Option<Timestamp>, String), bool>,
    /// What was drawn for a node, by name and uid, until it is seen to have it.
    drawn: BTreeMap<(String, String), Vec<IpNet>>,
}

/// What comes next.
enum Next {
    Rest,
    Give(Arc<Seen>, Vec<IpNet>),
    /// There is no block left; the nodes that were not told so yet.
    Full(Vec<Arc<Seen>>),
}

impl NodeRanges {
    pub(crate) fn new(tools: &Tools) -> Self {
        let state = tools.config.pod_ranges.as_ref().map(|ranges| {
            let pool = Pool::new(ranges);
            Arc::new(Mutex::new(State { pool, waiting: BTreeMap::new(), drawn: BTreeMap::new() }))
        });
        let nodes = tools.informers.projected::<Node, _>(Select::all(), Vec::new(), |node| {
            Some(Arc::new(Seen {
                about: reference_to::<Node>(&node.metadata),
                created: node.metadata.creation_timestamp.map(|time| time.0),
                ranges: node.spec.pod_cidrs.iter().filter_map(|text| text.parse().ok()).collect(),
            }))
        });
        if let Some(state) = state.clone() {
            nodes.on_change(move |update| {
                state.lock().see(&update.key.name, update.before.map(|seen| &**seen), update.after.map(|seen| &**seen));
            });
        }
        Self { client: tools.client.clone(), recorder: tools.recorder_as("cidrAllocator"), nodes, state }
    }

    fn next(&self, state: &Mutex<State>) -> Next {
        let mut state = state.lock();
        let State { pool, waiting, drawn } = &mut *state;
        let seen = |name: &str| self.nodes.get(&ObjectKey::new("", name));
        let Some(first) = waiting.keys().next().and_then(|(_, name)| seen(name)) else { return Next::Rest };
        let key = identity(&first);
        if let Some(ranges) = drawn.get(&key).cloned().or_else(|| pool.draw()) {
            drawn.insert(key, ranges.clone());
            return Next::Give(first, ranges);
        }
        let untold =
            waiting.iter_mut().filter_map(|((_, name), told)| (!std::mem::replace(told, true)).then_some(name));
        Next::Full(untold.filter_map(|name| seen(name)).collect())
    }

    /// Writes what a node gets, and waits until that is seen.
    async fn give(&self, state: &Mutex<State>, node: &Seen, ranges: &[IpNet]) -> Result<()> {
        let (name, uid) = identity(node);
        let patch = json!({"metadata": {"uid": uid}, "spec": {"podCIDR": ranges.first(), "podCIDRs": ranges}});
        match self.client.patch::<Node>("", &name, PatchType::Merge, patch).await {
            Err(error) if claim::moot(&error) => {
                // It is gone, or somebody else gave it a range. What was drawn for it is left for others.
                let mut state = state.lock();
                if let Some(drawn) = state.drawn.remove(&(name.clone(), uid)) {
                    state.pool.give_back(&drawn);
                }
                state.waiting.retain(|(_, waits), _| *waits != name);
                Ok(())
            }
            Err(error) => {
                let message = format!("Node {name} status is now: CIDRAssignmentFailed");
                self.recorder.event_on(node.about.clone(), Severity::Normal, "CIDRAssignmentFailed", message);
                Err(error)
            }
            Ok(_) => {
                state.lock().waiting.retain(|(_, waits), _| *waits != name);
                Ok(())
            }
        }
    }
}

fn identity(node: &Seen) -> (String, String) {
    (node.about.name.clone().unwrap_or_default(), node.about.uid.clone().unwrap_or_default())
}

impl State {
    /// Takes note of a change of a node.
    fn see(&mut self, name: &str, before: Option<&Seen>, after: Option<&Seen>) {
        let same =
            |before: &Seen, after: &Seen| (&before.about.uid, &before.ranges) == (&after.about.uid, &after.ranges);
        if before.zip(after).is_some_and(|(before, after)| same(before, after)) {
            return;
        }
        if let Some(before) = before {
            self.pool.give_back(&before.ranges);
            if after.is_none_or(|after| after.about.uid != before.about.uid || !after.ranges.is_empty()) {
                self.waiting.remove(&(before.created, name.to_owned()));
                if let Some(drawn) = self.drawn.remove(&identity(before)) {
                    self.pool.give_back(&drawn);
                }
            }
        }
        let Some(after) = after else { return };
        self.pool.take(&after.ranges);
        if after.ranges.is_empty() && !self.drawn.contains_key(&identity(after)) {
            self.waiting.entry((after.created, name.to_owned())).or_default();
        }
    }
}

#[async_trait]
impl Controller for NodeRanges {
    fn name(&self) -> &'static str {
        "node-ipam-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        let nodes = Watched { resource: gvr::<Node>(), keys: |_: &Document| vec![ALL] };
        self.state.iter().map(|_| nodes.clone()).collect()
    }

    async fn reconcile(&self, _: &ObjectKey) -> Result<Requeue> {
        let Some(state) = &self.state else { return Ok(Requeue::OnChange) };
        self.nodes.synced().await;
        loop {
            match self.next(state) {
                Next::Rest => return Ok(Requeue::OnChange),
                Next::Give(node, ranges) => self.give(state, &node, &ranges).await?,
                Next::Full(untold) => {
                    for node in untold {
                        let name = node.about.name.as_deref().unwrap_or_default();
                        let message = format!("Node {name} status is now: CIDRNotAvailable");
                        self.recorder.event_on(node.about.clone(), Severity::Normal, "CIDRNotAvailable", message);
                    }
                    // A node that goes wakes this controller.
                    return Ok(Requeue::OnChange);
                }
            }
        }
    }
}
