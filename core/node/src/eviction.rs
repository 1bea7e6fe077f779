//! What happens when a node runs out of memory, disk or process ids: the node says so, makes room, and ends pods, as the
//! kubelet's eviction manager does. Pods that exceed limits of local storage end too. What is measured and done is in `measure`
//! and `act`; what follows from the figures is pure.

mod act;
mod admit;
mod limits;
mod local;
mod measure;
mod message;
mod rank;
mod watch;

use std::collections::BTreeSet;

use parking_lot::Mutex;
use windlass_api::core::v1::{NodeCondition, Pod};

pub use self::limits::{EvictionLimits, Statements};
pub(crate) use self::{
    act::act,
    admit::refusal,
    measure::Asked,
    rank::{ContainerUse, Measured},
};

/// Why pods end that had to make room, and why pods are not let in.
pub(crate) const EVICTED: &str = "Evicted";

/// What a node can be short of, as its conditions have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    Memory,
    Disk,
    Processes,
}

impl Pressure {
    const ALL: [Self; 3] = [Self::Memory, Self::Disk, Self::Processes];

    /// The condition's type.
    pub(crate) fn condition(self) -> &'static str {
        match self {
            Self::Memory => "MemoryPressure",
            Self::Disk => "DiskPressure",
            Self::Processes => "PIDPressure",
        }
    }

    /// The reason and the message of the condition, while it holds or does not.
    fn words(self, holds: bool) -> (&'static str, &'static str) {
        match (self, holds) {
            (Self::Memory, true) => ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            (Self::Memory, false) => ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            (Self::Disk, true) => ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            (Self::Disk, false) => ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            (Self::Processes, true) => ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            (Self::Processes, false) => ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        }
    }

    /// The reason of the event when the condition comes or goes.
    fn event(self, holds: bool) -> &'static str {
        match (self, holds) {
            (Self::Memory, true) => "NodeHasInsufficientMemory",
            (Self::Memory, false) => "NodeHasSufficientMemory",
            (Self::Disk, true) => "NodeHasDiskPressure",
            (Self::Disk, false) => "NodeHasNoDiskPressure",
            (Self::Processes, true) => "NodeHasInsufficientPID",
            (Self::Processes, false) => "NodeHasSufficientPID",
        }
    }
}

/// What the node is short of, for all who ask.
#[derive(Debug, Default)]
pub(crate) struct Pressures(Mutex<BTreeSet<Pressure>>);

impl Pressures {
    pub(crate) fn now(&self) -> BTreeSet<Pressure> {
        self.0.lock().clone()
    }

    /// The node's conditions.
    pub(crate) fn conditions(&self) -> Vec<NodeCondition> {
        let now = self.now();
        let condition = |pressure: Pressure| {
            let holds = now.contains(&pressure);
            let (reason, message) = pressure.words(holds);
            NodeCondition {
                type_: pressure.condition().into(),
                status: if holds { "True" } else { "False" }.into(),
                reason: Some(reason.into()),
                message: Some(message.into()),
                ..NodeCondition::default()
            }
        };
        Pressure::ALL.map(condition).into()
    }

    /// Takes what is so now, and says what has changed: the reason of an event each.
    fn set(&self, now: BTreeSet<Pressure>) -> Vec<&'static str> {
        let mut known = self.0.lock();
        let changed: Vec<_> = known.symmetric_difference(&now).map(|one| one.event(now.contains(one))).collect();
        *known = now;
        changed
    }
}

/// How a pod is to end that has to make room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Eviction {
    /// Why, for people.
    pub(crate) message: String,
    /// So long its processes get to end by themselves.
    pub(crate) grace: std::time::Duration,
    /// Whether it ends for the node's sake and not by its own fault (KEP-3329).
    pub(crate) disruption: bool,
    /// When that was decided, by the clock's uptime.
    pub(crate) at: std::time::Duration,
}

/// Whether the node cannot do without a pod: one of the highest priorities. There are no pods from files here, and annotations
/// that would say so are any author's to write.
pub(crate) fn critical(pod: &Pod) -> bool {
    const SYSTEM: i32 = 2_000_000_000;
    pod.spec.priority.is_some_and(|own| own >= SYSTEM)
}
