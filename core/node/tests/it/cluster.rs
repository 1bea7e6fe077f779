//! What an agent may ask of a cluster, asked of the real API server in virtual time.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use libtest_mimic::Trial;
use serde_json::json;
use windlass_api::core::v1::{ConfigMap, Event, Service};
use windlass_apiserver::Builder;
use windlass_client::{Client, Informers, Select, informer::Parts};
use windlass_kernel::{
    Authorizer, ClockExt, Identity, Result,
    access::{Attributes, Decision},
    controller::ObjectKey,
    node::{About, NodeContext, Notice},
};
use windlass_node::Host;
use windlass_store::MemoryStore;
use windlass_testkit::sim::Executor;

type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    ("an_object_is_followed_through_change_and_deletion", followed),
    ("a_pod_is_told_of_its_own_services_and_the_api", services),
    ("a_notice_about_the_node_becomes_an_event_on_it", notices),
];

pub(crate) fn trials() -> Vec<Trial> {
    let run = |test: fn()| {
        test();
        Ok(())
    };
    TESTS.iter().map(|&(name, test)| Trial::test(name, move || run(test)).with_kind("api server")).collect()
}

#[derive(Debug)]
struct Everyone;

#[async_trait]
impl Authorizer for Everyone {
    async fn authorize(&self, _: &Identity, _: &Attributes) -> Result<Decision> {
        Ok(Decision::Allow("a test".into()))
    }
}

struct Cluster {
    executor: Executor,
    client: Client,
    context: Arc<dyn NodeContext>,
}

impl Cluster {
    fn new() -> Self {
        let executor = Executor::new(1);
        let (clock, spawn, entropy) = (executor.clock(), executor.spawn(), executor.entropy());
        let store = Arc::new(MemoryStore::new(clock.clone(), spawn.clone()));
        let builder = Builder::default().store(store).clock(clock.clone()).entropy(entropy.clone());
        let server = builder.spawn(spawn.clone()).authorizer(Arc::new(Everyone)).start();
        let server = executor.run_until(server).expect("a server starts");
        let client = Client::new(server, Arc::new(Identity::new("admin", &["system:masters"])));
        let informers = Informers::new(Parts { client: client.clone(), spawn, clock, entropy });
        Self { executor, client, context: Host::context(&informers, "n1") }
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
                Err(error) if error.is(windlass_kernel::ErrorKind::AlreadyExists) => {}
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
            clock.sleep(std::time::Duration::from_millis(1)).await;
        }
    });
}
