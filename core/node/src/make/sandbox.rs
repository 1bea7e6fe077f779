//! A pod as a sandbox. Pure.

use std::collections::BTreeMap;

use windlass_api::core::v1::Pod;
use windlass_kernel::runtime::{Dns, PortMapping, Protocol, SandboxConfig, SandboxKey};

use super::{hosts, labels, resources, security};
use crate::layout::Layout;

/// What the sandbox of a pod is to be, as that try. `node` is the node's name and the cluster's domain.
pub(crate) fn sandbox(pod: &Pod, attempt: u32, layout: &Layout, node: (&str, &str), dns: Dns) -> SandboxConfig {
    let meta = &pod.metadata;
    let host = pod.spec.host_network == Some(true);
    let (node, domain) = node;
    let (name, full) = hosts::names(pod, domain);
    let full = full.filter(|_| pod.spec.set_hostname_as_fqdn == Some(true));
    let sysctls = pod.spec.security_context.iter().flat_map(|context| &context.sysctls);
    SandboxConfig {
        key: SandboxKey {
            name: meta.name.clone().unwrap_or_default(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            attempt,
        },
        hostname: if host { String::new() } else { full.unwrap_or(name) },
        log_directory: layout.logs(pod).to_string_lossy().into_owned(),
        dns: Some(dns),
        ports: if host { vec![] } else { ports(pod) },
        labels: pod_labels(pod),
        annotations: annotations(pod, node),
        cgroup_parent: layout.cgroup(pod),
        sysctls: sysctls.map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())).collect(),
        overhead: None,
        resources: Some(resources::of_pod(pod)),
        security: security::of_sandbox(pod, &layout.seccomp()),
        handler: String::new(),
    }
}

/// What everything of the pod can be found by.
pub(crate) fn identity(pod: &Pod) -> BTreeMap<String, String> {
    let meta = &pod.metadata;
    [(labels::NAME, &meta.name), (labels::NAMESPACE, &meta.namespace), (labels::UID, &meta.uid)]
        .map(|(key, value)| (key.to_owned(), value.clone().unwrap_or_default()))
        .into()
}

fn pod_labels(pod: &Pod) -> BTreeMap<String, String> {
    let mut labels = pod.metadata.labels.clone();
    labels.extend(identity(pod));
    labels
}

/// The pod's own, whose pod it is, and its grace period: an agent that never saw the pod ends it by that.
fn annotations(pod: &Pod, node: &str) -> BTreeMap<String, String> {
    let mut annotations = pod.metadata.annotations.clone();
    annotations.insert(labels::NODE.into(), node.into());
    annotations.insert(labels::GRACE.into(), crate::pod::grace(pod).to_string());
    annotations
}

fn ports(pod: &Pod) -> Vec<PortMapping> {
    let ports = crate::pod::containers(pod).flat_map(|(container, _)| &container.ports);
    ports
        .filter_map(|port| {
            let number = |port: i32| u16::try_from(port).ok().filter(|port| *port > 0);
            Some(PortMapping {
                protocol: match port.protocol.as_str() {
                    "UDP" => Protocol::Udp,
                    "SCTP" => Protocol::Sctp,
                    _ => Protocol::Tcp,
                },
                container_port: number(port.container_port)?,
                host_port: number(port.host_port?)?,
                host_ip: port.host_ip.clone().unwrap_or_default(),
            })
        })
        .collect()
}
