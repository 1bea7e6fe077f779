//! What runtimes answer, as kernel types.

use std::{net::IpAddr, time::Duration};

use jiff::Timestamp;
use windlass_kernel::{
    Error, ErrorKind, Result,
    runtime::{
        CgroupDriver, Change, Container, ContainerExit, ContainerKey, ContainerState, ContainerStats, ContainerStatus,
        CpuUsage, FsUsage, IdMapping, Image, ImageId, InterfaceUsage, MemoryUsage, Mount, Namespace, Namespaces,
        Propagation, Readiness, Resources, RuntimeEvent, RuntimeStatus, RuntimeVersion, Sandbox, SandboxKey,
        SandboxState, SandboxStats, SandboxStatus, Subject, User,
    },
};

use super::{events, wire};

fn missing(what: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("the runtime answered without {what}"))
}

fn time(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn text<T: From<String>>(text: String) -> Option<T> {
    (!text.is_empty()).then(|| text.into())
}

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

pub(super) fn sandbox_key_from_wire(wire: Option<wire::PodSandboxMetadata>) -> SandboxKey {
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
        namespaces: namespaces_from_wire(&namespaces.unwrap_or_default()),
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

pub(super) fn namespaces_from_wire(wire: &wire::NamespaceOption) -> Namespaces {
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

pub(super) fn state_from_wire(state: wire::ContainerState) -> ContainerState {
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

/// When a container was started, if it was.
///
/// CRI promises no order of the two times. containerd takes the start from its clock when the shim has answered, and the
/// end from the shim, which may see a short process end before its answer has arrived: then the end is the truer one.
pub(super) fn started(started: i64, finished: i64, exited: bool) -> Option<Timestamp> {
    let bound = if exited && finished != 0 { finished } else { i64::MAX };
    (started != 0).then(|| time(started.min(bound)))
}

pub(crate) fn container_status(wire: Option<wire::ContainerStatus>) -> Result<ContainerStatus> {
    let wire = wire.ok_or_else(|| missing("a container status"))?;
    let state = state_from_wire(wire.state());
    let user = wire.user.and_then(|user| user.linux).map(|user| (user.uid, user.gid, user.supplemental_groups));
    let exited = state == ContainerState::Exited;
    Ok(ContainerStatus {
        started: started(wire.started_at, wire.finished_at, exited),
        exit: exited.then(|| ContainerExit { code: wire.exit_code, finished: time(wire.finished_at) }),
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
    // The second field of a start is a number, where that of an exit is the process.
    let subject = match wire.topic.as_str() {
        "/tasks/exit" => prost::Message::decode(event.value.as_slice()).ok()?,
        _ => {
            let named: events::Named = prost::Message::decode(event.value.as_slice()).ok()?;
            events::Subject { container_id: named.container_id, ..events::Subject::default() }
        }
    };
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

/// The events of one of containerd's namespaces that [`containerd_event`] knows.
pub(crate) fn containerd_filters(namespace: &str) -> Vec<String> {
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
    .map(|topic| format!("namespace==\"{namespace}\",topic==\"{topic}\""))
    .collect()
}

pub(crate) fn resources_from_wire(wire: wire::LinuxContainerResources) -> Resources {
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

pub(super) fn mount_from_wire(wire: wire::Mount) -> Mount {
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
