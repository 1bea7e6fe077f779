//! A cluster to test in: an API server, controllers, fake nodes, and a task that binds pods in place of a scheduler.

mod gate;

use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::channel::oneshot;
use parking_lot::Mutex;
use serde_json::{Value, json};
use windlass_api::core::v1::Pod;
use windlass_apiserver::{ApiServer, access::Rbac};
use windlass_client::{Cache, Client, Informers, Select, gvr, informer::Parts, run_controllers};
use windlass_controllers::Config;
use windlass_kernel::{
    Api, ClockExt, Controller, Error, ErrorKind, Identity, NodeAgent, Result, SpawnExt, Stop, Store,
    api::{GroupVersionResource, Verb},
    controller::{ObjectKey, Requeue, Wakes, Watched},
    node::NodeAgents,
};
use windlass_node::host::{Host, Registration};
use windlass_store::MemoryStore;
use windlass_testkit::{
    FakeAgent, FakeNode,
    agent::Behaviour,
    sim::{Executor, Process},
};

pub(crate) use self::gate::{Fault, Gate, Watches};

/// A cluster in virtual time. Its controllers run until it is dropped.
pub(crate) struct Cluster {
    pub(crate) executor: Executor,
    pub(crate) admin: Client,
    /// The tests' own view.
    pub(crate) informers: Informers,
    /// The API itself.
    pub(crate) server: Arc<dyn Api>,
    /// What stands between the controllers and the API.
    pub(crate) gate: Arc<Gate>,
    pub(crate) store: Arc<dyn Store>,
    /// What controllers are told that are run from now on.
    pub(crate) config: Config,
    agents: Arc<Agents>,
    stop: Stop,
}

impl Cluster {
    /// A cluster with two nodes whose controllers run.
    pub(crate) fn new(seed: u64) -> Self {
        let cluster = Self::without_controllers(seed);
        cluster.run_controllers(Watches::Prompt, Reconciles::Once);
        cluster
    }

    /// A cluster with two nodes and no controllers yet.
    pub(crate) fn without_controllers(seed: u64) -> Self {
        let cluster = Self::idle(seed);
        cluster.account("default");
        cluster.add_node("n1", 1);
        cluster.add_node("n2", 2);
        cluster.bind_pods();
        cluster
    }

    /// Runs an instance of all controllers. Where the gate has it killed, another takes its place a second later.
    pub(crate) fn run_controllers(&self, watches: Watches, reconciles: Reconciles) {
        let (first, killed) = self.instance(watches);
        let (second, _) = self.instance(watches);
        run(&first, reconciles, &self.config, &self.stop);
        let (clock, config, stop) = (self.executor.clock(), self.config.clone(), self.stop.clone());
        let replace = async move {
            if killed.await.is_ok() {
                first.process.kill();
                clock.sleep(Duration::from_secs(1)).await;
                run(&second, reconciles, &config, &stop);
            }
        };
        self.executor.spawn().spawn("replace", replace).detach();
    }

    /// A process to run controllers in, and what tells that it is to be killed.
    fn instance(&self, watches: Watches) -> (Instance, oneshot::Receiver<()>) {
        let (gate, killed) = self.gate.instance(watches);
        let process = self.executor.process();
        let handle = process.handle();
        let client = Client::new(gate as _, Arc::new(manager()));
        let parts = Parts { client, spawn: handle.clone(), clock: handle.clone(), entropy: handle };
        (Instance { process, informers: Informers::new(parts) }, killed)
    }

    /// A cluster without nodes in which nothing runs.
    pub(crate) fn idle(seed: u64) -> Self {
        let executor = Executor::new(seed);
        let store = Arc::new(MemoryStore::new(executor.clock(), executor.spawn()));
        let agents = Arc::new(Agents::default());
        let builder = ApiServer::builder()
            .store(Arc::clone(&store) as _)
            .clock(executor.clock())
            .entropy(executor.entropy())
            .spawn(executor.spawn())
            .node_agents(Arc::clone(&agents) as _)
            .authorizer(Arc::new(Rbac::new(Arc::clone(&store) as _)));
        let server: Arc<dyn Api> = executor.run_until(builder.start()).unwrap();
        let gate = Arc::new(Gate::new(Arc::clone(&server), executor.handle()));
        let identity = Identity::new("admin", &["system:masters", "system:authenticated"]);
        let admin = Client::new(Arc::clone(&server), Arc::new(identity)).with_user_agent("test");
        let informers = informers(&executor, admin.clone());
        Self { executor, admin, informers, server, gate, store, config: Config::default(), agents, stop: Stop::new() }
    }

    /// Adds a node whose pods run at once, but for those of certain images.
    pub(crate) fn add_node(&self, name: &str, at: u16) {
        let registration = Registration::named(name);
        // What nodes may do is not under test.
        let client = self.admin.clone();
        let node = FakeNode { behaviour, ..FakeNode::new(name, at) };
        let agent = FakeAgent::new(node, self.executor.clock(), self.executor.spawn());
        self.agents.0.lock().insert(name.to_owned(), agent.clone());
        let host = Host::new(registration, &informers(&self.executor, client), Arc::new(agent));
        let stop = self.stop.clone();
        self.executor.spawn().spawn("node", async move { host.run(stop).await }).detach();
    }

    /// Binds each new pod to the node that it insists on, or else to the next of two.
    fn bind_pods(&self) {
        let client = self.admin.clone();
        let pods: Cache<Arc<Pod>> = self.informers.typed(Select::all().fields("spec.nodeName="));
        let bind = async move {
            let (changed, mut at) = (pods.subscribe(), 0);
            loop {
                let key = changed.next().await;
                let Some(pod) = pods.get(&key) else { continue };
                if pod.metadata.deletion_timestamp.is_some() {
                    continue;
                }
                let node = only_node(&pod).unwrap_or_else(|| {
                    at += 1;
                    ["n2", "n1"][at % 2].to_owned()
                });
                let binding = json!({
                    "apiVersion": "v1", "kind": "Binding", "metadata": {"name": key.name},
                    "target": {"kind": "Node", "name": node},
                });
                let request = client.request(Verb::Create, gvr::<Pod>()).in_namespace(&key.namespace);
                // It may be bound already, or gone.
                let _ = client.call(request.named(&key.name).subresource("binding").body(binding)).await;
            }
        };
        self.executor.spawn().spawn("scheduler", bind).detach();
    }

    /// Creates the service account that pods of a namespace need; its controller is not under test.
    pub(crate) fn account(&self, namespace: &str) {
        let metadata = json!({"name": "default", "namespace": namespace});
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
        let resource = GroupVersionResource::of("", "v1", "serviceaccounts");
        // Its controller may have been faster.
        let created = self.executor.run_until(self.admin.dynamic(resource).create(account));
        assert!(created.err().is_none_or(|error| error.is(ErrorKind::AlreadyExists)));
    }

    /// Creates an object.
    pub(crate) fn create(&self, plural: &'static str, object: Value) -> Value {
        let (group, version) = object["apiVersion"].as_str().unwrap().rsplit_once('/').unwrap_or(("", "v1"));
        let resource = GroupVersionResource {
            group: group.to_owned().into(),
            version: version.to_owned().into(),
            resource: plural.into(),
        };
        self.executor.run_until(self.admin.dynamic(resource).create(object)).unwrap()
    }

    /// Runs until the cache holds what is wanted, at most for an hour of virtual time: the longest back-off is 1,000 seconds.
    #[track_caller]
    pub(crate) fn until<P: Clone + Debug + Send + Sync + 'static>(
        &self,
        cache: &Cache<P>,
        wanted: impl Fn(&Cache<P>) -> bool + Send + Sync,
    ) {
        let clock = self.executor.handle();
        let waiting = clock.within(Duration::from_secs(3600), cache.wait_until(wanted));
        let done = self.executor.run_until(waiting);
        if done.is_none() {
            let there = format!("{:?}", cache.list());
            panic!("it did not come to be after {:#?}: {}", self.gate.log(), &there[..there.len().min(2000)]);
        }
    }

    /// Runs for a while in which everything can settle.
    pub(crate) fn settle(&self) {
        self.executor.run_for(Duration::from_secs(30));
    }
}

/// The agents of the nodes, which say what is used.
#[derive(Debug, Default)]
struct Agents(Mutex<BTreeMap<String, FakeAgent>>);

impl NodeAgents for Agents {
    fn agent(&self, name: &str) -> Result<Arc<dyn NodeAgent>> {
        let agent = self.0.lock().get(name).cloned();
        agent.map(|own| Arc::new(own) as _).ok_or_else(|| Error::new(ErrorKind::NotFound, "no such node"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

/// Pods of the image `slow` are ready after a minute, those of `broken` never start.
fn behaviour(pod: &Pod) -> Behaviour {
    let image = pod.spec.containers[0].image.as_deref().unwrap_or_default();
    match image {
        "slow" => Behaviour { ready: Duration::from_secs(60), ..Behaviour::default() },
        "broken" => Behaviour { start: Duration::from_secs(1_000_000), ..Behaviour::default() },
        _ => Behaviour::of(pod),
    }
}

/// The node that a pod's affinity names.
fn only_node(pod: &Pod) -> Option<String> {
    let near = pod.spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &near.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    terms.iter().flat_map(|term| &term.match_fields).flat_map(|field| field.values.clone()).next()
}

/// How often a key that is due is reconciled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reconciles {
    Once,
    Twice,
}

struct Instance {
    process: Process,
    informers: Informers,
}

fn run(instance: &Instance, reconciles: Reconciles, config: &Config, stop: &Stop) {
    let (informers, config, stop) = (instance.informers.clone(), config.clone(), stop.clone());
    let run = async move {
        let mut controllers = windlass_controllers::all(&informers, &config);
        if reconciles == Reconciles::Twice {
            controllers = controllers.into_iter().map(|inner| Arc::new(Twice(inner)) as _).collect();
        }
        let collecting = windlass_controllers::collector(&informers).run(stop.clone());
        futures::join!(run_controllers(controllers, &informers, stop), collecting);
    };
    instance.process.handle().spawn("controllers", run).detach();
}

/// Reconciles each key twice.
#[derive(Debug)]
struct Twice(Arc<dyn Controller>);

#[async_trait]
impl Controller for Twice {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn watches(&self) -> Vec<Watched> {
        self.0.watches()
    }

    fn wakes(&self) -> Option<Wakes> {
        self.0.wakes()
    }

    fn stands_for(&self, key: &ObjectKey) -> Option<Vec<ObjectKey>> {
        self.0.stands_for(key)
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        self.0.reconcile(key).await?;
        self.0.reconcile(key).await
    }
}

fn informers(executor: &Executor, client: Client) -> Informers {
    let (spawn, clock, entropy) = (executor.spawn(), executor.clock(), executor.entropy());
    Informers::new(Parts { client, spawn, clock, entropy })
}

/// Who the controllers' informers are.
fn manager() -> Identity {
    Identity::new("system:kube-controller-manager", &["system:authenticated"])
}
