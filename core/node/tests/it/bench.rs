//! An agent under test on the lab's containerd, with what it was told and what it says.

use std::{fs, sync::Arc, time::Duration};

use futures::{AsyncReadExt, StreamExt, stream::BoxStream};
use serde_json::{Value, json};
use windlass_api::{
    core::v1::{ContainerStatus, Pod, PodStatus},
    types::Time,
};
use windlass_kernel::{
    Clock, ClockExt, ContainerRuntime, NodeAgent,
    controller::ObjectKey,
    node::{Exit, LogRequest, Report, Session, SessionRequest, Streams},
    runtime::{ContainerFilter, SandboxFilter},
};
use windlass_lab::{BUSYBOX, Lab, Rim};
use windlass_node::{Config, EvictionLimits, ImageLimits, Needs, PodAgent};
use windlass_testkit::{FakeRuntime, SeededEntropy};

use crate::context::Objects;

/// Keeps all images: how full this machine's disk is must not decide what tests find.
pub(crate) fn no_collection() -> ImageLimits {
    ImageLimits { high: 100, ..ImageLimits::default() }
}

/// What an agent on the lab's containerd is made of.
pub(crate) fn parts(lab: &Lab, name: &str, context: Arc<Objects>) -> (Config, Needs) {
    let config = Config {
        addresses: vec!["127.0.0.1".parse().expect("an address")],
        cgroups: format!("{}/{name}", lab.cgroup()),
        api: Some(("10.96.0.1".into(), 443)),
        images: no_collection(),
        eviction: EvictionLimits::none(),
        ..Config::new(name, lab.folder.join("agents").join(name))
    };
    let runtime = Arc::new(lab.running.runtime.clone());
    let needs = Needs {
        runtime: runtime.clone(),
        images: runtime,
        context,
        clock: lab.rim.clock.clone(),
        spawn: lab.rim.spawn.clone(),
        entropy: Arc::new(SeededEntropy::new(1)),
        dial: lab.rim.dial.clone(),
    };
    (config, needs)
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// An agent under test, with its pods' reports.
pub(crate) struct Bench {
    pub(crate) name: &'static str,
    pub(crate) config: Config,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) runtime: Arc<dyn ContainerRuntime>,
    pub(crate) objects: Arc<Objects>,
    pub(crate) agent: PodAgent,
    pub(crate) reports: BoxStream<'static, Report>,
}

impl Bench {
    pub(crate) async fn new(lab: &Lab, name: &'static str) -> Self {
        Self::with(lab, name, |_, _| {}).await
    }

    /// An agent that is not quite as others.
    pub(crate) async fn with(lab: &Lab, name: &'static str, change: impl FnOnce(&mut Config, &mut Needs)) -> Self {
        let objects = Arc::new(Objects::default());
        let (mut config, mut needs) = parts(lab, name, Arc::clone(&objects));
        change(&mut config, &mut needs);
        Self::start(name, config, needs, objects).await
    }

    /// An agent over a runtime in memory. Its pods' address is the machine's own.
    pub(crate) async fn fake(name: &'static str, rim: &Rim) -> Self {
        let runtime = FakeRuntime::new(rim.clock.clone(), rim.spawn.clone());
        runtime.add_image(BUSYBOX);
        let objects = Arc::new(Objects::default());
        let needs = Needs {
            runtime: Arc::new(runtime.clone()),
            images: Arc::new(runtime),
            context: objects.clone(),
            clock: rim.clock.clone(),
            spawn: rim.spawn.clone(),
            entropy: Arc::new(SeededEntropy::new(1)),
            dial: rim.dial.clone(),
        };
        let folder = std::env::temp_dir().join(format!("windlass-node-{}-{name}", std::process::id()));
        let config = Config {
            addresses: vec!["127.0.0.1".parse().expect("an address")],
            cgroups: String::new(),
            images: no_collection(),
            eviction: EvictionLimits::none(),
            ..Config::new(name, folder)
        };
        Self::start(name, config, needs, objects).await
    }

    async fn start(name: &'static str, config: Config, needs: Needs, objects: Arc<Objects>) -> Self {
        let (clock, runtime) = (needs.clock.clone(), needs.runtime.clone());
        let agent = PodAgent::start(config.clone(), needs).await.expect("an agent starts");
        let reports = agent.reports();
        Self { name, config, clock, runtime, objects, agent, reports }
    }

    pub(crate) fn pod(&self, spec: Value) -> Pod {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": self.name, "namespace": "test", "uid": format!("uid-{}", self.name), "labels": {"app": "x"}},
            "spec": spec,
        }))
        .expect("a pod");
        for container in pod.spec.containers.iter_mut().chain(&mut pod.spec.init_containers) {
            container.image.get_or_insert_with(|| BUSYBOX.into());
        }
        pod
    }

    pub(crate) async fn sync(&self, pod: &Pod) {
        self.agent.sync(vec![Arc::new(pod.clone())]).await.expect("the agent takes its pods");
    }

    pub(crate) async fn until(&mut self, what: &str, fits: impl Fn(&Report) -> bool) -> Report {
        let mut last = None;
        let got = {
            let sleep = self.clock.sleep(PATIENCE);
            let wait = async {
                loop {
                    let report = self.reports.next().await.expect("reports do not end");
                    if fits(&report) {
                        return report;
                    }
                    last = Some(report);
                }
            };
            match futures::future::select(Box::pin(wait), sleep).await {
                futures::future::Either::Left((report, _)) => Some(report),
                futures::future::Either::Right(_) => None,
            }
        };
        got.unwrap_or_else(|| panic!("not {what}: {last:#?}\n{:#?}", self.objects.notices(self.name)))
    }

    pub(crate) async fn ready(&mut self) -> Report {
        self.until("ready", |report| condition(&report.status, "Ready") == "True").await
    }

    pub(crate) async fn delete(&mut self, pod: &Pod, grace: i64) -> Report {
        let mut pod = pod.clone();
        pod.metadata.deletion_timestamp = Some(Time(self.clock.now()));
        pod.metadata.deletion_grace_period_seconds = Some(grace);
        self.sync(&pod).await;
        let last = self.until("released", |report| report.released).await;
        self.check_nothing_left().await;
        last
    }

    pub(crate) async fn check_nothing_left(&self) {
        let uid = format!("uid-{}", self.name);
        let labels = std::collections::BTreeMap::from([("io.kubernetes.pod.uid".to_owned(), uid.clone())]);
        let sandboxes =
            self.runtime.sandboxes(&SandboxFilter { labels: labels.clone(), ..SandboxFilter::default() }).await;
        assert!(sandboxes.expect("sandboxes are listed").is_empty(), "a sandbox is left");
        let containers = self.runtime.containers(&ContainerFilter { labels, ..ContainerFilter::default() }).await;
        assert!(containers.expect("containers are listed").is_empty(), "a container is left");
        let config = &self.config;
        let pods = fs::read_dir(config.data_dir.join("pods")).expect("a folder").count();
        let logs = fs::read_dir(config.data_dir.join("logs")).map_or(0, Iterator::count);
        assert_eq!((pods, logs), (0, 0), "files are left");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("a table of mounts");
        assert!(!mounts.contains(&uid), "a mount is left: {mounts}");
        if config.cgroups.is_empty() {
            return;
        }
        for hierarchy in fs::read_dir("/sys/fs/cgroup").expect("hierarchies").flatten() {
            for class in ["", "burstable", "besteffort"] {
                let group = hierarchy.path().join(config.cgroups.trim_start_matches('/')).join(class);
                assert!(!group.join(format!("pod{uid}")).exists(), "a control group is left in {}", group.display());
            }
        }
    }

    pub(crate) async fn exec(&self, command: &[&str]) -> (String, Exit) {
        self.exec_in("main", command).await
    }

    pub(crate) async fn exec_in(&self, container: &str, command: &[&str]) -> (String, Exit) {
        let request = SessionRequest::Exec {
            pod: ObjectKey::new("test", self.name),
            uid: format!("uid-{}", self.name),
            container: container.into(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            streams: Streams { stdout: true, stderr: true, ..Streams::default() },
        };
        let Session::Process(mut process) = self.agent.open(request).await.expect("an exec is opened") else {
            panic!("an exec is a process");
        };
        let mut said = String::new();
        process.stdout.take().expect("an output").read_to_string(&mut said).await.expect("text");
        (said, process.exit.await)
    }

    pub(crate) async fn say(&self, script: &str) -> String {
        let (said, exit) = self.exec(&["/bin/sh", "-c", script]).await;
        assert_eq!(exit, Exit::Code(0), "{script}: {said}");
        said
    }

    /// Waits until a command says that.
    pub(crate) async fn comes(&self, script: &str, wanted: &str) {
        let end = self.clock.uptime() + PATIENCE;
        while self.say(script).await != wanted {
            assert!(self.clock.uptime() < end, "{script} does not say {wanted:?} within {PATIENCE:?}");
        }
    }

    pub(crate) async fn logs(&self, container: &str, change: impl FnOnce(&mut LogRequest)) -> String {
        let mut request = LogRequest {
            pod: ObjectKey::new("test", self.name),
            uid: format!("uid-{}", self.name),
            container: container.into(),
            ..LogRequest::default()
        };
        change(&mut request);
        let mut chunks = self.agent.logs(request).await.expect("a log").0;
        let mut text = vec![];
        while let Some(chunk) = chunks.next().await {
            text.extend_from_slice(&chunk.expect("a chunk"));
        }
        String::from_utf8(text).expect("text")
    }
}

pub(crate) fn condition<'a>(status: &'a PodStatus, kind: &str) -> &'a str {
    let found = status.conditions.iter().find(|condition| condition.type_ == kind);
    found.map_or("", |condition| condition.status.as_str())
}

pub(crate) fn shell(script: &str) -> Value {
    json!(["/bin/sh", "-c", script])
}

/// Runs until it is asked to end.
pub(crate) const WAIT: &str = "trap 'exit 0' TERM; while :; do sleep 0.05; done";

/// A container's status, of whatever kind it is.
pub(crate) fn of<'a>(report: &'a Report, name: &str) -> &'a ContainerStatus {
    let PodStatus { container_statuses, init_container_statuses, ephemeral_container_statuses, .. } = &report.status;
    let mut all = container_statuses.iter().chain(init_container_statuses).chain(ephemeral_container_statuses);
    all.find(|status| status.name == name).expect("the container has a status")
}

/// Why a container waits; empty where it does not.
pub(crate) fn reason(report: &Report, name: &str) -> String {
    of(report, name).state.waiting.as_ref().and_then(|waiting| waiting.reason.clone()).unwrap_or_default()
}
