//! Routes from this machine's node to the pods of the cluster's other nodes.

use std::sync::Arc;

use windlass_cni::routes::{NodeRoutes, Settings};
use windlass_kernel::{Identity, SpawnExt, Task};
use windlass_node::host::Registration;
use windlass_proxy::Router;

use crate::Cluster;

/// The routes of a node on this machine, whose pods are in a network of `windlass-bridge` with the same mode.
#[derive(Clone, Debug)]
pub struct Routes {
    /// The node's name.
    pub node: String,
    /// How other nodes are reached.
    pub settings: Settings,
}

impl Routes {
    /// Starts following the cluster's nodes. Routes stay when the cluster stops, so that connections live on.
    #[must_use]
    pub fn start(&self, cluster: &Cluster) -> Task {
        // The proxy's role has what this reads.
        let proxy = Identity::new("system:kube-proxy", &["system:authenticated"]);
        let informers = cluster.informers(cluster.client_as(proxy).with_user_agent("windlass-routes"));
        let routes = Arc::new(NodeRoutes::new(self.settings.clone(), Arc::clone(cluster.spawn())));
        // What it says of the node, it says as the node, which may.
        let node = cluster.client_as(Registration::named(&self.node).identity()).with_user_agent("windlass-routes");
        let node = cluster.informers(node);
        let router = Router::new(&informers, routes, self.node.clone()).telling(node.parts());
        let router = router.run(cluster.stopping().clone());
        cluster.spawn().spawn("routes", router)
    }
}
