//! What a sandbox or container may use, and with which rights it runs. Linux only.

use std::collections::BTreeMap;

/// What is hidden from a container unless it is told otherwise (`procMount: Default`).
pub const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// What a container cannot write unless it is told otherwise (`procMount: Default`).
pub const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Limits and weights of a control group. What is `None` or empty is left as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// The period of the CPU quota in microseconds.
    pub cpu_period: Option<i64>,
    /// CPU time per period in microseconds; -1 has no limit.
    pub cpu_quota: Option<i64>,
    /// Relative weight of CPU time; 1024 is one core's worth by convention.
    pub cpu_shares: Option<i64>,
    /// Memory in bytes.
    pub memory_limit: Option<i64>,
    /// Memory and swap together in bytes.
    pub memory_swap_limit: Option<i64>,
    /// From -1000 to 1000: how readily the kernel kills it when memory runs out.
    pub oom_score_adj: Option<i64>,
    /// The CPUs it may run on, such as `0-2,4`.
    pub cpuset_cpus: String,
    /// The memory nodes it may use.
    pub cpuset_mems: String,
    /// Bytes per huge-page size, such as `2MB`.
    pub hugepages: BTreeMap<String, u64>,
    /// Files of the unified hierarchy (cgroup v2) and what to write into them.
    pub unified: BTreeMap<String, String>,
}

/// Whose namespace of one kind to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespace {
    /// One that the pod's containers share.
    #[default]
    Pod,
    /// One of its own.
    Container,
    /// The node's.
    Node,
    /// That of another container of the pod.
    Target(super::ContainerId),
}

/// Which namespaces to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// The network; [`Namespace::Pod`] or [`Namespace::Node`].
    pub network: Namespace,
    /// Process ids.
    pub pid: Namespace,
    /// System V IPC and POSIX message queues; [`Namespace::Pod`] or [`Namespace::Node`].
    pub ipc: Namespace,
    /// User ids inside mapped to ids outside; `None` uses the node's.
    pub users: Option<Vec<IdMapping>>,
}

/// A range of user and group ids inside, and where it begins outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdMapping {
    /// The first id outside.
    pub host: u32,
    /// The first id inside.
    pub container: u32,
    /// How many.
    pub length: u32,
}

/// A profile of a kernel security module or filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SecurityProfile {
    /// The runtime's own choice.
    #[default]
    RuntimeDefault,
    /// None at all.
    Unconfined,
    /// A profile on the node: a path for seccomp, a name for AppArmor.
    Localhost(String),
}

/// Who a process runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// A user id.
    Id(i64),
    /// A name that the image's own files know.
    Name(String),
}

/// Where further groups come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupsPolicy {
    /// Those asked for and those that the image gives the user.
    #[default]
    Merge,
    /// Only those asked for.
    Strict,
}

/// SELinux labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selinux {
    /// The user.
    pub user: String,
    /// The role.
    pub role: String,
    /// The type.
    pub kind: String,
    /// The level.
    pub level: String,
}

/// Rights of a sandbox or container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// The namespaces.
    pub namespaces: Namespaces,
    /// Whether it has every right and sees every device. A privileged container needs a privileged sandbox.
    pub privileged: bool,
    /// Capabilities to add, without `CAP_`; `ALL` for all. Containers only.
    pub add_capabilities: Vec<String>,
    /// Capabilities to drop, without `CAP_`; `ALL` for all. Containers only.
    pub drop_capabilities: Vec<String>,
    /// Who it runs as; `None` leaves it to the image.
    pub user: Option<User>,
    /// The main group; needs `user`.
    pub group: Option<i64>,
    /// Further groups.
    pub supplemental_groups: Vec<i64>,
    /// Whether the image may add groups.
    pub groups_policy: GroupsPolicy,
    /// Whether the root file system cannot be written.
    pub readonly_root: bool,
    /// Whether a process can never gain rights (`no_new_privs`). Containers only.
    pub no_new_privileges: bool,
    /// Paths to hide; `None` takes [`MASKED_PATHS`]. Containers only.
    pub masked_paths: Option<Vec<String>>,
    /// Paths that cannot be written; `None` takes [`READONLY_PATHS`]. Containers only.
    pub readonly_paths: Option<Vec<String>>,
    /// The filter of system calls; `None` has no filter.
    pub seccomp: Option<SecurityProfile>,
    /// The AppArmor profile; `None` leaves it to the runtime.
    pub apparmor: Option<SecurityProfile>,
    /// The SELinux labels.
    pub selinux: Option<Selinux>,
}
