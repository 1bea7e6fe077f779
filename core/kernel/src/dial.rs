//! Connections as an input.

use std::fmt::{self, Debug};

use async_trait::async_trait;
use futures::io::{AsyncRead, AsyncWrite};

use crate::error::Result;

/// A two-way stream of bytes.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + ?Sized> Duplex for T {}

/// A two-way stream of bytes, owned.
pub type ByteStream = Box<dyn Duplex>;

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A host name or address with a port.
    Host {
        /// The name or address.
        host: String,
        /// The TCP port.
        port: u16,
    },
    /// A socket file on this machine.
    Unix(String),
    /// A port of a node, such as its agent's API.
    Node {
        /// The node's name.
        name: String,
        /// The TCP port.
        port: u16,
    },
    /// A port of a pod.
    Pod {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        name: String,
        /// The TCP port.
        port: u16,
    },
    /// A port of a service, by number.
    Service {
        /// The service's namespace.
        namespace: String,
        /// The service's name.
        name: String,
        /// The TCP port.
        port: u16,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Host { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => f.write_str(path),
            Self::Node { name, port } => write!(f, "port {port} of node {name}"),
            Self::Pod { namespace, name, port } => write!(f, "port {port} of pod {namespace}/{name}"),
            Self::Service { namespace, name, port } => write!(f, "port {port} of service {namespace}/{name}"),
        }
    }
}

/// Opens connections.
///
/// # Contract
///
/// 1. **Plain.** The stream carries bytes as they are; TLS is the caller's. The API of a node's agent
///    (`status.daemonEndpoints.kubeletEndpoint`) is the exception: what leads there has agreed on TLS and has said who asks, so
///    that HTTP can be spoken at once.
/// 2. **Unavailable, not hanging.** A target that refuses answers [`Unavailable`](crate::ErrorKind::Unavailable); a kind
///    of target that the implementation does not reach answers [`NotSupported`](crate::ErrorKind::NotSupported).
/// 3. **Cancel-safe.** Dropping the future closes what was opened.
#[async_trait]
pub trait Dial: Debug + Send + Sync + 'static {
    /// Connects to `target`.
    async fn dial(&self, target: &Target) -> Result<ByteStream>;
}
