//! What `windlass node` is told, under the names that kubelet's users know.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args as Arguments, ValueEnum};
use windlass::{
    kernel::{Error, ErrorKind, Result},
    real::ContainerNode,
};

use super::{Eviction, Joining, OfNode, Place, PodNetwork, Range, Runtime};

#[derive(Debug, Arguments)]
pub(crate) struct Node {
    /// The kubeconfig that says where the API server is, and as whom the node speaks with it: system:node:NAME as a rule. It is read
    /// again when it changes.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub(crate) kubeconfig: PathBuf,
    /// Which context of the kubeconfig [default: its current one].
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) context: String,
    /// The node's name [default: this machine's].
    #[arg(long, value_name = "NAME", alias = "hostname-override")]
    pub(crate) name: Option<String>,
    /// The node's address [default: the one that leads to other machines].
    #[arg(long, value_name = "ADDR")]
    pub(crate) node_ip: Option<IpAddr>,
    #[command(flatten)]
    pub(crate) place: Place,
    /// What runs containers: a containerd of our own (auto), a given CRI socket, or containerd's own services without CRI (of our
    /// own containerd, or at a socket; only in a build with them).
    #[arg(long, value_name = "auto|cri:SOCKET|containerd[:SOCKET]", default_value = "auto")]
    pub(crate) runtime: Runtime,
    #[command(flatten)]
    pub(crate) joining: Joining,
    /// The range that the node's pods have addresses of [default: the one that the cluster gives the node].
    #[arg(long, value_name = "RANGE")]
    pub(crate) pod_cidr: Option<Range>,
    #[command(flatten)]
    pub(crate) pod_network: PodNetwork,
    /// Whether the node makes packet rules for the addresses of services; off where a kube-proxy does.
    #[arg(long, value_name = "on|off", default_value = "on")]
    pub(crate) service_rules: Switch,
    /// A kubeconfig of somebody who may follow services, endpoint slices and nodes, such as system:kube-proxy [default: the node's
    /// own, whose group has to have the role system:node-proxier].
    #[arg(long, value_name = "FILE")]
    pub(crate) proxy_kubeconfig: Option<PathBuf>,
    /// Where pods ask for names; may be given several times.
    #[arg(long, value_name = "ADDR,…", value_delimiter = ',', default_value = "10.96.0.10")]
    pub(crate) cluster_dns: Vec<IpAddr>,
    /// The domain of the cluster's services.
    #[arg(long, value_name = "NAME", default_value = "cluster.local")]
    pub(crate) cluster_domain: String,
    #[command(flatten)]
    pub(crate) eviction: Eviction,
    #[command(flatten)]
    pub(crate) of_node: OfNode,
    /// Write this file once the node is registered: it holds the node's name.
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

impl Node {
    /// Refuses what cannot be, before anything starts.
    pub(crate) fn check(&self) -> Result<()> {
        self.of_node.check(&self.runtime)?;
        self.joining.check()?;
        if self.pod_cidr.is_some() && matches!(self.runtime, Runtime::Cri(_)) {
            let message =
                "--pod-cidr needs --runtime auto or containerd: a runtime at a CRI socket gives pods addresses itself";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(())
    }

    /// Tells a node what is said of it.
    pub(crate) fn tell(&self, node: &mut ContainerNode) -> Result<()> {
        self.of_node.tell(node)?;
        self.joining.tell(node)?;
        self.pod_network.tell(node);
        node.pod_range = self.pod_cidr.map(|Range(range)| range);
        node.dns.servers = self.cluster_dns.iter().map(ToString::to_string).collect();
        node.dns.domain.clone_from(&self.cluster_domain);
        Ok(())
    }
}
