//! What a network is asked for: an interface of a sandbox, and how it is to be.

use std::{collections::BTreeMap, fmt, net::IpAddr, path::PathBuf};

use ipnet::IpNet;

use super::Dns;
use crate::{
    error::{Error, ErrorKind, Result},
    runtime::{PortMapping, SandboxId},
};

/// Which interface of which sandbox. Unique in a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttachmentKey {
    /// The sandbox: letters, digits, `_`, `.` and `-`, the first a letter or digit (`CNI_CONTAINERID`).
    pub sandbox: SandboxId,
    /// The interface's name in the sandbox: at most 15 bytes, as Linux allows (`CNI_IFNAME`).
    pub interface: String,
}

impl AttachmentKey {
    /// An interface of a sandbox.
    pub fn new(sandbox: impl Into<SandboxId>, interface: impl Into<String>) -> Self {
        Self { sandbox: sandbox.into(), interface: interface.into() }
    }

    /// Whether the names are such as can be used.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) with what is wrong.
    pub fn validate(&self) -> Result<()> {
        let sandbox = self.sandbox.as_str();
        let tail = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !sandbox.starts_with(|c: char| c.is_ascii_alphanumeric()) || !sandbox.chars().all(tail) {
            let message = format!("{sandbox:?} cannot name a sandbox: letters, digits, '_', '.' and '-' can");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let interface = self.interface.as_str();
        let reserved = matches!(interface, "" | "." | "..") || interface.len() > 15;
        if reserved || interface.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control()) {
            let message =
                format!("{interface:?} cannot name an interface: 1 to 15 bytes without '/', ':' and spaces can");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(())
    }
}

impl fmt::Display for AttachmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.sandbox, self.interface)
    }
}

/// The pod that a sandbox is of (`K8S_POD_NAMESPACE`, `K8S_POD_NAME`, `K8S_POD_UID`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodIdentity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// An interface that is asked for.
///
/// The same value goes to attach, detach and check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// Its key.
    pub key: AttachmentKey,
    /// The sandbox's network namespace, as a file. `None` where it is gone, which only detach accepts.
    pub namespace: Option<PathBuf>,
    /// The pod, where there is one.
    pub pod: Option<PodIdentity>,
    /// Further words for whoever understands them (`CNI_ARGS`). Neither names nor values hold `;` or `=`.
    pub arguments: BTreeMap<String, String>,
    /// What is wished for beyond an address.
    pub wishes: Wishes,
}

/// What may be wished for one attachment. A network fulfils those that it offers (CNI's capability arguments).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Ports of the node that lead to the sandbox (`portMappings`).
    pub ports: Vec<PortMapping>,
    /// How much it may send and receive (`bandwidth`).
    pub bandwidth: Bandwidth,
    /// Where its addresses come from: one of each set (`ipRanges`).
    pub ranges: Vec<Vec<AddressRange>>,
    /// Exactly these addresses (`ips`).
    pub addresses: Vec<IpNet>,
    /// This hardware address, such as `02:00:00:00:00:01` (`mac`).
    pub mac: Option<String>,
    /// How the pod's names are resolved, for networks that answer names themselves (`dns`).
    pub dns: Option<Dns>,
    /// Other names that the network should know the pod by (`aliases`).
    pub aliases: Vec<String>,
    /// The pod's control group, as a path below each hierarchy (`cgroupPath`).
    pub cgroup: Option<String>,
    /// The device that the interface is to be made of (`deviceID`).
    pub device: Option<String>,
}

/// Limits of traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// Of what the sandbox receives (`kubernetes.io/ingress-bandwidth`).
    pub ingress: Option<Rate>,
    /// Of what it sends (`kubernetes.io/egress-bandwidth`).
    pub egress: Option<Rate>,
}

/// A rate with a burst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Bits per second. Not zero.
    pub bits: u64,
    /// Bits that may go at once, above the rate. Not zero.
    pub burst: u64,
}

/// Addresses to choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRange {
    /// The network that they are of.
    pub subnet: IpNet,
    /// The first one; the network's first by default.
    pub start: Option<IpAddr>,
    /// The last one; the network's last by default.
    pub end: Option<IpAddr>,
    /// The gateway; the network's first address by default.
    pub gateway: Option<IpAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sandbox: &str, interface: &str, fine: bool) {
        assert_eq!(AttachmentKey::new(sandbox, interface).validate().is_ok(), fine, "{sandbox:?} {interface:?}");
    }

    #[test]
    fn names_are_those_of_cni_and_linux() {
        check("a", "eth0", true);
        check("0b_c.d-e", "fifteen-bytes-x", true);
        check("", "eth0", false);
        check("-a", "eth0", false);
        check("a/b", "eth0", false);
        check("a", "sixteen-bytes-xx", false);
        for interface in ["", ".", "..", "a/b", "a:b", "a b"] {
            check("a", interface, false);
        }
    }
}
