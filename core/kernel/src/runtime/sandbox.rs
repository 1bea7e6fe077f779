//! A sandbox: what the containers of one pod share.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;

use super::{Namespaces, Resources, SandboxId, Security};

/// Which pod a sandbox is of, and which try it is. Unique within a runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SandboxKey {
    /// The pod's name.
    pub name: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's uid.
    pub uid: String,
    /// The try: raised for each new sandbox of one pod.
    pub attempt: u32,
}

/// What a sandbox is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxConfig {
    /// Its key.
    pub key: SandboxKey,
    /// The host name. Empty when it uses the node's network.
    pub hostname: String,
    /// Where the logs of its containers go: an absolute path on the node; empty keeps no logs.
    pub log_directory: String,
    /// How names are resolved inside; `None` copies what the node has.
    pub dns: Option<Dns>,
    /// Ports of the node that lead into it.
    pub ports: Vec<PortMapping>,
    /// What it can be found by.
    pub labels: BTreeMap<String, String>,
    /// What is kept with it, unread.
    pub annotations: BTreeMap<String, String>,
    /// The control group above its containers, as a path; empty leaves it to the runtime.
    pub cgroup_parent: String,
    /// Kernel parameters of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// What running the sandbox itself costs, for runtimes that size a machine by it.
    pub overhead: Option<Resources>,
    /// What its containers may use together, for runtimes that size a machine by it.
    pub resources: Option<Resources>,
    /// Its rights.
    pub security: Security,
    /// The runtime handler; empty for the default one.
    pub handler: String,
}

/// The content of a resolver's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Name servers.
    pub servers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Options, such as `ndots:5`.
    pub options: Vec<String>,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port of the node that leads to a port of the sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortMapping {
    /// The protocol.
    pub protocol: Protocol,
    /// The port inside.
    pub container_port: u16,
    /// The port on the node.
    pub host_port: u16,
    /// The node's address to listen on; empty for all.
    pub host_ip: String,
}

/// Whether a sandbox can run containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SandboxState {
    /// It can.
    Ready,
    /// It was stopped, or its own process ended.
    NotReady,
}

/// A sandbox as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Its id.
    pub id: SandboxId,
    /// Its key.
    pub key: SandboxKey,
    /// Its state.
    pub state: SandboxState,
    /// When it was made.
    pub created: Timestamp,
    /// What it can be found by.
    pub labels: BTreeMap<String, String>,
    /// What is kept with it.
    pub annotations: BTreeMap<String, String>,
    /// The runtime handler; empty for the default one.
    pub handler: String,
}

/// Everything a runtime says about a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxStatus {
    /// What a list shows.
    pub sandbox: Sandbox,
    /// Its addresses, the main one first; none when it uses the node's network or has no network any more.
    pub ips: Vec<IpAddr>,
    /// Its namespaces.
    pub namespaces: Namespaces,
}

/// Which sandboxes to list: those to which everything that is set applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxFilter {
    /// The id.
    pub id: Option<SandboxId>,
    /// The state.
    pub state: Option<SandboxState>,
    /// Labels with their values.
    pub labels: BTreeMap<String, String>,
}
