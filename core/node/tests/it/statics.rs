//! Static pods over a runtime in memory and the real API server, in virtual time.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use libtest_mimic::Trial;
use parking_lot::Mutex;
use serde_json::json;
use windlass_api::core::v1::Pod;
use windlass_client::{Select, informer::Parts};
use windlass_kernel::{
    ClockExt, NodeAgent, SpawnExt, Stop, Task,
    node::LogRequest,
    runtime::{ContainerFilter, ContainerRuntime, ContainerState},
};
use windlass_node::{
    Config, EvictionLimits, Host, Needs, PodAgent,
    host::Registration,
    statics::{Described, Source, StaticPods},
};
use windlass_testkit::FakeRuntime;

use crate::{
    bench::no_collection,
    cluster::{Cluster, Nowhere, Test, of},
};

const TESTS: &[Test] = &[
    ("a_static_pod_runs_and_is_shown", runs),
    ("a_mirror_that_is_deleted_comes_back_and_the_pod_goes_on", deleted),
    ("a_restarted_agent_goes_on_with_static_pods", restarted),
    ("what_is_described_otherwise_is_another_pod_and_what_is_not_ends", changed),
    ("a_description_that_cannot_be_read_ends_nothing", unreadable),
    ("what_cannot_be_read_after_a_restart_ends_nothing", away),
    ("a_pod_that_the_api_refuses_is_in_nobodys_way", refused),
];

pub(crate) fn trials() -> Vec<Trial> {
    of(TESTS)
}

/// Descriptions that the test writes.
#[derive(Clone, Debug, Default)]
struct Written(Arc<Mutex<Files>>);

#[derive(Debug, Default)]
struct Files {
    files: Vec<(&'static str, String)>,
    changed: bool,
    away: bool,
}

impl Written {
    fn write(&self, files: &[(&'static str, String)]) {
        *self.0.lock() = Files { files: files.to_vec(), changed: true, away: false };
    }

    /// Nothing can be read any more.
    fn go_away(&self) {
        self.0.lock().away = true;
    }
}

#[async_trait]
impl Source for Written {
    async fn read(&self, _: &Parts) -> Option<Vec<Described>> {
        let mut written = self.0.lock();
        let described = |(place, text): &(&'static str, String)| Described {
            place: (*place).into(),
            source: "file",
            text: Ok(text.clone()),
        };
        let changed = !written.away && std::mem::take(&mut written.changed);
        changed.then(|| written.files.iter().map(described).collect())
    }

    fn unknown(&self) -> Vec<&'static str> {
        if self.0.lock().away { vec!["file"] } else { Vec::new() }
    }
}

/// A node whose agent may be ended and begun again over the same runtime.
struct Node {
    cluster: Cluster,
    runtime: FakeRuntime,
    written: Written,
    folder: PathBuf,
}

impl Node {
    fn new(name: &str) -> Self {
        let cluster = Cluster::new();
        let runtime = FakeRuntime::new(cluster.executor.clock(), cluster.executor.spawn());
        for image in ["app:1", "app:2"] {
            runtime.add_image(image);
        }
        let folder = std::env::temp_dir().join(format!("windlass-statics-{}-{name}", std::process::id()));
        Self { cluster, runtime, written: Written::default(), folder }
    }

    /// Begins an agent; it ends with its tasks.
    async fn begin(&self) -> (StaticPods, [Task; 2]) {
        let (clock, spawn) = (self.cluster.executor.clock(), self.cluster.executor.spawn());
        let needs = Needs {
            runtime: Arc::new(self.runtime.clone()),
            images: Arc::new(self.runtime.clone()),
            context: Host::context(&self.cluster.informers, "n1"),
            clock,
            spawn: spawn.clone(),
            entropy: self.cluster.executor.entropy(),
            dial: Arc::new(Nowhere),
        };
        let config = Config {
            cgroups: String::new(),
            images: no_collection(),
            eviction: EvictionLimits::none(),
            ..Config::new("n1", &self.folder)
        };
        let agent: Arc<dyn NodeAgent> = Arc::new(PodAgent::start(config, needs).await.expect("an agent starts"));
        let statics = StaticPods::new("n1", &self.cluster.informers, agent, Arc::new(self.written.clone()));
        self.written.0.lock().changed = true;
        let host = Host::new(Registration::named("n1"), &self.cluster.informers, Arc::new(statics.clone()));
        let tasks =
            [spawn.spawn("host", host.run(Stop::new())), spawn.spawn("statics", statics.clone().run(Stop::new()))];
        (statics, tasks)
    }

    async fn rest(&self) {
        self.cluster.executor.clock().sleep(Duration::from_secs(30)).await;
    }

    async fn shown(&self) -> Vec<Arc<Pod>> {
        self.cluster.client.list::<Pod>(&Select::namespace("default")).await.expect("a list")
    }

    /// The ids of the containers that run.
    async fn containers(&self) -> Vec<String> {
        let all = self.runtime.containers(&ContainerFilter::default()).await.expect("a list");
        let running = all.into_iter().filter(|one| one.state == ContainerState::Running);
        running.map(|one| one.id.to_string()).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn text(image: &str) -> String {
    let container = json!({"name": "main", "image": image, "imagePullPolicy": "IfNotPresent"});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [container]}})
        .to_string()
}

fn test<F: Future<Output = ()>>(name: &str, run: impl FnOnce(Arc<Node>) -> F) {
    let node = Arc::new(Node::new(name));
    node.cluster.executor.run_until(run(Arc::clone(&node)));
}

fn runs() {
    test("runs", async |node| {
        node.written.write(&[("/m/web.yaml", text("app:1"))]);
        let (statics, _tasks) = node.begin().await;
        node.rest().await;
        let [shown] = &node.shown().await[..] else { panic!("{:?}", node.shown().await) };
        let annotations = &shown.metadata.annotations;
        assert_eq!(shown.metadata.name.as_deref(), Some("web-n1"));
        assert_eq!(annotations["kubernetes.io/config.mirror"], annotations["kubernetes.io/config.hash"]);
        assert_eq!(annotations["kubernetes.io/config.source"], "file");
        let owner = &shown.metadata.owner_references[0];
        assert_eq!((&*owner.kind, &*owner.name, owner.controller), ("Node", "n1", Some(true)));
        assert_eq!(shown.status.phase.as_deref(), Some("Running"), "{:?}", shown.status);
        // Who asks by what the API shows is answered.
        let request = LogRequest {
            pod: windlass_kernel::controller::ObjectKey::new("default", "web-n1"),
            uid: shown.metadata.uid.clone().unwrap(),
            container: "main".into(),
            ..LogRequest::default()
        };
        statics.logs(request).await.expect("its log is found");
    });
}

fn deleted() {
    test("deleted", async |node| {
        node.written.write(&[("/m/web.yaml", text("app:1"))]);
        let (_statics, _tasks) = node.begin().await;
        node.rest().await;
        let (before, containers) = (node.shown().await, node.containers().await);
        assert_eq!((before.len(), containers.len()), (1, 1));
        node.cluster.client.delete::<Pod>("default", "web-n1").await.expect("it is deleted");
        node.rest().await;
        let after = node.shown().await;
        assert_eq!(after.len(), 1);
        assert_ne!(after[0].metadata.uid, before[0].metadata.uid);
        assert_eq!(after[0].status.phase.as_deref(), Some("Running"));
        assert_eq!(node.containers().await, containers);
    });
}

fn restarted() {
    test("restarted", async |node| {
        node.written.write(&[("/m/web.yaml", text("app:1"))]);
        let begun = node.begin().await;
        node.rest().await;
        let (before, containers) = (node.shown().await, node.containers().await);
        drop(begun);
        let _begun = node.begin().await;
        node.rest().await;
        assert_eq!((node.containers().await, containers.len()), (containers.clone(), 1));
        assert_eq!(node.shown().await[0].metadata.uid, before[0].metadata.uid);
    });
}

fn changed() {
    test("changed", async |node| {
        node.written.write(&[("/m/web.yaml", text("app:1"))]);
        let (_statics, _tasks) = node.begin().await;
        node.rest().await;
        let before = node.containers().await;
        node.written.write(&[("/m/web.yaml", text("app:2"))]);
        node.rest().await;
        let shown = node.shown().await;
        assert_eq!(shown.len(), 1);
        assert_eq!(shown[0].spec.containers[0].image.as_deref(), Some("app:2"));
        assert_eq!(shown[0].status.phase.as_deref(), Some("Running"));
        let now = node.containers().await;
        assert!(!now.is_empty() && now.iter().all(|id| !before.contains(id)), "{before:?} {now:?}");
        node.written.write(&[]);
        node.rest().await;
        assert!(node.shown().await.is_empty() && node.containers().await.is_empty());
    });
}

fn unreadable() {
    test("unreadable", async |node| {
        node.written.write(&[("/m/web.yaml", text("app:1"))]);
        let (_statics, _tasks) = node.begin().await;
        node.rest().await;
        let containers = node.containers().await;
        node.written.write(&[("/m/web.yaml", "apiVersion: v1\nkind: P".into())]);
        node.rest().await;
        assert_eq!((node.containers().await, node.shown().await.len(), containers.len()), (containers.clone(), 1, 1));
    });
}

fn away() {
    test("away", async |node| {
        node.written.write(&[("/m/web.yaml", text("app:1"))]);
        let begun = node.begin().await;
        node.rest().await;
        let containers = node.containers().await;
        drop(begun);
        node.written.go_away();
        let _begun = node.begin().await;
        node.rest().await;
        assert_eq!((node.containers().await, node.shown().await.len(), containers.len()), (containers.clone(), 1, 1));
        node.written.write(&[]);
        node.rest().await;
        assert!(node.shown().await.is_empty() && node.containers().await.is_empty());
    });
}

fn refused() {
    test("refused", async |node| {
        let broken = text("app:1").replace("\"web\"", "\"Not A Name\"");
        node.written.write(&[("/m/bad.yaml", broken), ("/m/web.yaml", text("app:1"))]);
        let (_statics, _tasks) = node.begin().await;
        node.rest().await;
        let shown = node.shown().await;
        assert_eq!(shown.len(), 1);
        assert_eq!(shown[0].status.phase.as_deref(), Some("Running"));
    });
}
