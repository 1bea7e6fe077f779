//! Routes from this machine's node to the pods of the cluster's other nodes.

use std::{path::Path, sync::Arc};

use windlass_client::{Informers, informer::Parts};
use windlass_cni::routes::{Mode, NodeRoutes, Settings};
use windlass_kernel::{Identity, PodRoutes, Result, Spawn, SpawnExt, Stop, Task};
use windlass_node::host::Registration;
use windlass_proxy::Router;

use super::{ContainerNode, Routing};
use crate::Cluster;

/// The routes of a node on this machine.
#[derive(Clone, Debug)]
pub struct Routes {
    /// The node's name.
    pub node: String,
    /// How other nodes are reached.
    pub settings: Settings,
}

impl Routes {
    /// The routes of a node, where it has any.
    #[must_use]
    pub fn of(node: &ContainerNode) -> Option<Self> {
        let mode = match node.routing().filter(|_| node.has_own_network())? {
            Routing::Routed => Mode::Routed,
            Routing::Vxlan => Mode::VXLAN,
        };
        let node_file = ContainerNode::node_file(&node.data_dir);
        let settings = Settings { node_file, ..Settings::new(mode, vec![node.cluster_range]) };
        Some(Self { node: node.name.clone(), settings })
    }

    /// Starts following the cluster's nodes. Routes stay when the cluster stops, so that connections live on.
    #[must_use]
    pub fn start(&self, cluster: &Cluster) -> Task {
        // The proxy's role has what this reads.
        let proxy = Identity::new("system:kube-proxy", &["system:authenticated"]);
        let proxy = cluster.parts(cluster.client_as(proxy).with_user_agent("windlass-routes"));
        // What it says of the node, it says as the node, which may.
        let node = cluster.client_as(Registration::named(&self.node).identity()).with_user_agent("windlass-routes");
        self.start_with(&proxy, &cluster.parts(node), cluster.stopping())
    }

    /// As [`start`](Self::start), for a cluster elsewhere: who follows nodes is `proxy`, and what is said of this one is said as
    /// `node`.
    #[must_use]
    pub fn start_with(&self, proxy: &Parts, node: &Parts, stop: &Stop) -> Task {
        let routes = Arc::new(NodeRoutes::new(self.settings.clone(), Arc::clone(&proxy.spawn)));
        let router = Router::new(&Informers::new(proxy.clone()), routes, self.node.clone()).telling(node);
        proxy.spawn.spawn("routes", router.run(stop.clone()))
    }
}

/// Removes the routes that a node with that file had, of either mode.
pub(super) async fn remove(node_file: &Path, spawn: &Arc<dyn Spawn>) -> Result<()> {
    if !node_file.exists() {
        return Ok(());
    }
    // The device of the one mode is the only thing that the other has not.
    let settings = Settings { node_file: node_file.to_owned(), ..Settings::new(Mode::VXLAN, Vec::new()) };
    NodeRoutes::new(settings, Arc::clone(spawn)).clear().await
}
