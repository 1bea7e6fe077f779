//! What workloads stand on: a cluster without controllers, nodes without agents, and a scheduler behind a gate.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use windlass::{
    Cluster,
    api::{
        core::v1::{Event, Namespace, Node, Pod, ServiceAccount},
        types::Resource,
    },
    client::{Cache, Client, Select, gvr},
    kernel::{
        Result, Scheduler, SpawnExt, Stop, Task,
        scheduler::{Change, Decision, Diagnose, PodView, Turn},
    },
    rim::{SystemClock, TokioSpawn},
    scheduler::{Config, Framework, Host, Profile},
    store::DiskStore,
};

/// So many requests are under way at once while a workload is laid out.
const AT_ONCE: usize = 64;

/// Holds back every turn until it is opened.
#[derive(Clone, Debug)]
struct Gated {
    framework: Framework,
    reached: Stop,
    open: Stop,
}

#[async_trait]
impl Scheduler for Gated {
    async fn schedule(&self, turn: Turn<'_>) -> Result<Decision> {
        self.reached.stop();
        self.open.wait().await;
        self.framework.schedule(turn).await
    }

    fn helped_by(&self, pod: &PodView, refused_by: &[&'static str], change: &Change<'_>) -> bool {
        self.framework.helped_by(pod, refused_by, change)
    }

    fn diagnoses(&self) -> Option<&dyn Diagnose> {
        self.framework.diagnoses()
    }
}

pub(super) struct Rig {
    pub(super) cluster: Cluster,
    pub(super) client: Client,
    pub(super) framework: Framework,
    bound: Arc<AtomicUsize>,
    pods: Cache<()>,
    events: Cache<()>,
    running: Option<Running>,
}

/// A scheduler that runs.
struct Running {
    gate: Gated,
    stop: Stop,
    task: Task,
}

/// Reads an object that is written as JSON.
pub(super) fn object<T: Resource>(value: Value) -> T {
    serde_json::from_value(value).expect("it is written by hand")
}

/// Creates objects, many at once.
pub(super) async fn create_all<T: Resource>(client: &Client, objects: impl Iterator<Item = T>) -> Result<()> {
    let creates = stream::iter(objects).map(|object| async move { client.create(&object).await.map(drop) });
    let done: Vec<Result<()>> = creates.buffer_unordered(AT_ONCE).collect().await;
    done.into_iter().collect()
}

impl Rig {
    pub(super) async fn start(durable: Option<&Path>, framework: Framework) -> Result<Self> {
        let mut builder = Cluster::builder().without_controllers();
        if let Some(folder) = durable {
            let store = DiskStore::open(folder, Arc::new(SystemClock::new()), Arc::new(TokioSpawn::current()));
            builder = builder.store(store.await?);
        }
        let cluster = builder.start().await?;
        let client = cluster.client();
        let informers = cluster.informers(client.clone());
        let bound = Arc::new(AtomicUsize::new(0));
        let pods =
            informers.projected(Select::all(), Vec::new(), |pod: &Pod| pod.spec.node_name.is_some().then_some(()));
        let count = Arc::clone(&bound);
        pods.on_change(move |update| {
            if update.before.is_none() && update.after.is_some() {
                count.fetch_add(1, SeqCst);
            }
        });
        let events = informers.cache(&Select::all().of(gvr::<Event>()), Vec::new(), |_| Some(()));
        Ok(Self { cluster, client, framework, bound, pods, events, running: None })
    }

    pub(super) async fn create<T: Resource>(&self, objects: impl Iterator<Item = T>) -> Result<()> {
        create_all(&self.client, objects).await
    }

    pub(super) async fn namespace(&self, name: &str) -> Result<()> {
        self.client.create(&object::<Namespace>(json!({"metadata": {"name": name}}))).await?;
        let account = json!({"metadata": {"namespace": name, "name": "default"}});
        self.client.create(&object::<ServiceAccount>(account)).await.map(drop)
    }

    /// Nodes without agents, of upstream's size; each is in one of so many zones.
    pub(super) async fn nodes(&self, count: usize, zones: usize) -> Result<()> {
        let node = |at: usize| {
            let name = format!("node-{at:05}");
            let amounts = json!({"cpu": "4", "memory": "32Gi", "pods": "110"});
            object::<Node>(json!({
                "metadata": {"name": name, "labels": {
                    "kubernetes.io/hostname": name,
                    "topology.kubernetes.io/zone": format!("zone-{}", at % zones),
                }},
                "status": {"capacity": amounts, "allocatable": amounts,
                           "conditions": [{"type": "Ready", "status": "True"}]},
            }))
        };
        self.create((0..count).map(node)).await?;
        // A new node is taken to be not ready until its agent says otherwise; there is none.
        let ready = (0..count).map(|at| async move {
            let clear = |node: &mut Node| node.spec.taints.clear();
            self.client.modify::<Node>("", &format!("node-{at:05}"), clear).await.map(drop)
        });
        stream::iter(ready).buffer_unordered(AT_ONCE).collect::<Vec<Result<()>>>().await.into_iter().collect()
    }

    /// Starts the scheduler, and holds back its turns once it knows all that is there.
    pub(super) async fn scheduler(&mut self) {
        let gate = Gated { framework: self.framework.clone(), reached: Stop::new(), open: Stop::new() };
        let profile = Profile::new("default-scheduler", gate.clone()).trusted();
        let config = Config { profiles: vec![profile], ..Config::default() };
        let client = self.cluster.client_as(windlass::scheduler::identity()).with_user_agent("kube-scheduler");
        let stop = Stop::new();
        let host = Host::new(&self.cluster.informers(client), config).run(stop.clone());
        let task = self.cluster.spawn().spawn("scheduler", host);
        gate.reached.wait().await;
        self.running = Some(Running { gate, stop, task });
    }

    pub(super) async fn stop_scheduler(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop.stop();
            running.task.ended().await;
        }
    }

    /// Opens the gate; the time until so many more pods are bound.
    pub(super) async fn bind(&self, pods: usize) -> Duration {
        let wanted = self.bound.load(SeqCst) + pods;
        let started = super::now();
        if let Some(running) = &self.running {
            running.gate.open.stop();
        }
        self.pods.wait_until(|_| self.bound.load(SeqCst) >= wanted).await;
        started.elapsed()
    }

    /// How many events there are.
    pub(super) fn events(&self) -> usize {
        self.events.len()
    }
}
