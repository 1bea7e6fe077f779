//! What an agent may ask of a cluster, asked of the real API server in virtual time.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt;
use libtest_mimic::Trial;
use serde_json::json;
use windlass_api::core::v1::{ConfigMap, Event, Node, NodeCondition, Service};
use windlass_apiserver::Builder;
use windlass_client::{Client, Informers, Select, informer::Parts};
use windlass_kernel::{
    ClockExt, Dial, Error, ErrorKind, Identity, Result, SpawnExt, Stop,
    controller::ObjectKey,
    dial::{ByteStream, Target},
    node::{About, NodeContext, Notice},
};
use windlass_node::{Config, EvictionLimits, Host, Needs, PodAgent, host::Registration};
use windlass_store::MemoryStore;
use windlass_testkit::{Everyone, FakeRuntime, sim::Executor};

use crate::bench::no_collection;

pub(crate) type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    ("an_object_is_followed_through_change_and_deletion", followed),
    ("a_pod_is_told_of_its_own_services_and_the_api", services),
    ("a_notice_about_the_node_becomes_an_event_on_it", notices),
    ("a_node_is_not_ready_while_its_runtime_is_away", away),
];

pub(crate) fn trials() -> Vec<Trial> {
    of(TESTS)
}

/// Trials of tests that need an API server and nothing of the machine.
pub(crate) fn of(tests: &'static [Test]) -> Vec<Trial> {
    let run = |test: fn()| {
        test();
        Ok(())
    };
    tests.iter().map(|&(name, test)| Trial::test(name, move || run(test)).with_kind("api server")).collect()
}

pub(crate) struct Cluster {
    pub(crate) executor: Executor,
    pub(crate) client: Client,
    pub(crate) informers: Informers,
    context: Arc<dyn NodeContext>,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let executor = Executor::new(1);
        let (clock, spawn, entropy) = (executor.clock(), executor.spawn(), executor.entropy());
        let store = Arc::new(MemoryStore::new(clock.clone(), spawn.clone()));
        let builder = Builder::default().store(store).clock(clock.clone()).entropy(entropy.clone());
        let server = builder.spawn(spawn.clone()).authorizer(Arc::new(Everyone)).start();
        let server = executor.run_until(server).expect("a server starts");
        let client = Client::new(server, Arc::new(Identity::new("admin", &["system:masters"])));
        let informers = Informers::new(Parts { client: client.clone(), spawn, clock, entropy });
        let context = Host::context(&informers, "n1");
        Self { executor, client, informers, context }
    }
}

fn map(value: &str) -> ConfigMap {
    let map = json!({"metadata": {"name": "conf", "namespace": "default"}, "data": {"a": value}});
    serde_json::from_value(map).expect("a map")
}

fn followed() {
    let cluster = Cluster::new();
    cluster.executor.run_until(async {
        let key = ObjectKey::new("default", "conf");
        let mut versions = cluster.context.versions("configmaps", &key);
        // Who follows the same object later begins with what it is then.
        assert_eq!(versions.next().await, Some(None));
        let made = cluster.client.create(&map("1")).await.expect("a map is made");
        let first = made.metadata.resource_version.clone();
        assert_eq!(versions.next().await, Some(first.clone()));
        let mut late = cluster.context.versions("configmaps", &key);
        assert_eq!(late.next().await, Some(first));
        let changed = cluster.client.update(&map("2")).await.expect("it changes").metadata.resource_version.clone();
        assert_eq!(versions.next().await, Some(changed.clone()));
        let read = cluster.context.read("configmaps", &key).await.expect("an answer").expect("it is there");
        assert_eq!(
            (read["metadata"]["resourceVersion"].as_str(), read["data"]["a"].as_str()),
            (changed.as_deref(), Some("2"))
        );
        cluster.client.delete::<ConfigMap>("default", "conf").await.expect("it goes");
        assert_eq!(versions.next().await, Some(None));
        // One that is slow hears of what is, not of all that was.
        assert_eq!(late.next().await, Some(None));
    });
}

fn services() {
    let cluster = Cluster::new();
    cluster.executor.run_until(async {
        for (namespace, name) in [("default", "kubernetes"), ("default", "web"), ("kube-system", "dns")] {
            let service =
                json!({"metadata": {"namespace": namespace, "name": name}, "spec": {"ports": [{"port": 80}]}});
            let service: Service = serde_json::from_value(service).expect("a service");
            match cluster.client.create(&service).await {
                Err(error) if error.is(ErrorKind::AlreadyExists) => {}
                made => drop(made.expect("a service is made")),
            }
        }
        let names = async |namespace: &str| -> Vec<String> {
            let services = cluster.context.services(namespace).await.expect("an answer");
            services.iter().filter_map(|service| service.metadata.name.clone()).collect()
        };
        assert_eq!(names("default").await, ["kubernetes", "web"]);
        assert_eq!(names("kube-system").await, ["dns", "kubernetes"]);
        assert_eq!(names("elsewhere").await, ["kubernetes"]);
    });
}

fn notices() {
    let cluster = Cluster::new();
    let clock = cluster.executor.clock();
    cluster.executor.run_until(async {
        cluster.context.notice(Notice {
            about: About::Node,
            kind: "Warning",
            reason: "ImageGCFailed".into(),
            message: "no room".into(),
            field_path: String::new(),
        });
        loop {
            let events = cluster.client.list::<Event>(&Select::namespace("default")).await.expect("a list");
            if let Some(event) = events.first() {
                let about = &event.involved_object;
                assert_eq!((about.kind.as_deref(), about.name.as_deref()), (Some("Node"), Some("n1")));
                assert_eq!(
                    (event.type_.as_deref(), event.source.component.as_deref()),
                    (Some("Warning"), Some("kubelet"))
                );
                return;
            }
            clock.sleep(Duration::from_millis(1)).await;
        }
    });
}

/// Reaches nobody.
#[derive(Debug)]
pub(crate) struct Nowhere;

#[async_trait]
impl Dial for Nowhere {
    async fn dial(&self, target: &Target) -> Result<ByteStream> {
        Err(Error::new(ErrorKind::NotSupported, format!("{target:?} is not reached from here")))
    }
}

fn away() {
    let cluster = Cluster::new();
    let (clock, spawn) = (cluster.executor.clock(), cluster.executor.spawn());
    let runtime = FakeRuntime::new(clock.clone(), spawn.clone());
    let folder = std::env::temp_dir().join(format!("windlass-node-{}-unready", std::process::id()));
    let needs = Needs {
        runtime: Arc::new(runtime.clone()),
        images: Arc::new(runtime.clone()),
        context: Arc::clone(&cluster.context),
        clock: clock.clone(),
        spawn: spawn.clone(),
        entropy: cluster.executor.entropy(),
        dial: Arc::new(Nowhere),
    };
    let config = Config {
        cgroups: String::new(),
        images: no_collection(),
        eviction: EvictionLimits::none(),
        ..Config::new("n1", &folder)
    };
    cluster.executor.run_until(async {
        let agent = Arc::new(PodAgent::start(config, needs).await.expect("an agent starts"));
        let registration = Registration::named("n1");
        let beat = registration.renewal;
        let host = Host::new(registration, &cluster.informers, agent);
        let _host = spawn.spawn("host", host.run(Stop::new()));
        let ready = async || -> NodeCondition {
            let node = cluster.client.get::<Node>("", "n1").await.expect("the node is there");
            node.status.conditions.iter().find(|condition| condition.type_ == "Ready").cloned().expect("a condition")
        };
        clock.sleep(beat / 2).await;
        let before = ready().await;
        assert_eq!(before.status, "True");
        // Away for one beat of the heart, and back at the next.
        runtime.fail_next("status", ErrorKind::Unavailable);
        clock.sleep(beat).await;
        let condition = ready().await;
        assert_eq!((condition.status.as_str(), condition.reason.as_deref()), ("False", Some("KubeletNotReady")));
        assert!(condition.message.is_some_and(|message| message.contains("container runtime is down")));
        assert!(condition.last_transition_time > before.last_transition_time);
        clock.sleep(beat).await;
        assert_eq!(ready().await.status, "True");
    });
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}
