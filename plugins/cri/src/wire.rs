//! The only file that knows CRI's messages: kernel types to the wire and back. No calls are made here.

use std::{net::IpAddr, time::Duration};

use jiff::Timestamp;
use windlass_kernel::{
    Error, ErrorKind, Result,
    runtime::{
        CgroupDriver, Change, Container, ContainerConfig, ContainerExit, ContainerFilter, ContainerKey, ContainerState,
        ContainerStats, ContainerStatus, CpuUsage, Device, FsUsage, GroupsPolicy, IdMapping, Image, ImageId, ImageRef,
        InterfaceUsage, MemoryUsage, Mount, Namespace, Namespaces, PortMapping, Propagation, Protocol, Pull, Readiness,
        RegistryAuth, Resources, RuntimeEvent, RuntimeStatus, RuntimeVersion, Sandbox, SandboxConfig, SandboxFilter,
        SandboxKey, SandboxState, SandboxStats, SandboxStatus, SecurityProfile, Selinux, Subject, User,
    },
};

pub(crate) use crate::r#gen::{
    containerd_events_v1::{self as events, events_client::EventsClient},
    runtime_v1::{
        self as wire, image_service_client::ImageServiceClient, runtime_service_client::RuntimeServiceClient,
    },
};

/// What a status code says, for a call that did `what`.
pub(crate) fn error_from_wire(what: &str, status: tonic::Status) -> Error {
    use tonic::Code;
    let (kind, maybe) = match status.code() {
        Code::InvalidArgument => (ErrorKind::Invalid, false),
        Code::OutOfRange => (ErrorKind::BadRequest, false),
        Code::NotFound => (ErrorKind::NotFound, false),
        Code::AlreadyExists => (ErrorKind::AlreadyExists, false),
        Code::PermissionDenied => (ErrorKind::Forbidden, false),
        Code::Unauthenticated => (ErrorKind::Unauthorized, false),
        Code::FailedPrecondition | Code::Aborted => (ErrorKind::Conflict, false),
        Code::ResourceExhausted => (ErrorKind::TooManyRequests, false),
        Code::Unimplemented => (ErrorKind::NotSupported, false),
        Code::DeadlineExceeded => (ErrorKind::Timeout, true),
        Code::Unavailable | Code::Cancelled => (ErrorKind::Unavailable, true),
        Code::DataLoss => (ErrorKind::Corrupt, true),
        Code::Ok | Code::Unknown | Code::Internal => (ErrorKind::Internal, true),
    };
    let error = Error::new(kind, format!("cannot {what}: {}", status.message())).with_source(status);
    if maybe { error.maybe_applied() } else { error }
}

fn missing(what: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("the runtime answered without {what}"))
}

/// Whole seconds, rounded up: a wait is never shorter than what was asked for.
pub(crate) fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs() + u64::from(span.subsec_nanos() > 0)).unwrap_or(i64::MAX)
}

fn time(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn text<T: From<String>>(text: String) -> Option<T> {
    (!text.is_empty()).then(|| text.into())
}

// Configurations, to the wire.

pub(crate) fn sandbox_config(config: &SandboxConfig) -> wire::PodSandboxConfig {
    let security = &config.security;
    wire::PodSandboxConfig {
        metadata: Some(sandbox_key(&config.key)),
        hostname: config.hostname.clone(),
        log_directory: config.log_directory.clone(),
        dns_config: config.dns.as_ref().map(|dns| wire::DnsConfig {
            servers: dns.servers.clone(),
            searches: dns.searches.clone(),
            options: dns.options.clone(),
        }),
        port_mappings: config.ports.iter().map(port).collect(),
        labels: config.labels.clone(),
        annotations: config.annotations.clone(),
        linux: Some(wire::LinuxPodSandboxConfig {
            cgroup_parent: config.cgroup_parent.clone(),
            security_context: Some(wire::LinuxSandboxSecurityContext {
                namespace_options: Some(namespaces(&security.namespaces)),
                selinux_options: security.selinux.as_ref().map(selinux),
                run_as_user: match security.user {
                    Some(User::Id(value)) => Some(wire::Int64Value { value }),
                    _ => None,
                },
                run_as_group: security.group.map(|value| wire::Int64Value { value }),
                readonly_rootfs: security.readonly_root,
                supplemental_groups: security.supplemental_groups.clone(),
                supplemental_groups_policy: groups_policy(security.groups_policy),
                privileged: security.privileged,
                seccomp: security.seccomp.as_ref().map(profile),
                apparmor: security.apparmor.as_ref().map(profile),
            }),
            sysctls: config.sysctls.clone(),
            overhead: config.overhead.as_ref().map(resources),
            resources: config.resources.as_ref().map(resources),
        }),
    }
}

fn sandbox_key(key: &SandboxKey) -> wire::PodSandboxMetadata {
    wire::PodSandboxMetadata {
        name: key.name.clone(),
        uid: key.uid.clone(),
        namespace: key.namespace.clone(),
        attempt: key.attempt,
    }
}

fn port(port: &PortMapping) -> wire::PortMapping {
    wire::PortMapping {
        protocol: match port.protocol {
            Protocol::Tcp => wire::Protocol::Tcp,
            Protocol::Udp => wire::Protocol::Udp,
            Protocol::Sctp => wire::Protocol::Sctp,
        }
        .into(),
        container_port: port.container_port.into(),
        host_port: port.host_port.into(),
        host_ip: port.host_ip.clone(),
    }
}

fn namespaces(namespaces: &Namespaces) -> wire::NamespaceOption {
    let mode = |namespace: &Namespace| {
        i32::from(match namespace {
            Namespace::Pod => wire::NamespaceMode::Pod,
            Namespace::Container => wire::NamespaceMode::Container,
            Namespace::Node => wire::NamespaceMode::Node,
            Namespace::Target(_) => wire::NamespaceMode::Target,
        })
    };
    wire::NamespaceOption {
        network: mode(&namespaces.network),
        pid: mode(&namespaces.pid),
        ipc: mode(&namespaces.ipc),
        target_id: match &namespaces.pid {
            Namespace::Target(id) => id.to_string(),
            _ => String::new(),
        },
        userns_options: namespaces.users.as_ref().map(|mappings| wire::UserNamespace {
            mode: wire::NamespaceMode::Pod.into(),
            uids: mappings.iter().map(id_mapping).collect(),
            gids: mappings.iter().map(id_mapping).collect(),
        }),
    }
}

fn id_mapping(mapping: &IdMapping) -> wire::IdMapping {
    wire::IdMapping { host_id: mapping.host, container_id: mapping.container, length: mapping.length }
}

fn groups_policy(policy: GroupsPolicy) -> i32 {
    match policy {
        GroupsPolicy::Merge => wire::SupplementalGroupsPolicy::Merge,
        GroupsPolicy::Strict => wire::SupplementalGroupsPolicy::Strict,
    }
    .into()
}

fn selinux(selinux: &Selinux) -> wire::SeLinuxOption {
    wire::SeLinuxOption {
        user: selinux.user.clone(),
        role: selinux.role.clone(),
        r#type: selinux.kind.clone(),
        level: selinux.level.clone(),
    }
}

fn profile(profile: &SecurityProfile) -> wire::SecurityProfile {
    use wire::security_profile::ProfileType;
    let (kind, localhost_ref) = match profile {
        SecurityProfile::RuntimeDefault => (ProfileType::RuntimeDefault, String::new()),
        SecurityProfile::Unconfined => (ProfileType::Unconfined, String::new()),
        SecurityProfile::Localhost(name) => (ProfileType::Localhost, name.clone()),
    };
    wire::SecurityProfile { profile_type: kind.into(), localhost_ref }
}

pub(crate) fn resources(resources: &Resources) -> wire::LinuxContainerResources {
    wire::LinuxContainerResources {
        cpu_period: resources.cpu_period.unwrap_or_default(),
        cpu_quota: resources.cpu_quota.unwrap_or_default(),
        cpu_shares: resources.cpu_shares.unwrap_or_default(),
        memory_limit_in_bytes: resources.memory_limit.unwrap_or_default(),
        oom_score_adj: resources.oom_score_adj.unwrap_or_default(),
        cpuset_cpus: resources.cpuset_cpus.clone(),
        cpuset_mems: resources.cpuset_mems.clone(),
        hugepage_limits: resources
            .hugepages
            .iter()
            .map(|(page_size, limit)| wire::HugepageLimit { page_size: page_size.clone(), limit: *limit })
            .collect(),
        unified: resources.unified.clone(),
        memory_swap_limit_in_bytes: resources.memory_swap_limit.unwrap_or_default(),
    }
}

fn resources_from_wire(wire: wire::LinuxContainerResources) -> Resources {
    let some = |number: i64| (number != 0).then_some(number);
    Resources {
        cpu_period: some(wire.cpu_period),
        cpu_quota: some(wire.cpu_quota),
        cpu_shares: some(wire.cpu_shares),
        memory_limit: some(wire.memory_limit_in_bytes),
        memory_swap_limit: some(wire.memory_swap_limit_in_bytes),
        oom_score_adj: some(wire.oom_score_adj),
        cpuset_cpus: wire.cpuset_cpus,
        cpuset_mems: wire.cpuset_mems,
        hugepages: wire.hugepage_limits.into_iter().map(|limit| (limit.page_size, limit.limit)).collect(),
        unified: wire.unified,
    }
}

fn image_spec(image: &ImageRef) -> wire::ImageSpec {
    wire::ImageSpec { image: image.to_string(), ..wire::ImageSpec::default() }
}

pub(crate) fn container_config(config: &ContainerConfig) -> Result<wire::ContainerConfig> {
    let security = &config.security;
    let (run_as_user, run_as_username) = match &security.user {
        Some(User::Id(value)) => (Some(wire::Int64Value { value: *value }), String::new()),
        Some(User::Name(name)) => (None, name.clone()),
        None => (None, String::new()),
    };
    Ok(wire::ContainerConfig {
        metadata: Some(wire::ContainerMetadata { name: config.key.name.clone(), attempt: config.key.attempt }),
        image: Some(wire::ImageSpec { user_specified_image: config.user_image.clone(), ..image_spec(&config.image) }),
        command: config.command.clone(),
        args: config.args.clone(),
        working_dir: config.working_dir.clone(),
        envs: config.env.iter().map(|(key, value)| wire::KeyValue { key: key.clone(), value: value.clone() }).collect(),
        mounts: config.mounts.iter().map(mount).collect(),
        devices: config.devices.iter().map(device).collect(),
        labels: config.labels.clone(),
        annotations: config.annotations.clone(),
        log_path: config.log_path.clone(),
        stdin: config.stdin,
        stdin_once: config.stdin_once,
        tty: config.tty,
        linux: Some(wire::LinuxContainerConfig {
            resources: Some(resources(&config.resources)),
            security_context: Some(wire::LinuxContainerSecurityContext {
                capabilities: Some(wire::Capability {
                    add_capabilities: security.add_capabilities.clone(),
                    drop_capabilities: security.drop_capabilities.clone(),
                    add_ambient_capabilities: Vec::new(),
                }),
                privileged: security.privileged,
                namespace_options: Some(namespaces(&security.namespaces)),
                selinux_options: security.selinux.as_ref().map(selinux),
                run_as_user,
                run_as_group: security.group.map(|value| wire::Int64Value { value }),
                run_as_username,
                readonly_rootfs: security.readonly_root,
                supplemental_groups: security.supplemental_groups.clone(),
                supplemental_groups_policy: groups_policy(security.groups_policy),
                no_new_privs: security.no_new_privileges,
                masked_paths: security.masked_paths.clone().unwrap_or_else(|| strings(MASKED)),
                readonly_paths: security.readonly_paths.clone().unwrap_or_else(|| strings(READONLY)),
                seccomp: security.seccomp.as_ref().map(profile),
                apparmor: security.apparmor.as_ref().map(profile),
            }),
        }),
        cdi_devices: config.cdi_devices.iter().map(|name| wire::CdiDevice { name: name.clone() }).collect(),
        stop_signal: stop_signal(&config.stop_signal)?.into(),
    })
}

/// CRI has no "the usual ones" for these paths: an empty list hides nothing. They are those of a pod's default
/// `procMount`.
const MASKED: &[&str] = &[
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
const READONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn stop_signal(name: &str) -> Result<wire::Signal> {
    if name.is_empty() {
        return Ok(wire::Signal::RuntimeDefault);
    }
    // `SIGRTMIN+1` is `SIGRTMINPLUS1` on the wire.
    let name = name.replace('+', "PLUS").replace("MAX-", "MAXMINUS");
    wire::Signal::from_str_name(&name)
        .ok_or_else(|| Error::new(ErrorKind::Invalid, format!("no signal is named {name}")))
}

fn device(device: &Device) -> wire::Device {
    wire::Device {
        container_path: device.container_path.clone(),
        host_path: device.host_path.clone(),
        permissions: device.permissions.clone(),
    }
}

fn mount(mount: &Mount) -> wire::Mount {
    wire::Mount {
        container_path: mount.container_path.clone(),
        host_path: mount.host_path.clone(),
        readonly: mount.readonly,
        selinux_relabel: mount.selinux_relabel,
        propagation: match mount.propagation {
            Propagation::Private => wire::MountPropagation::PropagationPrivate,
            Propagation::FromHost => wire::MountPropagation::PropagationHostToContainer,
            Propagation::Both => wire::MountPropagation::PropagationBidirectional,
        }
        .into(),
        uid_mappings: mount.uid_mappings.iter().map(id_mapping).collect(),
        gid_mappings: mount.gid_mappings.iter().map(id_mapping).collect(),
        recursive_read_only: mount.recursive_readonly,
        image: mount.image.as_ref().map(image_spec),
        image_sub_path: mount.image_sub_path.clone(),
    }
}

fn mount_from_wire(wire: wire::Mount) -> Mount {
    let mapping = |mapping: wire::IdMapping| IdMapping {
        host: mapping.host_id,
        container: mapping.container_id,
        length: mapping.length,
    };
    Mount {
        propagation: match wire.propagation() {
            wire::MountPropagation::PropagationPrivate => Propagation::Private,
            wire::MountPropagation::PropagationHostToContainer => Propagation::FromHost,
            wire::MountPropagation::PropagationBidirectional => Propagation::Both,
        },
        container_path: wire.container_path,
        host_path: wire.host_path,
        image: wire.image.map(|image| image.image.into()),
        image_sub_path: wire.image_sub_path,
        readonly: wire.readonly,
        recursive_readonly: wire.recursive_read_only,
        selinux_relabel: wire.selinux_relabel,
        uid_mappings: wire.uid_mappings.into_iter().map(mapping).collect(),
        gid_mappings: wire.gid_mappings.into_iter().map(mapping).collect(),
    }
}

pub(crate) fn pull(pull: &Pull) -> wire::PullImageRequest {
    wire::PullImageRequest {
        image: Some(wire::ImageSpec {
            annotations: pull.annotations.clone(),
            runtime_handler: pull.handler.clone(),
            ..image_spec(&pull.image)
        }),
        auth: pull.auth.as_ref().map(auth),
        sandbox_config: None,
    }
}

fn auth(auth: &RegistryAuth) -> wire::AuthConfig {
    wire::AuthConfig {
        username: auth.username.clone(),
        password: auth.password.clone(),
        auth: auth.basic.clone(),
        server_address: auth.server.clone(),
        identity_token: auth.identity_token.clone(),
        registry_token: auth.registry_token.clone(),
    }
}

pub(crate) fn image_named(image: &ImageRef) -> Option<wire::ImageSpec> {
    Some(image_spec(image))
}

pub(crate) fn sandbox_filter(filter: &SandboxFilter) -> wire::PodSandboxFilter {
    wire::PodSandboxFilter {
        id: filter.id.as_ref().map(ToString::to_string).unwrap_or_default(),
        state: filter.state.map(|state| wire::PodSandboxStateValue {
            state: match state {
                SandboxState::Ready => wire::PodSandboxState::SandboxReady,
                SandboxState::NotReady => wire::PodSandboxState::SandboxNotready,
            }
            .into(),
        }),
        label_selector: filter.labels.clone(),
    }
}

pub(crate) fn container_filter(filter: &ContainerFilter) -> wire::ContainerFilter {
    wire::ContainerFilter {
        id: filter.id.as_ref().map(ToString::to_string).unwrap_or_default(),
        state: filter.state.map(|state| wire::ContainerStateValue { state: container_state(state).into() }),
        pod_sandbox_id: filter.sandbox.as_ref().map(ToString::to_string).unwrap_or_default(),
        label_selector: filter.labels.clone(),
    }
}

fn container_state(state: ContainerState) -> wire::ContainerState {
    match state {
        ContainerState::Created => wire::ContainerState::ContainerCreated,
        ContainerState::Running => wire::ContainerState::ContainerRunning,
        ContainerState::Exited => wire::ContainerState::ContainerExited,
        ContainerState::Unknown => wire::ContainerState::ContainerUnknown,
    }
}

// Answers, from the wire.

pub(crate) fn version(wire: wire::VersionResponse) -> RuntimeVersion {
    RuntimeVersion { name: wire.runtime_name, version: wire.runtime_version, api: wire.runtime_api_version }
}

pub(crate) fn status(wire: wire::StatusResponse, driver: Option<wire::RuntimeConfigResponse>) -> RuntimeStatus {
    let conditions = wire.status.map(|status| status.conditions).unwrap_or_default();
    let ready = |kind: &str| {
        let found = conditions.iter().find(|condition| condition.r#type == kind);
        found.map_or_else(
            || Readiness { reason: "Unknown".into(), message: format!("no {kind} condition"), ..Readiness::default() },
            |condition| Readiness {
                ready: condition.status,
                reason: condition.reason.clone(),
                message: condition.message.clone(),
            },
        )
    };
    RuntimeStatus {
        runtime: ready("RuntimeReady"),
        network: ready("NetworkReady"),
        cgroups: driver.and_then(|config| config.linux).map(|linux| match linux.cgroup_driver() {
            wire::CgroupDriver::Systemd => CgroupDriver::Systemd,
            wire::CgroupDriver::Cgroupfs => CgroupDriver::Cgroupfs,
        }),
        handlers: wire
            .runtime_handlers
            .into_iter()
            .map(|handler| handler.name)
            .filter(|name| !name.is_empty())
            .collect(),
    }
}

fn sandbox_key_from_wire(wire: Option<wire::PodSandboxMetadata>) -> SandboxKey {
    let wire = wire.unwrap_or_default();
    SandboxKey { name: wire.name, namespace: wire.namespace, uid: wire.uid, attempt: wire.attempt }
}

fn sandbox_state(state: wire::PodSandboxState) -> SandboxState {
    match state {
        wire::PodSandboxState::SandboxReady => SandboxState::Ready,
        wire::PodSandboxState::SandboxNotready => SandboxState::NotReady,
    }
}

pub(crate) fn sandbox(wire: wire::PodSandbox) -> Sandbox {
    Sandbox {
        state: sandbox_state(wire.state()),
        id: wire.id.into(),
        key: sandbox_key_from_wire(wire.metadata),
        created: time(wire.created_at),
        labels: wire.labels,
        annotations: wire.annotations,
        handler: wire.runtime_handler,
    }
}

pub(crate) fn sandbox_status(wire: Option<wire::PodSandboxStatus>) -> Result<SandboxStatus> {
    let wire = wire.ok_or_else(|| missing("a sandbox status"))?;
    let state = sandbox_state(wire.state());
    let network = wire.network.unwrap_or_default();
    let ips = std::iter::once(network.ip).chain(network.additional_ips.into_iter().map(|ip| ip.ip));
    let namespaces = wire.linux.and_then(|linux| linux.namespaces).and_then(|namespaces| namespaces.options);
    Ok(SandboxStatus {
        ips: ips.filter_map(|ip| ip.parse::<IpAddr>().ok()).collect(),
        namespaces: namespaces_from_wire(namespaces.unwrap_or_default()),
        sandbox: Sandbox {
            state,
            id: wire.id.into(),
            key: sandbox_key_from_wire(wire.metadata),
            created: time(wire.created_at),
            labels: wire.labels,
            annotations: wire.annotations,
            handler: wire.runtime_handler,
        },
    })
}

fn namespaces_from_wire(wire: wire::NamespaceOption) -> Namespaces {
    let namespace = |mode: wire::NamespaceMode| match mode {
        wire::NamespaceMode::Pod => Namespace::Pod,
        wire::NamespaceMode::Container => Namespace::Container,
        wire::NamespaceMode::Node => Namespace::Node,
        wire::NamespaceMode::Target => Namespace::Target(wire.target_id.as_str().into()),
    };
    Namespaces {
        network: namespace(wire.network()),
        pid: namespace(wire.pid()),
        ipc: namespace(wire.ipc()),
        users: wire.userns_options.as_ref().filter(|users| users.mode() == wire::NamespaceMode::Pod).map(|users| {
            let mapping = |mapping: &wire::IdMapping| IdMapping {
                host: mapping.host_id,
                container: mapping.container_id,
                length: mapping.length,
            };
            users.uids.iter().map(mapping).collect()
        }),
    }
}

fn key_from_wire(wire: Option<wire::ContainerMetadata>) -> ContainerKey {
    let wire = wire.unwrap_or_default();
    ContainerKey { name: wire.name, attempt: wire.attempt }
}

fn state_from_wire(state: wire::ContainerState) -> ContainerState {
    match state {
        wire::ContainerState::ContainerCreated => ContainerState::Created,
        wire::ContainerState::ContainerRunning => ContainerState::Running,
        wire::ContainerState::ContainerExited => ContainerState::Exited,
        wire::ContainerState::ContainerUnknown => ContainerState::Unknown,
    }
}

pub(crate) fn container(wire: wire::Container) -> Container {
    Container {
        state: state_from_wire(wire.state()),
        id: wire.id.into(),
        sandbox: wire.pod_sandbox_id.into(),
        key: key_from_wire(wire.metadata),
        image: wire.image.unwrap_or_default().image.into(),
        image_id: text(wire.image_id).or_else(|| text(wire.image_ref)).unwrap_or_default(),
        created: time(wire.created_at),
        labels: wire.labels,
        annotations: wire.annotations,
    }
}

pub(crate) fn container_status(wire: Option<wire::ContainerStatus>) -> Result<ContainerStatus> {
    let wire = wire.ok_or_else(|| missing("a container status"))?;
    let state = state_from_wire(wire.state());
    let user = wire.user.and_then(|user| user.linux).map(|user| (user.uid, user.gid, user.supplemental_groups));
    Ok(ContainerStatus {
        started: (wire.started_at != 0).then(|| time(wire.started_at)),
        exit: (state == ContainerState::Exited)
            .then(|| ContainerExit { code: wire.exit_code, finished: time(wire.finished_at) }),
        reason: wire.reason,
        message: wire.message,
        log_path: wire.log_path,
        mounts: wire.mounts.into_iter().map(mount_from_wire).collect(),
        resources: wire.resources.and_then(|resources| resources.linux).map(resources_from_wire),
        user,
        container: Container {
            state,
            id: wire.id.into(),
            sandbox: "".into(),
            key: key_from_wire(wire.metadata),
            image: wire.image.unwrap_or_default().image.into(),
            image_id: text(wire.image_id).or_else(|| text(wire.image_ref)).unwrap_or_default(),
            created: time(wire.created_at),
            labels: wire.labels,
            annotations: wire.annotations,
        },
    })
}

pub(crate) fn image(wire: wire::Image) -> Image {
    Image {
        user: wire.uid.map(|uid| User::Id(uid.value)).or_else(|| text(wire.username).map(User::Name)),
        id: ImageId::from(wire.id),
        tags: wire.repo_tags,
        digests: wire.repo_digests,
        size: wire.size,
        pinned: wire.pinned,
    }
}

pub(crate) fn filesystem(wire: wire::FilesystemUsage) -> FsUsage {
    FsUsage {
        at: time(wire.timestamp),
        mountpoint: wire.fs_id.unwrap_or_default().mountpoint,
        bytes: wire.used_bytes.unwrap_or_default().value,
        inodes: wire.inodes_used.unwrap_or_default().value,
    }
}

fn cpu(wire: &wire::CpuUsage) -> Option<CpuUsage> {
    let used = wire.usage_core_nano_seconds.as_ref()?;
    Some(CpuUsage { at: time(wire.timestamp), used: Duration::from_nanos(used.value) })
}

fn memory(wire: wire::MemoryUsage) -> MemoryUsage {
    let number = |value: Option<wire::UInt64Value>| value.unwrap_or_default().value;
    MemoryUsage {
        at: time(wire.timestamp),
        working_set: number(wire.working_set_bytes),
        available: wire.available_bytes.map(|value| value.value),
        usage: number(wire.usage_bytes),
        rss: number(wire.rss_bytes),
        page_faults: number(wire.page_faults),
        major_page_faults: number(wire.major_page_faults),
    }
}

pub(crate) fn container_stats(wire: wire::ContainerStats) -> Result<ContainerStats> {
    let attributes = wire.attributes.ok_or_else(|| missing("the container of its stats"))?;
    Ok(ContainerStats {
        id: attributes.id.into(),
        key: key_from_wire(attributes.metadata),
        labels: attributes.labels,
        cpu: wire.cpu.as_ref().and_then(cpu),
        memory: wire.memory.map(memory),
        layer: wire.writable_layer.map(filesystem),
    })
}

pub(crate) fn sandbox_stats(wire: wire::PodSandboxStats) -> Result<SandboxStats> {
    let attributes = wire.attributes.ok_or_else(|| missing("the sandbox of its stats"))?;
    let linux = wire.linux.unwrap_or_default();
    let network = linux.network.unwrap_or_default();
    let number = |value: Option<wire::UInt64Value>| value.unwrap_or_default().value;
    let interfaces = network.default_interface.into_iter().chain(network.interfaces);
    Ok(SandboxStats {
        id: attributes.id.into(),
        key: sandbox_key_from_wire(attributes.metadata),
        labels: attributes.labels,
        cpu: linux.cpu.as_ref().and_then(cpu),
        memory: linux.memory.map(memory),
        interfaces: interfaces
            .map(|interface| InterfaceUsage {
                name: interface.name,
                rx_bytes: number(interface.rx_bytes),
                rx_errors: number(interface.rx_errors),
                tx_bytes: number(interface.tx_bytes),
                tx_errors: number(interface.tx_errors),
            })
            .collect(),
        processes: linux.process.and_then(|process| process.process_count).map(|count| count.value),
        containers: linux.containers.into_iter().map(container_stats).collect::<Result<_>>()?,
    })
}

/// An event of CRI's own stream.
pub(crate) fn event(wire: wire::ContainerEventResponse) -> RuntimeEvent {
    use wire::ContainerEventType;
    let what = match wire.container_event_type() {
        ContainerEventType::ContainerCreatedEvent => Change::Created,
        ContainerEventType::ContainerStartedEvent => Change::Started,
        ContainerEventType::ContainerStoppedEvent => Change::Exited,
        ContainerEventType::ContainerDeletedEvent => Change::Removed,
    };
    let subject = match wire.pod_sandbox_status {
        Some(sandbox) if sandbox.id == wire.container_id => Subject::Sandbox(sandbox.id.into()),
        Some(_) => Subject::Container(wire.container_id.into()),
        None => Subject::Either(wire.container_id),
    };
    RuntimeEvent::Changed { subject, what }
}

/// An event of containerd's own service; `None` for what is of no interest.
pub(crate) fn containerd_event(wire: &events::Envelope) -> Option<RuntimeEvent> {
    if wire.topic.starts_with("/images/") {
        return Some(RuntimeEvent::Images);
    }
    let event = wire.event.as_ref()?;
    let subject: events::Subject = prost::Message::decode(event.value.as_slice()).ok()?;
    let (id, what) = match wire.topic.as_str() {
        // The events of containers have their id where those of tasks have their container's.
        "/containers/create" => (subject.container_id, Change::Created),
        "/containers/delete" => (subject.container_id, Change::Removed),
        "/tasks/start" => (subject.container_id, Change::Started),
        "/tasks/oom" => (subject.container_id, Change::OutOfMemory),
        // Otherwise it is the end of a command that was run beside the container's process.
        "/tasks/exit" if subject.id == subject.container_id => (subject.container_id, Change::Exited),
        _ => return None,
    };
    Some(RuntimeEvent::Changed { subject: Subject::Either(id), what })
}

/// The events of containerd that [`containerd_event`] knows.
pub(crate) fn containerd_filters() -> Vec<String> {
    [
        "/tasks/exit",
        "/tasks/start",
        "/tasks/oom",
        "/containers/create",
        "/containers/delete",
        "/images/create",
        "/images/delete",
    ]
    .iter()
    .map(|topic| format!("namespace==k8s.io,topic==\"{topic}\""))
    .collect()
}
