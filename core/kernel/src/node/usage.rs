//! What a node and its pods use: what `kubectl top` shows and autoscalers go by (`metrics.k8s.io`).

use std::{iter::Sum, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    controller::ObjectKey,
    error::Result,
    runtime::{InterfaceUsage, MemoryUsage},
    volume::{Usage as Share, VolumeUsage},
};

/// An amount of CPU and memory in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// CPU over the window, in billionths of a core.
    pub nanocores: u64,
    /// Memory that cannot be given back under pressure, in bytes.
    pub memory: u64,
    /// CPU since the beginning, of a container since it started; `None` where nobody counts it.
    pub cpu: Option<Duration>,
}

/// What several use together. CPU since the beginning is known where all of it is.
impl<'a> Sum<&'a Amounts> for Amounts {
    fn sum<I: Iterator<Item = &'a Self>>(each: I) -> Self {
        let none = Self { cpu: Some(Duration::ZERO), ..Self::default() };
        each.fold(none, |sum, own| Self {
            nanocores: sum.nanocores.saturating_add(own.nanocores),
            memory: sum.memory.saturating_add(own.memory),
            cpu: sum.cpu.zip(own.cpu).map(|(sum, own)| sum.saturating_add(own)),
        })
    }
}

/// What was measured, when, and over which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured<T> {
    /// The end of the time that CPU was measured over.
    pub at: Timestamp,
    /// How long that time was.
    pub window: Duration,
    /// The amounts.
    pub amounts: T,
}

/// What a pod uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodUsage {
    /// The pod.
    pub pod: ObjectKey,
    /// The pod's uid.
    pub uid: String,
    /// What its containers use, by name.
    pub containers: Measured<Vec<(String, Amounts)>>,
}

/// What a node and its pods use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The whole node, where that is known.
    pub node: Option<Measured<Amounts>>,
    /// Its running pods. One that was not measured yet is missing.
    pub pods: Vec<PodUsage>,
}

/// An optional service of an agent: what its node and pods use.
///
/// Figures are measured when they are asked for, and not more often than is of use: an agent that nobody asks measures
/// nothing, and one that is asked again soon gives the same answer. The first answer may take a moment, because CPU is
/// measured over time. Dropping the future has no effect.
#[async_trait]
pub trait Metering: Send + Sync {
    /// What is used now.
    ///
    /// # Errors
    ///
    /// Those of the runtime.
    async fn usage(&self) -> Result<Usage>;

    /// How full volumes are, if the agent measures that, too.
    fn volumes(&self) -> Option<&dyn VolumeMetering> {
        None
    }

    /// What is used beside CPU and memory, if the agent measures that, too.
    fn details(&self) -> Option<&dyn DetailMetering> {
        None
    }
}

/// A volume of a pod, and how full it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodVolume {
    /// The pod.
    pub pod: ObjectKey,
    /// The pod's uid.
    pub uid: String,
    /// What the pod calls the volume.
    pub name: String,
    /// The claim that it is of, in the pod's namespace; `None` where it is of none.
    pub claim: Option<String>,
    /// How full it is.
    pub usage: VolumeUsage,
}

/// An optional service of what measures a node: how full the volumes of its pods are.
///
/// As with [`Metering`], nothing is measured unless somebody asks, and whoever asks again soon is given the same answer.
#[async_trait]
pub trait VolumeMetering: Send + Sync {
    /// The volumes that can be measured, by pod and name. One whose driver does not tell, or not now, is left out.
    ///
    /// # Errors
    ///
    /// Where nothing at all can be measured.
    async fn volumes(&self) -> Result<Vec<PodVolume>>;
}

/// Space on a disk that something takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// In bytes, as the file system counts them.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

impl std::ops::AddAssign for Space {
    fn add_assign(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.inodes = self.inodes.saturating_add(other.inodes);
    }
}

/// A file system and how full it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// In bytes.
    pub bytes: Share,
    /// Inodes; `None` where the file system does not count them.
    pub inodes: Option<Share>,
}

/// What a node and its pods use beside CPU, and their memory in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// When it was measured.
    pub at: Timestamp,
    /// When the node's machine started, where known.
    pub started: Option<Timestamp>,
    /// The file system of volumes and logs of pods, where it can be measured.
    pub disk: Option<Disk>,
    /// The file system of images, and how much of it images take.
    pub images: Option<(Disk, Space)>,
    /// The network of the node, the main interface first; not those of pods.
    pub interfaces: Vec<InterfaceUsage>,
    /// How many processes and threads there are, and how many there may be.
    pub processes: Option<(u64, u64)>,
    /// The pods of the node, by namespace and name.
    pub pods: Vec<PodDetails>,
}

/// What a pod uses beside CPU, and its memory in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodDetails {
    /// The pod.
    pub pod: ObjectKey,
    /// The pod's uid.
    pub uid: String,
    /// Its network, the main interface first; none where it is on the node's.
    pub interfaces: Vec<InterfaceUsage>,
    /// How many processes it has, where known.
    pub processes: Option<u64>,
    /// All that it has on the node's disks and that goes with it: layers, logs and volumes of its own.
    pub local: Space,
    /// Its containers, by name.
    pub containers: Vec<ContainerDetails>,
}

/// What a container uses beside CPU, and its memory in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerDetails {
    /// Its name in the pod.
    pub name: String,
    /// Its memory, where known.
    pub memory: Option<MemoryUsage>,
    /// What it wrote beside volumes, on the file system of images.
    pub layer: Space,
    /// What its logs take, on the file system of volumes and logs.
    pub logs: Space,
}

/// An optional service of what measures a node: what it and its pods use beside CPU.
///
/// As with [`Metering`], nothing is measured unless somebody asks, and whoever asks again soon is given the same answer: disks are
/// walked for it.
#[async_trait]
pub trait DetailMetering: Send + Sync {
    /// What is used now. What cannot be measured is left out.
    ///
    /// # Errors
    ///
    /// Those of the runtime.
    async fn details(&self) -> Result<Details>;
}
