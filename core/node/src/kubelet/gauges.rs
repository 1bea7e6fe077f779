//! What is measured on a node, in Prometheus' text: volumes of claims (`/metrics`), what metrics-server reads (`/metrics/resource`),
//! and what cAdvisor tells of containers (`/metrics/cadvisor`). Pure.

mod cadvisor;
mod text;

use std::{collections::BTreeMap, sync::Arc};

use windlass_api::{
    core::v1::{ContainerStatus, Pod},
    types::Time,
};
use windlass_kernel::{
    controller::ObjectKey,
    node::{Amounts, PodUsage, PodVolume, Usage},
};

pub(super) use self::cadvisor::cadvisor;
use self::text::{Kind, Sample, Text};

/// A gauge of volumes: its name, what it is, and where it is found.
type Gauge = (&'static str, &'static str, fn(&PodVolume) -> Option<u64>);

const GAUGES: [Gauge; 7] = [
    ("capacity_bytes", "Bytes that a volume has", |own| Some(own.usage.bytes?.total)),
    ("available_bytes", "Bytes of a volume that can still be used", |own| Some(own.usage.bytes?.available)),
    ("used_bytes", "Bytes of a volume in use", |own| Some(own.usage.bytes?.used)),
    ("inodes", "Inodes that a volume has", |own| Some(own.usage.inodes?.total)),
    ("inodes_free", "Inodes of a volume that can still be used", |own| Some(own.usage.inodes?.available)),
    ("inodes_used", "Inodes of a volume in use", |own| Some(own.usage.inodes?.used)),
    ("health_status_abnormal", "Whether a volume's driver says that it is not well: 1 or 0", |own| {
        Some(own.usage.condition.as_ref()?.abnormal.into())
    }),
];

/// The gauges of the volumes of claims. Several pods may have the volume of a claim: it is told once.
pub(super) fn metrics(volumes: &[PodVolume]) -> String {
    let claimed = volumes.iter().filter_map(|own| Some(((own.pod.namespace.as_str(), own.claim.as_deref()?), own)));
    let claims: BTreeMap<_, _> = claimed.collect();
    let mut text = Text::default();
    for (name, help, value) in GAUGES {
        let sample = |(&(namespace, claim), own): (&(&str, &str), &&PodVolume)| {
            let labels = [("namespace", namespace), ("persistentvolumeclaim", claim)];
            Some(Sample::new(&labels, value(own)?))
        };
        let samples = claims.iter().filter_map(sample);
        text.family(&format!("kubelet_volume_stats_{name}"), Kind::Gauge, help, samples);
    }
    text.into()
}

/// CPU and memory of the node, its pods and their containers: what metrics-server reads of a kubelet. Without `usage` it could not
/// be measured.
pub(super) fn resource(usage: Option<&Usage>, known: &[Arc<Pod>]) -> String {
    let mut text = Text::default();
    let seconds: fn(&Amounts) -> Option<String> = |used| Some(used.cpu?.as_secs_f64().to_string());
    let bytes: fn(&Amounts) -> Option<String> = |used| Some(used.memory.to_string());
    let pods = ordered(usage);
    let containers = |value: fn(&Amounts) -> Option<String>| -> Vec<Sample> {
        let each = pods.iter().flat_map(|own| own.containers.amounts.iter().map(move |one| (own, one)));
        let sample = |(own, (name, used)): (&&PodUsage, &(String, Amounts))| {
            Some(Sample::new(&in_pod(name, &own.pod), value(used)?).at(own.containers.at))
        };
        each.filter_map(sample).collect()
    };
    let whole = |value: fn(&Amounts) -> Option<String>| -> Vec<Sample> {
        let sample = |own: &&PodUsage| {
            let total = own.containers.amounts.iter().map(|(_, used)| used).sum();
            Some(Sample::new(&in_pod("", &own.pod)[1..], value(&total)?).at(own.containers.at))
        };
        pods.iter().filter_map(sample).collect()
    };
    let node = |value: fn(&Amounts) -> Option<String>| -> Option<Sample> {
        let own = usage?.node?;
        Some(Sample::new(&[], value(&own.amounts)?).at(own.at))
    };
    let started = pods.iter().flat_map(|own| {
        let statuses = of(known, &own.uid).into_iter().flat_map(|pod| &pod.status.container_statuses);
        statuses.filter_map(|status| Some(Sample::new(&in_pod(&status.name, &own.pod), began(status)?)))
    });
    let started: Vec<_> = started.collect();
    let (cpu, memory) = ("container_cpu_usage_seconds_total", "container_memory_working_set_bytes");
    text.family(cpu, Kind::Counter, "CPU that a container has used, in seconds", containers(seconds));
    text.family(memory, Kind::Gauge, "Working set of a container", containers(bytes));
    text.family(STARTED.0, Kind::Gauge, STARTED.1, started);
    text.family("node_cpu_usage_seconds_total", Kind::Counter, "CPU that the node has used, in seconds", node(seconds));
    text.family("node_memory_working_set_bytes", Kind::Gauge, "Working set of the node", node(bytes));
    text.family("pod_cpu_usage_seconds_total", Kind::Counter, "CPU that a pod has used, in seconds", whole(seconds));
    text.family("pod_memory_working_set_bytes", Kind::Gauge, "Working set of a pod", whole(bytes));
    let failed = [Sample::new(&[], u8::from(usage.is_none()))];
    text.family("resource_scrape_error", Kind::Gauge, "1 where usage could not be measured", failed);
    text.into()
}

const STARTED: (&str, &str) = ("container_start_time_seconds", "When a container started, in seconds since 1970");

/// The pods in the order in which they are told.
fn ordered(usage: Option<&Usage>) -> Vec<&PodUsage> {
    let mut pods: Vec<_> = usage.iter().flat_map(|usage| &usage.pods).collect();
    pods.sort_by(|a, b| (&a.pod, &a.uid).cmp(&(&b.pod, &b.uid)));
    pods
}

fn in_pod<'a>(container: &'a str, pod: &'a ObjectKey) -> [(&'static str, &'a str); 3] {
    [("container", container), ("namespace", &pod.namespace), ("pod", &pod.name)]
}

/// The pod that has the uid.
fn of<'a>(known: &'a [Arc<Pod>], uid: &str) -> Option<&'a Pod> {
    known.iter().map(|pod| &**pod).find(|pod| pod.metadata.uid.as_deref() == Some(uid))
}

/// When a container that runs started, in seconds since 1970.
fn began(status: &ContainerStatus) -> Option<f64> {
    let Time(at) = status.state.running.as_ref()?.started_at?;
    Some(at.as_duration().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use serde_json::json;
    use windlass_kernel::node::Measured;

    use super::*;
    use crate::kubelet::figures::tests::volumes;

    #[test]
    fn resources_are_of_node_pods_and_containers() {
        let (at, window) = (Timestamp::from_millisecond(1500).unwrap(), Duration::from_secs(10));
        let used = |cpu| Amounts { nanocores: 1, memory: 10, cpu };
        let half = Some(Duration::from_millis(500));
        let pod = |name: &str, amounts| PodUsage {
            pod: ObjectKey::new("team", name),
            uid: name.into(),
            containers: Measured { at, window, amounts },
        };
        let usage = Usage {
            node: Some(Measured { at, window, amounts: used(half) }),
            pods: vec![
                pod("b", vec![("x".into(), used(half)), ("y".into(), used(None))]),
                pod("a", vec![("x".into(), used(half)), ("y".into(), used(half))]),
            ],
        };
        let mut known = Pod::default();
        known.metadata.uid = Some("a".into());
        let status = json!([{"name": "x", "state": {"running": {"startedAt": "1970-01-01T00:00:07Z"}}}]);
        known.status.container_statuses = serde_json::from_value(status).unwrap();
        let text = resource(Some(&usage), &[Arc::new(known)]);
        let values = text.lines().filter(|line| !line.starts_with('#'));
        let expect = [
            "container_cpu_usage_seconds_total{container=\"x\",namespace=\"team\",pod=\"a\"} 0.5 1500",
            "container_cpu_usage_seconds_total{container=\"y\",namespace=\"team\",pod=\"a\"} 0.5 1500",
            "container_cpu_usage_seconds_total{container=\"x\",namespace=\"team\",pod=\"b\"} 0.5 1500",
            "container_memory_working_set_bytes{container=\"x\",namespace=\"team\",pod=\"a\"} 10 1500",
            "container_memory_working_set_bytes{container=\"y\",namespace=\"team\",pod=\"a\"} 10 1500",
            "container_memory_working_set_bytes{container=\"x\",namespace=\"team\",pod=\"b\"} 10 1500",
            "container_memory_working_set_bytes{container=\"y\",namespace=\"team\",pod=\"b\"} 10 1500",
            "container_start_time_seconds{container=\"x\",namespace=\"team\",pod=\"a\"} 7",
            "node_cpu_usage_seconds_total 0.5 1500",
            "node_memory_working_set_bytes 10 1500",
            "pod_cpu_usage_seconds_total{namespace=\"team\",pod=\"a\"} 1 1500",
            "pod_memory_working_set_bytes{namespace=\"team\",pod=\"a\"} 20 1500",
            "pod_memory_working_set_bytes{namespace=\"team\",pod=\"b\"} 20 1500",
            "resource_scrape_error 0",
        ];
        assert_eq!(values.collect::<Vec<_>>(), expect);
        assert!(resource(None, &[]).ends_with("\nresource_scrape_error 1\n"));
    }

    #[test]
    fn gauges_are_of_claims() {
        let text = metrics(&volumes());
        let line = |name: &str, value: u64| {
            format!("kubelet_volume_stats_{name}{{namespace=\"team\",persistentvolumeclaim=\"data-db-0\"}} {value}\n")
        };
        for (name, value) in
            [("capacity_bytes", 100), ("used_bytes", 30), ("inodes_free", 6), ("health_status_abnormal", 1)]
        {
            assert!(text.contains(&line(name, value)), "{name}: {text}");
        }
        assert!(text.contains("# TYPE kubelet_volume_stats_available_bytes gauge\n"), "{text}");
        assert_eq!(text.matches('{').count(), 7, "only claims have gauges: {text}");
        assert_eq!(metrics(&[]), "");
    }
}
