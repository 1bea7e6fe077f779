//! What cAdvisor tells of containers, under its names, as far as the agent measures it. Pure.
//!
//! As with cAdvisor, the node is `id="/"`, a pod as a whole has an empty `container`, and a network is the pod's. What tells
//! containers apart is their name in the pod: `id` (their control group) is not told of them.

use std::{fmt::Display, iter, sync::Arc};

use jiff::Timestamp;
use windlass_api::core::v1::{Container, ContainerStatus, NodeStatus, Pod};
use windlass_kernel::{
    node::{Amounts, Details, PodUsage, Usage},
    runtime::{InterfaceUsage, MemoryUsage, Resources},
};

use super::{Kind, STARTED, Sample, Text, began, of, ordered};
use crate::{kubelet::figures::pod_memory, make::resources, pod};

/// What is told of: the node, a pod or a container.
struct Own<'a> {
    labels: Vec<(&'static str, &'a str)>,
    at: Timestamp,
    used: Amounts,
    memory: Option<MemoryUsage>,
    /// Bytes that it wrote to its root.
    layer: Option<u64>,
    processes: Option<u64>,
    /// When the details were measured, and the interfaces.
    network: Option<(Timestamp, &'a [InterfaceUsage])>,
    started: Option<f64>,
    /// What the container may use.
    spec: Option<(&'a Pod, &'a Container)>,
}

/// A figure of each: its name, what it does, what it is, and where it is found.
type Figure = (&'static str, Kind, &'static str, fn(&Own<'_>) -> Option<String>);

const FIGURES: [Figure; 11] = [
    ("container_memory_usage_bytes", Kind::Gauge, "Memory in use, with caches", |own| text(own.memory?.usage)),
    ("container_memory_working_set_bytes", Kind::Gauge, "Memory that cannot be given back", |own| {
        text(own.used.memory)
    }),
    ("container_memory_rss", Kind::Gauge, "Anonymous memory, in bytes", |own| text(own.memory?.rss)),
    ("container_fs_usage_bytes", Kind::Gauge, "What was written to the root", |own| text(own.layer?)),
    ("container_processes", Kind::Gauge, "Processes that run", |own| text(own.processes?)),
    (STARTED.0, Kind::Gauge, STARTED.1, |own| text(own.started?)),
    ("container_last_seen", Kind::Gauge, "When it was measured, in seconds since 1970", |own| text(own.at.as_second())),
    ("container_spec_cpu_period", Kind::Gauge, "Over how many microseconds CPU is limited", |own| {
        text(own.resources()?.cpu_period?)
    }),
    ("container_spec_cpu_quota", Kind::Gauge, "Microseconds of CPU that it may have in a period", |own| {
        text(own.resources()?.cpu_quota?)
    }),
    ("container_spec_cpu_shares", Kind::Gauge, "Its part where CPU is short", |own| text(own.resources()?.cpu_shares?)),
    ("container_spec_memory_limit_bytes", Kind::Gauge, "Memory that it may have; 0 where that is not limited", |own| {
        text(own.resources()?.memory_limit.unwrap_or(0))
    }),
];

/// A figure of each interface.
type Traffic = (&'static str, &'static str, fn(&InterfaceUsage) -> u64);

const TRAFFIC: [Traffic; 4] = [
    ("container_network_receive_bytes_total", "Bytes received", |own| own.rx_bytes),
    ("container_network_receive_errors_total", "Packets that could not be received", |own| own.rx_errors),
    ("container_network_transmit_bytes_total", "Bytes sent", |own| own.tx_bytes),
    ("container_network_transmit_errors_total", "Packets that could not be sent", |own| own.tx_errors),
];

#[allow(clippy::unnecessary_wraps, reason = "a figure that is there, among those that may not be")]
fn text<T: ToString + Copy>(value: T) -> Option<String> {
    Some(value.to_string())
}

impl Own<'_> {
    fn resources(&self) -> Option<Resources> {
        let (pod, container) = self.spec?;
        // The node's memory is only for what is not told.
        Some(resources::of_container(pod, container, 1))
    }

    fn sample(&self, more: &[(&'static str, &str)], value: impl Display) -> Sample {
        let labels: Vec<_> = self.labels.iter().chain(more).copied().collect();
        Sample::new(&labels, value).at(self.at)
    }
}

/// Containers, pods and the node. Without `usage` it could not be measured; without `details` CPU and working sets are told.
pub(in crate::kubelet) fn cadvisor(
    usage: Option<&Usage>,
    details: Option<&Details>,
    known: &[Arc<Pod>],
    node: Option<&NodeStatus>,
) -> String {
    let pods = ordered(usage).into_iter().flat_map(|own| owns(own, details, of(known, &own.uid)));
    let all: Vec<Own<'_>> = whole(usage, details).into_iter().chain(pods).collect();
    let mut out = Text::default();
    let cpu = all.iter().filter_map(|own| Some(own.sample(&[("cpu", "total")], own.used.cpu?.as_secs_f64())));
    out.family("container_cpu_usage_seconds_total", Kind::Counter, "CPU that was used, in seconds", cpu);
    for (name, kind, help, value) in FIGURES {
        out.family(name, kind, help, all.iter().filter_map(|own| Some(own.sample(&[], value(own)?))));
    }
    let faults = all.iter().filter_map(|own| Some((own, own.memory?))).flat_map(|(own, memory)| {
        let one = |kind, count: u64| own.sample(&[("failure_type", kind), ("scope", "container")], count);
        [one("pgfault", memory.page_faults), one("pgmajfault", memory.major_page_faults)]
    });
    out.family("container_memory_failures_total", Kind::Counter, "Page faults, and those that needed I/O", faults);
    for (name, help, value) in TRAFFIC {
        let samples = all.iter().filter_map(|own| Some((own, own.network?))).flat_map(|(own, (at, interfaces))| {
            interfaces.iter().map(move |one| own.sample(&[("interface", &one.name)], value(one)).at(at))
        });
        out.family(name, Kind::Counter, help, samples);
    }
    machine(&mut out, node);
    let failed = [Sample::new(&[], u8::from(usage.is_none()))];
    out.family("container_scrape_error", Kind::Gauge, "1 where usage could not be measured", failed);
    out.into()
}

fn whole<'a>(usage: Option<&Usage>, details: Option<&'a Details>) -> Option<Own<'a>> {
    let own = usage?.node?;
    Some(Own {
        labels: vec![("container", ""), ("id", "/"), ("image", ""), ("name", ""), ("namespace", ""), ("pod", "")],
        at: own.at,
        used: own.amounts,
        memory: None,
        layer: None,
        processes: None,
        network: details.map(|all| (all.at, &*all.interfaces)),
        started: details.and_then(|all| all.started).map(|at| at.as_duration().as_secs_f64()),
        spec: None,
    })
}

/// A pod and its containers.
fn owns<'a>(own: &'a PodUsage, details: Option<&'a Details>, known: Option<&'a Pod>) -> Vec<Own<'a>> {
    let more = details.and_then(|all| all.pods.iter().find(|one| one.uid == own.uid).map(|one| (all.at, one)));
    let labels = |container, image, name| {
        let (namespace, pod) = (own.pod.namespace.as_str(), own.pod.name.as_str());
        vec![("container", container), ("image", image), ("name", name), ("namespace", namespace), ("pod", pod)]
    };
    let containers = own.containers.amounts.iter().map(|(name, used)| {
        let details = more.and_then(|(_, pod)| pod.containers.iter().find(|one| one.name == *name));
        let status = known.and_then(|known| status(known, name));
        let id = status.and_then(|status| status.container_id.as_deref()).unwrap_or_default();
        let id = id.split_once("://").map_or(id, |(_, id)| id);
        Own {
            labels: labels(name.as_str(), status.map_or("", |status| &status.image), id),
            at: own.containers.at,
            used: *used,
            memory: details.and_then(|one| one.memory),
            layer: details.map(|one| one.layer.bytes),
            processes: None,
            network: None,
            started: status.and_then(began),
            spec: known.and_then(|known| {
                Some((known, pod::containers(known).find(|(container, _)| container.name == *name)?.0))
            }),
        }
    });
    let pod = Own {
        labels: labels("", "", ""),
        at: own.containers.at,
        used: own.containers.amounts.iter().map(|(_, used)| used).sum(),
        memory: more.and_then(|(_, pod)| pod_memory(pod)),
        layer: None,
        processes: more.and_then(|(_, pod)| pod.processes),
        network: more.map(|(at, pod)| (at, &*pod.interfaces)),
        started: None,
        spec: None,
    };
    iter::once(pod).chain(containers).collect()
}

fn status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = &pod.status;
    let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().find(|one| one.name == name)
}

fn machine(out: &mut Text, node: Option<&NodeStatus>) {
    let Some(node) = node else { return };
    let info = &node.node_info;
    let labels = [("boot_id", &*info.boot_id), ("machine_id", &*info.machine_id), ("system_uuid", &*info.system_uuid)];
    for (name, help, resource) in [
        ("machine_cpu_cores", "Cores of the machine", "cpu"),
        ("machine_memory_bytes", "Memory of the machine", "memory"),
    ] {
        let amount = resources::amount(&node.capacity, resource);
        out.family(name, Kind::Gauge, help, amount.map(|amount| Sample::new(&labels, amount.as_i64())));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use windlass_kernel::{controller::ObjectKey, node::Measured};

    use super::*;
    use crate::kubelet::figures::tests::details;

    #[test]
    fn containers_pods_and_the_node_are_told() {
        let (at, window) = (Timestamp::from_millisecond(1500).unwrap(), Duration::from_secs(10));
        let used = |memory| Amounts { nanocores: 1, memory, cpu: Some(Duration::from_millis(500)) };
        let containers = vec![("a".to_owned(), used(3)), ("b".to_owned(), used(4))];
        let own = PodUsage {
            pod: ObjectKey::new("team", "db-0"),
            uid: "u".into(),
            containers: Measured { at, window, amounts: containers },
        };
        let usage = Usage { node: Some(Measured { at, window, amounts: used(70) }), pods: vec![own] };
        let known = json!({"metadata": {"uid": "u"},
            "spec": {"containers": [
                {"name": "a", "resources": {"limits": {"cpu": "500m", "memory": "1Ki"}}}, {"name": "b"}]},
            "status": {"containerStatuses": [{"name": "a", "image": "db:1", "containerID": "containerd://c1",
                "state": {"running": {"startedAt": "1970-01-01T00:00:07Z"}}}]}});
        let known = [Arc::new(serde_json::from_value(known).unwrap())];
        let node = json!({"capacity": {"cpu": "2", "memory": "1Mi"},
            "nodeInfo": {"bootID": "b", "machineID": "m", "systemUUID": "s"}});
        let node: NodeStatus = serde_json::from_value(node).unwrap();
        let told = cadvisor(Some(&usage), Some(&details(at)), &known, Some(&node));
        let values: Vec<&str> = told.lines().filter(|line| !line.starts_with('#')).collect();
        let (a, pod) = (
            "container=\"a\",image=\"db:1\",name=\"c1\",namespace=\"team\",pod=\"db-0\"",
            "container=\"\",image=\"\",name=\"\",namespace=\"team\",pod=\"db-0\"",
        );
        let (b, root) = (
            "container=\"b\",image=\"\",name=\"\",namespace=\"team\",pod=\"db-0\"",
            "container=\"\",id=\"/\",image=\"\",name=\"\",namespace=\"\",pod=\"\"",
        );
        let machine = "boot_id=\"b\",machine_id=\"m\",system_uuid=\"s\"";
        for expect in [
            format!("container_cpu_usage_seconds_total{{{root},cpu=\"total\"}} 0.5 1500"),
            format!("container_cpu_usage_seconds_total{{{pod},cpu=\"total\"}} 1 1500"),
            format!("container_cpu_usage_seconds_total{{{a},cpu=\"total\"}} 0.5 1500"),
            format!("container_memory_usage_bytes{{{a}}} 9 1500"),
            format!("container_memory_working_set_bytes{{{pod}}} 7 1500"),
            format!("container_memory_working_set_bytes{{{b}}} 4 1500"),
            format!("container_memory_rss{{{a}}} 5 1500"),
            format!("container_memory_failures_total{{{a},failure_type=\"pgfault\",scope=\"container\"}} 0 1500"),
            format!("container_fs_usage_bytes{{{a}}} 40 1500"),
            format!("container_processes{{{pod}}} 3 1500"),
            format!("container_start_time_seconds{{{a}}} 7 1500"),
            format!("container_last_seen{{{a}}} 1 1500"),
            format!("container_spec_cpu_period{{{a}}} 100000 1500"),
            format!("container_spec_cpu_quota{{{a}}} 50000 1500"),
            format!("container_spec_cpu_shares{{{a}}} 512 1500"),
            format!("container_spec_cpu_shares{{{b}}} 2 1500"),
            format!("container_spec_memory_limit_bytes{{{a}}} 1024 1500"),
            format!("container_spec_memory_limit_bytes{{{b}}} 0 1500"),
            format!("container_network_receive_bytes_total{{{pod},interface=\"eth0\"}} 1 1500"),
            format!("container_network_transmit_bytes_total{{{root},interface=\"eth1\"}} 2 1500"),
            format!("machine_cpu_cores{{{machine}}} 2"),
            format!("machine_memory_bytes{{{machine}}} 1048576"),
            "container_scrape_error 0".to_owned(),
        ] {
            assert!(values.contains(&&*expect), "{expect} is not in\n{told}");
        }
        let quotas = values.iter().filter(|line| line.starts_with("container_spec_cpu_quota")).count();
        assert_eq!(quotas, 1, "only a container with a limit has a quota: {told}");
        assert_eq!(
            cadvisor(None, None, &[], None).lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>(),
            ["container_scrape_error 1"]
        );
    }
}
