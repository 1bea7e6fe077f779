//! Devices of nodes that plugins hand out: what the kubelet's device plugin API is, without its wire.
//!
//! How many devices a pod asks for, and which are free, is the node agent's business; a plugin knows devices, and what a
//! container needs to use them.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use async_trait::async_trait;
use futures::stream::BoxStream;
use windlass_api::names;

use crate::{error::Result, runtime, text::text};

/// A device, as its plugin calls it.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(Arc<str>);

text!(DeviceId);

/// Whether a device can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It can.
    #[default]
    Healthy,
    /// It cannot, and may again.
    Unhealthy,
}

/// A device of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginDevice {
    /// Its name: not empty, and no other device of the plugin has it.
    pub id: DeviceId,
    /// Whether it can be used.
    pub health: Health,
    /// The NUMA nodes that it is near to; none where that is not known.
    pub numa: Vec<i64>,
}

/// A path of the node that is shown in a container, beside its devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceMount {
    /// Where, inside.
    pub container_path: String,
    /// What, on the node.
    pub host_path: String,
    /// Whether it cannot be written.
    pub read_only: bool,
}

/// What a container needs to use devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocation {
    /// Variables of its environment.
    pub env: BTreeMap<String, String>,
    /// What is mounted into it.
    pub mounts: Vec<DeviceMount>,
    /// Device files.
    pub devices: Vec<runtime::Device>,
    /// What the runtime is told beside.
    pub annotations: BTreeMap<String, String>,
    /// Fully qualified names of CDI devices.
    pub cdi_devices: Vec<String>,
}

/// Which devices a plugin would rather have handed out together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preference {
    /// Those to choose from.
    pub available: Vec<DeviceId>,
    /// Those that must be among the chosen.
    pub must_include: Vec<DeviceId>,
    /// How many are wanted, those that must be among them too.
    pub size: usize,
}

/// Lists of devices, each of them whole.
pub type DeviceLists = BoxStream<'static, Result<Vec<PluginDevice>>>;

/// Hands out the devices of one resource on one node.
///
/// A caller that lost an answer makes the same call again. What a plugin lacks cannot be called: its optional services are
/// values that it has or has not. The clauses are those of the kubelet's API `v1beta1`.
///
/// # Contract
///
/// 1. **Whole lists.** Each stream of [`devices`](DevicePlugin::devices) begins with all devices as they are, and has all of them
///    again whenever one came, went or changed its health. No name is empty or twice in a list. It does not end while the
///    plugin serves.
/// 2. **Its own only.** Handing out a device that is in no list is refused with [`NotFound`](crate::ErrorKind::NotFound).
/// 3. **Again is the same.** Handing out the same devices again, in any order, answers the same: an agent that was killed asks
///    again.
/// 4. **Paths are whole.** Paths in an answer begin with `/`, and those of the node are there.
/// 5. **Preferred are offered.** A preferred choice has all that it must have, nothing that is not available, nothing twice, and no
///    more than are wanted.
/// 6. **Prepared again and again.** Preparing devices that were handed out succeeds as often as containers start.
///
/// `windlass_conformance::device` checks them.
#[async_trait]
pub trait DevicePlugin: Debug + Send + Sync + 'static {
    /// The devices, now and whenever that changes.
    fn devices(&self) -> DeviceLists;

    /// Says what a container needs to use these devices, which are its own from now on.
    async fn allocate(&self, devices: &[DeviceId]) -> Result<Allocation>;

    /// What says which devices go well together, if anything does (`GetPreferredAllocation`).
    fn preferring(&self) -> Option<&dyn Preferring>;

    /// What makes devices ready before each start of a container, if that is needed (`PreStartContainer`).
    fn preparing(&self) -> Option<&dyn Preparing>;
}

/// An optional service of a plugin: which devices go well together.
#[async_trait]
pub trait Preferring: Send + Sync {
    /// Chooses devices. Fewer than wanted leave the rest to the agent.
    async fn prefer(&self, wanted: &Preference) -> Result<Vec<DeviceId>>;
}

/// An optional service of a plugin: devices that are made ready before each start.
#[async_trait]
pub trait Preparing: Send + Sync {
    /// Makes the devices of a container ready; it starts once that is done.
    async fn prepare(&self, devices: &[DeviceId]) -> Result<()>;
}

/// Whether a resource's name is one that plugins may bring: with a domain that is not Kubernetes' own, and short enough to be
/// in a quota (`IsExtendedResourceName`).
#[must_use]
pub fn is_extended_resource(name: &str) -> bool {
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    !native && !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_of_plugins_has_a_domain_of_its_own() {
        for good in ["example.com/thing", "nvidia.com/gpu", "a/b", "intel.com/sriov_net.1"] {
            assert!(is_extended_resource(good), "{good}");
        }
        let long = format!("example.com/{}", "x".repeat(64));
        for bad in [
            "cpu",
            "",
            "/",
            "/x",
            "example.com/",
            "kubernetes.io/x",
            "x.kubernetes.io/y",
            "requests.example.com/x",
            "example.com/-x",
            "a/b/c",
            "exa mple/x",
            &long,
        ] {
            assert!(!is_extended_resource(bad), "{bad}");
        }
    }
}
