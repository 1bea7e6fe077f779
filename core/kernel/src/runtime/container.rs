//! A container of a sandbox.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;

use super::{ContainerId, IdMapping, ImageId, ImageRef, Resources, SandboxId, Security};

/// Which container of its sandbox it is, and which try. Unique within a sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerKey {
    /// The container's name.
    pub name: String,
    /// The try: raised for each new instance.
    pub attempt: u32,
}

/// What a container is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerConfig {
    /// Its key.
    pub key: ContainerKey,
    /// The image, which must be in the runtime's store: nothing is pulled.
    pub image: ImageRef,
    /// The image as the user wrote it, to be kept for statuses; empty for the same as `image`.
    pub user_image: String,
    /// Replaces the image's entry point.
    pub command: Vec<String>,
    /// Replaces the image's arguments.
    pub args: Vec<String>,
    /// The working directory; empty for the image's.
    pub working_dir: String,
    /// The environment, beside the image's, in order.
    pub env: Vec<(String, String)>,
    /// What is mounted into it.
    pub mounts: Vec<Mount>,
    /// Devices of the node.
    pub devices: Vec<Device>,
    /// Fully qualified names of CDI devices.
    pub cdi_devices: Vec<String>,
    /// What it can be found by.
    pub labels: BTreeMap<String, String>,
    /// What is kept with it, unread.
    pub annotations: BTreeMap<String, String>,
    /// The log file, relative to the sandbox's log directory; empty keeps no log.
    pub log_path: String,
    /// Whether it has a standard input that sessions can write to.
    pub stdin: bool,
    /// Whether the input ends with the first session that attached to it.
    pub stdin_once: bool,
    /// Whether it runs on a terminal.
    pub tty: bool,
    /// What it may use.
    pub resources: Resources,
    /// Its rights.
    pub security: Security,
    /// The signal that asks it to end, such as `SIGTERM`; empty for the image's.
    pub stop_signal: String,
}

/// Whether mounts that are made later are seen on the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They are not.
    #[default]
    Private,
    /// Those of the node are seen in the container.
    FromHost,
    /// In both directions. The source has to lie under a shared mount.
    Both,
}

/// Something mounted into a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// Where, inside.
    pub container_path: String,
    /// What, on the node. It has to exist: what a runtime makes of a missing path is its own affair.
    pub host_path: String,
    /// An image to mount in place of a path of the node.
    pub image: Option<ImageRef>,
    /// The folder of the image to mount.
    pub image_sub_path: String,
    /// Whether it cannot be written.
    pub readonly: bool,
    /// Whether mounts below it cannot be written either.
    pub recursive_readonly: bool,
    /// Whether its SELinux labels are changed to the container's.
    pub selinux_relabel: bool,
    /// Later mounts.
    pub propagation: Propagation,
    /// Mapped user ids.
    pub uid_mappings: Vec<IdMapping>,
    /// Mapped group ids.
    pub gid_mappings: Vec<IdMapping>,
}

/// A device of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Its path inside.
    pub container_path: String,
    /// Its path on the node.
    pub host_path: String,
    /// Some of `r`, `w` and `m` (make nodes).
    pub permissions: String,
}

/// Where a container is in its life. It never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Made and not started.
    Created,
    /// Running.
    Running,
    /// Ended, or failed to start.
    Exited,
    /// The runtime does not know.
    Unknown,
}

/// A container as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: ContainerId,
    /// Its sandbox.
    pub sandbox: SandboxId,
    /// Its key.
    pub key: ContainerKey,
    /// The image as it was asked for.
    pub image: ImageRef,
    /// The image's id; empty where the runtime does not say.
    pub image_id: ImageId,
    /// Its state.
    pub state: ContainerState,
    /// When it was made.
    pub created: Timestamp,
    /// What it can be found by.
    pub labels: BTreeMap<String, String>,
    /// What is kept with it.
    pub annotations: BTreeMap<String, String>,
}

/// Everything a runtime says about a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerStatus {
    /// What a list shows (a status may leave `sandbox` empty).
    pub container: Container,
    /// When it was started.
    pub started: Option<Timestamp>,
    /// How and when it ended.
    pub exit: Option<ContainerExit>,
    /// A word on why it is in its state, such as `OOMKilled`; empty if there is nothing to say.
    pub reason: String,
    /// A sentence on that.
    pub message: String,
    /// The log file as an absolute path; empty if there is none.
    pub log_path: String,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// The limits that are in force, where the runtime says.
    pub resources: Option<Resources>,
    /// Who it runs as (user, group, further groups), where the runtime says.
    pub user: Option<(i64, i64, Vec<i64>)>,
}

/// The end of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerExit {
    /// The exit code; 128 and the signal's number when a signal ended it.
    pub code: i32,
    /// When.
    pub finished: Timestamp,
}

/// Which containers to list: those to which everything that is set applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerFilter {
    /// The id.
    pub id: Option<ContainerId>,
    /// The sandbox.
    pub sandbox: Option<SandboxId>,
    /// The state.
    pub state: Option<ContainerState>,
    /// Labels with their values.
    pub labels: BTreeMap<String, String>,
}

/// What a command left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its exit code.
    pub code: i32,
    /// What it wrote to its standard output.
    pub stdout: Bytes,
    /// What it wrote to its standard error.
    pub stderr: Bytes,
}
