//! What `windlass node` is told, under the names that kubelet's users know.

use std::{net::IpAddr, path::PathBuf};

use clap::Args as Arguments;

use super::{Eviction, OfNode, Place, Runtime};

#[derive(Debug, Arguments)]
pub(crate) struct Node {
    /// The kubeconfig that says where the API server is, and as whom the node speaks with it: system:node:NAME as a rule.
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
    pub(crate) eviction: Eviction,
    #[command(flatten)]
    pub(crate) of_node: OfNode,
    /// Write this file once the node is registered: it holds the node's name.
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
}
