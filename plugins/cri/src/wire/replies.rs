//! What a server answers: kernel types to the wire.

use jiff::Timestamp;
use windlass_kernel::runtime::{
    CgroupDriver, Change, Container, ContainerKey, ContainerStats, ContainerStatus, CpuUsage, FsUsage, Image,
    InterfaceUsage, MemoryUsage, Readiness, RuntimeStatus, RuntimeVersion, Sandbox, SandboxState, SandboxStats,
    SandboxStatus, User,
};

use super::{container_state, mount, namespaces, resources, sandbox_key, wire};

/// Nanoseconds since 1970, as long as there are 64 bits of them.
fn time(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}

fn number(value: u64) -> Option<wire::UInt64Value> {
    Some(wire::UInt64Value { value })
}

pub(crate) fn version_to_wire(version: RuntimeVersion) -> wire::VersionResponse {
    wire::VersionResponse {
        // The version of the kubelet's interface, which never changed.
        version: "0.1.0".into(),
        runtime_name: version.name,
        runtime_version: version.version,
        runtime_api_version: "v1".into(),
    }
}

pub(crate) fn status_to_wire(status: RuntimeStatus) -> wire::StatusResponse {
    let condition = |kind: &str, ready: Readiness| wire::RuntimeCondition {
        r#type: kind.into(),
        status: ready.ready,
        reason: ready.reason,
        message: ready.message,
    };
    let conditions = vec![condition("RuntimeReady", status.runtime), condition("NetworkReady", status.network)];
    let handler = |name: String| wire::RuntimeHandler { name, features: None };
    wire::StatusResponse {
        status: Some(wire::RuntimeStatus { conditions }),
        // The default handler has no name.
        runtime_handlers: std::iter::once(String::new()).chain(status.handlers).map(handler).collect(),
        ..wire::StatusResponse::default()
    }
}

pub(crate) fn runtime_config_to_wire(driver: CgroupDriver) -> wire::RuntimeConfigResponse {
    let driver = match driver {
        CgroupDriver::Systemd => wire::CgroupDriver::Systemd,
        CgroupDriver::Cgroupfs => wire::CgroupDriver::Cgroupfs,
    };
    wire::RuntimeConfigResponse { linux: Some(wire::LinuxRuntimeConfiguration { cgroup_driver: driver.into() }) }
}

fn sandbox_state(state: SandboxState) -> i32 {
    match state {
        SandboxState::Ready => wire::PodSandboxState::SandboxReady,
        SandboxState::NotReady => wire::PodSandboxState::SandboxNotready,
    }
    .into()
}

pub(crate) fn sandbox_to_wire(sandbox: Sandbox) -> wire::PodSandbox {
    wire::PodSandbox {
        id: sandbox.id.to_string(),
        metadata: Some(sandbox_key(&sandbox.key)),
        state: sandbox_state(sandbox.state),
        created_at: time(sandbox.created),
        labels: sandbox.labels,
        annotations: sandbox.annotations,
        runtime_handler: sandbox.handler,
    }
}

pub(crate) fn sandbox_status_to_wire(status: SandboxStatus) -> wire::PodSandboxStatus {
    let mut ips = status.ips.iter().map(ToString::to_string);
    let network = wire::PodSandboxNetworkStatus {
        ip: ips.next().unwrap_or_default(),
        additional_ips: ips.map(|ip| wire::PodIp { ip }).collect(),
    };
    let options = Some(namespaces(&status.namespaces));
    let sandbox = status.sandbox;
    wire::PodSandboxStatus {
        id: sandbox.id.to_string(),
        metadata: Some(sandbox_key(&sandbox.key)),
        state: sandbox_state(sandbox.state),
        created_at: time(sandbox.created),
        network: Some(network),
        linux: Some(wire::LinuxPodSandboxStatus { namespaces: Some(wire::Namespace { options }) }),
        labels: sandbox.labels,
        annotations: sandbox.annotations,
        runtime_handler: sandbox.handler,
    }
}

fn container_key(key: &ContainerKey) -> Option<wire::ContainerMetadata> {
    Some(wire::ContainerMetadata { name: key.name.clone(), attempt: key.attempt })
}

fn image_spec(image: &str) -> Option<wire::ImageSpec> {
    Some(wire::ImageSpec { image: image.into(), ..wire::ImageSpec::default() })
}

pub(crate) fn container_to_wire(container: Container) -> wire::Container {
    wire::Container {
        id: container.id.to_string(),
        pod_sandbox_id: container.sandbox.to_string(),
        metadata: container_key(&container.key),
        image: image_spec(container.image.as_str()),
        image_ref: container.image_id.to_string(),
        state: container_state(container.state).into(),
        created_at: time(container.created),
        labels: container.labels,
        annotations: container.annotations,
        image_id: container.image_id.to_string(),
    }
}

pub(crate) fn container_status_to_wire(status: ContainerStatus) -> wire::ContainerStatus {
    let container = status.container;
    let user = |(uid, gid, supplemental_groups)| wire::ContainerUser {
        linux: Some(wire::LinuxContainerUser { uid, gid, supplemental_groups }),
    };
    wire::ContainerStatus {
        id: container.id.to_string(),
        metadata: container_key(&container.key),
        state: container_state(container.state).into(),
        created_at: time(container.created),
        started_at: status.started.map_or(0, time),
        finished_at: status.exit.map_or(0, |exit| time(exit.finished)),
        exit_code: status.exit.map_or(0, |exit| exit.code),
        image: image_spec(container.image.as_str()),
        image_ref: container.image_id.to_string(),
        reason: status.reason,
        message: status.message,
        labels: container.labels,
        annotations: container.annotations,
        mounts: status.mounts.iter().map(mount).collect(),
        log_path: status.log_path,
        resources: status.resources.map(|limits| wire::ContainerResources { linux: Some(resources(&limits)) }),
        image_id: container.image_id.to_string(),
        user: status.user.map(user),
        stop_signal: 0,
    }
}

pub(crate) fn image_to_wire(image: Image) -> wire::Image {
    let (uid, username) = match image.user {
        Some(User::Id(value)) => (Some(wire::Int64Value { value }), String::new()),
        Some(User::Name(name)) => (None, name),
        None => (None, String::new()),
    };
    wire::Image {
        id: image.id.to_string(),
        repo_tags: image.tags,
        repo_digests: image.digests,
        size: image.size,
        uid,
        username,
        spec: None,
        pinned: image.pinned,
    }
}

pub(crate) fn filesystem_to_wire(usage: FsUsage) -> wire::FilesystemUsage {
    wire::FilesystemUsage {
        timestamp: time(usage.at),
        fs_id: Some(wire::FilesystemIdentifier { mountpoint: usage.mountpoint }),
        used_bytes: number(usage.bytes),
        inodes_used: number(usage.inodes),
    }
}

fn cpu(usage: CpuUsage) -> wire::CpuUsage {
    wire::CpuUsage {
        timestamp: time(usage.at),
        usage_core_nano_seconds: number(u64::try_from(usage.used.as_nanos()).unwrap_or(u64::MAX)),
        usage_nano_cores: None,
    }
}

fn memory(usage: MemoryUsage) -> wire::MemoryUsage {
    wire::MemoryUsage {
        timestamp: time(usage.at),
        working_set_bytes: number(usage.working_set),
        available_bytes: usage.available.and_then(number),
        usage_bytes: number(usage.usage),
        rss_bytes: number(usage.rss),
        page_faults: number(usage.page_faults),
        major_page_faults: number(usage.major_page_faults),
    }
}

pub(crate) fn container_stats_to_wire(stats: ContainerStats) -> wire::ContainerStats {
    wire::ContainerStats {
        attributes: Some(wire::ContainerAttributes {
            id: stats.id.to_string(),
            metadata: container_key(&stats.key),
            labels: stats.labels,
            annotations: Default::default(),
        }),
        cpu: stats.cpu.map(cpu),
        memory: stats.memory.map(memory),
        writable_layer: stats.layer.map(filesystem_to_wire),
        swap: None,
    }
}

pub(crate) fn sandbox_stats_to_wire(stats: SandboxStats) -> wire::PodSandboxStats {
    // The main interface is the first, and stands alone.
    let at = stats.cpu.map(|usage| time(usage.at)).or(stats.memory.map(|usage| time(usage.at))).unwrap_or_default();
    let mut interfaces = stats.interfaces.into_iter().map(interface);
    let default_interface = interfaces.next();
    let network = default_interface.is_some().then(|| wire::NetworkUsage {
        timestamp: at,
        default_interface,
        interfaces: interfaces.collect(),
    });
    wire::PodSandboxStats {
        attributes: Some(wire::PodSandboxAttributes {
            id: stats.id.to_string(),
            metadata: Some(sandbox_key(&stats.key)),
            labels: stats.labels,
            annotations: Default::default(),
        }),
        linux: Some(wire::LinuxPodSandboxStats {
            cpu: stats.cpu.map(cpu),
            memory: stats.memory.map(memory),
            network,
            process: stats.processes.map(|count| wire::ProcessUsage { timestamp: at, process_count: number(count) }),
            containers: stats.containers.into_iter().map(container_stats_to_wire).collect(),
        }),
    }
}

fn interface(usage: InterfaceUsage) -> wire::NetworkInterfaceUsage {
    wire::NetworkInterfaceUsage {
        name: usage.name,
        rx_bytes: number(usage.rx_bytes),
        rx_errors: number(usage.rx_errors),
        tx_bytes: number(usage.tx_bytes),
        tx_errors: number(usage.tx_errors),
    }
}

/// An event; `None` for what CRI does not tell.
pub(crate) fn event_to_wire(
    id: &str,
    what: Change,
    at: Timestamp,
    sandbox: Option<SandboxStatus>,
    containers: Vec<ContainerStatus>,
) -> Option<wire::ContainerEventResponse> {
    use wire::ContainerEventType;
    let kind = match what {
        Change::Created => ContainerEventType::ContainerCreatedEvent,
        Change::Started => ContainerEventType::ContainerStartedEvent,
        Change::Exited => ContainerEventType::ContainerStoppedEvent,
        Change::Removed => ContainerEventType::ContainerDeletedEvent,
        _ => return None,
    };
    Some(wire::ContainerEventResponse {
        container_id: id.into(),
        container_event_type: kind.into(),
        created_at: time(at),
        pod_sandbox_status: sandbox.map(sandbox_status_to_wire),
        containers_statuses: containers.into_iter().map(container_status_to_wire).collect(),
    })
}
