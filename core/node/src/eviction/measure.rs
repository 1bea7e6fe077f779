//! Measures what is left of the node, and what its pods use.

use std::{path::Path, sync::Arc};

use windlass_api::core::v1::Pod;
use windlass_kernel::{
    Error, ErrorKind, Result, SpawnExt,
    node::Space,
    runtime::{ContainerFilter, ContainerStats, SandboxFilter, SandboxStats},
};

use super::{
    limits::Signal,
    rank::{ContainerUse, Measured, PodUse},
    watch::Levels,
};
use crate::{
    agent::Inner,
    gauge::{Gauge, Level},
    layout::Layout,
    make::labels,
    pod,
    volume::{self, Kind},
};

/// Where things are whose levels are watched.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// The images, if anybody knows.
    pub(super) images: Option<std::path::PathBuf>,
    /// The group of all pods and how much memory there is for them, in bytes.
    pub(super) group: Option<(String, u64)>,
}

/// What was measured of a node.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) levels: Levels,
    /// Whether images have a disk of their own.
    pub(super) apart: bool,
}

/// What a runtime said of all containers and sandboxes.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) containers: Vec<ContainerStats>,
    /// None where the runtime does not measure sandboxes.
    pub(crate) sandboxes: Vec<SandboxStats>,
}

impl Inner {
    /// What is left. What cannot be measured is left out, and said.
    pub(super) async fn figures(&self, places: Places) -> Result<Figures> {
        let (gauge, data) = (Arc::clone(&self.config.gauge), self.config.data_dir.clone());
        let look = self.needs.spawn.run_blocking("node.figures", move || figures(&*gauge, &data, &places)).await;
        look.ok_or_else(|| Error::new(ErrorKind::Internal, "cannot measure what is left of the node"))
    }

    /// What pods use.
    pub(super) async fn measure(&self, pods: Vec<Arc<Pod>>) -> Result<Vec<Measured>> {
        let asked = self.asked().await?;
        self.measured(pods, &Arc::new(asked)).await
    }

    /// What the runtime has figures of. It is asked once for all pods.
    pub(crate) async fn asked(&self) -> Result<Asked> {
        let runtime = &self.needs.runtime;
        let containers = runtime.stats(&ContainerFilter::default()).await?;
        let sandboxes = match runtime.metering() {
            // containerd 1.6 has none to tell while one of them ends; what they say is not needed to make room.
            Some(metering) => metering.sandbox_stats(&SandboxFilter::default()).await.unwrap_or_else(|error| {
                tracing::debug!(%error, "what sandboxes use is not known");
                Vec::new()
            }),
            None => Vec::new(),
        };
        Ok(Asked { containers, sandboxes })
    }

    /// What pods use: what the runtime said, and what they have on disk.
    pub(crate) async fn measured(&self, pods: Vec<Arc<Pod>>, asked: &Arc<Asked>) -> Result<Vec<Measured>> {
        let (layout, asked) = (self.layout.clone(), Arc::clone(asked));
        let walk = move || pods.into_iter().map(|pod| measured(&layout, pod, &asked)).collect();
        let walked = self.needs.spawn.run_blocking("node.usage", walk).await;
        walked.ok_or_else(|| Error::new(ErrorKind::Internal, "cannot measure what pods use"))
    }
}

fn figures(gauge: &dyn Gauge, data: &Path, places: &Places) -> Figures {
    let said = |what: &str, error: std::io::Error| {
        tracing::warn!(what, %error, "cannot measure what is left of the node");
    };
    let mut figures = Figures::default();
    let mut add = |signal: Signal, level: Level| {
        // A file system without a fixed number of inodes says that there are none.
        if level.capacity > 0 {
            figures.levels.insert(signal, level);
        }
    };
    match gauge.memory() {
        Ok(level) => add(Signal::Memory, level),
        Err(error) => said("memory", error),
    }
    match gauge.processes() {
        Ok(level) => add(Signal::Processes, level),
        Err(error) => said("processes", error),
    }
    if let Some((group, capacity)) = &places.group {
        match gauge.group(group) {
            Ok(Some(used)) => {
                add(Signal::PodMemory, Level { available: capacity.saturating_sub(used), capacity: *capacity });
            }
            Ok(None) => {}
            Err(error) => said("memory of pods", error),
        }
    }
    let mut look = |path: &Path, signals: [Signal; 2]| match gauge.disk(path) {
        Ok(disk) => {
            add(signals[0], disk.bytes);
            add(signals[1], disk.inodes);
            Some(disk.device)
        }
        Err(error) => {
            said("disk", error);
            None
        }
    };
    let node = look(data, [Signal::NodeBytes, Signal::NodeInodes]);
    let images = places.images.as_deref().and_then(|path| look(path, [Signal::ImageBytes, Signal::ImageInodes]));
    figures.apart = images.is_some() && images != node;
    figures
}

fn measured(layout: &Layout, pod: Arc<Pod>, asked: &Asked) -> Measured {
    let uid = pod::uid(&pod);
    let sandboxes = asked.sandboxes.iter().filter(|own| own.labels.get(labels::UID) == Some(&uid));
    let mut usage = PodUse { processes: sandboxes.filter_map(|own| own.processes).sum(), ..PodUse::default() };
    for own in asked.containers.iter().filter(|own| own.labels.get(labels::UID) == Some(&uid)) {
        let name = own.labels.get(labels::CONTAINER).unwrap_or(&own.key.name).clone();
        let layer =
            own.layer.as_ref().map_or_else(Space::default, |own| Space { bytes: own.bytes, inodes: own.inodes });
        let memory = own.memory.map(|memory| memory.working_set);
        usage.known |= memory.is_some();
        usage.containers.insert(name, ContainerUse { memory, layer, ..ContainerUse::default() });
    }
    let logs = layout.logs(&pod);
    let all = pod::containers(&pod).map(|(container, _)| &container.name);
    for name in all.chain(pod.spec.ephemeral_containers.iter().map(|own| &own.name)) {
        let space = space(&logs.join(name));
        if space != Space::default() || usage.containers.contains_key(name) {
            usage.containers.entry(name.clone()).or_default().logs = space;
        }
    }
    for volume in &pod.spec.volumes {
        let into = match volume::kind(volume) {
            Ok(Kind::Folder) => &mut usage.volumes,
            Ok(Kind::Memory(_)) => &mut usage.in_memory,
            Ok(Kind::Host { .. } | Kind::Stored) | Err(_) => continue,
        };
        into.insert(volume.name.clone(), space(&layout.volume(&uid, &volume.name)));
    }
    Measured { pod, usage }
}

/// What a folder takes. One that is not there, or cannot be looked at, takes nothing.
fn space(folder: &Path) -> Space {
    match volume::usage(folder) {
        Ok(taken) => taken,
        Err(error) => {
            tracing::debug!(folder = %folder.display(), %error, "not counted");
            Space::default()
        }
    }
}
