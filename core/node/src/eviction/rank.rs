//! Which pod ends first to make room. Pure.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use windlass_api::core::v1::Pod;
use windlass_kernel::node::Space;

use super::{critical, limits::Signal};
use crate::{make::resources, pod};

/// What a container uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ContainerUse {
    /// Memory in bytes that cannot be given back; `None` where the runtime does not say.
    pub(crate) memory: Option<u64>,
    /// What it wrote into its own layer.
    pub(crate) layer: Space,
    /// Its logs.
    pub(crate) logs: Space,
}

/// What a pod uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodUse {
    /// Whether the runtime has figures of it.
    pub(super) known: bool,
    /// By name.
    pub(crate) containers: BTreeMap<String, ContainerUse>,
    /// Volumes that live and die with the pod, by name.
    pub(super) volumes: BTreeMap<String, Space>,
    /// Those of them that are in memory. Only their own limits count.
    pub(super) in_memory: BTreeMap<String, Space>,
    pub(crate) processes: u64,
}

impl PodUse {
    pub(super) fn memory(&self) -> u64 {
        self.containers.values().filter_map(|own| own.memory).sum()
    }

    /// What it has on the disk of a signal; on all where images have none of their own.
    fn disk(&self, signal: Signal, apart: bool) -> Space {
        let on_images = matches!(signal, Signal::ImageBytes | Signal::ImageInodes);
        let mut sum = Space::default();
        for own in self.containers.values() {
            if !apart || on_images {
                sum += own.layer;
            }
            if !apart || !on_images {
                sum += own.logs;
            }
        }
        if !apart || !on_images {
            self.volumes.values().for_each(|volume| sum += *volume);
        }
        sum
    }

    /// Everything that it has on disks.
    pub(crate) fn local(&self) -> Space {
        self.disk(Signal::NodeBytes, false)
    }
}

/// A pod with what it uses.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) pod: Arc<Pod>,
    pub(crate) usage: PodUse,
}

/// The pods that may end for a signal, those first that end first: such of which nothing is known, those above what they asked
/// for, those of the lowest priority, and those furthest above. For process ids only priority and number count. `apart` says
/// that images have a disk of their own.
///
/// Pods that the node cannot do without are not among them. Equals go by uid, so that reruns choose the same.
pub(super) fn victims(signal: Signal, apart: bool, pods: Vec<Measured>) -> Vec<Measured> {
    let mut pods: Vec<_> = pods.into_iter().filter(|one| !critical(&one.pod)).collect();
    pods.sort_by_cached_key(|one| {
        let (pod, usage) = (&one.pod, &one.usage);
        let priority = pod.spec.priority.unwrap_or_default();
        let request = |name: &str| i128::from(resources::request(pod, name));
        let above = match signal {
            Signal::Memory | Signal::PodMemory => i128::from(usage.memory()) - request("memory"),
            Signal::NodeBytes | Signal::ImageBytes => {
                i128::from(usage.disk(signal, apart).bytes) - request("ephemeral-storage")
            }
            Signal::NodeInodes | Signal::ImageInodes => i128::from(usage.disk(signal, apart).inodes),
            Signal::Processes => i128::from(usage.processes),
        };
        let first = signal != Signal::Processes;
        (first && usage.known, first && above <= 0, priority, usage.known, Reverse(above), pod::uid(pod))
    });
    pods
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// A pod with one container `c` that asks for so much, and what it uses: `name priority request used`, in bytes.
    pub(in crate::eviction) fn measured(words: &str, resource: &str) -> Measured {
        let words: Vec<&str> = words.split_whitespace().collect();
        let [name, priority, request, used] = words[..] else { panic!("{words:?}") };
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "ns", "uid": name},
            "spec": {"priority": priority.parse::<i32>().unwrap(),
                "containers": [{"name": "c", "resources": {"requests": {resource: request}}}]},
        }))
        .unwrap();
        let mut usage = PodUse { known: used != "?", ..PodUse::default() };
        if usage.known {
            let amount = used.parse().unwrap();
            let space = Space { bytes: amount, inodes: amount };
            usage.processes = amount;
            usage
                .containers
                .insert("c".into(), ContainerUse { memory: Some(amount), layer: space, ..Default::default() });
        }
        Measured { pod: Arc::new(pod), usage }
    }

    fn check(signal: Signal, apart: bool, pods: &[&str], expect: &str) {
        let resource = if signal.resource() == "memory" { "memory" } else { "ephemeral-storage" };
        let pods = pods.iter().map(|words| measured(words, resource)).collect();
        let order: Vec<_> = victims(signal, apart, pods).iter().map(|one| pod::uid(&one.pod)).collect();
        assert_eq!(order.join(" "), expect);
    }

    #[test]
    fn those_above_their_request_go_first_then_the_lowest_priority_then_the_furthest_above() {
        check(Signal::Memory, false, &["a 0 100 90", "b 9 100 110", "c 5 100 500", "d 5 100 600"], "d c b a");
        check(Signal::PodMemory, false, &["a 0 100 100", "b 1 0 1"], "b a");
    }

    #[test]
    fn those_without_figures_go_before_all() {
        check(Signal::Memory, false, &["a 0 0 900", "b 9 0 ?"], "b a");
        check(Signal::Processes, false, &["a 9 0 ?", "b 0 0 3"], "b a");
    }

    #[test]
    fn process_ids_go_by_priority_and_number() {
        check(Signal::Processes, false, &["a 5 0 900", "b 0 0 3", "c 0 0 4"], "c b a");
    }

    #[test]
    fn what_is_on_another_disk_does_not_count() {
        check(Signal::NodeBytes, false, &["a 0 0 1", "b 0 0 2"], "b a");
        check(Signal::ImageBytes, true, &["a 0 0 1", "b 0 0 2"], "b a");
        // Layers are with the images: here nobody has anything.
        check(Signal::NodeBytes, true, &["a 0 0 1", "b 0 0 2"], "a b");
        check(Signal::NodeInodes, false, &["a 0 100 1", "b 0 100 2"], "b a");
    }

    #[test]
    fn the_node_does_not_end_what_it_cannot_do_without() {
        check(Signal::Memory, false, &["a 2000000000 0 900", "b 1999999999 0 1"], "b");
        // What anybody may write into a pod does not save it.
        let mut noted = measured("a 0 0 900", "memory");
        let pod = Arc::make_mut(&mut noted.pod);
        pod.metadata.annotations.insert("kubernetes.io/config.source".into(), "file".into());
        pod.metadata.annotations.insert("kubernetes.io/config.mirror".into(), "x".into());
        assert_eq!(victims(Signal::Memory, false, vec![noted]).len(), 1);
    }
}
