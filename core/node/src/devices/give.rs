//! Hands devices to pods: all of them before the pod begins, and what a container needs of them when it starts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use event_listener::EventListener;
use windlass_api::{
    core::v1::{Container, Pod},
    quantity::Amount,
};
use windlass_kernel::{
    Clock, DevicePlugin, Spawn,
    device::{Allocation, DeviceId, Preference},
};

use super::{
    Devices, Given, PodDevices,
    choose::{Stock, begin, fill},
    record,
};
use crate::{agent::whole, pod};

/// What handing out needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rim<'a> {
    pub(crate) clock: &'a dyn Clock,
    pub(crate) spawn: &'a dyn Spawn,
}

/// Devices that a container was seen with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) uid: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) container: String,
    /// By resource.
    pub(crate) devices: BTreeMap<String, Vec<String>>,
}

/// What a container is started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outfit {
    /// What it needs, of all its devices together.
    pub(crate) needs: Allocation,
    /// The devices, by resource.
    pub(crate) devices: BTreeMap<String, Vec<String>>,
}

/// Why devices are not handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// For people.
    pub(crate) why: String,
    /// The resource of which too few devices are free, if that is why.
    pub(crate) short_of: Option<String>,
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self { why, short_of: None }
    }
}

/// What a container asks for that may be devices.
fn asked(container: &Container) -> impl Iterator<Item = (&str, usize)> {
    let amount = |text: &str| text.parse::<Amount>().map_or(0, Amount::as_i64);
    let limits = container.resources.limits.iter().filter(|(name, _)| name.contains('/'));
    let limits = limits.map(move |(name, text)| (name.as_str(), usize::try_from(amount(&text.0)).unwrap_or(0)));
    limits.filter(|(_, count)| *count > 0)
}

/// Whether a pod may ask for devices at all.
pub(crate) fn may_ask(pod: &Pod) -> bool {
    pod::containers(pod).any(|(container, _)| asked(container).next().is_some())
}

impl Devices {
    /// Goes on from what earlier agents wrote down. Blocks.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for people. Then it is as if nothing was written down.
    pub(crate) fn open(&self, file: std::path::PathBuf, now: Duration) -> Result<(), String> {
        let read = record::read(&file);
        let mut state = self.0.state.lock();
        state.file = Some(file);
        match read {
            Ok(Some(saved)) => {
                state.lost = saved.lost;
                state.recorded.clone_from(&saved.resources);
                for name in saved.resources {
                    let known = state.resources.entry(name).or_default();
                    // Nobody has brought it yet.
                    known.gone = known.plugin.is_none().then_some(now);
                }
                state.pods = saved.pods;
                Ok(())
            }
            Ok(None) => {
                state.lost = true;
                Ok(())
            }
            Err(why) => {
                state.lost = true;
                Err(why)
            }
        }
    }

    /// The uids of the pods that have devices, each with its namespace and name.
    pub(crate) fn pods(&self) -> BTreeMap<String, (String, String)> {
        let state = self.0.state.lock();
        state.pods.iter().map(|(uid, pod)| (uid.clone(), (pod.namespace.clone(), pod.name.clone()))).collect()
    }

    /// Whether it has to be [told](Devices::restore) what containers were seen with before anything is handed out.
    pub(crate) fn is_lost(&self) -> bool {
        self.0.state.lock().lost
    }

    /// Takes over what containers were seen with, where nothing was written down.
    pub(crate) fn restore(&self, seen: Vec<Seen>) {
        let mut state = self.0.state.lock();
        if !std::mem::take(&mut state.lost) {
            return;
        }
        for Seen { uid, namespace, name, container, devices } in seen {
            let known =
                state.pods.entry(uid).or_insert_with(|| PodDevices { namespace, name, ..PodDevices::default() });
            let own = known.containers.entry(container).or_default();
            for (resource, ids) in devices {
                let devices = ids.into_iter().map(DeviceId::from).collect();
                own.entry(resource).or_insert(Given { devices, ..Given::default() });
            }
        }
    }

    /// Hands a pod all the devices that it asks for. What it has already it keeps.
    ///
    /// # Errors
    ///
    /// Why it cannot have them, for people. What it was handed until then is its own until it is [freed](Devices::free).
    pub(crate) async fn give(&self, pod: &Pod, rim: Rim<'_>) -> Result<(), Refusal> {
        let mut given = false;
        let done = self.give_all(pod, rim, &mut given).await;
        // What was handed out before something was refused is the pod's as well.
        if given {
            self.write(rim.spawn).await?;
        }
        done
    }

    async fn give_all(&self, pod: &Pod, rim: Rim<'_>, given: &mut bool) -> Result<(), Refusal> {
        let mut reusable = BTreeMap::<String, BTreeSet<DeviceId>>::new();
        for (container, init) in pod::containers(pod) {
            for (resource, count) in asked(container) {
                if !self.0.state.lock().is_ours(resource, rim.clock.uptime()) {
                    continue;
                }
                let reusable = reusable.entry(resource.to_owned()).or_default();
                *given |= self.give_one(pod, &container.name, (resource, count), reusable).await?;
                let state = self.0.state.lock();
                let own = state.given(&pod::uid(pod), &container.name, resource).map(|given| &given.devices);
                for id in own.into_iter().flatten() {
                    // What goes on beside the others keeps its own.
                    if init && !pod::sidecar(container) {
                        reusable.insert(id.clone());
                    } else {
                        reusable.remove(id);
                    }
                }
            }
        }
        Ok(())
    }

    /// Hands a container devices of one resource; answers whether it did not have them yet.
    async fn give_one(
        &self,
        pod: &Pod,
        container: &str,
        (resource, count): (&str, usize),
        reusable: &BTreeSet<DeviceId>,
    ) -> Result<bool, Refusal> {
        let uid = pod::uid(pod);
        let enough = |stock: &Stock| {
            let short_of = (!stock.healthy.is_empty()).then(|| resource.to_owned());
            begin(resource, count, stock).map_err(|why| Refusal { why, short_of })
        };
        let stock = |state: &super::State| {
            let known = state.resources.get(resource);
            let known = known.ok_or_else(|| format!("cannot allocate unregistered device {resource}"))?;
            let (reusable, healthy, used) = (reusable.clone(), known.healthy(), state.used(resource));
            Ok::<_, String>((
                known.plugin.as_ref().map(|own| Arc::clone(&own.plugin)),
                Stock { reusable, healthy, used },
            ))
        };
        let (plugin, begun) = {
            let state = self.0.state.lock();
            if let Some(given) = state.given(&uid, container, resource) {
                let had = given.devices.len();
                if had != count {
                    let why = format!(
                        "pod {uid:?} container {container:?} changed request for resource {resource:?} from {had} to {count}"
                    );
                    return Err(why.into());
                }
                let known = state.resources.get(resource).filter(|known| known.plugin.is_some());
                // Until its plugin is back after a restart, nobody knows better.
                if known.is_some_and(|known| !known.devices.is_empty() && !known.healthy().is_superset(&given.devices))
                {
                    let why = format!(
                        "previously allocated devices are no longer healthy; cannot allocate unhealthy devices {resource}"
                    );
                    return Err(why.into());
                }
                return Ok(false);
            }
            let (plugin, stock) = stock(&state)?;
            let begun = enough(&stock)?;
            (plugin.ok_or_else(|| format!("unknown Device Plugin {resource}"))?, begun)
        };
        let mut preferred = vec![];
        if let Some(service) = plugin.preferring()
            && begun.taken.len() < count
        {
            let wanted = Preference {
                available: begun.available.union(&begun.taken).cloned().collect(),
                must_include: begun.taken.iter().cloned().collect(),
                size: count,
            };
            let chosen = service.prefer(&wanted).await;
            preferred = chosen.map_err(|error| {
                format!("device plugin GetPreferredAllocation rpc failed with err: {}", whole(&error))
            })?;
        }
        let chosen = {
            // Looked at anew: others may have been handed some meanwhile.
            let mut state = self.0.state.lock();
            let (_, stock) = stock(&state)?;
            let chosen = fill(count, enough(&stock)?, &preferred);
            let meta = &pod.metadata;
            let (namespace, name) = (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
            let own = state.pods.entry(uid.clone()).or_insert_with(|| PodDevices {
                namespace,
                name,
                containers: BTreeMap::new(),
            });
            let given = Given { devices: chosen.clone(), prepared: plugin.preparing().is_some(), answer: None };
            own.containers.entry(container.to_owned()).or_default().insert(resource.to_owned(), given);
            chosen
        };
        match self.ask(&*plugin, (&uid, container, resource), &chosen).await {
            Ok(_) => Ok(true),
            Err(why) => {
                let mut state = self.0.state.lock();
                if let Some(own) = state.pods.get_mut(&uid).and_then(|pod| pod.containers.get_mut(container)) {
                    own.remove(resource);
                }
                Err(why.into())
            }
        }
    }

    /// Asks a plugin what a container needs for devices that are its own, and keeps that.
    async fn ask(
        &self,
        plugin: &dyn DevicePlugin,
        (uid, container, resource): (&str, &str, &str),
        devices: &BTreeSet<DeviceId>,
    ) -> Result<Allocation, String> {
        let ids: Vec<_> = devices.iter().cloned().collect();
        let answer = plugin.allocate(&ids).await.map_err(|error| whole(&error))?;
        let mut state = self.0.state.lock();
        let own = state.pods.get_mut(uid).and_then(|pod| pod.containers.get_mut(container)?.get_mut(resource));
        if let Some(given) = own {
            given.answer = Some(answer.clone());
            given.prepared = plugin.preparing().is_some();
        }
        Ok(answer)
    }

    /// What a container is to be started with: its devices are ready then.
    ///
    /// # Errors
    ///
    /// Why it cannot start now, for people.
    pub(crate) async fn equip(&self, pod: &Pod, container: &Container, rim: Rim<'_>) -> Result<Outfit, String> {
        let (uid, name) = (pod::uid(pod), &container.name);
        let ours = |resource: &str| {
            let state = self.0.state.lock();
            let known = state.given(&uid, name, resource).cloned();
            (state.is_ours(resource, rim.clock.uptime()), known)
        };
        if asked(container).any(|(resource, _)| matches!(ours(resource), (true, None))) {
            // The plugin came after the pod was let in, or what was written down is lost.
            self.give(pod, rim).await.map_err(|refusal| refusal.why)?;
        }
        let (mut outfit, mut completed) = (Outfit::default(), false);
        for (resource, _) in asked(container) {
            let (_, Some(given)) = ours(resource) else { continue };
            let plugin = {
                let state = self.0.state.lock();
                let own = state.resources.get(resource).and_then(|known| known.plugin.as_ref());
                own.map(|own| Arc::clone(&own.plugin))
            };
            let away =
                || format!("the device plugin of {resource} is away, and has to be asked before the container starts");
            let answer = match (given.answer, &plugin) {
                (Some(answer), _) => answer,
                (None, None) => return Err(away()),
                (None, Some(plugin)) => {
                    completed = true;
                    self.ask(&**plugin, (&uid, name, resource), &given.devices).await?
                }
            };
            let ids: Vec<_> = given.devices.into_iter().collect();
            match plugin.as_ref().map(|plugin| plugin.preparing()) {
                Some(Some(service)) => {
                    let failed =
                        |error| format!("device plugin PreStartContainer rpc failed with err: {}", whole(&error));
                    service.prepare(&ids).await.map_err(failed)?;
                }
                None if given.prepared => return Err(away()),
                Some(None) | None => {}
            }
            outfit.add(resource, answer);
            outfit.devices.insert(resource.to_owned(), ids.iter().map(ToString::to_string).collect());
        }
        if completed {
            self.write(rim.spawn).await?;
        }
        Ok(outfit)
    }

    /// The uids of the pods that have devices of a resource.
    pub(crate) fn holders(&self, resource: &str) -> Vec<String> {
        let state = self.0.state.lock();
        let has = |pod: &PodDevices| pod.containers.values().any(|own| own.contains_key(resource));
        state.pods.iter().filter(|(_, pod)| has(pod)).map(|(uid, _)| uid.clone()).collect()
    }

    /// Ends when a pod's devices are taken back from now on.
    pub(crate) fn freed(&self) -> EventListener {
        self.0.freed.listen()
    }

    /// Takes a pod's devices back.
    pub(crate) async fn free(&self, uid: &str, spawn: &dyn Spawn) {
        if self.0.state.lock().pods.remove(uid).is_none() {
            return;
        }
        self.0.freed.notify(usize::MAX);
        if let Err(error) = self.write(spawn).await {
            // Whoever starts next finds that the pod is gone.
            tracing::warn!(uid, error, "cannot write down that the devices of a pod are free");
        }
    }

    /// Writes down whose devices are.
    pub(super) async fn write(&self, spawn: &dyn Spawn) -> Result<(), String> {
        use windlass_kernel::SpawnExt;
        let Some(file) = self.0.state.lock().file.clone() else { return Ok(()) };
        let (own, path) = (self.clone(), file.clone());
        let write = move || {
            let _turn = own.0.writing.lock();
            let saved = {
                let state = own.0.state.lock();
                record::Saved {
                    lost: state.lost,
                    resources: state.resources.keys().cloned().collect(),
                    pods: state.pods.clone(),
                }
            };
            record::write(&path, &saved)?;
            own.0.state.lock().recorded = saved.resources;
            Ok::<_, std::io::Error>(())
        };
        let written = spawn.run_blocking("node.devices", write).await;
        let failed = |why: String| format!("failed to write the devices of pods to {}: {why}", file.display());
        match written {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(failed(error.to_string())),
            None => Err(failed("interrupted".into())),
        }
    }
}

impl Outfit {
    /// Adds what another resource needs. Of what two plugins set differently, the first one's stays.
    fn add(&mut self, resource: &str, answer: Allocation) {
        let own = &mut self.needs;
        let differs = |what: &str, name: &str| {
            tracing::warn!(
                resource,
                name,
                "device plugins differ about the {what} of a container; the first one's stays"
            );
        };
        for (name, value) in answer.env {
            match own.env.get(&name) {
                Some(known) if *known != value => differs("environment", &name),
                _ => drop(own.env.insert(name, value)),
            }
        }
        for mount in answer.mounts {
            match own.mounts.iter().find(|known| known.container_path == mount.container_path) {
                Some(known) if *known != mount => differs("mounts", &mount.container_path),
                Some(_) => {}
                None => own.mounts.push(mount),
            }
        }
        for device in answer.devices {
            match own.devices.iter().find(|known| known.container_path == device.container_path) {
                Some(known) if *known != device => differs("devices", &device.container_path),
                Some(_) => {}
                None => own.devices.push(device),
            }
        }
        for (name, value) in answer.annotations {
            match own.annotations.get(&name) {
                Some(known) if *known != value => differs("annotations", &name),
                _ => drop(own.annotations.insert(name, value)),
            }
        }
        for name in answer.cdi_devices {
            if !own.cdi_devices.contains(&name) {
                own.cdi_devices.push(name);
            }
        }
    }
}
