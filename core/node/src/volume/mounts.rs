//! Which volume is mounted where in a container. Pure.

use windlass_api::core::v1::{Container, VolumeMount};
use windlass_kernel::runtime::Propagation;

use crate::make::expand::expand;

/// A mount that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) volume: String,
    pub(crate) path: String,
    pub(crate) sub: Option<String>,
    pub(crate) readonly: bool,
    pub(crate) recursive: bool,
    pub(crate) propagation: Propagation,
}

/// The mounts of a container in order, or why one cannot be had.
pub(crate) fn planned(container: &Container, env: &[(String, String)]) -> Result<Vec<Planned>, String> {
    container.volume_mounts.iter().map(|mount| one(mount, env)).collect()
}

/// The devices of a container: the path of each in it, and the volume that it is.
pub(crate) fn devices(container: &Container) -> impl Iterator<Item = (&str, &str)> {
    container.volume_devices.iter().map(|device| (device.device_path.as_str(), device.name.as_str()))
}

fn one(mount: &VolumeMount, env: &[(String, String)]) -> Result<Planned, String> {
    let known = |name: &str| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let sub = match (mount.sub_path.as_deref(), mount.sub_path_expr.as_deref()) {
        (Some(sub), _) if !sub.is_empty() => Some(sub.to_owned()),
        (_, Some(text)) if !text.is_empty() => {
            let sub = expand(text, known);
            if sub.contains("$(") {
                return Err(format!("failed to expand subPath: {text}"));
            }
            Some(sub)
        }
        _ => None,
    };
    let absolute = if mount.mount_path.starts_with('/') { String::new() } else { "/".to_owned() };
    Ok(Planned {
        volume: mount.name.clone(),
        path: absolute + &mount.mount_path,
        sub,
        readonly: mount.read_only == Some(true),
        recursive: matches!(mount.recursive_read_only.as_deref(), Some("Enabled")),
        propagation: match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => Propagation::FromHost,
            Some("Bidirectional") => Propagation::Both,
            _ => Propagation::Private,
        },
    })
}
