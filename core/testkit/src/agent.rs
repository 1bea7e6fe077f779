//! A node agent without containers: pods run by script, in whatever time the clock says it is.

mod behaviour;
mod commands;
mod disk;
mod life;
mod pod;
mod program;
mod sessions;
mod surroundings;
mod web;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, channel::mpsc, stream::BoxStream};
use parking_lot::Mutex;
use windlass_api::core::v1::{
    NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus, NodeSystemInfo, Pod, PodStatus,
};
use windlass_kernel::{
    Clock, Error, ErrorKind, NodeAgent, Result, Spawn, SpawnExt, Task,
    api::Chunks,
    controller::ObjectKey,
    node::{Amounts, LogRequest, Measured, Metering, PodUsage, Report, Session, SessionRequest, Usage},
};

use self::pod::{Id, Next, Running};
pub use self::{
    behaviour::{Behaviour, End, Scene, Scripts},
    disk::Disk,
    program::{Commands, Process, Program, Programs, Serve},
    surroundings::{Answer, Contact, Exec, Folders, Own, PodVolumes, Probing, Surroundings},
};

/// What a fake node is and how its pods behave.
#[derive(Clone, Debug)]
pub struct FakeNode {
    /// The node's name.
    pub name: String,
    /// What it can hold, such as `cpu`, `memory` and `pods`.
    pub capacity: BTreeMap<String, String>,
    /// The labels that the node registers with, beside the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// The taints that the node registers with (`key`, `value`, `effect`).
    pub taints: Vec<(String, String, String)>,
    /// The node's own address.
    pub address: String,
    /// The first two or three octets of its pods' addresses, such as `10.244.7`.
    pub pod_prefix: String,
    /// How a pod behaves. The default is what its annotations say, [`Behaviour::of`].
    pub behaviour: fn(&Pod) -> Behaviour,
    /// How pods behave, where more than a function decides; it goes before `behaviour`.
    pub scripts: Option<Scripts>,
    /// What of it pods can have, where that is less than the capacity.
    pub allocatable: BTreeMap<String, String>,
    /// What runs in containers of certain images, in place of a script.
    pub programs: Programs,
}

impl FakeNode {
    /// A node of that name with 32 CPUs, 256 GiB and room for 110 pods. `at` tells its addresses from other nodes'.
    #[must_use]
    pub fn new(name: impl Into<String>, at: u16) -> Self {
        let capacity = [("cpu", "32"), ("memory", "256Gi"), ("pods", "110"), ("ephemeral-storage", "1Ti")];
        let [high, low] = at.to_be_bytes();
        Self {
            name: name.into(),
            capacity: capacity.map(|(name, amount)| (name.to_owned(), amount.to_owned())).into(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            address: format!("172.16.{high}.{low}"),
            // 100.64.0.0/10 (RFC 6598) is wide enough for a /24 for each of 16,384 nodes.
            pod_prefix: format!("100.{}.{low}", 64 + (high & 0x3f)),
            behaviour: Behaviour::of,
            scripts: None,
            allocatable: BTreeMap::new(),
            programs: Programs::default(),
        }
    }

    /// How a pod behaves on this node.
    #[must_use]
    pub fn behaviour_of(&self, pod: &Pod) -> Behaviour {
        self.scripts.as_ref().map_or_else(|| (self.behaviour)(pod), |scripts| scripts.of(pod).behaviour)
    }
}

/// Runs pods by script. Clones share the pods.
#[derive(Clone, Debug)]
pub struct FakeAgent(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node: FakeNode,
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
    state: Mutex<State>,
    surroundings: OnceLock<Arc<dyn Surroundings>>,
}

#[derive(Debug, Default)]
struct State {
    pods: BTreeMap<Id, Running>,
    /// Last words on pods that were let go and are still in the set: they do not begin again.
    released: BTreeMap<Id, Report>,
    listeners: Vec<mpsc::UnboundedSender<Report>>,
    addresses: u32,
    /// Pods of a fork whose programs begin anew as soon as there are surroundings.
    unborn: Vec<Id>,
}

impl FakeAgent {
    /// An agent that knows no pods yet.
    #[must_use]
    pub fn new(node: FakeNode, clock: Arc<dyn Clock>, spawn: Arc<dyn Spawn>) -> Self {
        Self(Arc::new(Inner { node, clock, spawn, state: Mutex::default(), surroundings: OnceLock::new() }))
    }

    /// What the node is.
    #[must_use]
    pub fn node(&self) -> &FakeNode {
        &self.0.node
    }

    /// Says what surrounds programs. Without, they have no environment and no volumes, and nobody probes them; the first
    /// one stays.
    pub fn set_surroundings(&self, surroundings: Arc<dyn Surroundings>) {
        let _ = self.0.surroundings.set(surroundings);
        let mut state = self.0.state.lock();
        for id in std::mem::take(&mut state.unborn) {
            if let Some(running) = state.pods.get_mut(&id) {
                let programs = self.0.node.programs.of(&running.pod).unwrap_or_default();
                self.0.live(&id, running, programs);
            }
        }
    }

    /// An agent that begins with this one's pods, as they are now, and goes on with them by itself.
    ///
    /// Scripts go on where they are: the uptime of `clock` goes on from this agent's. Programs, which are found anew,
    /// begin anew, as after a crash of their containers, when [`set_surroundings`](Self::set_surroundings) is called.
    #[must_use]
    pub fn fork(&self, clock: Arc<dyn Clock>, spawn: Arc<dyn Spawn>, programs: Programs) -> Self {
        let fork = Self::new(FakeNode { programs, ..self.0.node.clone() }, clock, spawn);
        let (mut state, mut lives) = (State::default(), BTreeSet::new());
        {
            let own = self.0.state.lock();
            state.addresses = own.addresses;
            state.released.clone_from(&own.released);
            state.pods.extend(own.pods.iter().map(|(id, running)| (id.clone(), running.copied())));
            lives.extend(own.pods.iter().filter(|(_, running)| running.life.is_some()).map(|(id, _)| id.clone()));
        }
        for (id, running) in &mut state.pods {
            if !lives.contains(id) {
                fork.0.play(id, running);
            } else if running.ending {
                running.plan(Next::Release, fork.0.clock.uptime());
                fork.0.play(id, running);
            } else if !pod::ended_phase(&running.status) {
                running.interrupted(fork.0.clock.now());
                state.unborn.push(id.clone());
            }
        }
        *fork.0.state.lock() = state;
        fork
    }

    /// The pods that are known, with their statuses. A name is there twice while one that has left the set still ends.
    #[must_use]
    pub fn statuses(&self) -> Vec<(ObjectKey, PodStatus)> {
        let state = self.0.state.lock();
        state.pods.iter().map(|(id, pod)| (id.key.clone(), pod.status.clone())).collect()
    }

    /// Makes a pod's containers end with an exit code, as if their process had.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) where no such pod runs here.
    pub fn exit(&self, key: &ObjectKey, code: i32) -> Result<()> {
        let uid = self.running(key, "")?.uid;
        let id = Id { key: key.clone(), uid };
        let uptime = self.0.clock.uptime();
        self.0.step(&id, &mut |running, now| {
            let behaviour = self.0.node.behaviour_of(&running.pod);
            running.exit(code, &behaviour, now, uptime);
            self.0.play(&id, running);
        });
        Ok(())
    }

    /// The pod of that uid; with none, the one that has the name now.
    fn running(&self, key: &ObjectKey, uid: &str) -> Result<Running> {
        let state = self.0.state.lock();
        let fits = |id: &Id| id.key == *key && (uid.is_empty() || id.uid == uid);
        let named = state.pods.iter().filter(|(id, _)| fits(id)).map(|(_, running)| running);
        named.min_by_key(|running| running.ending).cloned().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("pod {key} does not run on node {}", self.0.node.name))
        })
    }
}

impl Inner {
    /// Changes a pod's state and reports it.
    fn step(&self, id: &Id, change: &mut dyn FnMut(&mut Running, jiff::Timestamp)) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let Some(running) = state.pods.get_mut(id) else { return };
        change(running, now);
        let report = running.report(&id.key);
        if let Some(life) = running.life.as_ref().filter(|_| report.released) {
            // Whoever hears that the pod is gone finds nothing of it.
            life.release();
        }
        state.listeners.retain(|listener| listener.unbounded_send(report.clone()).is_ok());
        if report.released {
            state.pods.remove(id);
            state.released.insert(id.clone(), report);
        }
    }

    /// Begins to run a pod.
    fn begin(self: &Arc<Self>, id: &Id, pod: &Arc<Pod>, state: &mut State) {
        state.addresses += 1;
        let ip = format!("{}.{}", self.node.pod_prefix, 1 + state.addresses % 254);
        let mut running = Running::new(pod, &self.node.address, ip);
        match self.node.programs.of(pod) {
            Some(programs) => self.live(id, &mut running, programs),
            None => {
                running.plan(Next::Start, self.clock.uptime() + self.node.behaviour_of(pod).start);
                self.play(id, &mut running);
            }
        }
        state.pods.insert(id.clone(), running);
    }

    /// Begins to end a pod.
    fn end(self: &Arc<Self>, id: &Id, running: &mut Running, grace: Duration) {
        if running.ending {
            return;
        }
        running.ending = true;
        match &running.life {
            Some(life) => {
                life.stop();
                let ending = self.outlive(id, running, grace);
                running.script = Some(Arc::new(self.spawn.spawn("fake.pod.end", ending)));
            }
            None => {
                let stop = running.stop_delay(self.node.behaviour_of(&running.pod).stop, grace);
                running.plan(Next::Release, self.clock.uptime() + stop);
                self.play(id, running);
            }
        }
    }

    /// Plays a pod's script from its next step on, as a task of its own.
    fn play(self: &Arc<Self>, id: &Id, running: &mut Running) {
        let script = play(Arc::downgrade(self), Arc::clone(&self.clock), id.clone());
        running.script = Some(Arc::new(self.spawn.spawn("fake.pod", script)));
    }

    /// When a pod's next step is due.
    fn due(&self, id: &Id) -> Option<Duration> {
        self.state.lock().pods.get(id)?.due()
    }
}

/// Plays a pod's script: start, readiness, ends and restarts.
async fn play(inner: Weak<Inner>, clock: Arc<dyn Clock>, id: Id) {
    loop {
        let Some(due) = inner.upgrade().and_then(|inner| inner.due(&id)) else { return };
        clock.sleep_until(due).await;
        let Some(inner) = inner.upgrade() else { return };
        inner.step(&id, &mut |running, now| {
            let behaviour = inner.node.behaviour_of(&running.pod);
            running.advance(&behaviour, now, clock.uptime());
        });
    }
}

#[async_trait]
impl NodeAgent for FakeAgent {
    async fn describe(&self) -> Result<NodeStatus> {
        let node = &self.0.node;
        let amounts = |of: &BTreeMap<String, String>| -> BTreeMap<_, _> {
            of.iter().map(|(name, amount)| (name.clone(), amount.as_str().into())).collect()
        };
        let capacity = amounts(&node.capacity);
        let mut allocatable = capacity.clone();
        allocatable.extend(amounts(&node.allocatable));
        let condition = |type_: &str, status: &str, reason: &str| NodeCondition {
            type_: type_.into(),
            status: status.into(),
            reason: Some(reason.into()),
            ..NodeCondition::default()
        };
        let address = |type_: &str, address: &str| NodeAddress { type_: type_.into(), address: address.into() };
        Ok(NodeStatus {
            capacity,
            allocatable,
            addresses: vec![address("InternalIP", &node.address), address("Hostname", &node.name)],
            conditions: vec![
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID"),
                condition("Ready", "True", "KubeletReady"),
            ],
            daemon_endpoints: NodeDaemonEndpoints::default(),
            node_info: NodeSystemInfo {
                architecture: "amd64".into(),
                operating_system: "linux".into(),
                container_runtime_version: "fake://1".into(),
                kubelet_version: format!("v1.36.0+windlass-{}", env!("CARGO_PKG_VERSION")),
                ..NodeSystemInfo::default()
            },
            ..NodeStatus::default()
        })
    }

    async fn sync(&self, pods: Vec<Arc<Pod>>) -> Result<()> {
        let mut state = self.0.state.lock();
        let mut wanted: BTreeMap<Id, &Arc<Pod>> = pods.iter().map(|pod| (Id::of(pod), pod)).collect();
        state.released.retain(|id, _| wanted.remove(id).is_some());
        for (id, running) in &mut state.pods {
            match wanted.remove(id) {
                None => self.0.end(id, running, Duration::from_secs(30)),
                Some(pod) => {
                    running.pod = Arc::clone(pod);
                    if let Some(life) = &running.life {
                        life.update(pod);
                    }
                    if let Some(grace) = pod::ending(pod) {
                        self.0.end(id, running, grace);
                    }
                }
            }
        }
        for (id, pod) in wanted {
            if pod::ended(pod) && pod::ending(pod).is_none() {
                continue;
            }
            self.0.begin(&id, pod, &mut state);
            if let Some(grace) = pod::ending(pod)
                && let Some(running) = state.pods.get_mut(&id)
            {
                self.0.end(&id, running, grace);
            }
        }
        Ok(())
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        let (sender, receiver) = mpsc::unbounded();
        let mut state = self.0.state.lock();
        for (id, running) in &state.pods {
            // The receiver is in our hands, so it listens.
            let _ = sender.unbounded_send(running.report(&id.key));
        }
        for report in state.released.values() {
            let _ = sender.unbounded_send(report.clone());
        }
        state.listeners.push(sender);
        receiver.boxed()
    }

    async fn logs(&self, request: LogRequest) -> Result<Chunks> {
        let running = self.running(&request.pod, &request.uid)?;
        match &running.life {
            Some(life) => life.logs(request),
            None => {
                let said = self.0.node.scripts.as_ref().map(|scripts| scripts.of(&running.pod).log);
                Ok(sessions::logs(&running, &request, &said.unwrap_or_default()))
            }
        }
    }

    async fn open(&self, request: SessionRequest) -> Result<Session> {
        let (pod, uid) = match &request {
            SessionRequest::Exec { pod, uid, .. }
            | SessionRequest::Attach { pod, uid, .. }
            | SessionRequest::PortForward { pod, uid } => (pod, uid),
        };
        let running = self.running(pod, uid)?;
        Ok(sessions::open(&running, request, &self.0.spawn))
    }

    fn metering(&self) -> Option<&dyn Metering> {
        Some(self)
    }
}

/// What pods use by their scripts; the node uses as much as they do.
#[async_trait]
impl Metering for FakeAgent {
    async fn usage(&self) -> Result<Usage> {
        let at = self.0.clock.now();
        let state = self.0.state.lock();
        let running = state.pods.iter().filter(|(_, running)| running.status.phase.as_deref() == Some("Running"));
        let pods = running.filter_map(|(id, running)| {
            let usual = self.0.node.scripts.as_ref().map_or_else(Amounts::default, |own| own.of(&running.pod).usage);
            running.usage(id, usual, (at, WINDOW))
        });
        let pods: Vec<PodUsage> = pods.collect();
        let each = pods.iter().flat_map(|pod| &pod.containers.amounts);
        let amounts = each.map(|(_, own)| own).sum();
        Ok(Usage { node: Some(Measured { at, window: WINDOW, amounts }), pods })
    }
}

/// The time that usage is said to be measured over.
const WINDOW: Duration = Duration::from_secs(10);

/// The task of a script, which ends with the last copy of its pod.
type Script = Option<Arc<Task>>;
