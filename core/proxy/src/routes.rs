//! Follows nodes and hands what changed of them to the routes.

#[cfg(test)]
mod tests;
mod voice;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use futures::{
    StreamExt,
    future::{Either, FutureExt, pending, select},
};
use windlass_api::core::v1::Node;
use windlass_client::{
    Cache, Informers, Select,
    informer::{Parts, Subscription},
};
use windlass_kernel::{
    Clock, ClockExt, PodRoutes, Stop,
    controller::ObjectKey,
    routes::{Disturbances, RoutedNode, RoutesChange, Unreached},
};

use self::voice::Voice;

/// Between two times that all is made anew because somebody else changes it.
const REST: Duration = Duration::from_secs(1);
/// How long to wait before what failed is tried again. Nobody tells when a machine's own network is in order.
const RETRY: Duration = Duration::from_secs(30);

/// Keeps a node's routes to the pods of all others as the cluster's Node objects say.
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
    /// Who says so to the cluster.
    voice: Option<Voice>,
    /// Tells that somebody else may have changed the routes.
    disturbances: Option<Disturbances>,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("node", &self.node).field("unreached", &self.unreached).finish_non_exhaustive()
    }
}

impl Router {
    /// A router for the node `node`.
    #[must_use]
    pub fn new(informers: &Informers, routes: Arc<dyn PodRoutes>, node: impl Into<String>) -> Self {
        let nodes = informers.projected(Select::all(), vec![], |node: &Node| routed(node).map(Arc::new));
        let clock = Arc::clone(&informers.parts().clock);
        let changed = nodes.subscribe();
        let (handed, unreached) = (BTreeMap::new(), BTreeSet::new());
        let (voice, disturbances) = (None, None);
        Self { nodes, changed, routes, clock, node: node.into(), handed, unreached, voice, disturbances }
    }

    /// Says on the Node itself whether its pods reach those of others (condition `NetworkUnavailable`), and of each node that
    /// is not reached in an event about it. `parts` act as the node.
    #[must_use]
    pub fn telling(mut self, parts: &Parts) -> Self {
        self.voice = Some(Voice::new(parts, &self.node));
        self
    }

    /// Runs until `stop`. The routes stay as they are then, so that connections live on without the router.
    pub async fn run(mut self, stop: Stop) {
        stop.race(self.follow()).await;
    }

    async fn follow(&mut self) {
        self.nodes.synced().await;
        // Followed from before the first route on, so that none is lost unnoticed.
        self.disturbances = self.routes.disturbances();
        if self.disturbances.is_some() {
            self.disturbed().await;
        }
        loop {
            while self.changed.take().is_some() {}
            // Without a range of its own and an address, nothing of a node's pods could be led anywhere.
            let Some(own) = self.nodes.get(&ObjectKey::new("", &*self.node)) else {
                self.changed.next().await;
                continue;
            };
            let others = self.nodes.list().into_iter().filter(|(key, _)| key.name != self.node);
            self.handed = others.map(|(key, node)| (key.name, node)).collect();
            let others = self.handed.values().map(|node| (**node).clone()).collect();
            let begun = self.clock.uptime();
            match self.routes.replace((*own).clone(), others).await {
                Ok(unreached) => {
                    self.unreached.clear();
                    self.note(unreached).await;
                    if self.keep(&own).await {
                        // Where somebody takes routes away as fast as they come, the machine is to do other things too.
                        let rest = REST.saturating_sub(self.clock.uptime().saturating_sub(begun));
                        self.clock.sleep(rest).await;
                    }
                }
                Err(error) => {
                    tracing::error!(node = %self.node, %error, "cannot make routes to the pods of other nodes");
                    if let Some(voice) = &mut self.voice {
                        voice.say(false).await;
                    }
                    let clock = Arc::clone(&self.clock);
                    clock.sleep(REST).await;
                    select(Box::pin(self.disturbed()), clock.sleep(RETRY - REST)).map(drop).await;
                }
            }
        }
    }

    /// Ends when somebody else may have changed the routes, or nobody can tell any more.
    async fn disturbed(&mut self) {
        let Some(disturbances) = &mut self.disturbances else { return pending().await };
        if disturbances.next().await.is_none() {
            self.disturbances = None;
        }
    }

    /// Hands on single changes, until all has to be made anew; whether that is because somebody else changed something.
    async fn keep(&mut self, own: &RoutedNode) -> bool {
        loop {
            let mut change = RoutesChange::default();
            let mut next = match self.next().await {
                Next::Disturbed => return true,
                Next::Node(key) => Some(key),
                Next::Again => {
                    let again = self.unreached.iter().filter_map(|name| self.handed.get(name));
                    change.put = again.map(|node| (**node).clone()).collect();
                    self.tell().await;
                    None
                }
            };
            // Whatever else changed meanwhile goes into the same batch.
            while let Some(key) = next {
                let now = self.nodes.get(&key);
                if key.name == self.node {
                    if now.as_deref() != Some(own) {
                        return false;
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
                    self.note(unreached).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "the routes refused a change; all are made anew");
                    return false;
                }
            }
        }
    }

    /// What happens next.
    async fn next(&mut self) -> Next {
        let waits = !self.unreached.is_empty() || self.voice.as_ref().is_some_and(Voice::is_unheard);
        let again = if waits { self.clock.sleep(RETRY) } else { pending().boxed() };
        let Self { changed, disturbances, .. } = self;
        let disturbed = match disturbances {
            Some(disturbances) => disturbances.next().boxed(),
            None => pending().boxed(),
        };
        let next = select(Box::pin(changed.next()), select(disturbed, again)).map(|next| match next {
            Either::Left((key, _)) => Err(Next::Node(key)),
            Either::Right((Either::Right(_), _)) => Err(Next::Again),
            Either::Right((Either::Left((item, _)), _)) => Ok(item.is_none()),
        });
        let ended = match next.await {
            Ok(ended) => ended,
            Err(other) => return other,
        };
        if ended {
            self.disturbances = None;
            return Next::Again;
        }
        tracing::info!(node = %self.node, "somebody else changed routes to other nodes; all are made anew");
        Next::Disturbed
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

    async fn note(&mut self, unreached: Vec<Unreached>) {
        for Unreached { node, why } in unreached {
            tracing::warn!(%node, error = %why, "the pods of a node cannot be reached");
            if let (Some(voice), Some(other)) = (&self.voice, self.handed.get(&node)) {
                voice.complain(other, &why);
            }
            self.unreached.insert(node);
        }
        self.tell().await;
    }

    /// Says whether there are routes: to some other nodes, or to all of none.
    async fn tell(&mut self) {
        let reached = self.handed.is_empty() || self.handed.keys().any(|name| !self.unreached.contains(name));
        if let Some(voice) = &mut self.voice {
            voice.say(reached).await;
        }
    }
}

/// What a router does next.
enum Next {
    /// Look at a node that changed.
    Node(ObjectKey),
    /// Try again what did not work.
    Again,
    /// Make all anew.
    Disturbed,
}

/// A node as routes see it; `None` for one without ranges, and for one that has not said yet where it is.
fn routed(node: &Node) -> Option<RoutedNode> {
    let ranges: Vec<_> = node.spec.pod_cidrs.iter().chain(&node.spec.pod_cidr).collect();
    let mut ranges: Vec<ipnet::IpNet> = ranges.into_iter().filter_map(|text| text.parse().ok()).collect();
    // `podCIDR` is the first of `podCIDRs` where both are there.
    let mut seen = BTreeSet::new();
    ranges.retain(|range| seen.insert(*range));
    let addresses = node.status.addresses.iter().filter(|address| address.type_ == "InternalIP");
    let addresses: Vec<_> = addresses.filter_map(|address| address.address.parse().ok()).collect();
    let name = node.metadata.name.clone().unwrap_or_default();
    (!ranges.is_empty() && !addresses.is_empty()).then_some(RoutedNode { name, addresses, ranges })
}
