//! What `windlass node` is told, under the names that kubelet's users know.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use anyhow::{Context, Result};
use clap::{Args as Arguments, ValueEnum};
use tokio::net::TcpListener;
use windlass::{
    kernel::{Error, ErrorKind},
    real::ContainerNode,
    serve::{CertificateFiles, NodeApi},
};
use windlass_client::kubeconfig::Access;

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
    #[command(flatten)]
    pub(crate) api: Api,
    /// Write this file once the node is registered: it holds the node's name.
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
}

/// The API of the node itself.
#[derive(Debug, Arguments)]
pub(crate) struct Api {
    /// Where the node's own API listens, over HTTPS: logs, sessions, figures.
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0")]
    address: IpAddr,
    /// At which port; 0 serves no API, so that the cluster has no logs, sessions or figures of this node.
    #[arg(long, value_name = "PORT", default_value_t = 10_250)]
    pub(crate) port: u16,
    /// The authority (PEM) of the clients of that API [default: the authority in the kubeconfig].
    #[arg(long, value_name = "FILE")]
    client_ca_file: Option<PathBuf>,
    /// The certificate (PEM) that the API shows, with those that signed it [default: one of its own making].
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// The private key (PEM) of that certificate.
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    tls_private_key_file: Option<PathBuf>,
}

impl Api {
    /// Begins to listen for the API of a node of that name and address; `None` where it is to serve none.
    pub(crate) async fn listen(&self, name: &str, address: IpAddr, access: &Access) -> Result<Option<NodeApi>> {
        if self.port == 0 {
            return Ok(None);
        }
        let clients = match &self.client_ca_file {
            Some(file) => std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?,
            None => access.authority.clone(),
        };
        if clients.is_empty() {
            let message = "the kubeconfig has no certificate authority that could vouch for clients of the node's API: name one by \
                           --client-ca-file, or serve none by --port 0";
            return Err(Error::new(ErrorKind::Invalid, message).into());
        }
        let at = SocketAddr::new(self.address, self.port);
        let listener = TcpListener::bind(at).await.map_err(|error| {
            let message = format!("cannot listen on {at} for the node's API: choose another --port");
            Error::new(ErrorKind::Unavailable, message).with_source(error)
        })?;
        let files = self.tls_cert_file.clone().zip(self.tls_private_key_file.clone());
        Ok(Some(NodeApi {
            listener,
            name: name.into(),
            reached_at: vec![name.into(), address.to_string(), "localhost".into(), "127.0.0.1".into()],
            certificate: files.map(|(certificate, key)| CertificateFiles { certificate, key }),
            clients: String::from_utf8(clients).context("the authority of clients is not PEM")?,
        }))
    }
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
            return Err(Error::new(ErrorKind::Invalid, message).into());
        }
        Ok(())
    }

    /// Tells a node what is said of it.
    pub(crate) fn tell(&self, node: &mut ContainerNode) -> windlass::kernel::Result<()> {
        self.of_node.tell(node)?;
        self.joining.tell(node)?;
        self.pod_network.tell(node);
        node.pod_range = self.pod_cidr.map(|Range(range)| range);
        node.dns.servers = self.cluster_dns.iter().map(ToString::to_string).collect();
        node.dns.domain.clone_from(&self.cluster_domain);
        Ok(())
    }
}
