//! What callers ask of a server, as kernel types. Required fields are there afterwards, or are refused by name.

use std::time::Duration;

use windlass_kernel::{
    Error, ErrorKind, Result,
    node::Streams,
    runtime::{
        ContainerConfig, ContainerFilter, ContainerKey, Device, Dns, GroupsPolicy, ImageRef, PortMapping, Protocol,
        Pull, RegistryAuth, SandboxConfig, SandboxFilter, SandboxState, Security, SecurityProfile, Selinux, User,
    },
};

use super::{
    answers::{mount_from_wire, namespaces_from_wire, resources_from_wire, sandbox_key_from_wire, state_from_wire},
    wire,
};

fn refused(name: &str, why: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{name}: {why}"))
}

/// A text that has to be there.
pub(crate) fn required(name: &str, text: String) -> Result<String> {
    if text.is_empty() { Err(refused(name, "is required")) } else { Ok(text) }
}

/// A message that has to be there.
fn within<T>(name: &str, message: Option<T>) -> Result<T> {
    message.ok_or_else(|| refused(name, "is required"))
}

/// Seconds; below zero there are none.
pub(crate) fn span(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// Seconds after which something is given up, if ever.
pub(crate) fn limit(seconds: i64) -> Option<Duration> {
    Some(span(seconds)).filter(|span| !span.is_zero())
}

fn text<T: From<String>>(text: String) -> Option<T> {
    (!text.is_empty()).then(|| text.into())
}

pub(crate) fn sandbox_config_from_wire(
    config: Option<wire::PodSandboxConfig>,
    handler: String,
) -> Result<SandboxConfig> {
    let config = within("config", config)?;
    let key = sandbox_key_from_wire(Some(within("config.metadata", config.metadata)?));
    let key = windlass_kernel::runtime::SandboxKey {
        name: required("config.metadata.name", key.name)?,
        namespace: required("config.metadata.namespace", key.namespace)?,
        uid: required("config.metadata.uid", key.uid)?,
        ..key
    };
    let linux = config.linux.unwrap_or_default();
    let security = linux.security_context.unwrap_or_default();
    Ok(SandboxConfig {
        key,
        hostname: config.hostname,
        log_directory: config.log_directory,
        dns: config.dns_config.map(|dns| Dns { servers: dns.servers, searches: dns.searches, options: dns.options }),
        ports: config.port_mappings.into_iter().map(port).collect::<Result<_>>()?,
        labels: config.labels,
        annotations: config.annotations,
        cgroup_parent: linux.cgroup_parent,
        sysctls: linux.sysctls,
        overhead: linux.overhead.map(resources_from_wire),
        resources: linux.resources.map(resources_from_wire),
        security: Security {
            namespaces: namespaces_from_wire(&security.namespace_options.unwrap_or_default()),
            privileged: security.privileged,
            user: security.run_as_user.map(|user| User::Id(user.value)),
            group: security.run_as_group.map(|group| group.value),
            groups_policy: groups_policy(security.supplemental_groups_policy),
            supplemental_groups: security.supplemental_groups,
            readonly_root: security.readonly_rootfs,
            seccomp: security.seccomp.map(profile),
            apparmor: security.apparmor.map(profile),
            selinux: security.selinux_options.map(selinux),
            ..Security::default()
        },
        handler,
    })
}

fn port(port: wire::PortMapping) -> Result<PortMapping> {
    let number = |name, number: i32| u16::try_from(number).map_err(|_| refused(name, "is no port"));
    Ok(PortMapping {
        protocol: match port.protocol() {
            wire::Protocol::Tcp => Protocol::Tcp,
            wire::Protocol::Udp => Protocol::Udp,
            wire::Protocol::Sctp => Protocol::Sctp,
        },
        container_port: number("config.port_mappings.container_port", port.container_port)?,
        host_port: number("config.port_mappings.host_port", port.host_port)?,
        host_ip: port.host_ip,
    })
}

fn groups_policy(policy: i32) -> GroupsPolicy {
    match wire::SupplementalGroupsPolicy::try_from(policy) {
        Ok(wire::SupplementalGroupsPolicy::Strict) => GroupsPolicy::Strict,
        Ok(wire::SupplementalGroupsPolicy::Merge) | Err(_) => GroupsPolicy::Merge,
    }
}

fn profile(profile: wire::SecurityProfile) -> SecurityProfile {
    use wire::security_profile::ProfileType;
    match profile.profile_type() {
        ProfileType::RuntimeDefault => SecurityProfile::RuntimeDefault,
        ProfileType::Unconfined => SecurityProfile::Unconfined,
        ProfileType::Localhost => SecurityProfile::Localhost(profile.localhost_ref),
    }
}

fn selinux(selinux: wire::SeLinuxOption) -> Selinux {
    Selinux { user: selinux.user, role: selinux.role, kind: selinux.r#type, level: selinux.level }
}

fn image_ref(name: &str, image: Option<wire::ImageSpec>) -> Result<(ImageRef, wire::ImageSpec)> {
    let image = within(name, image)?;
    let reference = required(&format!("{name}.image"), image.image.clone())?;
    Ok((reference.into(), image))
}

pub(crate) fn container_config_from_wire(config: Option<wire::ContainerConfig>) -> Result<ContainerConfig> {
    let config = within("config", config)?;
    let stop_signal = stop_signal(config.stop_signal());
    let metadata = within("config.metadata", config.metadata)?;
    let (image, spec) = image_ref("config.image", config.image)?;
    let linux = config.linux.unwrap_or_default();
    Ok(ContainerConfig {
        key: ContainerKey { name: required("config.metadata.name", metadata.name)?, attempt: metadata.attempt },
        image,
        user_image: spec.user_specified_image,
        command: config.command,
        args: config.args,
        working_dir: config.working_dir,
        env: config.envs.into_iter().map(|variable| (variable.key, variable.value)).collect(),
        mounts: config.mounts.into_iter().map(mount_from_wire).collect(),
        devices: config.devices.into_iter().map(device).collect(),
        cdi_devices: config.cdi_devices.into_iter().map(|device| device.name).collect(),
        labels: config.labels,
        annotations: config.annotations,
        log_path: config.log_path,
        stdin: config.stdin,
        stdin_once: config.stdin_once,
        tty: config.tty,
        resources: resources_from_wire(linux.resources.unwrap_or_default()),
        security: security(linux.security_context.unwrap_or_default()),
        stop_signal,
    })
}

fn security(wire: wire::LinuxContainerSecurityContext) -> Security {
    let capabilities = wire.capabilities.unwrap_or_default();
    Security {
        namespaces: namespaces_from_wire(&wire.namespace_options.unwrap_or_default()),
        privileged: wire.privileged,
        add_capabilities: capabilities.add_capabilities,
        drop_capabilities: capabilities.drop_capabilities,
        user: wire.run_as_user.map(|user| User::Id(user.value)).or_else(|| text(wire.run_as_username).map(User::Name)),
        group: wire.run_as_group.map(|group| group.value),
        supplemental_groups: wire.supplemental_groups,
        groups_policy: groups_policy(wire.supplemental_groups_policy),
        readonly_root: wire.readonly_rootfs,
        no_new_privileges: wire.no_new_privs,
        // An empty list hides nothing, and is not the runtime's own.
        masked_paths: Some(wire.masked_paths),
        readonly_paths: Some(wire.readonly_paths),
        seccomp: wire.seccomp.map(profile),
        apparmor: wire.apparmor.map(profile),
        selinux: wire.selinux_options.map(selinux),
    }
}

fn device(device: wire::Device) -> Device {
    Device { container_path: device.container_path, host_path: device.host_path, permissions: device.permissions }
}

fn stop_signal(signal: wire::Signal) -> String {
    if signal == wire::Signal::RuntimeDefault {
        return String::new();
    }
    // `SIGRTMINPLUS1` is `SIGRTMIN+1` to everybody else.
    signal.as_str_name().replace("PLUS", "+").replace("MAXMINUS", "MAX-")
}

pub(crate) fn sandbox_filter_from_wire(filter: Option<wire::PodSandboxFilter>) -> SandboxFilter {
    let filter = filter.unwrap_or_default();
    SandboxFilter {
        id: text(filter.id),
        state: filter.state.map(|state| match state.state() {
            wire::PodSandboxState::SandboxReady => SandboxState::Ready,
            wire::PodSandboxState::SandboxNotready => SandboxState::NotReady,
        }),
        labels: filter.label_selector,
    }
}

pub(crate) fn container_filter_from_wire(filter: Option<wire::ContainerFilter>) -> ContainerFilter {
    let filter = filter.unwrap_or_default();
    ContainerFilter {
        id: text(filter.id),
        sandbox: text(filter.pod_sandbox_id),
        state: filter.state.map(|state| state_from_wire(state.state())),
        labels: filter.label_selector,
    }
}

pub(crate) fn container_stats_filter_from_wire(filter: Option<wire::ContainerStatsFilter>) -> ContainerFilter {
    let filter = filter.unwrap_or_default();
    ContainerFilter {
        id: text(filter.id),
        sandbox: text(filter.pod_sandbox_id),
        state: None,
        labels: filter.label_selector,
    }
}

pub(crate) fn sandbox_stats_filter_from_wire(filter: Option<wire::PodSandboxStatsFilter>) -> SandboxFilter {
    let filter = filter.unwrap_or_default();
    SandboxFilter { id: text(filter.id), state: None, labels: filter.label_selector }
}

pub(crate) fn pull_from_wire(request: wire::PullImageRequest) -> Result<Pull> {
    let (image, spec) = image_ref("image", request.image)?;
    Ok(Pull {
        image,
        auth: request.auth.map(|auth| RegistryAuth {
            username: auth.username,
            password: auth.password,
            basic: auth.auth,
            server: auth.server_address,
            identity_token: auth.identity_token,
            registry_token: auth.registry_token,
        }),
        annotations: spec.annotations,
        handler: spec.runtime_handler,
    })
}

pub(crate) fn image_from_wire(image: Option<wire::ImageSpec>) -> Result<ImageRef> {
    image_ref("image", image).map(|(image, _)| image)
}

/// The streams of an exec or attach: at least one, and with a terminal no second output.
pub(crate) fn streams(streams: Streams) -> Result<Streams> {
    if !(streams.stdin || streams.stdout || streams.stderr) {
        return Err(refused("stdin, stdout, stderr", "one of them must be true"));
    }
    if streams.tty && streams.stderr {
        return Err(refused("stderr", "a terminal has no second output: it must be false where tty is true"));
    }
    Ok(streams)
}
