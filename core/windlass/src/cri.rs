//! Nodes of real containers: the reference agent over a runtime's CRI socket.

use std::{
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::PathBuf,
    sync::Arc,
};

use async_trait::async_trait;
use windlass_cri::host::{RemoteRuntime, Rim};
use windlass_kernel::{NodeAgent, Result};
use windlass_node::{ClusterDns, Config, Needs, PodAgent, host::Registration};

use crate::{
    cluster::{NodeParts, NodeSource},
    rim::SystemDial,
};

/// This machine as a node, with a container runtime behind a CRI socket.
#[derive(Clone, Debug)]
pub struct CriNode {
    /// How the node presents itself.
    pub registration: Registration,
    /// The runtime's socket.
    pub socket: PathBuf,
    /// How the agent keeps its pods.
    pub config: Config,
}

impl CriNode {
    /// A node of that name with the machine's main address; volumes and logs go below `data_dir`.
    #[must_use]
    pub fn new(name: impl Into<String>, socket: impl Into<PathBuf>, data_dir: impl Into<PathBuf>) -> Self {
        let name = name.into();
        let mut config = Config::new(name.clone(), data_dir);
        config.addresses = vec![main_address()];
        Self { registration: Registration::named(name), socket: socket.into(), config }
    }

    /// The node's addresses, the main one first.
    #[must_use]
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.config.addresses = addresses.into_iter().collect();
        self
    }

    /// The cluster's DNS servers, for pods that ask the cluster first.
    #[must_use]
    pub fn dns(mut self, servers: impl IntoIterator<Item = IpAddr>, domain: impl Into<String>) -> Self {
        let servers = servers.into_iter().map(|server| server.to_string()).collect();
        self.config.dns = ClusterDns { servers, domain: domain.into() };
        self
    }

    /// Where pods find the API, if there is no service `kubernetes`.
    #[must_use]
    pub fn api(mut self, host: impl Into<String>, port: u16) -> Self {
        self.config.api = Some((host.into(), port));
        self
    }
}

/// The address that this machine speaks to others with. Nothing is sent to find out.
fn main_address() -> IpAddr {
    let ask = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // An address for documentation (RFC 5737): only the way there is looked up.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    let found: std::io::Result<_> = ask();
    found.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

#[async_trait]
impl NodeSource for CriNode {
    fn registration(&self) -> Registration {
        self.registration.clone()
    }

    async fn agent(&self, parts: NodeParts) -> Result<Arc<dyn NodeAgent>> {
        let rim = Rim { dial: Arc::new(SystemDial), clock: Arc::clone(&parts.clock), spawn: Arc::clone(&parts.spawn) };
        let runtime = RemoteRuntime::connect(self.socket.to_string_lossy().into_owned(), rim).await?;
        let needs = Needs {
            runtime: Arc::new(runtime.clone()),
            images: Arc::new(runtime),
            context: parts.context,
            clock: parts.clock,
            spawn: parts.spawn,
            entropy: parts.entropy,
            dial: Arc::new(SystemDial),
        };
        Ok(Arc::new(PodAgent::start(self.config.clone(), needs).await?))
    }
}
