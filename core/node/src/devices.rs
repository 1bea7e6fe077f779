//! The devices of a node that plugins bring: which there are, whose they are, and what was written down of that, as the
//! kubelet's device manager keeps them.
//!
//! Whoever finds a plugin registers it. The agent hands its devices to pods; the host tells the cluster how many there are.

mod choose;
mod give;
mod record;

pub(crate) use self::give::{Outfit, Refusal, Rim, Seen, may_ask};

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use event_listener::Event;
use futures::StreamExt;
use parking_lot::Mutex;
use windlass_kernel::{
    Clock, DevicePlugin, Error, ErrorKind, Result, Spawn, SpawnExt, Task,
    device::{Allocation, DeviceId, Health, PluginDevice, is_extended_resource},
};

/// How long the devices of a plugin that is gone count as the node's (upstream: the same).
const GRACE: Duration = Duration::from_secs(300);

/// The device plugins of one node, and the devices of its pods. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Devices(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Held by the thread that writes the state down, also where nobody waits for it any more: what is written last is the latest.
    writing: Mutex<()>,
    changed: Event,
    /// A pod has its devices no more.
    freed: Event,
}

#[derive(Debug, Default)]
struct State {
    /// Where the state is written down; nowhere before it was opened.
    file: Option<PathBuf>,
    /// Whether what runtimes know of devices has to be read: nothing was written down, or it is damaged.
    lost: bool,
    resources: BTreeMap<String, Resource>,
    /// The resources that are written down.
    recorded: BTreeSet<String>,
    /// By uid.
    pods: BTreeMap<String, PodDevices>,
    /// How often what the node has changed.
    version: u64,
    /// How many plugins have registered.
    registered: u64,
}

/// A resource that a plugin brings, or brought.
#[derive(Debug, Default)]
struct Resource {
    plugin: Option<Plugin>,
    devices: BTreeMap<DeviceId, Health>,
    /// Since when, by the clock's uptime, there is no plugin.
    gone: Option<Duration>,
}

#[derive(Debug)]
struct Plugin {
    plugin: Arc<dyn DevicePlugin>,
    clock: Arc<dyn Clock>,
    number: u64,
    /// Follows its devices.
    _task: Task,
}

/// Which registration of a plugin it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    resource: String,
    number: u64,
}

/// The devices of a pod, by container and resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct PodDevices {
    namespace: String,
    name: String,
    containers: BTreeMap<String, BTreeMap<String, Given>>,
}

/// The devices of one resource that a container has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Given {
    devices: BTreeSet<DeviceId>,
    /// Whether the plugin makes them ready before each start.
    prepared: bool,
    /// What the plugin said; `None` while it has not, or where that was lost.
    answer: Option<Allocation>,
}

impl Resource {
    fn healthy(&self) -> BTreeSet<DeviceId> {
        let well = self.devices.iter().filter(|(_, health)| **health == Health::Healthy);
        well.map(|(id, _)| id.clone()).collect()
    }

    fn expired(&self, now: Duration) -> bool {
        self.gone.is_some_and(|at| now.saturating_sub(at) >= GRACE)
    }

    /// Nobody says of the devices any more that they are well.
    fn lose(&mut self) {
        if let Some(plugin) = self.plugin.take() {
            self.gone = Some(plugin.clock.uptime());
        }
        self.devices.values_mut().for_each(|health| *health = Health::Unhealthy);
    }
}

impl State {
    /// The devices of a resource that pods have.
    fn used(&self, resource: &str) -> BTreeSet<DeviceId> {
        let given = self.pods.values().flat_map(|pod| pod.containers.values()).filter_map(|own| own.get(resource));
        given.flat_map(|given| given.devices.iter().cloned()).collect()
    }

    /// Whether a resource is of plugins: one brings it, or pods have some of it. Others are nobody's business here.
    fn is_ours(&self, resource: &str, now: Duration) -> bool {
        let known = self.resources.get(resource).is_some_and(|known| !known.expired(now));
        known || self.pods.values().flat_map(|pod| pod.containers.values()).any(|own| own.contains_key(resource))
    }

    fn given(&self, uid: &str, container: &str, resource: &str) -> Option<&Given> {
        self.pods.get(uid)?.containers.get(container)?.get(resource)
    }
}

impl Devices {
    /// Takes over the plugin of a resource, and follows its devices until it ends. One that was there before is replaced; its
    /// devices stay as they are until the new one has said which there are.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where no plugin may have that resource.
    pub fn register(
        &self,
        resource: &str,
        plugin: Arc<dyn DevicePlugin>,
        clock: &Arc<dyn Clock>,
        spawn: &Arc<dyn Spawn>,
    ) -> Result<()> {
        self.add(resource, plugin, clock, spawn).map(drop)
    }

    pub(crate) fn add(
        &self,
        resource: &str,
        plugin: Arc<dyn DevicePlugin>,
        clock: &Arc<dyn Clock>,
        spawn: &Arc<dyn Spawn>,
    ) -> Result<Registered> {
        if !is_extended_resource(resource) {
            return Err(Error::new(ErrorKind::Invalid, format!("the ResourceName {resource:?} is invalid")));
        }
        let mut state = self.0.state.lock();
        state.registered += 1;
        let registered = Registered { resource: resource.to_owned(), number: state.registered };
        let following =
            Following { plugin: Arc::clone(&plugin), registered: registered.clone(), spawn: Arc::clone(spawn) };
        let task = spawn.spawn("node.devices", following.run(Arc::downgrade(&self.0)));
        let known = state.resources.entry(resource.to_owned()).or_default();
        let new = Plugin { plugin, clock: Arc::clone(clock), number: registered.number, _task: task };
        let old = known.plugin.replace(new);
        known.gone = None;
        drop(state);
        // Its end has nobody to tell any more.
        drop(old);
        Ok(registered)
    }

    /// Forgets a plugin, unless another has taken its place. Its devices are unhealthy from now on.
    pub(crate) fn remove(&self, registered: &Registered) {
        self.0.lose(registered);
    }

    /// The resources that plugins bring now.
    #[must_use]
    pub fn resources(&self) -> Vec<String> {
        let state = self.0.state.lock();
        let known = state.resources.iter().filter(|(_, known)| known.plugin.is_some());
        known.map(|(name, _)| name.clone()).collect()
    }

    /// How many devices the node has, and how many of them are healthy, by resource. Of what was there once, none.
    pub(crate) fn amounts(&self, now: Duration) -> BTreeMap<String, (usize, usize)> {
        let state = self.0.state.lock();
        let amount = |known: &Resource| {
            if known.expired(now) { (0, 0) } else { (known.devices.len(), known.healthy().len()) }
        };
        state.resources.iter().map(|(name, known)| (name.clone(), amount(known))).collect()
    }

    /// Waits until what the node has is not as it was at a version; begins with 0. Answers the version that it has come to.
    pub(crate) async fn changed_since(&self, version: u64) -> u64 {
        loop {
            let changed = self.0.changed.listen();
            let now = self.0.state.lock().version;
            if now != version {
                return now;
            }
            changed.await;
        }
    }
}

impl Shared {
    /// Changes what the node has of a resource, if the plugin is still that one.
    fn change(&self, registered: &Registered, change: impl FnOnce(&mut Resource)) {
        let mut state = self.state.lock();
        let known = state.resources.get_mut(&registered.resource);
        let same = |known: &&mut Resource| known.plugin.as_ref().is_some_and(|own| own.number == registered.number);
        if let Some(known) = known.filter(same) {
            change(known);
            state.version += 1;
            drop(state);
            self.changed.notify(usize::MAX);
        }
    }

    fn lose(&self, registered: &Registered) {
        self.change(registered, Resource::lose);
    }
}

/// A plugin that is listened to.
#[derive(Debug)]
struct Following {
    plugin: Arc<dyn DevicePlugin>,
    registered: Registered,
    spawn: Arc<dyn Spawn>,
}

impl Following {
    /// Takes over what the plugin says of its devices, until it says no more.
    async fn run(self, shared: Weak<Shared>) {
        let resource = &self.registered.resource;
        let mut lists = self.plugin.devices();
        loop {
            let list = lists.next().await;
            let Some(shared) = shared.upgrade() else { return };
            match list {
                Some(Ok(list)) => {
                    let of = |device: PluginDevice| (device.id, device.health);
                    let devices: BTreeMap<_, _> = list.into_iter().map(of).collect();
                    tracing::debug!(resource, count = devices.len(), "a plugin said which devices there are");
                    shared.change(&self.registered, |known| known.devices = devices);
                    self.note(Devices(shared)).await;
                }
                ended => {
                    let error = ended.and_then(Result::err).map(|error| crate::agent::whole(&error));
                    let error = error.unwrap_or_default();
                    tracing::warn!(
                        resource,
                        error,
                        "a device plugin is gone; its devices are unhealthy until it is back"
                    );
                    return shared.lose(&self.registered);
                }
            }
        }
    }

    /// Has the resource written down, so that no agent takes it for nobody's before the plugin is back.
    async fn note(&self, devices: Devices) {
        let resource = &self.registered.resource;
        if devices.0.state.lock().recorded.contains(resource) {
            return;
        }
        if let Err(error) = devices.write(&*self.spawn).await {
            tracing::warn!(resource, error, "a resource of a device plugin is not written down");
        }
    }
}
