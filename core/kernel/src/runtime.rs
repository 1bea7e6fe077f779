//! Container runtimes: what CRI is, without its wire.
//!
//! Pods, volumes, restarts and probes are the node agent's business; a runtime knows sandboxes and containers.

mod container;
mod event;
mod id;
mod image;
mod resources;
mod sandbox;
mod stats;

use std::{collections::BTreeMap, fmt::Debug, path::Path, time::Duration};

use async_trait::async_trait;

pub use self::{
    container::{
        Container, ContainerConfig, ContainerExit, ContainerFilter, ContainerKey, ContainerState, ContainerStatus,
        Device, ExecOutput, Mount, Propagation,
    },
    event::{Change, RuntimeEvent, RuntimeEvents, Subject},
    id::{ContainerId, ImageId, ImageRef, SandboxId},
    image::{Image, ImageStore, Pull, RegistryAuth},
    resources::{
        GroupsPolicy, IdMapping, MASKED_PATHS, Namespace, Namespaces, READONLY_PATHS, Resources, Security,
        SecurityProfile, Selinux, User,
    },
    sandbox::{
        Dns, PortMapping, Protocol, Sandbox, SandboxConfig, SandboxFilter, SandboxKey, SandboxState, SandboxStatus,
    },
    stats::{ContainerStats, CpuUsage, FsUsage, InterfaceUsage, MemoryUsage, SandboxMetering, SandboxStats},
};
use crate::{
    error::Result,
    node::{Session, Streams},
};

/// What a runtime is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeVersion {
    /// Its name, such as `containerd`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of the interface it speaks, such as `v1`.
    pub api: String,
}

/// One thing a runtime says about its own state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Whether it is ready.
    pub ready: bool,
    /// A word on why not.
    pub reason: String,
    /// A sentence on that.
    pub message: String,
}

/// How a runtime drives control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupDriver {
    /// Through systemd: parents are slices.
    Systemd,
    /// By itself: parents are paths.
    Cgroupfs,
}

/// Whether a runtime can do its work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeStatus {
    /// Whether containers can be run.
    pub runtime: Readiness,
    /// Whether sandboxes get a network.
    pub network: Readiness,
    /// The driver, where the runtime says.
    pub cgroups: Option<CgroupDriver>,
    /// The names of the runtime handlers beside the default one, where the runtime says.
    pub handlers: Vec<String>,
}

/// What session to open.
#[derive(Clone, Debug)]
pub enum Opening {
    /// Runs a command in a container.
    Exec {
        /// The container.
        container: ContainerId,
        /// The command and its arguments.
        command: Vec<String>,
        /// Which streams are wanted. At least one.
        streams: Streams,
    },
    /// Joins a container's main process.
    Attach {
        /// The container.
        container: ContainerId,
        /// Which streams are wanted. At least one; a terminal only if the container runs on one.
        streams: Streams,
    },
    /// Opens connections to ports of a sandbox.
    PortForward {
        /// The sandbox.
        sandbox: SandboxId,
    },
}

/// What something says of itself beyond its status, by name, mostly as JSON. It is for people and their tools: names and texts
/// are the runtime's own, and may hold whatever a container was given, secrets among it.
pub type Info = BTreeMap<String, String>;

/// What an [`Info`] is asked of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InfoOf {
    /// The runtime itself.
    Runtime,
    /// A sandbox.
    Sandbox(SandboxId),
    /// A container.
    Container(ContainerId),
}

/// Runs sandboxes and containers.
///
/// A caller that lost an answer reads (by key or id) and tries again. Dropping a future does not take the call back.
///
/// # Contract
///
/// 1. **One per key.** A sandbox or container whose [key](SandboxKey) is taken already is refused with
///    [`AlreadyExists`](crate::ErrorKind::AlreadyExists), and what exists is not changed.
/// 2. **Gone is success.** Stopping and removing what was stopped or removed before, or never was, succeeds.
/// 3. **Gone is a value.** The status of what is gone is `None`; any other call on it but stop and remove answers
///    [`NotFound`](crate::ErrorKind::NotFound).
/// 4. **Forward only.** A container goes from created to running to exited. Starting one that runs succeeds and changes
///    nothing; starting one that exited is refused with [`Conflict`](crate::ErrorKind::Conflict).
/// 5. **Stop is graceful, and done.** A stopped container gets its signal, then `grace` to end, then it is killed; no
///    grace kills at once. It has exited when the call succeeds.
/// 6. **The exit is kept.** Exit code, times and reason of an exited container stay until it is removed, and it has not
///    ended before it was started. A command that cannot be run makes start fail and leaves the container exited.
/// 7. **A sandbox takes its containers along.** Stopping it stops them and frees its addresses; removing it, running or
///    not, removes them.
/// 8. **Removing kills.** Removing a running container kills it first.
/// 9. **Lists are exact.** A list has all that the filter lets through and nothing else, with labels and annotations as
///    given.
/// 10. **Commands.** [`exec`](ContainerRuntime::exec) runs a command beside the container's process, keeps its two outputs
///     apart and returns its exit code. Past its timeout the answer is [`Timeout`](crate::ErrorKind::Timeout); in a
///     container that does not run, [`Conflict`](crate::ErrorKind::Conflict).
/// 11. **Sessions.** Closing the input is its end for the process; the exit is ready after the outputs have ended;
///     dropping the session ends it, and never the container.
/// 12. **Events are hints.** A stream of events begins with [`Relist`](RuntimeEvent::Relist), which says that it stands.
///     A container that is started or exits later gives an event, or another `Relist`; whoever then reads its status
///     sees what happened. The stream does not end: what interrupts it becomes a `Relist`.
/// 13. **Logs.** What a container writes goes to its log file in CRI's format, one record per line, each stream in
///     order. After the file was renamed, [`reopen_log`](ContainerRuntime::reopen_log) makes a new one.
/// 14. **Limits change live.** [`update_container`](ContainerRuntime::update_container) of a running container takes
///     effect without a restart.
/// 15. **Usage grows.** The CPU time in [`stats`](ContainerRuntime::stats) of a running container never falls.
/// 16. **Info is extra.** [`info`](ContainerRuntime::info) of whatever is there is answered, if only with nothing; of what is
///     gone it is empty.
///
/// `windlass_conformance::runtime` checks them.
#[async_trait]
pub trait ContainerRuntime: Debug + Send + Sync + 'static {
    /// What it is.
    async fn version(&self) -> Result<RuntimeVersion>;

    /// Whether it can do its work.
    async fn status(&self) -> Result<RuntimeStatus>;

    /// Makes a sandbox and its network, and starts it.
    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId>;

    /// Stops a sandbox with its containers and frees its network.
    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()>;

    /// Removes a sandbox with its containers.
    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()>;

    /// A sandbox's status; `None` if it is gone.
    async fn sandbox(&self, id: &SandboxId) -> Result<Option<SandboxStatus>>;

    /// The sandboxes that the filter lets through.
    async fn sandboxes(&self, filter: &SandboxFilter) -> Result<Vec<Sandbox>>;

    /// Makes a container in a sandbox, from an image that is there. `sandbox_config` is what the sandbox was made with.
    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
        sandbox_config: &SandboxConfig,
    ) -> Result<ContainerId>;

    /// Starts a container.
    async fn start_container(&self, id: &ContainerId) -> Result<()>;

    /// Stops a container, with `grace` to end by itself.
    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()>;

    /// Removes a container. Its log file stays.
    async fn remove_container(&self, id: &ContainerId) -> Result<()>;

    /// A container's status; `None` if it is gone.
    async fn container(&self, id: &ContainerId) -> Result<Option<ContainerStatus>>;

    /// The containers that the filter lets through.
    async fn containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>>;

    /// Changes the limits of a container.
    async fn update_container(&self, id: &ContainerId, resources: &Resources) -> Result<()>;

    /// Goes on writing to a new log file at the container's log path.
    async fn reopen_log(&self, id: &ContainerId) -> Result<()>;

    /// Runs a command to its end. `None` has no timeout.
    async fn exec(&self, id: &ContainerId, command: &[String], timeout: Option<Duration>) -> Result<ExecOutput>;

    /// Opens a session.
    async fn session(&self, opening: Opening) -> Result<Session>;

    /// What the containers use that the filter lets through.
    async fn stats(&self, filter: &ContainerFilter) -> Result<Vec<ContainerStats>>;

    /// What it says of itself, or of what it runs, beyond the status. By default that is nothing.
    async fn info(&self, _: &InfoOf) -> Result<Info> {
        Ok(Info::new())
    }

    /// What happens from now on.
    fn events(&self) -> RuntimeEvents;

    /// Usage by sandbox, if the runtime counts it.
    fn metering(&self) -> Option<&dyn SandboxMetering>;

    /// Checkpoints of containers, if the runtime makes them.
    fn checkpoints(&self) -> Option<&dyn Checkpoints>;

    /// Networks that the runtime makes itself from a range of pod addresses, if it does.
    fn pod_ranges(&self) -> Option<&dyn PodRanges>;
}

/// An optional service of a runtime: checkpoints of running containers.
#[async_trait]
pub trait Checkpoints: Send + Sync {
    /// Writes a container's state to a new archive, within `timeout`; `None` has no limit.
    async fn checkpoint(&self, id: &ContainerId, archive: &Path, timeout: Option<Duration>) -> Result<()>;
}

/// An optional service of a runtime: it configures the network of sandboxes by itself.
#[async_trait]
pub trait PodRanges: Send + Sync {
    /// Tells the node's range of pod addresses. Idempotent.
    async fn set_pod_ranges(&self, ranges: &[String]) -> Result<()>;
}
