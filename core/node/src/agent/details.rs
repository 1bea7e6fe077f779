//! What the node and its pods use beside CPU: disks, networks, processes, and memory in full. Nothing is measured unless
//! somebody asks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::lock::Mutex as Turn;
use jiff::Timestamp;
use windlass_kernel::{
    Result, SpawnExt,
    controller::ObjectKey,
    node::{ContainerDetails, Details, Disk, PodDetails, Space},
    runtime::{ContainerStats, MemoryUsage},
};

use super::{Inner, fill::FRESH};
use crate::{
    eviction::{Asked, ContainerUse, Measured},
    gauge::DiskLevel,
    machine,
    make::labels,
    pod,
};

/// Remembers the last answer, and when it was made. Held while it is made: who asks meanwhile gets the same answer.
pub(super) type Kept = Turn<Option<(Duration, Details)>>;

impl Inner {
    /// What is used beside CPU. What cannot be measured is left out.
    pub(super) async fn details(&self) -> Result<Details> {
        let mut kept = self.detailed.lock().await;
        let now = self.needs.clock.uptime();
        if let Some((_, kept)) = kept.as_ref().filter(|(at, _)| now.saturating_sub(*at) < FRESH) {
            return Ok(kept.clone());
        }
        let asked = Arc::new(self.asked().await?);
        let measured = self.measured(self.pods().into_values().collect(), &asked).await?;
        let mut pods: Vec<_> = measured.iter().map(|own| details(own, &asked)).collect();
        pods.sort_by(|a, b| (&a.pod, &a.uid).cmp(&(&b.pod, &b.uid)));
        let gauge = Arc::clone(&self.config.gauge);
        let look = move || (machine::started(), machine::interfaces(), gauge.processes().ok());
        let (started, interfaces, processes) =
            self.needs.spawn.run_blocking("node.details", look).await.unwrap_or_default();
        let all = Details {
            at: self.needs.clock.now(),
            started: started.and_then(|seconds| Timestamp::from_second(seconds).ok()),
            disk: self.disk(&self.config.data_dir).await.ok().map(disk),
            images: self.images_disk().await,
            interfaces,
            processes: processes.map(|level| (level.share().used, level.capacity)),
            pods,
        };
        *kept = Some((now, all.clone()));
        Ok(all)
    }

    /// The disk of images, and what they take of it.
    async fn images_disk(&self) -> Option<(Disk, Space)> {
        let stores = self.needs.images.filesystems().await.ok()?;
        let mut taken = Space::default();
        stores.iter().for_each(|one| taken += Space { bytes: one.bytes, inodes: one.inodes });
        let folder = self.image_folder().await.ok()?;
        Some((disk(self.disk(&folder).await.ok()?), taken))
    }
}

fn disk(level: DiskLevel) -> Disk {
    let inodes = (level.inodes.capacity > 0).then(|| level.inodes.share());
    Disk { bytes: level.bytes.share(), inodes }
}

/// What a pod was measured to use.
fn details(measured: &Measured, asked: &Asked) -> PodDetails {
    let Measured { pod, usage } = measured;
    let uid = pod::uid(pod);
    let own = |all: &BTreeMap<String, String>| all.get(labels::UID) == Some(&uid);
    let memory: BTreeMap<&str, MemoryUsage> =
        asked.containers.iter().filter(|one| own(&one.labels)).filter_map(named).collect();
    let container = |(name, used): (&String, &ContainerUse)| ContainerDetails {
        name: name.clone(),
        memory: memory.get(name.as_str()).copied(),
        layer: used.layer,
        logs: used.logs,
    };
    let sandboxes: Vec<_> = asked.sandboxes.iter().filter(|one| own(&one.labels)).collect();
    // The last is the one that runs: a pod whose sandbox died has another.
    let interfaces = sandboxes.iter().rev().map(|one| &one.interfaces).find(|all| !all.is_empty());
    let (namespace, name) = (pod.metadata.namespace.clone(), pod.metadata.name.clone());
    PodDetails {
        pod: ObjectKey::new(namespace.unwrap_or_default(), name.unwrap_or_default()),
        interfaces: interfaces.filter(|_| pod.spec.host_network != Some(true)).cloned().unwrap_or_default(),
        processes: sandboxes.iter().filter_map(|one| one.processes).reduce(|sum, one| sum + one),
        local: usage.local(),
        containers: usage.containers.iter().map(container).collect(),
        uid,
    }
}

/// A container's name in its pod, and its memory.
fn named(own: &ContainerStats) -> Option<(&str, MemoryUsage)> {
    Some((own.labels.get(labels::CONTAINER)?, own.memory?))
}
