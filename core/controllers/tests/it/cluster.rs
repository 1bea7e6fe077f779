//! A cluster to test in: an API server, controllers, fake nodes, and a task that binds pods in place of a scheduler.

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use windlass_api::core::v1::Pod;
use windlass_apiserver::{ApiServer, access::Rbac};
use windlass_client::{Cache, Client, Informers, Select, gvr, informer::Parts};
use windlass_controllers::Config;
use windlass_kernel::{
    Api, ClockExt, Error, ErrorKind, Identity, Result, SpawnExt, Stop, Store,
    api::{Events, GroupVersionResource, Request, Response, Verb},
};
use windlass_node::host::{Host, Registration};
use windlass_store::MemoryStore;
use windlass_testkit::{FakeAgent, FakeNode, sim::Executor};

/// A cluster in virtual time. Its controllers run until it is dropped.
pub(crate) struct Cluster {
    pub(crate) executor: Executor,
    pub(crate) admin: Client,
    /// The tests' own view.
    pub(crate) informers: Informers,
    /// What stands between the controllers and the API.
    pub(crate) gate: Arc<Gate>,
    pub(crate) store: Arc<dyn Store>,
    stop: Stop,
}

impl Cluster {
    /// A cluster with two nodes whose controllers run.
    pub(crate) fn new(seed: u64) -> Self {
        let cluster = Self::idle(seed);
        cluster.account("default");
        cluster.add_node("n1", 1);
        cluster.add_node("n2", 2);
        cluster.bind_pods();
        let controllers = cluster.client(manager()).1;
        let stop = cluster.stop.clone();
        let run = async move { windlass_controllers::run(&controllers, &Config::default(), stop).await };
        cluster.executor.spawn().spawn("controllers", run).detach();
        cluster
    }

    /// A cluster without nodes in which nothing runs.
    pub(crate) fn idle(seed: u64) -> Self {
        let executor = Executor::new(seed);
        let store = Arc::new(MemoryStore::new(executor.clock(), executor.spawn()));
        let builder = ApiServer::builder()
            .store(Arc::clone(&store) as _)
            .clock(executor.clock())
            .entropy(executor.entropy())
            .spawn(executor.spawn())
            .authorizer(Arc::new(Rbac::new(Arc::clone(&store) as _)));
        let server: Arc<dyn Api> = executor.run_until(builder.start()).unwrap();
        let gate = Arc::new(Gate { inner: Arc::clone(&server), state: Mutex::default() });
        let identity = Identity::new("admin", &["system:masters", "system:authenticated"]);
        let admin = Client::new(server, Arc::new(identity)).with_user_agent("test");
        let informers = informers(&executor, admin.clone());
        Self { executor, admin, informers, gate, store, stop: Stop::new() }
    }

    /// A client behind the gate, and its informers.
    pub(crate) fn client(&self, identity: Identity) -> (Client, Informers) {
        let client = Client::new(Arc::clone(&self.gate) as _, Arc::new(identity));
        (client.clone(), informers(&self.executor, client))
    }

    /// Adds a node whose pods run at once.
    pub(crate) fn add_node(&self, name: &str, at: u16) {
        let registration = Registration::named(name);
        // What nodes may do is not under test.
        let client = self.admin.clone();
        let agent = FakeAgent::new(FakeNode::new(name, at), self.executor.clock(), self.executor.spawn());
        let host = Host::new(registration, &informers(&self.executor, client), Arc::new(agent));
        let stop = self.stop.clone();
        self.executor.spawn().spawn("node", async move { host.run(stop).await }).detach();
    }

    /// Binds each new pod to the next of two nodes.
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
                let node = ["n1", "n2"][at % 2];
                at += 1;
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

    /// Runs until the cache holds what is wanted, at most for ten minutes of virtual time.
    #[track_caller]
    pub(crate) fn until<P: Clone + Debug + Send + Sync + 'static>(
        &self,
        cache: &Cache<P>,
        wanted: impl Fn(&Cache<P>) -> bool + Send + Sync,
    ) {
        let clock = self.executor.handle();
        let waiting = clock.within(Duration::from_secs(600), cache.wait_until(wanted));
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

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.stop();
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

/// An API that refuses writes, or loses the answers to them, when told to.
#[derive(Debug)]
pub(crate) struct Gate {
    inner: Arc<dyn Api>,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    writes: usize,
    fault: Option<(usize, usize, Fault)>,
    log: Vec<String>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The write is not carried out.
    Refused,
    /// The write is carried out and its answer is lost.
    Lost,
}

impl Gate {
    /// Fails `count` writes after `first` others.
    pub(crate) fn fail(&self, first: usize, count: usize, fault: Fault) {
        let mut state = self.state.lock();
        state.fault = Some((state.writes + first, state.writes + first + count, fault));
    }

    /// What was written so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.state.lock().log.clone()
    }
}

#[async_trait]
impl Api for Gate {
    async fn call(&self, request: Request) -> Result<Response> {
        let read = matches!(request.verb, Verb::Get | Verb::List);
        if read || request.resource.resource == "events" {
            return self.inner.call(request).await;
        }
        let fault = {
            let mut state = self.state.lock();
            let part = if request.subresource.is_empty() { "" } else { "/" };
            let (verb, resource) = (request.verb.as_str(), &request.resource.resource);
            let line = format!("{verb} {resource}{part}{} {}", request.subresource, request.name);
            state.log.push(line);
            state.writes += 1;
            let at = state.writes - 1;
            state.fault.filter(|(first, last, _)| (*first..*last).contains(&at)).map(|fault| fault.2)
        };
        match fault {
            None => self.inner.call(request).await,
            Some(Fault::Refused) => Err(Error::new(ErrorKind::Unavailable, "the server is away")),
            Some(Fault::Lost) => {
                self.inner.call(request).await?;
                Err(Error::new(ErrorKind::Timeout, "no answer").maybe_applied())
            }
        }
    }

    async fn watch(&self, request: Request) -> Result<Events> {
        self.inner.watch(request).await
    }
}
