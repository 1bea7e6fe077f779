//! What the command line says.

mod client;
mod conform;
mod eviction;
mod joining;
mod later;
mod node;
mod of_node;
mod pod_network;
mod range;
pub(crate) mod serving;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args as Arguments, Parser, Subcommand};

pub(crate) use self::{
    client::{Apply, Delete, Exec, Explain, Get, Logs, Output, Reach, Scope, Status, Told},
    conform::{
        Conform, ConformApi, ConformCni, ConformCri, ConformCsi, ConformNode, ConformUpstream, Kind, Lacking, Reports,
    },
    eviction::Eviction,
    joining::Joining,
    node::{Node, Switch},
    of_node::OfNode,
    pod_network::PodNetwork,
    range::Range,
    serving::Serving,
};

/// A Kubernetes cluster in one process.
#[derive(Debug, Parser)]
#[command(name = "windlass", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a cluster and stay in the foreground. Ctrl-C ends the control plane; pods go on running.
    Up(Box<Up>),
    /// Run the pods of this machine for a cluster elsewhere, and stay in the foreground. Ctrl-C ends the node's agent; pods go on
    /// running.
    Node(Box<Node>),
    /// End the cluster or the node and its pods, and remove every rule, namespace, mount and cgroup of theirs.
    Down(Down),
    /// Say how the cluster is.
    Status(Status),
    /// Show objects.
    Get(Get),
    /// Create or change objects to be as files say (server-side apply).
    Apply(Apply),
    /// Delete objects.
    Delete(Delete),
    /// Print what a container wrote.
    Logs(Logs),
    /// Say why a pod is where it is, or nowhere: every node, every score, and the smallest change that would help.
    Explain(Explain),
    /// Run a command in a container.
    Exec(Exec),
    /// Check somebody's plugin against the contract and the specification that it has to keep.
    Conform(Conform),
    /// Carry a container's streams: `windlass up --runtime containerd` starts this beside each container.
    #[command(hide = true)]
    Carry {
        /// What the runtime says.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Print the version.
    Version,
}

/// Which cluster.
#[derive(Clone, Debug, Arguments)]
pub(crate) struct Place {
    /// Where the cluster keeps its state [default: /var/lib/windlass as root, else ~/.local/share/windlass].
    #[arg(long, value_name = "DIR", env = "WINDLASS_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Debug, Arguments)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Where the API listens.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6443")]
    pub(crate) listen: SocketAddr,
    /// What runs containers: a containerd of our own (auto), a given CRI socket, containerd's own services without CRI (of our own
    /// containerd, or at a socket; only in a build with them), or nothing real (fake).
    #[arg(long, value_name = "auto|cri:SOCKET|containerd[:SOCKET]|fake", default_value = "auto")]
    pub(crate) runtime: Runtime,
    /// How many nodes; more than one needs --runtime fake [default: 1, or what --simulate counts].
    #[arg(long, value_name = "N")]
    pub(crate) nodes: Option<u16>,
    /// What nodes and pods do, with --runtime fake: simulations and KWOK's stages, as docs/guide/simulation.md says.
    #[arg(long, value_name = "FILE")]
    pub(crate) simulate: Vec<PathBuf>,
    /// How pods are scheduled: upstream's KubeSchedulerConfiguration, as docs/guide/scheduler-configuration.md says.
    #[arg(long, value_name = "FILE")]
    pub(crate) scheduler_config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) serving: Serving,
    #[command(flatten)]
    pub(crate) eviction: Eviction,
    #[command(flatten)]
    pub(crate) of_node: OfNode,
    #[command(flatten)]
    pub(crate) pod_network: PodNetwork,
    /// How long the prefix of a node's part of --cluster-cidr is. With --runtime fake, nodes get parts only where --cluster-cidr is
    /// given.
    #[arg(long, value_name = "N", default_value_t = 24)]
    pub(crate) node_cidr_mask_size: u8,
    /// Also write an administrator's kubeconfig there (mode 0600).
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Write this file once the API answers: it holds the milliseconds since the process started.
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
}

#[derive(Debug, Arguments)]
pub(crate) struct Down {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Remove the data directory too.
    #[arg(long)]
    pub(crate) purge: bool,
}

/// What runs containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    Auto,
    Cri(PathBuf),
    Containerd(Option<PathBuf>),
    Fake,
}

impl std::str::FromStr for Runtime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = |socket: &str| PathBuf::from(socket.strip_prefix("unix://").unwrap_or(socket));
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            None if text == "containerd" => Ok(Self::Containerd(None)),
            Some(("containerd", socket)) if !socket.is_empty() => Ok(Self::Containerd(Some(path(socket)))),
            None if text == "fake" => Ok(Self::Fake),
            Some(("cri", socket)) if !socket.is_empty() => Ok(Self::Cri(path(socket))),
            _ => {
                Err("expected auto, fake, containerd, or cri:SOCKET, such as cri:/run/containerd/containerd.sock"
                    .into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<&Runtime>) {
        assert_eq!(text.parse().ok().as_ref(), expect, "{text}");
    }

    #[test]
    fn a_runtime_is_a_word_or_a_socket() {
        check("auto", Some(&Runtime::Auto));
        check("fake", Some(&Runtime::Fake));
        check("cri:/run/x.sock", Some(&Runtime::Cri("/run/x.sock".into())));
        check("cri:unix:///run/x.sock", Some(&Runtime::Cri("/run/x.sock".into())));
        check("cri:", None);
        check("containerd", Some(&Runtime::Containerd(None)));
        check("containerd:/run/x.sock", Some(&Runtime::Containerd(Some("/run/x.sock".into()))));
        check("containerd:", None);
        check("docker", None);
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }
}
