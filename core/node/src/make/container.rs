//! A container of a pod as a runtime is told of it. Pure.

use windlass_api::core::v1::{Container, Pod};
use windlass_kernel::{
    device::DeviceMount,
    runtime::{ContainerConfig, ContainerKey, Device, ImageRef, Mount},
};

use super::{expand::expand, labels, resources, sandbox, security};
use crate::{devices::Outfit, layout::Layout, pod::Role};

/// What was prepared for a container.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) image: ImageRef,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) devices: Vec<Device>,
    /// What device plugins gave.
    pub(crate) outfit: Outfit,
    /// The node's memory in bytes.
    pub(crate) memory: i64,
}

/// What a container is to be, as that try.
pub(crate) fn container(
    pod: &Pod,
    container: &Container,
    role: Role,
    attempt: u32,
    layout: &Layout,
    prepared: Prepared,
) -> ContainerConfig {
    let given = prepared.outfit.needs;
    // What the pod says itself is said last, and stands.
    let env: Vec<(String, String)> = given.env.into_iter().chain(prepared.env).collect();
    let known = |name: &str| env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let words = |words: &[String]| words.iter().map(|word| expand(word, known)).collect();
    let mut names = sandbox::identity(pod);
    names.insert(labels::CONTAINER.into(), container.name.clone());
    let kind = match role {
        Role::Init => "init",
        Role::Main => "container",
        Role::Ephemeral => "ephemeral",
    };
    let mut annotations = given.annotations;
    annotations.extend(
        [
            (labels::RESTARTS, attempt.to_string()),
            (labels::GRACE, crate::pod::grace(pod).to_string()),
            (labels::MESSAGE_PATH, message_path(container).to_owned()),
            (labels::MESSAGE_POLICY, container.termination_message_policy.clone().unwrap_or_else(|| "File".into())),
            (labels::TYPE, kind.to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    if !prepared.outfit.devices.is_empty() {
        annotations.insert(labels::DEVICES.into(), serde_json::json!(prepared.outfit.devices).to_string());
    }
    let mount = |mount: DeviceMount| Mount {
        container_path: mount.container_path,
        host_path: mount.host_path,
        readonly: mount.read_only,
        ..Mount::default()
    };
    let stop_signal = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.clone());
    ContainerConfig {
        key: ContainerKey { name: container.name.clone(), attempt },
        image: prepared.image.clone(),
        user_image: container.image.clone().unwrap_or_default(),
        command: words(&container.command),
        args: words(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        mounts: given.mounts.into_iter().map(mount).chain(prepared.mounts).collect(),
        devices: prepared.devices.into_iter().chain(given.devices).collect(),
        cdi_devices: given.cdi_devices,
        labels: names,
        annotations,
        log_path: format!("{}/{attempt}.log", container.name),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        resources: resources::of_container(pod, container, prepared.memory),
        security: security::of_container(pod, container, &layout.seccomp()),
        stop_signal: stop_signal.unwrap_or_default(),
        env,
    }
}

/// Where a container leaves its last words.
pub(crate) fn message_path(container: &Container) -> &str {
    container.termination_message_path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/dev/termination-log")
}
