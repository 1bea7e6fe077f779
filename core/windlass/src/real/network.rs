//! Services on this machine: packet rules for their addresses, and a name server for their names.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use parking_lot::RwLock;
use serde_json::json;
use windlass_api::{
    core::v1::Service,
    discovery::v1::EndpointSlice,
    rbac::v1::{ClusterRole, ClusterRoleBinding},
    types::Resource,
};
use windlass_client::{Client, Informers, gvr, informer::Parts};
use windlass_dns::{Follower, Server, Zone, serve::upstream_of};
use windlass_kernel::{ClockExt, Error, ErrorKind, Identity, Result, ServiceRules, SpawnExt, Stop, Task, api::Verb};
use windlass_proxy::{NftRules, Proxy};

use super::machine::prepare_for_services;
use crate::Cluster;

/// Where pods ask for names.
pub const DNS_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10));

/// The port that the name server listens at on the node.
const DNS_PORT: u16 = 10_053;

/// How long to wait before it is asked again whether services may be read.
const AGAIN: Duration = Duration::from_secs(30);

/// The role of kube-proxies, for nodes that follow services as themselves.
const PROXIES: &str = "windlass:node-proxier";

/// Packet rules on this machine for the addresses of services: what kube-proxy does on a node.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The node's name.
    pub node: String,
}

impl Rules {
    /// Starts following the services of the cluster that `parts` lead to. Rules stay when it stops, so that connections live
    /// on; [`Leftovers`](super::Leftovers) removes them.
    #[must_use]
    pub fn start(&self, parts: &Parts, stop: &Stop) -> Task {
        prepare_for_services();
        let rules = NftRules::new(Arc::clone(&parts.spawn));
        #[cfg(feature = "cni")]
        let rules = rules.forgetting(Arc::new(windlass_cni::flows::KernelFlows::new(Arc::clone(&parts.spawn))));
        let rules: Arc<dyn ServiceRules> = Arc::new(rules);
        let (parts, node, stop) = (parts.clone(), self.node.clone(), stop.clone());
        Arc::clone(&parts.spawn).spawn("proxy", async move {
            if stop.race(permitted(&parts)).await.is_some() {
                Proxy::new(&Informers::new(parts), rules, node).run(stop).await;
            }
        })
    }
}

/// Waits until services may be followed, and says what is in the way.
async fn permitted(parts: &Parts) {
    loop {
        let mut request = parts.client.request(Verb::List, gvr::<EndpointSlice>());
        request.options.limit = 1;
        match parts.client.call(request).await {
            // What else may go wrong is tried again by whoever follows.
            Err(error) if error.is(ErrorKind::Forbidden) => {
                tracing::error!(
                    %error,
                    "addresses of services lead nowhere on this node, which may not follow them: bind the ClusterRole \
                     system:node-proxier to the group system:nodes, or name a kubeconfig of somebody who may"
                );
                parts.clock.sleep(AGAIN).await;
            }
            _ => return,
        }
    }
}

/// Lets nodes follow services and other nodes as themselves, as `windlass node` does: the role of kube-proxies for the group of
/// nodes. Made once: whoever takes the subjects out is not overruled.
///
/// # Errors
///
/// Those of the API.
pub async fn let_nodes_follow_services(client: &Client) -> Result<()> {
    let binding = json!({
        "metadata": {"name": PROXIES},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:node-proxier"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}],
    });
    match client.create(&built_in::<ClusterRoleBinding>(binding)?).await {
        Err(error) if error.is(ErrorKind::AlreadyExists) => Ok(()),
        made => made.map(drop),
    }
}

/// Services of a cluster on this machine.
#[derive(Clone, Debug)]
pub struct Services {
    /// The node's name.
    pub node: String,
    /// The node's address, which the name server listens at.
    pub address: IpAddr,
}

impl Services {
    /// Starts the service rules and the name server. Rules stay when the cluster stops, so that connections live on.
    ///
    /// # Errors
    ///
    /// Those of the API, where the service `kube-dns` cannot be written.
    pub async fn start(&self, cluster: &Cluster) -> Result<Vec<Task>> {
        self.announce(&cluster.client().with_field_manager("windlass")).await?;

        let proxy = Identity::new("system:kube-proxy", &["system:authenticated"]);
        let parts = cluster.parts(cluster.client_as(proxy).with_user_agent("kube-proxy"));
        let proxy = Rules { node: self.node.clone() }.start(&parts, cluster.stopping());

        let groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"];
        let dns = Identity::new("system:serviceaccount:kube-system:kube-dns", &groups);
        let informers = cluster.informers(cluster.client_as(dns).with_user_agent("windlass-dns"));
        let zone = Arc::new(RwLock::new(Zone::new("cluster.local")));
        let follower = Follower::new(&informers, Arc::clone(&zone)).run(cluster.stopping().clone());
        let upstream = upstream_of(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
        let server = Server::new(zone, upstream, Arc::clone(cluster.clock()), Arc::clone(cluster.spawn()));
        let (at, stop) = (SocketAddr::new(self.address, DNS_PORT), cluster.stopping().clone());
        let serving = async move {
            if let Err(error) = server.run(at, stop).await {
                tracing::error!(%error, "names of services are not answered");
            }
        };
        let spawn = cluster.spawn();
        Ok(vec![proxy, spawn.spawn("dns.follow", follower), spawn.spawn("dns.serve", serving)])
    }

    /// Makes the service that leads pods to the name server, and the role that the name server reads with.
    async fn announce(&self, client: &Client) -> Result<()> {
        // The names and labels are upstream's: `kubectl cluster-info` looks for them.
        let named = |protocol: &str| if protocol == "UDP" { "dns" } else { "dns-tcp" };
        let port = |protocol: &str| json!({"name": named(protocol), "port": 53, "protocol": protocol});
        let labels = json!({
            "k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "KubeDNS",
        });
        let service = json!({
            "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
            "spec": {"clusterIP": DNS_ADDRESS, "ports": [port("UDP"), port("TCP")]},
        });
        let target = |protocol: &str| json!({"name": named(protocol), "port": DNS_PORT, "protocol": protocol});
        let slice = json!({
            "metadata": {
                "name": "kube-dns-windlass", "namespace": "kube-system",
                "labels": {"kubernetes.io/service-name": "kube-dns", "endpointslice.kubernetes.io/managed-by": "windlass"},
            },
            "addressType": "IPv4",
            "ports": [target("UDP"), target("TCP")],
            "endpoints": [{"addresses": [self.address], "conditions": {"ready": true}, "nodeName": self.node}],
        });
        let rule =
            json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]});
        let role = json!({"metadata": {"name": "windlass:dns"}, "rules": [rule]});
        let binding = json!({
            "metadata": {"name": "windlass:dns"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "windlass:dns"},
            "subjects": [{"kind": "ServiceAccount", "name": "kube-dns", "namespace": "kube-system"}],
        });
        // Upstream's role `system:kube-dns` is older than slices.
        apply::<ClusterRole>(client, role).await?;
        apply::<ClusterRoleBinding>(client, binding).await?;
        apply::<Service>(client, service).await?;
        apply::<EndpointSlice>(client, slice).await
    }
}

async fn apply<T: Resource>(client: &Client, object: serde_json::Value) -> Result<()> {
    client.apply(&built_in::<T>(object)?, windlass_client::Force::Yes).await.map(drop)
}

fn built_in<T: Resource>(object: serde_json::Value) -> Result<T> {
    serde_json::from_value(object)
        .map_err(|error| Error::new(ErrorKind::Internal, "a built-in object has no such form").with_source(error))
}
