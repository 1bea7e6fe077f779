//! A cluster in virtual time: the real API server over a store in memory, fake nodes, and the scheduler under its own
//! identity and role.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use windlass_api::core::v1::{Event, Node, Pod, ServiceAccount};
use windlass_apiserver::{ApiServer, access::Rbac};
use windlass_client::{Client, Informers, Select, informer::Parts};
use windlass_kernel::{Api, Clock, ClockExt, Entropy, Identity, Spawn, SpawnExt, Stop, Store, Task};
use windlass_node::host::{Host as NodeHost, Registration};
use windlass_scheduler::{Config, Explaining, Host, Metrics, Questions, identity};
use windlass_store::MemoryStore;
use windlass_testkit::{
    FakeAgent, FakeNode,
    sim::{Executor, Handle},
};

/// Runs a story in a cluster of its own.
pub(crate) fn run<F: Future>(seed: u64, story: impl FnOnce(Rig) -> F) -> F::Output {
    let executor = Executor::new(seed);
    let handle = executor.handle();
    let told = executor.run_until(async { story(Rig::start(handle).await).await });
    assert_eq!(executor.panics(), []);
    told
}

pub(crate) struct Rig {
    pub(crate) handle: Arc<Handle>,
    pub(crate) client: Client,
    server: Arc<ApiServer>,
    nodes: Vec<Task>,
    questions: std::cell::RefCell<Option<Questions>>,
    pub(crate) metrics: Metrics,
}

impl Rig {
    async fn start(handle: Arc<Handle>) -> Self {
        let clock: Arc<dyn Clock> = handle.clone();
        let spawn: Arc<dyn Spawn> = handle.clone();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::clone(&clock), Arc::clone(&spawn)));
        let (explaining, questions) = Explaining::new(Arc::clone(&clock), Arc::clone(&spawn));
        let server = ApiServer::builder()
            .explainer(Arc::new(explaining))
            .store(Arc::clone(&store))
            .clock(clock)
            .entropy(handle.clone())
            .spawn(spawn)
            .authorizer(Arc::new(Rbac::new(store)))
            .start()
            .await
            .unwrap();
        let api: Arc<dyn Api> = server.clone();
        let client = Client::new(api, Arc::new(Identity::new("admin", &["system:masters"])));
        let account = json!({"metadata": {"namespace": "default", "name": "default"}});
        let account: ServiceAccount = serde_json::from_value(account).unwrap();
        client.create(&account).await.unwrap();
        let questions = std::cell::RefCell::new(Some(questions));
        Self { handle, client, server, nodes: Vec::new(), questions, metrics: Metrics::default() }
    }

    pub(crate) fn informers(&self, identity: Identity) -> Informers {
        let api: Arc<dyn Api> = self.server.clone();
        let (clock, spawn): (Arc<dyn Clock>, Arc<dyn Spawn>) = (self.handle.clone(), self.handle.clone());
        let entropy: Arc<dyn Entropy> = self.handle.clone();
        Informers::new(Parts { client: Client::new(api, Arc::new(identity)), spawn, clock, entropy })
    }

    /// Runs a scheduler until the task is dropped.
    pub(crate) fn scheduler(&self, config: Config) -> Task {
        let mut host = Host::new(&self.informers(identity()), config).counting(self.metrics.clone());
        if let Some(questions) = self.questions.take() {
            host = host.answering(questions);
        }
        self.handle.spawn("scheduler", host.run(Stop::new()))
    }

    /// Runs a fake node with so many CPUs.
    pub(crate) async fn node(&mut self, name: &str, cpus: &str, taints: &[(&str, &str, &str)]) {
        let at = u16::try_from(self.nodes.len() + 1).unwrap();
        let mut node = FakeNode::new(name, at);
        node.capacity.insert("cpu".into(), cpus.into());
        let agent = FakeAgent::new(node, self.handle.clone(), self.handle.clone());
        let mut registration = Registration::named(name);
        registration.taints = taints.iter().map(|(k, v, e)| ((*k).into(), (*v).into(), (*e).into())).collect();
        // Node authorization is not what these stories are about.
        let informers = self.informers(Identity::new(&format!("system:node:{name}"), &["system:masters"]));
        let host = NodeHost::new(registration, &informers, Arc::new(agent));
        self.nodes.push(self.handle.spawn("node", host.run(Stop::new())));
        self.until(name, || async {
            let node = self.client.get_opt::<Node>("", name).await.unwrap();
            node.is_some_and(|node| !node.status.allocatable.is_empty())
        })
        .await;
        // Nobody else takes away what keeps pods from a node that is not ready yet.
        self.client
            .modify::<Node>("", name, |node| node.spec.taints.retain(|t| t.key != "node.kubernetes.io/not-ready"))
            .await
            .unwrap();
    }

    /// A client with an identity that RBAC applies to.
    pub(crate) fn client_as(&self, identity: Identity) -> Client {
        Client::new(self.server.clone() as Arc<dyn Api>, Arc::new(identity))
    }

    /// Creates a pod that asks for so many CPUs, with more fields in its spec.
    pub(crate) async fn pod(&self, name: &str, cpus: &str, more: Value) {
        let mut spec = json!({
            "containers": [{"name": "c", "image": "app", "resources": {"requests": {"cpu": cpus}}}],
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let pod = json!({"metadata": {"namespace": "default", "name": name, "labels": {"app": "x"}}, "spec": spec});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        self.client.create(&pod).await.unwrap();
    }

    pub(crate) async fn get(&self, name: &str) -> Arc<Pod> {
        self.client.get("default", name).await.unwrap()
    }

    pub(crate) async fn node_of(&self, name: &str) -> Option<String> {
        let pod = self.client.get_opt::<Pod>("default", name).await.unwrap();
        pod.and_then(|pod| pod.spec.node_name.clone()).filter(|node| !node.is_empty())
    }

    pub(crate) async fn placed(&self, name: &str) -> String {
        self.until(name, || async { self.node_of(name).await.is_some() }).await;
        self.node_of(name).await.unwrap()
    }

    /// Waits for what a pod's condition says about why it has no node.
    pub(crate) async fn complaint(&self, name: &str) -> String {
        let said = |pod: &Pod| {
            let condition = pod.status.conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False");
            condition.map(|c| format!("{}: {}", c.reason.as_deref().unwrap(), c.message.as_deref().unwrap()))
        };
        self.until(name, || async { said(&*self.get(name).await).is_some() }).await;
        said(&*self.get(name).await).unwrap()
    }

    /// Waits until that contains a text: before, the pod may have been told of nodes that were not ready yet.
    pub(crate) async fn complains(&self, name: &str, text: &str) {
        self.until(text, || async { self.complaint(name).await.contains(text) }).await;
    }

    /// Waits for an event about a pod.
    pub(crate) async fn event(&self, pod: &str, reason: &str) -> Arc<Event> {
        let find = || async {
            let events = self.client.list::<Event>(&Select::namespace("default")).await.unwrap();
            let about = |event: &Arc<Event>| {
                event.involved_object.name.as_deref() == Some(pod) && event.reason.as_deref() == Some(reason)
            };
            events.into_iter().find(about)
        };
        self.until(reason, || async { find().await.is_some() }).await;
        find().await.unwrap()
    }

    /// One of the scheduler's figures, by its name and labels as they stand in its text.
    pub(crate) fn figure(&self, name: &str) -> Option<f64> {
        let mut text = String::new();
        self.metrics.write(&mut text);
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// Lets everybody see what has been written so far: each watch comes in its own time.
    pub(crate) async fn seen(&self) {
        self.handle.sleep(Duration::from_secs(1)).await;
    }

    /// Looks again after a little virtual time, until it is so.
    pub(crate) async fn until<F: Future<Output = bool>>(&self, what: &str, mut so: impl FnMut() -> F) {
        for _ in 0..600 {
            if so().await {
                return;
            }
            self.handle.sleep(Duration::from_millis(100)).await;
        }
        panic!("not within a minute: {what}");
    }
}
