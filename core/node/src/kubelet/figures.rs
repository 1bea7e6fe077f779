//! What is measured on a node, as upstream's kubelets say it in the summary (`stats/v1alpha1`). Pure.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use windlass_api::{core::v1::Pod, types::Time};
use windlass_kernel::{
    controller::ObjectKey,
    node::{Amounts, ContainerDetails, Details, Disk, PodDetails, PodVolume, Space, Usage},
    runtime::{InterfaceUsage, MemoryUsage},
};

/// The summary of a node. Without `details` it is CPU, memory and volumes.
pub(super) fn summary(
    node: &str,
    usage: &Usage,
    volumes: &[PodVolume],
    details: Option<&Details>,
    known: &[Arc<Pod>],
) -> Value {
    let mut pods: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let of = |uid: &str| known.iter().find(|pod| pod.metadata.uid.as_deref() == Some(uid));
    let pod = |uid: &str, key: &ObjectKey| {
        let reference = json!({"name": key.name, "namespace": key.namespace, "uid": uid});
        let mut pod = Map::from_iter([("podRef".to_owned(), reference)]);
        if let Some(Time(started)) = of(uid).and_then(|pod| pod.status.start_time) {
            pod.insert("startTime".into(), json!(Time(started)));
        }
        pod
    };
    for own in &usage.pods {
        let entry = pods.entry(&own.uid).or_insert_with(|| pod(&own.uid, &own.pod));
        let at = own.containers.at;
        let more = details.and_then(|all| all.pods.iter().find(|one| one.uid == own.uid));
        let statuses = of(&own.uid).map(|pod| &*pod.status.container_statuses).unwrap_or_default();
        let all = own.containers.amounts.iter();
        let total = all.clone().map(|(_, used)| used).sum();
        let container = |(name, used): &(String, Amounts)| {
            let mut container = amounts(at, *used);
            container.insert("name".into(), json!(name));
            let running = statuses.iter().find(|own| own.name == *name).and_then(|own| own.state.running.as_ref());
            if let Some(started) = running.and_then(|running| running.started_at) {
                container.insert("startTime".into(), json!(started));
            }
            if let Some((all, more)) =
                details.zip(more.and_then(|pod| pod.containers.iter().find(|own| own.name == *name)))
            {
                detail_container(&mut container, all, more);
            }
            Value::from(container)
        };
        entry.insert("containers".into(), all.map(container).collect());
        entry.extend(amounts(at, total));
        if let Some((all, more)) = details.zip(more) {
            detail_pod(entry, all, more);
        }
    }
    for own in volumes {
        let entry = pods.entry(&own.uid).or_insert_with(|| pod(&own.uid, &own.pod));
        let list = entry.entry("volume").or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(volume(own));
        }
    }
    let mut whole = usage.node.map(|node| amounts(node.at, node.amounts)).unwrap_or_default();
    whole.insert("nodeName".into(), json!(node));
    if let Some(all) = details {
        detail_node(&mut whole, all);
    }
    json!({"node": whole, "pods": pods.into_values().collect::<Vec<_>>()})
}

fn detail_node(node: &mut Map<String, Value>, all: &Details) {
    let time = Time(all.at);
    if let Some(started) = all.started {
        node.insert("startTime".into(), json!(Time(started)));
    }
    if let Some(own) = &all.disk {
        node.insert("fs".into(), disk(time, own, None));
    }
    if let Some((own, taken)) = &all.images {
        // What containers write is on the file system of the images.
        node.insert(
            "runtime".into(),
            json!({"imageFs": disk(time, own, Some(*taken)), "containerFs": disk(time, own, None)}),
        );
    }
    network(node, time, &all.interfaces);
    if let Some((running, most)) = all.processes {
        node.insert("rlimit".into(), json!({"time": time, "maxpid": most, "curproc": running}));
    }
}

fn detail_pod(pod: &mut Map<String, Value>, all: &Details, own: &PodDetails) {
    let time = Time(all.at);
    network(pod, time, &own.interfaces);
    if let Some(count) = own.processes {
        pod.insert("process_stats".into(), json!({"process_count": count}));
    }
    if let Some(whole) = &all.disk {
        pod.insert("ephemeral-storage".into(), disk(time, whole, Some(own.local)));
    }
    if let Some(sum) = pod_memory(own) {
        memory(pod, sum);
    }
}

/// The memory of all containers of a pod of which it is known.
pub(super) fn pod_memory(own: &PodDetails) -> Option<MemoryUsage> {
    let memories = own.containers.iter().filter_map(|container| container.memory);
    memories.reduce(|sum, one| MemoryUsage {
        at: sum.at,
        working_set: sum.working_set + one.working_set,
        available: sum.available.zip(one.available).map(|(sum, one)| sum + one),
        usage: sum.usage + one.usage,
        rss: sum.rss + one.rss,
        page_faults: sum.page_faults + one.page_faults,
        major_page_faults: sum.major_page_faults + one.major_page_faults,
    })
}

fn detail_container(container: &mut Map<String, Value>, all: &Details, own: &ContainerDetails) {
    let time = Time(all.at);
    if let Some((whole, _)) = &all.images {
        container.insert("rootfs".into(), disk(time, whole, Some(own.layer)));
    }
    if let Some(whole) = &all.disk {
        container.insert("logs".into(), disk(time, whole, Some(own.logs)));
    }
    if let Some(own) = own.memory {
        memory(container, own);
    }
}

/// Adds to the memory that is said already.
fn memory(told: &mut Map<String, Value>, own: MemoryUsage) {
    if let Some(told) = told.get_mut("memory").and_then(Value::as_object_mut) {
        told.extend([
            ("usageBytes".to_owned(), json!(own.usage)),
            ("rssBytes".to_owned(), json!(own.rss)),
            ("pageFaults".to_owned(), json!(own.page_faults)),
            ("majorPageFaults".to_owned(), json!(own.major_page_faults)),
        ]);
        if let Some(available) = own.available {
            told.insert("availableBytes".into(), json!(available));
        }
    }
}

/// A file system, with what is used of it: all in all, or by one that takes so much of it.
fn disk(time: Time, whole: &Disk, taken: Option<Space>) -> Value {
    let bytes = whole.bytes;
    let mut told = json!({"time": time, "capacityBytes": bytes.total, "availableBytes": bytes.available,
        "usedBytes": taken.map_or(bytes.used, |own| own.bytes)});
    if let Some(inodes) = whole.inodes {
        told["inodes"] = json!(inodes.total);
        told["inodesFree"] = json!(inodes.available);
        told["inodesUsed"] = json!(taken.map_or(inodes.used, |own| own.inodes));
    }
    told
}

/// Adds the network: the first interface stands for all, and all are listed.
fn network(told: &mut Map<String, Value>, time: Time, interfaces: &[InterfaceUsage]) {
    let one = |own: &InterfaceUsage| {
        json!({"name": own.name, "rxBytes": own.rx_bytes, "rxErrors": own.rx_errors, "txBytes": own.tx_bytes,
            "txErrors": own.tx_errors})
    };
    if let Some(first) = interfaces.first() {
        let mut network = one(first);
        network["time"] = json!(time);
        network["interfaces"] = interfaces.iter().map(one).collect();
        told.insert("network".into(), network);
    }
}

/// CPU and memory at a moment.
fn amounts(at: Timestamp, used: Amounts) -> Map<String, Value> {
    let time = json!(Time(at));
    let mut cpu = json!({"time": time, "usageNanoCores": used.nanocores});
    if let Some(total) = used.cpu {
        cpu["usageCoreNanoSeconds"] = json!(u64::try_from(total.as_nanos()).unwrap_or(u64::MAX));
    }
    Map::from_iter([
        ("cpu".to_owned(), cpu),
        ("memory".to_owned(), json!({"time": time, "workingSetBytes": used.memory})),
    ])
}

fn volume(own: &PodVolume) -> Value {
    let mut volume = json!({"name": own.name});
    if let Some(bytes) = own.usage.bytes {
        volume["capacityBytes"] = json!(bytes.total);
        volume["availableBytes"] = json!(bytes.available);
        volume["usedBytes"] = json!(bytes.used);
    }
    if let Some(inodes) = own.usage.inodes {
        volume["inodes"] = json!(inodes.total);
        volume["inodesFree"] = json!(inodes.available);
        volume["inodesUsed"] = json!(inodes.used);
    }
    if let Some(claim) = &own.claim {
        volume["pvcRef"] = json!({"name": claim, "namespace": own.pod.namespace});
    }
    if let Some(condition) = &own.usage.condition {
        volume["volumeHealthStats"] = json!({"abnormal": condition.abnormal});
    }
    volume
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use windlass_kernel::{
        node::{Measured, PodUsage},
        volume::{Condition, Usage as Share, VolumeUsage},
    };

    use super::*;

    pub(in crate::kubelet) fn volumes() -> Vec<PodVolume> {
        let share = |total, used| Some(Share { total, used, available: total - used });
        let claimed = PodVolume {
            pod: ObjectKey::new("team", "db-0"),
            uid: "u".into(),
            name: "data".into(),
            claim: Some("data-db-0".into()),
            usage: VolumeUsage {
                bytes: share(100, 30),
                inodes: share(10, 4),
                condition: Some(Condition { abnormal: true, message: "it is wet".into() }),
            },
        };
        let empty = PodVolume {
            name: "tmp".into(),
            claim: None,
            usage: VolumeUsage { bytes: share(50, 1), inodes: None, condition: None },
            ..claimed.clone()
        };
        vec![claimed, empty]
    }

    #[test]
    fn a_summary_has_pods_with_their_volumes() {
        let (at, window) = (Timestamp::UNIX_EPOCH, Duration::from_secs(10));
        let used = |nanocores, memory| Amounts { nanocores, memory, cpu: Some(Duration::from_millis(500)) };
        let containers = vec![("a".to_owned(), used(1, 10)), ("b".to_owned(), used(2, 20))];
        let usage = Usage {
            node: Some(Measured { at, window, amounts: used(7, 70) }),
            pods: vec![PodUsage {
                pod: ObjectKey::new("team", "db-0"),
                uid: "u".into(),
                containers: Measured { at, window, amounts: containers },
            }],
        };
        let told = summary("n1", &usage, &volumes(), Some(&details(at)), &[]);
        assert_eq!((&told["node"]["nodeName"], &told["node"]["cpu"]["usageNanoCores"]), (&json!("n1"), &json!(7)));
        let pod = &told["pods"][0];
        assert_eq!(pod["podRef"], json!({"name": "db-0", "namespace": "team", "uid": "u"}));
        assert_eq!((&pod["memory"]["workingSetBytes"], &pod["containers"][1]["name"]), (&json!(30), &json!("b")));
        let expect = json!([
            {"name": "data", "capacityBytes": 100, "availableBytes": 70, "usedBytes": 30, "inodes": 10,
                "inodesFree": 6, "inodesUsed": 4, "pvcRef": {"name": "data-db-0", "namespace": "team"},
                "volumeHealthStats": {"abnormal": true}},
            {"name": "tmp", "capacityBytes": 50, "availableBytes": 49, "usedBytes": 1},
        ]);
        assert_eq!(pod["volume"], expect);
        assert_eq!(told["pods"].as_array().unwrap().len(), 1);
        let time = json!(Time(at));
        let expect = json!({"time": time, "capacityBytes": 1000, "availableBytes": 600, "usedBytes": 400,
            "inodes": 100, "inodesFree": 90, "inodesUsed": 10});
        assert_eq!(told["node"]["fs"], expect);
        let images = &told["node"]["runtime"]["imageFs"];
        assert_eq!(
            (&images["capacityBytes"], &images["usedBytes"], &images["inodes"]),
            (&json!(50), &json!(7), &Value::Null)
        );
        assert_eq!(told["node"]["runtime"]["containerFs"]["usedBytes"], 20);
        assert_eq!(told["node"]["rlimit"], json!({"time": time, "maxpid": 4096, "curproc": 300}));
        assert_eq!(told["node"]["network"]["interfaces"][1]["name"], "eth1");
        let eth0 = json!({"name": "eth0", "rxBytes": 1, "rxErrors": 0, "txBytes": 2, "txErrors": 0});
        assert_eq!(
            pod["network"],
            json!({"time": time, "name": "eth0", "rxBytes": 1, "rxErrors": 0, "txBytes": 2,
            "txErrors": 0, "interfaces": [eth0]})
        );
        assert_eq!(pod["process_stats"], json!({"process_count": 3}));
        assert_eq!(
            (&pod["ephemeral-storage"]["usedBytes"], &pod["ephemeral-storage"]["inodesUsed"]),
            (&json!(44), &json!(4))
        );
        assert_eq!((&pod["memory"]["rssBytes"], &pod["memory"]["workingSetBytes"]), (&json!(5), &json!(30)));
        let [a, b] = [0, 1].map(|at| &pod["containers"][at]);
        assert_eq!(
            (&a["rootfs"]["usedBytes"], &a["logs"]["usedBytes"], &a["memory"]["usageBytes"]),
            (&json!(40), &json!(4), &json!(9))
        );
        assert_eq!((&b["rootfs"], &b["memory"]["usageBytes"]), (&Value::Null, &Value::Null));
    }

    pub(in crate::kubelet) fn details(at: Timestamp) -> Details {
        let interface =
            |name: &str| InterfaceUsage { name: name.into(), rx_bytes: 1, tx_bytes: 2, ..InterfaceUsage::default() };
        let share = |total, used| Share { total, used, available: total - used };
        let own = PodDetails {
            pod: ObjectKey::new("team", "db-0"),
            uid: "u".into(),
            interfaces: vec![interface("eth0")],
            processes: Some(3),
            local: Space { bytes: 44, inodes: 4 },
            containers: vec![ContainerDetails {
                name: "a".into(),
                memory: Some(MemoryUsage { at, usage: 9, rss: 5, ..MemoryUsage::default() }),
                layer: Space { bytes: 40, inodes: 3 },
                logs: Space { bytes: 4, inodes: 1 },
            }],
        };
        Details {
            at,
            disk: Some(Disk { bytes: share(1000, 400), inodes: Some(share(100, 10)) }),
            images: Some((Disk { bytes: share(50, 20), inodes: None }, Space { bytes: 7, inodes: 1 })),
            interfaces: vec![interface("eth0"), interface("eth1")],
            processes: Some((300, 4096)),
            pods: vec![own],
            ..Details::default()
        }
    }
}
