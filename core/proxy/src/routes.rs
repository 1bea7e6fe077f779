//! Follows nodes and hands what changed of them to the routes.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::{Either, select};
use windlass_api::core::v1::Node;
use windlass_client::{Cache, Informers, Select, informer::Subscription};
use windlass_kernel::{
    Clock, ClockExt, PodRoutes, Stop,
    controller::ObjectKey,
    routes::{RoutedNode, RoutesChange, Unreached},
};

/// How long to wait before what failed is tried again. Nobody tells when a machine's own network is in order.
const RETRY: Duration = Duration::from_secs(30);

/// Keeps a node's routes to the pods of all others as the cluster's Node objects say.
#[derive(Debug)]
pub struct Router {
    nodes: Cache<Arc<RoutedNode>>,
    changed: Subscription,
    routes: Arc<dyn PodRoutes>,
    clock: Arc<dyn Clock>,
    node: String,
    /// What the routes were handed.
    handed: BTreeMap<String, Arc<RoutedNode>>,
    /// Those of them that are not reached.
    unreached: BTreeSet<String>,
}

impl Router {
    /// A router for the node `node`.
    #[must_use]
    pub fn new(informers: &Informers, routes: Arc<dyn PodRoutes>, node: impl Into<String>) -> Self {
        let nodes = informers.projected(Select::all(), vec![], |node: &Node| routed(node).map(Arc::new));
        let clock = Arc::clone(&informers.parts().clock);
        let changed = nodes.subscribe();
        let (handed, unreached) = (BTreeMap::new(), BTreeSet::new());
        Self { nodes, changed, routes, clock, node: node.into(), handed, unreached }
    }

    /// Runs until `stop`. The routes stay as they are then, so that connections live on without the router.
    pub async fn run(mut self, stop: Stop) {
        stop.race(self.follow()).await;
    }

    async fn follow(&mut self) {
        self.nodes.synced().await;
        loop {
            while self.changed.take().is_some() {}
            // Without a range of its own, nothing of a node's pods could be led anywhere.
            let Some(own) = self.nodes.get(&ObjectKey::new("", &*self.node)) else {
                self.changed.next().await;
                continue;
            };
            let others = self.nodes.list().into_iter().filter(|(key, _)| key.name != self.node);
            self.handed = others.map(|(key, node)| (key.name, node)).collect();
            let others = self.handed.values().map(|node| (**node).clone()).collect();
            match self.routes.replace((*own).clone(), others).await {
                Ok(unreached) => {
                    self.unreached.clear();
                    self.note(unreached);
                    self.keep(&own).await;
                }
                Err(error) => {
                    tracing::error!(node = %self.node, %error, "cannot make routes to the pods of other nodes");
                    self.clock.sleep(RETRY).await;
                }
            }
        }
    }

    /// Hands on single changes, until all has to be made anew.
    async fn keep(&mut self, own: &RoutedNode) {
        loop {
            let mut next = self.next().await;
            let mut change = RoutesChange::default();
            if next.is_none() {
                change.put =
                    self.unreached.iter().filter_map(|name| self.handed.get(name)).map(|n| (**n).clone()).collect();
            }
            // Whatever else changed meanwhile goes into the same batch.
            while let Some(key) = next {
                let now = self.nodes.get(&key);
                if key.name == self.node {
                    if now.as_deref() != Some(own) {
                        return;
                    }
                } else {
                    self.look(&key.name, now, &mut change);
                }
                next = self.changed.take();
            }
            if change == RoutesChange::default() {
                continue;
            }
            let touched = change.put.iter().map(|node| node.name.clone()).chain(change.gone.iter().cloned());
            let touched: Vec<_> = touched.collect();
            match self.routes.change(change).await {
                Ok(unreached) => {
                    for name in touched {
                        self.unreached.remove(&name);
                    }
                    self.note(unreached);
                }
                Err(error) => {
                    tracing::warn!(%error, "the routes refused a change; all are made anew");
                    return;
                }
            }
        }
    }

    /// The next node that changed; `None` when it is time to try again those that are not reached.
    async fn next(&self) -> Option<ObjectKey> {
        if self.unreached.is_empty() {
            return Some(self.changed.next().await);
        }
        match select(Box::pin(self.changed.next()), self.clock.sleep(RETRY)).await {
            Either::Left((key, _)) => Some(key),
            Either::Right(_) => None,
        }
    }

    /// Compares what a node is now with what the routes were handed.
    fn look(&mut self, name: &str, now: Option<Arc<RoutedNode>>, change: &mut RoutesChange) {
        match now {
            Some(node) if self.handed.get(name) == Some(&node) => {}
            Some(node) => {
                change.put.push((*node).clone());
                self.handed.insert(name.to_owned(), node);
            }
            None => change.gone.extend(self.handed.remove(name).map(|_| name.to_owned())),
        }
    }

    fn note(&mut self, unreached: Vec<Unreached>) {
        for Unreached { node, why } in unreached {
            tracing::warn!(%node, error = %why, "the pods of a node cannot be reached");
            self.unreached.insert(node);
        }
    }
}

/// A node as routes see it; `None` for one without ranges.
fn routed(node: &Node) -> Option<RoutedNode> {
    let ranges: Vec<_> = node.spec.pod_cidrs.iter().chain(&node.spec.pod_cidr).collect();
    let mut ranges: Vec<ipnet::IpNet> = ranges.into_iter().filter_map(|text| text.parse().ok()).collect();
    // `podCIDR` is the first of `podCIDRs` where both are there.
    let mut seen = BTreeSet::new();
    ranges.retain(|range| seen.insert(*range));
    let addresses = node.status.addresses.iter().filter(|address| address.type_ == "InternalIP");
    let addresses = addresses.filter_map(|address| address.address.parse().ok()).collect();
    let name = node.metadata.name.clone().unwrap_or_default();
    (!ranges.is_empty()).then_some(RoutedNode { name, addresses, ranges })
}
