//! The reference node agent: one worker per pod over any container runtime.
//!
//! The agent keeps no state that a restart would miss: what runs is read from the runtime, by labels.

pub mod borrowed;
mod describe;
mod details;
mod devices;
mod end;
mod evicted;
mod fill;
mod handle;
mod objects;
mod observe;
mod prepare;
mod pull;
mod resize;
mod sessions;
mod start;
mod storage;
mod usage;
mod volumes;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use futures::{StreamExt, channel::mpsc, stream::BoxStream};
use parking_lot::Mutex;
use windlass_api::{
    core::v1::{NodeStatus, Pod},
    quantity::Amount,
};
use windlass_kernel::{
    Clock, ContainerRuntime, Dial, Entropy, Error, ErrorKind, ImageStore, NodeAgent, Result, Spawn, SpawnExt, Task,
    api::Chunks,
    node::{
        About, DetailMetering, Details, LogRequest, Metering, NodeContext, Notice, PodVolume, Report, Session,
        SessionRequest, Usage, VolumeMetering,
    },
    runtime::{RuntimeEvent, SandboxFilter},
};

use self::{fill::Fill, handle::Desired, storage::Storage, usage::Meter};
pub(crate) use self::{handle::Handle, prepare::whole, sessions::uid_of, worker::Round};
use crate::{
    arrivals::Arrivals,
    devices::Devices,
    drivers::Drivers,
    eviction::{self, EvictionLimits, Pressures},
    gauge::{Gauge, SystemGauge},
    image::{self, ImageLimits},
    layout::Layout,
    make::{dns::ClusterDns, fields::Place, labels},
    pod,
};

/// How an agent keeps its pods.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name.
    pub node: String,
    /// The node's addresses, the main one first.
    pub addresses: Vec<IpAddr>,
    /// Where volumes and logs go: an absolute path.
    pub data_dir: PathBuf,
    /// The control group above all pods, such as `/kubepods`; empty where the agent is to keep none.
    pub cgroups: String,
    /// The cluster's DNS.
    pub dns: ClusterDns,
    /// Where pods find the API, if there is no service `kubernetes`: host and port.
    pub api: Option<(String, u16)>,
    /// How many pods fit.
    pub max_pods: u32,
    /// What the node has, where the machine's own figures do not tell.
    pub capacity: BTreeMap<String, String>,
    /// When images go.
    pub images: ImageLimits,
    /// What brings volumes of drivers to the node.
    pub drivers: Drivers,
    /// The devices that plugins bring.
    pub devices: Devices,
    /// When the node makes room, and ends pods for it.
    pub eviction: EvictionLimits,
    /// What measures the node for that.
    pub gauge: Arc<dyn Gauge>,
}

impl Config {
    /// A node with what the machine has, room for 110 pods, and everything below `data_dir`.
    pub fn new(node: impl Into<String>, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            node: node.into(),
            addresses: vec![],
            data_dir: data_dir.into(),
            cgroups: "/kubepods".into(),
            dns: ClusterDns { servers: vec![], domain: "cluster.local".into() },
            api: None,
            max_pods: 110,
            capacity: BTreeMap::new(),
            images: ImageLimits::default(),
            drivers: Drivers::default(),
            devices: Devices::default(),
            eviction: EvictionLimits::default(),
            gauge: Arc::new(SystemGauge),
        }
    }
}

/// What an agent works with.
#[derive(Clone, Debug)]
pub struct Needs {
    /// Runs containers.
    pub runtime: Arc<dyn ContainerRuntime>,
    /// Holds images.
    pub images: Arc<dyn ImageStore>,
    /// The cluster.
    pub context: Arc<dyn NodeContext>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Runs tasks.
    pub spawn: Arc<dyn Spawn>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Reaches pods, for probes and hooks.
    pub dial: Arc<dyn Dial>,
}

/// Runs pods on a container runtime. Clones share the pods; the last one to go leaves the containers running.
#[derive(Clone, Debug)]
pub struct PodAgent(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) needs: Needs,
    pub(crate) config: Config,
    pub(crate) layout: Layout,
    pub(crate) machine: Machine,
    pub(crate) arrivals: Arrivals,
    pub(crate) storage: Storage,
    pub(crate) images: Mutex<image::Records>,
    /// Held by whoever removes images, from the look at what is unused on: two at once would count the same room twice.
    pub(crate) images_go: futures::lock::Mutex<()>,
    pub(crate) pressures: Pressures,
    meter: Meter,
    fill: Fill,
    detailed: details::Kept,
    state: Mutex<State>,
}

/// What is read of the machine once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) runtime: String,
    pub(crate) capacity: BTreeMap<String, String>,
    /// What pods may have of it.
    pub(crate) allocatable: BTreeMap<String, String>,
    pub(crate) memory: i64,
    pub(crate) hosts: String,
    pub(crate) resolver: String,
}

impl Machine {
    /// The memory of the node, in bytes, which the configuration may have made less than the machine's.
    pub(crate) fn memory_of_node(&self) -> i64 {
        self.capacity.get("memory").and_then(|text| text.parse::<Amount>().ok()).map_or(0, Amount::as_i64)
    }
}

#[derive(Debug, Default)]
struct State {
    workers: BTreeMap<String, Worker>,
    /// Last words on pods that were let go and are still in the set.
    released: BTreeMap<String, Report>,
    listeners: Vec<mpsc::UnboundedSender<Report>>,
    /// Which pod a sandbox or container is of.
    index: BTreeMap<String, String>,
    /// Whether the runtime is to be searched for pods that nobody handed over.
    search: bool,
    synced: bool,
    tasks: Vec<Task>,
}

#[derive(Debug)]
struct Worker {
    handle: Arc<Handle>,
    _task: Task,
}

impl PodAgent {
    /// An agent that knows no pods yet. What earlier agents started is found at the first sync.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where the configuration cannot be. A runtime that is away is none.
    pub async fn start(config: Config, needs: Needs) -> Result<Self> {
        if !config.data_dir.is_absolute() {
            let message = format!("the data directory {} is not an absolute path", config.data_dir.display());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let layout = Layout::new(&config.data_dir, &config.cgroups);
        let (data, pods) = (config.data_dir.clone(), config.max_pods);
        let (folder, drivers, gauge) = (layout.pods(), config.drivers.clone(), Arc::clone(&config.gauge));
        let (devices, file, now) = (config.devices.clone(), layout.devices(), needs.clock.uptime());
        let read = move || -> std::io::Result<(Machine, Storage, Result<(), String>)> {
            std::fs::create_dir_all(&folder)?;
            let opened = devices.open(file, now);
            let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
            let machine = Machine {
                capacity: crate::machine::capacity(&gauge.disk(&data).unwrap_or_default(), pods),
                allocatable: BTreeMap::new(),
                memory: crate::machine::memory(),
                hosts: text("/etc/hosts"),
                resolver: text("/etc/resolv.conf"),
                runtime: String::new(),
            };
            Ok((machine, Storage::open(drivers, &folder), opened))
        };
        let broken = |what: String| Error::new(ErrorKind::Internal, what);
        let machine = needs.spawn.run_blocking("node.machine", read).await;
        let machine = machine.ok_or_else(|| broken("cannot read what the machine is".into()))?;
        let (mut machine, storage, opened) =
            machine.map_err(|error| broken("cannot make the data directory".into()).with_source(error))?;
        machine.capacity.extend(config.capacity.clone());
        machine.allocatable = config.eviction.allocatable(&machine.capacity);
        machine.runtime = needs.runtime.version().await.map_or_else(|_| "containerd".into(), |version| version.name);
        let state = Mutex::new(State { search: true, ..State::default() });
        let inner = Arc::new(Inner {
            needs,
            config,
            layout,
            machine,
            arrivals: Arrivals::default(),
            storage,
            images: Mutex::default(),
            images_go: futures::lock::Mutex::default(),
            pressures: Pressures::default(),
            meter: Meter::default(),
            fill: Fill::default(),
            detailed: details::Kept::default(),
            state,
        });
        let events = inner.needs.spawn.spawn("node.events", follow(Arc::downgrade(&inner)));
        let logs = inner.needs.spawn.spawn("node.logs", crate::log::rotate(Arc::downgrade(&inner)));
        let images = inner.needs.spawn.spawn("node.images", image::collect(Arc::downgrade(&inner)));
        let room = inner.needs.spawn.spawn("node.eviction", eviction::act(Arc::downgrade(&inner)));
        inner.state.lock().tasks = vec![events, logs, images, room];
        if let Err(why) = opened {
            tracing::error!(node = inner.config.node, "{why}");
            inner.tell_of_node("Warning", "DamagedDeviceRecord", why);
        }
        Ok(Self(inner))
    }
}

/// Wakes the worker whose pod something happened to.
async fn follow(inner: Weak<Inner>) {
    let Some(mut events) = inner.upgrade().map(|inner| inner.needs.runtime.events()) else { return };
    while let Some(event) = events.next().await {
        let Some(inner) = inner.upgrade() else { return };
        match event {
            RuntimeEvent::Relist => {
                inner.state.lock().search = true;
                inner.search().await;
                inner.state.lock().workers.values().for_each(|worker| worker.handle.poke());
            }
            RuntimeEvent::Changed { subject, .. } => {
                let state = inner.state.lock();
                let worker = state.index.get(subject.id()).and_then(|uid| state.workers.get(uid));
                worker.into_iter().for_each(|worker| worker.handle.poke());
            }
            RuntimeEvent::Images => {}
        }
    }
}

impl Inner {
    /// Where a pod finds itself.
    pub(crate) fn place(&self, ips: &[IpAddr], pod: &Pod) -> Place {
        let host = pod.spec.host_network == Some(true);
        Place {
            node: self.config.node.clone(),
            hosts: self.config.addresses.clone(),
            ips: if host { self.config.addresses.clone() } else { ips.to_vec() },
            allocatable: self.machine.allocatable.clone(),
        }
    }

    /// Makes an Event about the node.
    pub(crate) fn tell_of_node(&self, kind: &'static str, reason: &str, message: String) {
        let field_path = String::new();
        self.needs.context.notice(Notice { about: About::Node, kind, reason: reason.into(), message, field_path });
    }

    fn work_on(self: &Arc<Self>, state: &mut State, uid: &str, desired: Desired) {
        let handle = Arc::new(Handle::new(desired));
        let run = worker::run(Arc::downgrade(self), Arc::clone(&handle), Arc::clone(&self.needs.clock));
        let task = self.needs.spawn.spawn("node.pod", run);
        state.workers.insert(uid.to_owned(), Worker { handle, _task: task });
    }

    /// Tells everyone who listens, and keeps the last word on a pod that is let go.
    pub(crate) fn tell(&self, handle: &Handle, report: &Report) {
        let mut state = self.state.lock();
        let mut last = handle.report.lock();
        if last.as_ref().is_some_and(|last| last.released == report.released && last.status == report.status) {
            return;
        }
        *last = Some(report.clone());
        drop(last);
        state.listeners.retain(|listener| listener.unbounded_send(report.clone()).is_ok());
    }

    /// A worker has nothing left to do.
    pub(crate) fn let_go(&self, uid: &str) {
        self.fill.forget(uid);
        let mut state = self.state.lock();
        state.index.retain(|_, owner| owner != uid);
        // There is more room now for those that wait for it.
        state.workers.values().for_each(|worker| worker.handle.poke_for_room());
        // The task that is dropped here is the caller's own, which ends at its next await.
        if let Some(worker) = state.workers.remove(uid)
            && let Some(report) = worker.handle.report.lock().clone()
        {
            state.released.insert(uid.to_owned(), report);
        }
    }

    pub(crate) fn enter(&self, uid: &str, ids: impl Iterator<Item = String>) {
        let mut state = self.state.lock();
        for id in ids {
            state.index.insert(id, uid.to_owned());
        }
    }

    /// Finds pods in the runtime that nobody handed over, and ends them. Only after the first set is known.
    async fn search(self: &Arc<Self>) {
        if !self.ready_to_search() {
            return;
        }
        let found = match self.needs.runtime.sandboxes(&SandboxFilter::default()).await {
            Ok(found) => found,
            Err(error) => {
                // The runtime's return is an event that brings the next search.
                tracing::warn!(node = self.config.node, %error, "cannot search the runtime for pods yet");
                return;
            }
        };
        let mut state = self.state.lock();
        state.search = false;
        let known: BTreeSet<String> = state.workers.keys().chain(state.released.keys()).cloned().collect();
        for sandbox in found {
            let label = |name: &str| sandbox.labels.get(name).cloned().filter(|value| !value.is_empty());
            let (Some(name), Some(namespace), Some(uid)) =
                (label(labels::NAME), label(labels::NAMESPACE), label(labels::UID))
            else {
                continue;
            };
            let ours = sandbox.annotations.get(labels::NODE) == Some(&self.config.node);
            if !ours || known.contains(&uid) || state.workers.contains_key(&uid) {
                continue;
            }
            let mut pod = left_over(&uid, namespace, name);
            pod.spec.termination_grace_period_seconds =
                sandbox.annotations.get(labels::GRACE).and_then(|grace| grace.parse().ok());
            self.work_on(&mut state, &uid, Desired { pod: Arc::new(pod), gone: true });
        }
        // A pod may have had volumes or devices, and no sandbox yet.
        for (uid, (namespace, name)) in self.storage.pods().into_iter().chain(self.config.devices.pods()) {
            if !known.contains(&uid) && !state.workers.contains_key(&uid) {
                let pod = Arc::new(left_over(&uid, namespace, name));
                self.work_on(&mut state, &uid, Desired { pod, gone: true });
            }
        }
    }

    fn ready_to_search(&self) -> bool {
        let state = self.state.lock();
        state.search && state.synced
    }

    pub(crate) fn handles(&self) -> Vec<Arc<Handle>> {
        self.state.lock().workers.values().map(|worker| Arc::clone(&worker.handle)).collect()
    }

    /// The pods that are worked on, by uid.
    fn pods(&self) -> BTreeMap<String, Arc<Pod>> {
        let state = self.state.lock();
        state.workers.iter().map(|(uid, worker)| (uid.clone(), worker.handle.desired().pod)).collect()
    }

    /// The uids of the pods that are run here.
    fn uids(&self) -> BTreeSet<String> {
        self.state.lock().workers.keys().cloned().collect()
    }

    pub(crate) fn handle(&self, uid: &str) -> Option<Arc<Handle>> {
        self.state.lock().workers.get(uid).map(|worker| Arc::clone(&worker.handle))
    }

    pub(crate) fn no_pod(&self, what: &dyn std::fmt::Display) -> Error {
        Error::new(ErrorKind::NotFound, format!("pod {what} does not run on node {}", self.config.node))
    }
}

/// As much of a pod as is known of one that nobody handed over.
fn left_over(uid: &str, namespace: String, name: String) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.name = Some(name);
    pod.metadata.namespace = Some(namespace);
    pod.metadata.uid = Some(uid.to_owned());
    pod
}

#[async_trait]
impl NodeAgent for PodAgent {
    async fn describe(&self) -> Result<NodeStatus> {
        Ok(describe::describe(&self.0).await)
    }

    async fn sync(&self, pods: Vec<Arc<Pod>>) -> Result<()> {
        let inner = &self.0;
        {
            let mut state = inner.state.lock();
            state.synced = true;
            let wanted: BTreeMap<String, Arc<Pod>> = pods.into_iter().map(|pod| (pod::uid(&pod), pod)).collect();
            state.released.retain(|uid, _| wanted.contains_key(uid));
            for (uid, worker) in &state.workers {
                worker.handle.want(wanted.get(uid));
            }
            for (uid, pod) in wanted {
                if !state.workers.contains_key(&uid) && !state.released.contains_key(&uid) {
                    inner.work_on(&mut state, &uid, Desired { pod, gone: false });
                }
            }
        }
        inner.search().await;
        Ok(())
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        let (sender, receiver) = mpsc::unbounded();
        let mut state = self.0.state.lock();
        let known = state.workers.values().filter_map(|worker| worker.handle.report.lock().clone());
        for report in known.chain(state.released.values().cloned()) {
            // The receiver is in our hands, so it listens.
            let _ = sender.unbounded_send(report);
        }
        state.listeners.push(sender);
        receiver.boxed()
    }

    async fn logs(&self, request: LogRequest) -> Result<Chunks> {
        crate::log::logs(&self.0, request).await
    }

    async fn open(&self, request: SessionRequest) -> Result<Session> {
        sessions::open(&self.0, request).await
    }

    fn metering(&self) -> Option<&dyn Metering> {
        Some(self)
    }
}

#[async_trait]
impl Metering for PodAgent {
    async fn usage(&self) -> Result<Usage> {
        self.0.meter.usage(&self.0).await
    }

    fn volumes(&self) -> Option<&dyn VolumeMetering> {
        Some(self)
    }

    fn details(&self) -> Option<&dyn DetailMetering> {
        Some(self)
    }
}

#[async_trait]
impl VolumeMetering for PodAgent {
    async fn volumes(&self) -> Result<Vec<PodVolume>> {
        Ok(self.0.fill().await)
    }
}

#[async_trait]
impl DetailMetering for PodAgent {
    async fn details(&self) -> Result<Details> {
        self.0.details().await
    }
}
