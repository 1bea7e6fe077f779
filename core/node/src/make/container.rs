//! A container of a pod as a runtime is told of it. Pure.

use windlass_api::core::v1::{Container, Pod};
use windlass_kernel::runtime::{ContainerConfig, ContainerKey, Device, ImageRef, Mount};

use super::{expand::expand, labels, resources, sandbox, security};
use crate::{layout::Layout, pod::Role};

/// What was prepared for a container.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) image: ImageRef,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) devices: Vec<Device>,
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
    let known = |name: &str| prepared.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let words = |words: &[String]| words.iter().map(|word| expand(word, known)).collect();
    let mut names = sandbox::identity(pod);
    names.insert(labels::CONTAINER.into(), container.name.clone());
    let kind = match role {
        Role::Init => "init",
        Role::Main => "container",
        Role::Ephemeral => "ephemeral",
    };
    let stop_signal = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.clone());
    ContainerConfig {
        key: ContainerKey { name: container.name.clone(), attempt },
        image: prepared.image.clone(),
        user_image: container.image.clone().unwrap_or_default(),
        command: words(&container.command),
        args: words(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        mounts: prepared.mounts,
        devices: prepared.devices,
        labels: names,
        annotations: [
            (labels::RESTARTS, attempt.to_string()),
            (labels::GRACE, crate::pod::grace(pod).to_string()),
            (labels::MESSAGE_PATH, message_path(container).to_owned()),
            (labels::MESSAGE_POLICY, container.termination_message_policy.clone().unwrap_or_else(|| "File".into())),
            (labels::TYPE, kind.to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into(),
        log_path: format!("{}/{attempt}.log", container.name),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        resources: resources::of_container(pod, container, prepared.memory),
        security: security::of_container(pod, container, &layout.seccomp()),
        stop_signal: stop_signal.unwrap_or_default(),
        env: prepared.env,
        ..ContainerConfig::default()
    }
}

/// Where a container leaves its last words.
pub(crate) fn message_path(container: &Container) -> &str {
    container.termination_message_path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/dev/termination-log")
}
