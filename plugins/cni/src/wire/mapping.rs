//! The only place that turns CNI's types into the kernel's and back.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use windlass_kernel::{
    Error, ErrorKind, Result,
    network::{
        Address, AddressRange, Attached, Attachment, AttachmentKey, Bandwidth, Dns, Interface, PodIdentity, Rate,
        Route, Wishes,
    },
    runtime::{PortMapping, Protocol},
};

use super::{
    AddResult, CniError, IpRange, PortMap, RuntimeBandwidth, RuntimeConfig, RuntimeDns, ValidAttachment, WireDns,
    WireInterface, WireIp, WireRoute, code,
};

// Results.

/// What a result says.
#[must_use]
pub fn attached_from_wire(result: &AddResult) -> Attached {
    let path = |text: &String| (!text.is_empty()).then(|| PathBuf::from(text));
    let interfaces = result.interfaces.iter().map(|interface| Interface {
        name: interface.name.clone(),
        mac: interface.mac.clone(),
        mtu: interface.mtu,
        sandbox: path(&interface.sandbox),
        socket: path(&interface.socket_path),
        pci: Some(interface.pci_id.clone()).filter(|id| !id.is_empty()),
    });
    let addresses = result.ips.iter().map(|ip| Address {
        address: ip.address,
        gateway: ip.gateway,
        interface: ip.interface.and_then(|at| usize::try_from(at).ok()),
    });
    let dns = &result.dns;
    Attached {
        interfaces: interfaces.collect(),
        addresses: addresses.collect(),
        routes: result.routes.iter().map(route_from_wire).collect(),
        dns: Dns {
            servers: dns.nameservers.clone(),
            domain: dns.domain.clone(),
            searches: dns.search.clone(),
            options: dns.options.clone(),
        },
    }
}

/// A route.
#[must_use]
pub fn route_from_wire(route: &WireRoute) -> Route {
    Route {
        destination: route.dst,
        gateway: route.gw,
        mtu: route.mtu,
        advertised_mss: route.advmss,
        priority: route.priority,
        table: route.table,
        scope: route.scope,
    }
}

/// A result that says it. Its version is set when it is written.
#[must_use]
pub fn attached_to_wire(attached: &Attached) -> AddResult {
    let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let interfaces = attached.interfaces.iter().map(|interface| WireInterface {
        name: interface.name.clone(),
        mac: interface.mac.clone(),
        mtu: interface.mtu,
        sandbox: text(&interface.sandbox),
        socket_path: text(&interface.socket),
        pci_id: interface.pci.clone().unwrap_or_default(),
    });
    let ips = attached.addresses.iter().map(|address| WireIp {
        version: None,
        address: address.address,
        gateway: address.gateway,
        interface: address.interface.and_then(|at| i64::try_from(at).ok()),
    });
    let routes = attached.routes.iter().map(|route| WireRoute {
        dst: route.destination,
        gw: route.gateway,
        mtu: route.mtu,
        advmss: route.advertised_mss,
        priority: route.priority,
        table: route.table,
        scope: route.scope,
    });
    let dns = attached.dns.clone();
    AddResult {
        cni_version: String::new(),
        interfaces: interfaces.collect(),
        ips: ips.collect(),
        routes: routes.collect(),
        dns: WireDns { nameservers: dns.servers, domain: dns.domain, search: dns.searches, options: dns.options },
    }
}

// Wishes.

/// Capability arguments as wishes.
///
/// # Errors
///
/// [`Invalid`](ErrorKind::Invalid), naming what cannot be read.
pub fn wishes_from_wire(config: &RuntimeConfig) -> Result<Wishes> {
    let address = |text: &String| {
        let alone = |ip: IpAddr| IpNet::from(ip);
        let read = text.parse().or_else(|_| text.parse().map(alone));
        read.map_err(|_| Error::new(ErrorKind::Invalid, format!("runtimeConfig.ips: {text:?} is no address")))
    };
    let bandwidth = config.bandwidth.clone().unwrap_or_default();
    Ok(Wishes {
        ports: config.port_mappings.iter().map(port_from_wire).collect::<Result<_>>()?,
        bandwidth: Bandwidth {
            ingress: rate_from_wire("ingress", bandwidth.ingress_rate, bandwidth.ingress_burst)?,
            egress: rate_from_wire("egress", bandwidth.egress_rate, bandwidth.egress_burst)?,
        },
        ranges: config.ip_ranges.iter().map(|set| set.iter().map(range_from_wire).collect()).collect(),
        addresses: config.ips.iter().map(address).collect::<Result<_>>()?,
        mac: config.mac.clone(),
        dns: config.dns.as_ref().map(|dns| Dns {
            servers: dns.servers.clone(),
            domain: String::new(),
            searches: dns.searches.clone(),
            options: dns.options.clone(),
        }),
        aliases: config.aliases.clone(),
        cgroup: config.cgroup_path.clone(),
        device: config.device_id.clone(),
    })
}

/// Addresses to choose from.
#[must_use]
pub fn range_from_wire(range: &IpRange) -> AddressRange {
    AddressRange { subnet: range.subnet, start: range.range_start, end: range.range_end, gateway: range.gateway }
}

/// Wishes as capability arguments: all of them. The host hands each plugin those that it declares.
#[must_use]
pub fn wishes_to_wire(wishes: &Wishes) -> RuntimeConfig {
    let range = |range: &AddressRange| IpRange {
        subnet: range.subnet,
        range_start: range.start,
        range_end: range.end,
        gateway: range.gateway,
    };
    let (ingress, egress) = (wishes.bandwidth.ingress.unwrap_or_default(), wishes.bandwidth.egress.unwrap_or_default());
    let bandwidth = (wishes.bandwidth != Bandwidth::default()).then_some(RuntimeBandwidth {
        ingress_rate: ingress.bits,
        ingress_burst: ingress.burst,
        egress_rate: egress.bits,
        egress_burst: egress.burst,
    });
    RuntimeConfig {
        port_mappings: wishes.ports.iter().map(port_to_wire).collect(),
        bandwidth,
        ip_ranges: wishes.ranges.iter().map(|set| set.iter().map(range).collect()).collect(),
        ips: wishes.addresses.iter().map(ToString::to_string).collect(),
        mac: wishes.mac.clone(),
        dns: wishes.dns.as_ref().map(|dns| RuntimeDns {
            searches: dns.searches.clone(),
            servers: dns.servers.clone(),
            options: dns.options.clone(),
        }),
        aliases: wishes.aliases.clone(),
        cgroup_path: wishes.cgroup.clone(),
        device_id: wishes.device.clone(),
    }
}

fn rate_from_wire(what: &str, bits: u64, burst: u64) -> Result<Option<Rate>> {
    match (bits, burst) {
        (0, 0) => Ok(None),
        (0, _) | (_, 0) => {
            let message = format!("runtimeConfig.bandwidth: {what} needs both a rate and a burst");
            Err(Error::new(ErrorKind::Invalid, message))
        }
        (bits, burst) => Ok(Some(Rate { bits, burst })),
    }
}

fn port_from_wire(port: &PortMap) -> Result<PortMapping> {
    let protocol = match port.protocol.to_ascii_lowercase().as_str() {
        "" | "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        other => {
            let message = format!("runtimeConfig.portMappings: {other:?} is not tcp, udp or sctp");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
    };
    if port.container_port == 0 {
        return Err(Error::new(ErrorKind::Invalid, "runtimeConfig.portMappings: containerPort is not set"));
    }
    let (container_port, host_port, host_ip) = (port.container_port, port.host_port, port.host_ip.clone());
    Ok(PortMapping { protocol, container_port, host_port, host_ip })
}

fn port_to_wire(port: &PortMapping) -> PortMap {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    };
    PortMap {
        host_port: port.host_port,
        container_port: port.container_port,
        protocol: protocol.into(),
        host_ip: port.host_ip.clone(),
    }
}

// Arguments.

/// `CNI_ARGS` of an attachment: the pod by Kubernetes' names, and further words.
#[must_use]
pub fn arguments_to_wire(attachment: &Attachment) -> Vec<(String, String)> {
    let mut arguments: Vec<(String, String)> = vec![("IgnoreUnknown".into(), "1".into())];
    if let Some(pod) = &attachment.pod {
        let sandbox = attachment.key.sandbox.to_string();
        let known = [
            ("K8S_POD_NAMESPACE", &pod.namespace),
            ("K8S_POD_NAME", &pod.name),
            ("K8S_POD_INFRA_CONTAINER_ID", &sandbox),
            ("K8S_POD_UID", &pod.uid),
        ];
        arguments.extend(known.map(|(name, value)| (name.to_owned(), value.clone())));
    }
    arguments.extend(attachment.arguments.clone());
    arguments
}

/// The pod and the further words of `CNI_ARGS`.
///
/// # Errors
///
/// [`Invalid`](ErrorKind::Invalid) where a word has no value.
pub fn arguments_from_wire(text: &str) -> Result<(Option<PodIdentity>, BTreeMap<String, String>)> {
    let mut words = BTreeMap::new();
    for pair in text.split(';').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Error::new(ErrorKind::Invalid, format!("CNI_ARGS: {pair:?} is not name=value")));
        };
        words.insert(name.to_owned(), value.to_owned());
    }
    // They say nothing that is not said elsewhere.
    for known in ["IgnoreUnknown", "K8S_POD_INFRA_CONTAINER_ID"] {
        words.remove(known);
    }
    let [namespace, name, uid] =
        ["K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_UID"].map(|word| words.remove(word).unwrap_or_default());
    let pod = PodIdentity { namespace, name, uid };
    Ok(((pod != PodIdentity::default()).then_some(pod), words))
}

// Attachments that are wanted.

/// The keys that GC names.
#[must_use]
pub fn keys_from_wire(valid: &[ValidAttachment]) -> Vec<AttachmentKey> {
    valid.iter().map(|one| AttachmentKey::new(one.container_id.as_str(), one.ifname.as_str())).collect()
}

/// What GC is told.
#[must_use]
pub fn keys_to_wire(keys: &[AttachmentKey]) -> Vec<ValidAttachment> {
    let one =
        |key: &AttachmentKey| ValidAttachment { container_id: key.sandbox.to_string(), ifname: key.interface.clone() };
    keys.iter().map(one).collect()
}

// Errors.

/// What a plugin's error means for whoever did `what`.
#[must_use]
pub fn error_from_wire(what: &str, said: CniError) -> Error {
    let (kind, maybe) = match said.code {
        code::INCOMPATIBLE_VERSION | code::UNSUPPORTED_FIELD => (ErrorKind::NotSupported, false),
        code::UNKNOWN_CONTAINER => (ErrorKind::NotFound, true),
        code::INVALID_ENVIRONMENT | code::DECODING | code::INVALID_CONFIG => (ErrorKind::Invalid, false),
        code::TRY_AGAIN | code::NOT_AVAILABLE | code::LIMITED => (ErrorKind::Unavailable, true),
        _ => (ErrorKind::Internal, true),
    };
    let mut error = Error::new(kind, format!("cannot {what}: {said}"));
    if said.code == code::TRY_AGAIN {
        error = error.detailed(|details| details.retry_after = Some(Duration::from_secs(1)));
    }
    let error = error.with_source(said);
    if maybe { error.maybe_applied() } else { error }
}

/// An error as a plugin prints it.
#[must_use]
pub fn error_to_wire(error: &Error) -> CniError {
    let code = match error.kind() {
        ErrorKind::NotSupported | ErrorKind::MethodNotAllowed => code::UNSUPPORTED_FIELD,
        ErrorKind::NotFound => code::UNKNOWN_CONTAINER,
        ErrorKind::Invalid | ErrorKind::BadRequest | ErrorKind::UnsupportedMediaType => code::INVALID_CONFIG,
        ErrorKind::Corrupt => code::DECODING,
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::TooManyRequests | ErrorKind::Full => code::TRY_AGAIN,
        _ => code::OTHER,
    };
    let mut causes = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    CniError::new(code, error.message()).with_details(causes.join(": "))
}

#[cfg(test)]
mod tests;
