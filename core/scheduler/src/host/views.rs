//! What the host follows of the API: projections of nodes and pods, and which of them changed.

use std::sync::Arc;

use futures::{FutureExt, select_biased};
use windlass_api::core::v1::{Node, Pod};
use windlass_client::{Cache, Informers, Select, informer::Subscription};
use windlass_kernel::{
    controller::ObjectKey,
    scheduler::{NodeView, PodView},
};

/// Projections of nodes and pods.
pub(super) struct Views {
    nodes: Cache<Arc<NodeView>>,
    pods: Cache<Arc<PodView>>,
    changed_nodes: Subscription,
    changed_pods: Subscription,
    seen: parking_lot::Mutex<Seen>,
}

/// Keys that were taken while waiting.
#[derive(Default)]
struct Seen {
    node: Option<ObjectKey>,
    pod: Option<ObjectKey>,
}

impl Views {
    pub(super) fn new(informers: &Informers) -> Self {
        let nodes = informers.projected(Select::all(), Vec::new(), |node: &Node| Some(Arc::new(NodeView::of(node))));
        let pods = informers.projected(Select::all(), Vec::new(), |pod: &Pod| {
            // A pod that has ended holds nothing and wants nothing.
            let ended = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
            (!ended).then(|| Arc::new(PodView::of(pod)))
        });
        let (changed_nodes, changed_pods) = (nodes.subscribe(), pods.subscribe());
        Self { nodes, pods, changed_nodes, changed_pods, seen: parking_lot::Mutex::default() }
    }

    pub(super) async fn synced(&self) {
        self.nodes.synced().await;
        self.pods.synced().await;
    }

    pub(super) fn node(&self, name: &str) -> Option<Arc<NodeView>> {
        self.nodes.get(&ObjectKey::new("", name))
    }

    pub(super) fn pod(&self, key: &ObjectKey) -> Option<Arc<PodView>> {
        self.pods.get(key)
    }

    pub(super) fn changed_node(&self) -> Option<String> {
        let seen = self.seen.lock().node.take();
        seen.or_else(|| self.changed_nodes.take()).map(|key| key.name)
    }

    pub(super) fn changed_pod(&self) -> Option<ObjectKey> {
        let seen = self.seen.lock().pod.take();
        seen.or_else(|| self.changed_pods.take())
    }

    /// Waits until something changed.
    pub(super) async fn news(&self) {
        select_biased! {
            key = self.changed_nodes.next().fuse() => self.seen.lock().node = Some(key),
            key = self.changed_pods.next().fuse() => self.seen.lock().pod = Some(key),
        }
    }
}
