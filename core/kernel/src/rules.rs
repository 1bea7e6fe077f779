//! Packet rules for services: what is wanted, whoever turns it into rules.

use std::{fmt, fmt::Debug, net::IpAddr, time::Duration};

use async_trait::async_trait;

use crate::{controller::ObjectKey, error::Result};

/// A transport protocol of a service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// One port of one service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey {
    /// The service.
    pub service: ObjectKey,
    /// The port's number in the service.
    pub port: u16,
    /// The port's protocol.
    pub protocol: Protocol,
}

/// Which endpoints traffic may reach (`externalTrafficPolicy`, `internalTrafficPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// All endpoints of the cluster.
    #[default]
    Cluster,
    /// Only endpoints on this node.
    Local,
}

/// One endpoint that may receive new connections.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
    /// Whether it is on this node.
    pub local: bool,
}

/// What is wanted for one port of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Which port.
    pub key: PortKey,
    /// The addresses inside the cluster, each with the key's port.
    pub cluster_ips: Vec<IpAddr>,
    /// Addresses from outside (`externalIPs` and load balancers'), each with the key's port.
    pub external_ips: Vec<IpAddr>,
    /// The port on every node.
    pub node_port: Option<u16>,
    /// How long one client stays with one endpoint (`sessionAffinity: ClientIP`).
    pub affinity: Option<Duration>,
    /// Which endpoints traffic from inside may reach.
    pub internal: Reach,
    /// Which endpoints traffic from outside may reach.
    pub external: Reach,
    /// The endpoints, in order and without repetition.
    pub endpoints: Vec<Endpoint>,
}

/// What changed in the wanted set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RulesChange {
    /// Ports that are new or different. One that is in `gone` too is wanted.
    pub put: Vec<ServicePort>,
    /// Ports that are no longer wanted.
    pub gone: Vec<PortKey>,
}

/// Turns the wanted set of service ports into packet rules.
///
/// # Contract
///
/// 1. **Atomic.** A call's change is applied as a whole or not at all; no packet sees half of it.
/// 2. **Cost follows change.** [`change`](ServiceRules::change) costs what it names, whatever is there already.
/// 3. **Level-triggered.** After [`replace`](ServiceRules::replace) the rules are those of the set, whatever was there.
/// 4. **Established connections live.** Rules decide about new connections only.
/// 5. **Refused, not dropped.** A wanted port without endpoints refuses connections at once.
/// 6. **One owner.** An address and port that several ports want is the one's that has it as a cluster address, among alike
///    the first's by its key; it is the next one's when that one goes.
/// 7. **Cleans up.** After [`clear`](ServiceRules::clear) nothing of it is left. Idempotent.
#[async_trait]
pub trait ServiceRules: Debug + Send + Sync + 'static {
    /// Makes the rules those of `wanted` and nothing else.
    async fn replace(&self, wanted: Vec<ServicePort>) -> Result<()>;

    /// Changes the rules.
    async fn change(&self, change: RulesChange) -> Result<()>;

    /// Removes every rule, chain and table.
    async fn clear(&self) -> Result<()>;
}

/// Packets that a node remembers the way of, by where they were sent.
///
/// A connection ends; what has none, such as UDP, goes on where it went for as long as packets come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flows {
    /// The protocol.
    pub protocol: Protocol,
    /// The address that they were sent to; `None` for any, of those that were led elsewhere.
    pub to: Option<IpAddr>,
    /// The port that they were sent to.
    pub port: u16,
    /// Where they may have been led.
    pub kept: Vec<(IpAddr, u16)>,
}

/// What a node remembers of where packets went (conntrack).
///
/// # Contract
///
/// 1. **Forgotten.** After forget, the next packet of a flow that was led to anything but what is kept is led anew.
/// 2. **Nothing else.** Flows that are kept, and those to other addresses and ports, go on.
/// 3. **Idempotent.** What is forgotten already is forgotten.
#[async_trait]
pub trait FlowMemory: Debug + Send + Sync + 'static {
    /// Forgets flows. [`NotSupported`](crate::ErrorKind::NotSupported) where the node has no such memory to look into.
    async fn forget(&self, flows: Vec<Flows>) -> Result<()>;
}
