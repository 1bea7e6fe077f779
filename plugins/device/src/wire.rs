//! The only place that knows the messages of device plugins: kernel types to the wire and back. No calls are made.

use std::collections::BTreeSet;

use tonic::{Code, Status};
use windlass_grpc::{code_of, kind_of, may_be_done};
use windlass_kernel::{
    Error, ErrorKind, Result,
    device::{Allocation, DeviceId, DeviceMount, Health, PluginDevice, Preference},
    runtime,
};

pub(crate) use crate::r#gen::deviceplugin_v1beta1::{
    self as api, device_plugin_client::DevicePluginClient, device_plugin_server,
    registration_client::RegistrationClient, registration_server,
};

/// The version of the API that is spoken here.
pub(crate) const VERSION: &str = "v1beta1";

/// What the socket of a node's agent is called, in the folder of the plugins' own.
pub(crate) const AGENT: &str = "kubelet.sock";

const HEALTHY: &str = "Healthy";
const UNHEALTHY: &str = "Unhealthy";

/// A field that is refused, by name.
pub(crate) fn refused(name: &str, why: impl AsRef<str>) -> Error {
    Error::new(ErrorKind::Invalid, format!("{name}: {}", why.as_ref()))
}

pub(crate) fn ids(names: Vec<String>) -> Vec<DeviceId> {
    names.into_iter().map(Into::into).collect()
}

pub(crate) fn names(ids: &[DeviceId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

/// A list of devices. Of one that is there twice the first counts, and one without a name is none: the rest of the list is good.
pub(crate) fn devices(list: api::ListAndWatchResponse) -> Vec<PluginDevice> {
    let mut seen = BTreeSet::new();
    let device = |device: api::Device| {
        if device.id.is_empty() || !seen.insert(device.id.clone()) {
            tracing::warn!(id = device.id, "a device plugin lists a device twice, or without a name");
            return None;
        }
        // Only the one word says that it is well.
        let health = if device.health == HEALTHY { Health::Healthy } else { Health::Unhealthy };
        let numa = device.topology.into_iter().flat_map(|place| place.nodes).map(|node| node.id).collect();
        Some(PluginDevice { id: DeviceId::from(device.id), health, numa })
    };
    list.devices.into_iter().filter_map(device).collect()
}

pub(crate) fn devices_to_wire(devices: Vec<PluginDevice>) -> api::ListAndWatchResponse {
    let device = |device: PluginDevice| api::Device {
        id: device.id.to_string(),
        health: if device.health == Health::Healthy { HEALTHY } else { UNHEALTHY }.into(),
        topology: (!device.numa.is_empty())
            .then(|| api::TopologyInfo { nodes: device.numa.iter().map(|&id| api::NumaNode { id }).collect() }),
    };
    api::ListAndWatchResponse { devices: devices.into_iter().map(device).collect() }
}

pub(crate) fn allocation(answer: api::ContainerAllocateResponse) -> Result<Allocation> {
    let path = |name: &str, path: String| {
        if path.starts_with('/') { Ok(path) } else { Err(refused(name, format!("{path:?} is not an absolute path"))) }
    };
    let mount = |mount: api::Mount| {
        Ok(DeviceMount {
            container_path: path("mounts.container_path", mount.container_path)?,
            host_path: path("mounts.host_path", mount.host_path)?,
            read_only: mount.read_only,
        })
    };
    let device = |device: api::DeviceSpec| {
        if device.permissions.chars().any(|one| !"rwm".contains(one)) {
            return Err(refused("devices.permissions", format!("{:?} is not some of r, w and m", device.permissions)));
        }
        Ok(runtime::Device {
            container_path: path("devices.container_path", device.container_path)?,
            host_path: path("devices.host_path", device.host_path)?,
            permissions: device.permissions,
        })
    };
    Ok(Allocation {
        env: answer.envs,
        mounts: answer.mounts.into_iter().map(mount).collect::<Result<_>>()?,
        devices: answer.devices.into_iter().map(device).collect::<Result<_>>()?,
        annotations: answer.annotations,
        cdi_devices: answer.cdi_devices.into_iter().map(|device| device.name).collect(),
    })
}

pub(crate) fn allocation_to_wire(answer: Allocation) -> api::ContainerAllocateResponse {
    let mount = |mount: DeviceMount| api::Mount {
        container_path: mount.container_path,
        host_path: mount.host_path,
        read_only: mount.read_only,
    };
    let device = |device: runtime::Device| api::DeviceSpec {
        container_path: device.container_path,
        host_path: device.host_path,
        permissions: device.permissions,
    };
    api::ContainerAllocateResponse {
        envs: answer.env,
        mounts: answer.mounts.into_iter().map(mount).collect(),
        devices: answer.devices.into_iter().map(device).collect(),
        annotations: answer.annotations,
        cdi_devices: answer.cdi_devices.into_iter().map(|name| api::CdiDevice { name }).collect(),
    }
}

pub(crate) fn preference(wanted: api::ContainerPreferredAllocationRequest) -> Result<Preference> {
    let below = |_| refused("allocation_size", format!("{} is below zero", wanted.allocation_size));
    Ok(Preference {
        size: usize::try_from(wanted.allocation_size).map_err(below)?,
        available: ids(wanted.available_device_i_ds),
        must_include: ids(wanted.must_include_device_i_ds),
    })
}

pub(crate) fn preference_to_wire(wanted: &Preference) -> api::ContainerPreferredAllocationRequest {
    api::ContainerPreferredAllocationRequest {
        available_device_i_ds: names(&wanted.available),
        must_include_device_i_ds: names(&wanted.must_include),
        allocation_size: i32::try_from(wanted.size).unwrap_or(i32::MAX),
    }
}

/// What a plugin's or an agent's status says, for a call that did `what`.
pub(crate) fn from_status(what: &str, status: Status) -> Error {
    let message = format!("cannot {what}: {}", status.message());
    // Only what the connection did has a cause here: a plugin's own words have none.
    let cut = std::error::Error::source(&status).is_some();
    let code = match status.code() {
        Code::Unknown | Code::Internal if cut => Code::Unavailable,
        code => code,
    };
    let error = Error::new(kind_of(code), message).with_source(status);
    if may_be_done(code) { error.maybe_applied() } else { error }
}

/// An error, for the wire.
pub(crate) fn to_status(error: &Error) -> Status {
    // The cause stays here: it may name what the caller should not know.
    Status::new(code_of(error.kind()), error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_comes_back() {
        let list = vec![
            PluginDevice { id: "a".into(), health: Health::Healthy, numa: vec![0, 1] },
            PluginDevice { id: "b".into(), health: Health::Unhealthy, numa: vec![] },
        ];
        assert_eq!(devices(devices_to_wire(list.clone())), list);
        let answer = Allocation {
            env: [("A".into(), "1".into())].into(),
            mounts: vec![DeviceMount { container_path: "/a".into(), host_path: "/b".into(), read_only: true }],
            devices: vec![runtime::Device {
                container_path: "/dev/a".into(),
                host_path: "/dev/b".into(),
                permissions: "rw".into(),
            }],
            annotations: [("k".into(), "v".into())].into(),
            cdi_devices: vec!["example.com/thing=a".into()],
        };
        assert_eq!(allocation(allocation_to_wire(answer.clone())).unwrap(), answer);
        let wanted = Preference { available: vec!["a".into(), "b".into()], must_include: vec!["b".into()], size: 1 };
        assert_eq!(preference(preference_to_wire(&wanted)).unwrap(), wanted);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let list = |ids: &[&str]| api::ListAndWatchResponse {
            devices: ids.iter().map(|id| api::Device { id: (*id).into(), ..Default::default() }).collect(),
        };
        let told = |error: Error| error.message().to_owned();
        let known: Vec<_> =
            devices(list(&["a", "", "b", "a"])).into_iter().map(|device| device.id.to_string()).collect();
        assert_eq!(known, ["a", "b"]);
        // Whatever is not the one word is not well.
        assert_eq!(devices(list(&["a"]))[0].health, Health::Unhealthy);
        let mount = api::Mount { container_path: "/a".into(), host_path: "b".into(), read_only: false };
        let answer = api::ContainerAllocateResponse { mounts: vec![mount], ..Default::default() };
        assert_eq!(allocation(answer).map_err(told), Err(r#"mounts.host_path: "b" is not an absolute path"#.into()));
        let device = api::DeviceSpec { container_path: "/a".into(), host_path: "/b".into(), permissions: "rwx".into() };
        let answer = api::ContainerAllocateResponse { devices: vec![device], ..Default::default() };
        assert_eq!(
            allocation(answer).map_err(told),
            Err(r#"devices.permissions: "rwx" is not some of r, w and m"#.into())
        );
    }
}
