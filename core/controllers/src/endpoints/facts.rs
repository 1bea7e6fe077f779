//! What the endpoints controllers know of a pod.

use std::{collections::BTreeMap, net::IpAddr};

use windlass_api::{
    core::v1::{Pod, Service},
    types::IntOrString,
};
use windlass_kernel::controller::ObjectKey;

use crate::claim;

/// A pod that may stand behind services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Backend {
    pub(super) key: ObjectKey,
    pub(super) uid: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) ips: Vec<IpAddr>,
    pub(super) node: String,
    pub(super) hostname: String,
    pub(super) subdomain: String,
    pub(super) ready: bool,
    pub(super) ending: bool,
    pub(super) ended: bool,
    /// Its named ports, with protocol and number.
    pub(super) ports: Vec<(String, String, i32)>,
}

impl Backend {
    pub(super) fn of(pod: &Pod) -> Self {
        let (meta, spec, status) = (&pod.metadata, &pod.spec, &pod.status);
        let ports = spec.containers.iter().flat_map(|container| &container.ports);
        let ports = ports.filter_map(|port| {
            let protocol = if port.protocol.is_empty() { "TCP" } else { &port.protocol };
            Some((port.name.clone()?, protocol.to_owned(), port.container_port))
        });
        Self {
            key: claim::key(meta),
            uid: meta.uid.clone().unwrap_or_default(),
            labels: meta.labels.clone(),
            ips: status.pod_ips.iter().filter_map(|ip| ip.ip.parse().ok()).collect(),
            node: spec.node_name.clone().unwrap_or_default(),
            hostname: spec.hostname.clone().unwrap_or_default(),
            subdomain: spec.subdomain.clone().unwrap_or_default(),
            ready: status.conditions.iter().any(|own| own.type_ == "Ready" && own.status == "True"),
            ending: meta.deletion_timestamp.is_some(),
            ended: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            ports: ports.collect(),
        }
    }

    /// Whether connections could reach it at all.
    pub(super) fn reachable(&self) -> bool {
        !self.ips.is_empty() && !self.ended
    }

    /// The number of a service port's target in this pod.
    pub(super) fn target(&self, target: Option<&IntOrString>, port: i32, protocol: &str) -> Option<i32> {
        match target {
            None | Some(IntOrString::Int(0)) => Some(port),
            Some(IntOrString::Int(number)) => Some(*number),
            Some(IntOrString::String(name)) => {
                let named = self.ports.iter().find(|own| own.0 == *name && own.1 == protocol);
                named.map(|own| own.2)
            }
        }
    }
}

/// Whether a service's selector matches a pod.
pub(super) fn selects(service: &Service, pod: &Backend) -> bool {
    let selector = &service.spec.selector;
    !selector.is_empty() && selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
}
