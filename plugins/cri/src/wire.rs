//! The only place that knows CRI's messages: kernel types to the wire here, and back in `answers`. No calls are made.

mod answers;
mod replies;
mod requests;
#[cfg(test)]
mod tests;

use std::time::Duration;

use windlass_kernel::{
    Error, ErrorKind, Result,
    runtime::{
        ContainerConfig, ContainerFilter, ContainerState, Device, GroupsPolicy, IdMapping, ImageRef, MASKED_PATHS,
        Mount, Namespace, Namespaces, PortMapping, Propagation, Protocol, Pull, READONLY_PATHS, RegistryAuth,
        Resources, SandboxConfig, SandboxFilter, SandboxKey, SandboxState, SecurityProfile, Selinux, User,
    },
};

pub(crate) use self::answers::{
    container, container_stats, container_status, containerd_event, containerd_filters, event, filesystem, image,
    resources_from_wire, sandbox, sandbox_stats, sandbox_status, status, version,
};
pub(crate) use self::{
    replies::{
        container_stats_to_wire, container_status_to_wire, container_to_wire, event_to_wire, filesystem_to_wire,
        image_to_wire, runtime_config_to_wire, sandbox_stats_to_wire, sandbox_status_to_wire, sandbox_to_wire,
        status_to_wire, version_to_wire,
    },
    requests::{
        container_config_from_wire, container_filter_from_wire, container_stats_filter_from_wire, image_from_wire,
        limit, pull_from_wire, required, sandbox_config_from_wire, sandbox_filter_from_wire,
        sandbox_stats_filter_from_wire, span, streams,
    },
};
pub(crate) use crate::r#gen::{
    containerd_events_v1::{self as events, events_client::EventsClient},
    runtime_v1::{
        self as wire, image_service_client::ImageServiceClient, image_service_server,
        runtime_service_client::RuntimeServiceClient, runtime_service_server,
    },
};

/// What a status says, for a call that did `what`.
pub(crate) fn error_from_wire(what: &str, status: tonic::Status) -> Error {
    let (code, message) = (status.code(), format!("cannot {what}: {}", status.message()));
    let error = Error::new(windlass_grpc::kind_of(code), message).with_source(status);
    if windlass_grpc::may_be_done(code) { error.maybe_applied() } else { error }
}

/// A runtime's error, for the wire. The cause stays here: it may name what the caller should not know.
pub(crate) fn to_status(error: &Error) -> tonic::Status {
    tonic::Status::new(windlass_grpc::code_of(error.kind()), error.message())
}

/// Whole seconds, rounded up: a wait is never shorter than what was asked for.
pub(crate) fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs() + u64::from(span.subsec_nanos() > 0)).unwrap_or(i64::MAX)
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
                // CRI has no "the usual ones": an empty list hides nothing.
                masked_paths: security.masked_paths.clone().unwrap_or_else(|| strings(&MASKED_PATHS)),
                readonly_paths: security.readonly_paths.clone().unwrap_or_else(|| strings(&READONLY_PATHS)),
                seccomp: security.seccomp.as_ref().map(profile),
                apparmor: security.apparmor.as_ref().map(profile),
            }),
        }),
        cdi_devices: config.cdi_devices.iter().map(|name| wire::CdiDevice { name: name.clone() }).collect(),
        stop_signal: stop_signal(&config.stop_signal)?.into(),
    })
}

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
