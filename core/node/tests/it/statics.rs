//! Static pods over a runtime in memory and the real API server, in virtual time.

use std::{
    convert::Infallible,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use libtest_mimic::Trial;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tokio_rustls::{TlsAcceptor, rustls};
use tokio_util::compat::TokioAsyncReadCompatExt;
use windlass_api::core::v1::{NodeStatus, Pod};
use windlass_client::{Select, informer::Parts};
use windlass_kernel::{
    ClockExt, Dial, NodeAgent, Result, Spawn, SpawnExt, Stop, Task,
    api::Chunks,
    dial::{ByteStream, Target},
    node::{LogRequest, Report, Session, SessionRequest},
    runtime::{ContainerFilter, ContainerRuntime, ContainerState},
};
use windlass_node::{
    Config, EvictionLimits, Host, Needs, PodAgent,
    host::Registration,
    statics::{Described, Source, StaticPods, Url},
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
    ("at_rest_nothing_is_handed_over_and_nothing_written", at_rest),
    ("pods_are_described_over_https_by_servers_that_are_trusted", over_https),
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
    handed: Arc<AtomicUsize>,
}

/// An agent that counts how often it is handed pods.
#[derive(Debug)]
struct Counting {
    agent: Arc<dyn NodeAgent>,
    handed: Arc<AtomicUsize>,
}

#[async_trait]
impl NodeAgent for Counting {
    async fn describe(&self) -> Result<NodeStatus> {
        self.agent.describe().await
    }

    async fn sync(&self, pods: Vec<Arc<Pod>>) -> Result<()> {
        self.handed.fetch_add(1, Ordering::Relaxed);
        self.agent.sync(pods).await
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        self.agent.reports()
    }

    async fn logs(&self, request: LogRequest) -> Result<Chunks> {
        self.agent.logs(request).await
    }

    async fn open(&self, request: SessionRequest) -> Result<Session> {
        self.agent.open(request).await
    }
}

impl Node {
    fn new(name: &str) -> Self {
        let cluster = Cluster::new();
        let runtime = FakeRuntime::new(cluster.executor.clock(), cluster.executor.spawn());
        for image in ["app:1", "app:2"] {
            runtime.add_image(image);
        }
        let folder = std::env::temp_dir().join(format!("windlass-statics-{}-{name}", std::process::id()));
        Self { cluster, runtime, written: Written::default(), folder, handed: Arc::default() }
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
        let agent = Arc::new(Counting { agent, handed: Arc::clone(&self.handed) });
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

fn at_rest() {
    test("at-rest", async |node| {
        node.written.write(&[("/m/web.yaml", text("app:1"))]);
        let (_statics, _tasks) = node.begin().await;
        node.rest().await;
        let (handed, shown) = (node.handed.load(Ordering::Relaxed), node.shown().await);
        assert!(handed > 0 && shown.len() == 1);
        // In an hour the descriptions are looked at thousands of times, and hundreds of leases are renewed.
        node.cluster.executor.clock().sleep(Duration::from_secs(3600)).await;
        assert_eq!(node.handed.load(Ordering::Relaxed), handed);
        assert_eq!(node.shown().await[0].metadata.resource_version, shown[0].metadata.resource_version);
        node.written.write(&[("/m/web.yaml", text("app:2"))]);
        node.rest().await;
        assert!(node.handed.load(Ordering::Relaxed) > handed);
    });
}

/// A web server that describes a pod on every connection.
#[derive(Clone, Debug)]
struct Web {
    tls: Acceptor,
    spawn: Arc<dyn Spawn>,
    heard: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsAcceptor")
    }
}

#[async_trait]
impl Dial for Web {
    async fn dial(&self, target: &Target) -> Result<ByteStream> {
        assert_eq!(*target, Target::Host { host: "pods.test".into(), port: 443 });
        let (near, far) = tokio::io::duplex(1 << 16);
        let (acceptor, heard) = (self.tls.0.clone(), Arc::clone(&self.heard));
        let serving = async move {
            // Whoever does not trust the server goes.
            let Ok(stream) = acceptor.accept(far).await else { return };
            let answer = service_fn(move |request: hyper::Request<Incoming>| {
                let said = |name: &str| {
                    let all = request.headers().get_all(name).iter().map(|value| value.to_str().expect("text"));
                    all.collect::<Vec<_>>().join(" ")
                };
                heard.lock().push(format!("{} {} | {}", request.uri(), said("a"), said("b")));
                async { Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::from(text("app:1"))))) }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        };
        self.spawn.spawn("web", serving).detach();
        Ok(Box::new(near.compat()))
    }
}

/// An authority's certificate in PEM, and a server that it vouches for.
fn vouched() -> (String, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let own = CertificateParams::new(vec!["pods.test".to_owned()]).expect("names");
    let own = own.signed_by(&key, &issuer).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("protocols").with_no_client_auth();
    (issuer.pem(), Arc::new(builder.with_single_cert(vec![own.der().clone()], key).expect("a key")).into())
}

fn over_https() {
    test("over-https", async |node| {
        let (authority, acceptor) = vouched();
        let web = Web { tls: Acceptor(acceptor), spawn: node.cluster.executor.spawn(), heard: Arc::default() };
        let at =
            |trusted: &str| Url::new("https://pods.test/all?of=n1", trusted, Arc::new(web.clone())).expect("a URL");
        let headers = [("a", "hello"), ("b", "again"), ("b", "beautiful")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let parts = node.cluster.informers.parts();
        let url = at(&authority).with_headers(headers).expect("headers");
        let described = url.read(parts).await.expect("an answer");
        assert_eq!(described.len(), 1);
        assert_eq!((described[0].source, described[0].text.as_deref()), ("http", Ok(&*text("app:1"))));
        assert_eq!(*web.heard.lock(), ["/all?of=n1 hello | again beautiful"]);
        // Another's word is not taken, and nobody knows then what is described there.
        let other = at(&vouched().0);
        assert!(other.read(parts).await.is_none());
        assert_eq!((other.unknown(), web.heard.lock().len()), (vec!["http"], 1));
    });
}
