//! Nodes that run out of memory and disk, through the API server in virtual time, with figures that the tests choose.

use std::{io, os::unix::fs::MetadataExt, path::Path, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt};
use libtest_mimic::Trial;
use parking_lot::Mutex;
use serde_json::{Value, json};
use windlass_api::{
    core::v1::{Event, Node, Pod, ServiceAccount},
    types::Time,
};
use windlass_client::Select;
use windlass_kernel::{
    ClockExt, ContainerRuntime, ErrorKind, NodeAgent, SpawnExt, Stop, Task,
    node::Report,
    runtime::{ContainerFilter, ContainerId},
};
use windlass_lab::Lab;
use windlass_node::{
    Config, DiskLevel, EvictionLimits, Gauge, Host, ImageLimits, Level, Needs, PodAgent, host::Registration,
};
use windlass_testkit::FakeRuntime;

use crate::{
    bench::{Bench, condition, no_collection, shell},
    cluster::{Cluster, Nowhere, Test, of},
};

const TESTS: &[Test] = &[
    ("a_node_short_of_memory_ends_the_pod_that_is_furthest_above_its_request", memory),
    ("a_node_short_of_memory_lets_in_only_what_was_promised_some", admission),
    ("a_soft_threshold_waits_and_then_leaves_time_to_end", soft),
    ("room_on_disk_is_made_without_ending_pods_where_that_is_enough", freed),
    ("pods_go_for_disk_once_nothing_else_can", disk),
    ("pods_that_exceed_their_own_storage_end_and_no_others", storage),
    ("what_pods_may_have_together_is_all_but_the_threshold", together),
    ("a_pod_that_takes_long_to_end_is_waited_for_before_another_goes", patient),
    ("a_pod_that_is_deleted_while_the_node_measures_is_not_evicted", deleted),
    ("an_evicted_pod_that_is_deleted_keeps_the_shorter_grace", shorter),
    ("a_pod_that_is_deleted_before_its_worker_saw_the_eviction_ends_as_evicted", hurried),
    ("a_pod_that_ran_to_its_end_does_not_run_again_when_room_is_made", unknown),
];

pub(crate) fn trials() -> Vec<Trial> {
    of(TESTS)
}

pub(crate) const REAL: &[crate::Test] =
    &[("a_volume_that_outgrows_its_size_ends_its_pod", |lab| lab.tokio.block_on(outgrown(lab)))];

async fn outgrown(lab: &Lab) {
    let mut bench = Bench::with(lab, "outgrown", |config, _| {
        config.eviction.period = Duration::from_millis(200);
        config.eviction.storage_period = Duration::from_millis(200);
    })
    .await;
    let volume = json!({"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}});
    let mount = json!([{"name": "scratch", "mountPath": "/scratch"}]);
    let grow = "head -c 900000 /dev/zero > /scratch/a; while [ ! -e /tmp/more ]; do sleep 0.05; done; \
                head -c 900000 /dev/zero > /scratch/b; trap 'exit 0' TERM; while :; do sleep 0.05; done";
    let container = json!({"name": "main", "command": shell(grow), "volumeMounts": mount});
    let pod = bench.pod(json!({"volumes": [volume], "containers": [container]}));
    bench.sync(&pod).await;
    bench.ready().await;
    bench.clock.sleep(Duration::from_secs(1)).await;
    assert!(!bench.objects.notices("outgrown").iter().any(|notice| notice.starts_with("Evicted")), "it has less");
    bench.say("touch /tmp/more").await;
    let report = bench.until("failed", |report| report.status.phase.as_deref() == Some("Failed")).await;
    let why = "Usage of EmptyDir volume \"scratch\" exceeds the limit \"1Mi\". ";
    let status = &report.status;
    assert_eq!((status.reason.as_deref(), status.message.as_deref()), (Some("Evicted"), Some(why)));
    assert!(status.container_statuses[0].state.terminated.is_some(), "{status:#?}");
    assert!(bench.objects.notices("outgrown").contains(&format!("Evicted: {why}")));
    bench.delete(&pod, 0).await;
}

const MIB: u64 = 1 << 20;

type Used = Box<dyn Fn() -> u64 + Send + Sync>;

/// A node with 1000 MiB of memory, and of disk, of which so much is left as a test says.
struct Chosen {
    memory: Mutex<u64>,
    /// What all pods use.
    pods: Mutex<Option<u64>>,
    disk: Mutex<Used>,
}

impl std::fmt::Debug for Chosen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chosen")
    }
}

impl Gauge for Chosen {
    fn memory(&self) -> io::Result<Level> {
        Ok(Level { available: *self.memory.lock(), capacity: 1000 * MIB })
    }

    fn group(&self, _: &str) -> io::Result<Option<u64>> {
        Ok(*self.pods.lock())
    }

    fn disk(&self, _: &Path) -> io::Result<DiskLevel> {
        let bytes = Level { available: 1000 * MIB - self.disk.lock()(), capacity: 1000 * MIB };
        Ok(DiskLevel { device: 1, bytes, inodes: Level { available: 10, capacity: 10 } })
    }

    fn processes(&self) -> io::Result<Level> {
        Ok(Level { available: 1000, capacity: 1000 })
    }
}

struct Scene {
    cluster: Cluster,
    gauge: Arc<Chosen>,
    runtime: FakeRuntime,
    folder: std::path::PathBuf,
    agent: Arc<PodAgent>,
    _host: Option<Task>,
}

impl Scene {
    /// What the folder of a container's log takes, empty as it is with this runtime: a block, or nothing, as file systems have it.
    fn log_folder(&self) -> u64 {
        std::fs::metadata(&self.folder).expect("a folder").blocks() * 512
    }

    fn new(name: &str, eviction: EvictionLimits, images: ImageLimits) -> Self {
        Self::hosted(Self::alone(name, eviction, images, ""))
    }

    /// Brings the agent to the API server as a node.
    fn hosted(mut self) -> Self {
        let host = Host::new(Registration::named("n1"), &self.cluster.informers, self.agent.clone());
        let host = self.cluster.executor.run_until(async {
            let account = json!({"metadata": {"name": "default", "namespace": "default"}});
            let account: ServiceAccount = serde_json::from_value(account).expect("an account");
            self.cluster.client.create(&account).await.expect("an account is made");
            self.cluster.executor.spawn().spawn("host", host.run(Stop::new()))
        });
        self._host = Some(host);
        self
    }

    /// An agent that knows of the cluster only what a test syncs, and whose reports nobody takes over.
    fn alone(name: &str, eviction: EvictionLimits, images: ImageLimits, cgroups: &str) -> Self {
        let cluster = Cluster::new();
        let (clock, spawn) = (cluster.executor.clock(), cluster.executor.spawn());
        let runtime = FakeRuntime::new(clock.clone(), spawn.clone());
        runtime.add_image("image:1");
        let folder = std::env::temp_dir().join(format!("windlass-node-{}-{name}", std::process::id()));
        let gauge = Arc::new(Chosen {
            memory: Mutex::new(900 * MIB),
            pods: Mutex::default(),
            disk: Mutex::new(Box::new(|| 0)),
        });
        let needs = Needs {
            runtime: Arc::new(runtime.clone()),
            images: Arc::new(runtime.clone()),
            context: Host::context(&cluster.informers, "n1"),
            clock: clock.clone(),
            spawn: spawn.clone(),
            entropy: cluster.executor.entropy(),
            dial: Arc::new(Nowhere),
        };
        let config = Config {
            cgroups: cgroups.into(),
            capacity: [("memory".into(), "1000Mi".into())].into(),
            images,
            eviction,
            gauge: gauge.clone(),
            ..Config::new("n1", &folder)
        };
        let agent = cluster.executor.run_until(PodAgent::start(config, needs)).expect("an agent starts");
        Self { cluster, gauge, runtime, folder, agent: Arc::new(agent), _host: None }
    }

    /// Makes a pod on the node.
    async fn pod(&self, name: &str, change: impl FnOnce(&mut Value)) {
        self.cluster.client.create(&made(name, change)).await.expect("a pod is made");
    }

    /// The latest report of the agent's only pod that fits.
    async fn reported(&self, what: &str, fits: impl Fn(&Report) -> bool) -> Report {
        let clock = self.cluster.executor.clock();
        let end = clock.uptime() + Duration::from_secs(600);
        loop {
            let report = self.agent.reports().next().now_or_never().flatten();
            match report.filter(|report| fits(report)) {
                Some(report) => return report,
                None => assert!(clock.uptime() < end, "no report comes to be {what}"),
            }
            clock.sleep(Duration::from_millis(100)).await;
        }
    }

    async fn evicted(&self, name: &str) -> bool {
        self.events(name).await.iter().any(|event| event.starts_with("Evicted"))
    }

    async fn until_said(&self, name: &str, reason: &str) {
        let clock = self.cluster.executor.clock();
        let end = clock.uptime() + Duration::from_secs(600);
        while !self.events(name).await.iter().any(|event| event.starts_with(reason)) {
            assert!(clock.uptime() < end, "nobody says {reason} of {name}");
            clock.sleep(Duration::from_millis(100)).await;
        }
    }

    async fn containers(&self, name: &str) -> Vec<ContainerId> {
        let all = self.runtime.containers(&ContainerFilter::default()).await.expect("a list");
        all.into_iter().filter(|container| container.key.name == name).map(|container| container.id).collect()
    }

    async fn get(&self, name: &str) -> Arc<Pod> {
        self.cluster.client.get("default", name).await.expect("the pod is there")
    }

    async fn until(&self, name: &str, what: &str, fits: impl Fn(&Pod) -> bool) -> Arc<Pod> {
        let clock = self.cluster.executor.clock();
        let end = clock.uptime() + Duration::from_secs(600);
        loop {
            let pod = self.get(name).await;
            if fits(&pod) {
                return pod;
            }
            assert!(clock.uptime() < end, "{name} does not come to be {what}: {:#?}", pod.status);
            clock.sleep(Duration::from_millis(100)).await;
        }
    }

    async fn running(&self, name: &str) {
        self.until(name, "running", |pod| phase(pod) == "Running").await;
    }

    async fn failed(&self, name: &str) -> Arc<Pod> {
        self.until(name, "failed", |pod| phase(pod) == "Failed").await
    }

    async fn pass(&self, seconds: u64) {
        self.cluster.executor.clock().sleep(Duration::from_secs(seconds)).await;
    }

    /// What is said of the node or a pod: `Reason: message`.
    async fn events(&self, name: &str) -> Vec<String> {
        let events = self.cluster.client.list::<Event>(&Select::namespace("default")).await.expect("a list");
        let of = events.iter().filter(|event| event.involved_object.name.as_deref() == Some(name));
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        of.map(|event| format!("{}: {}", text(&event.reason), text(&event.message))).collect()
    }

    async fn node(&self, kind: &str) -> String {
        let node = self.cluster.client.get::<Node>("", "n1").await.expect("the node is there");
        let found = node.status.conditions.iter().find(|condition| condition.type_ == kind).expect("a condition");
        format!("{} {}", found.status, found.reason.clone().unwrap_or_default())
    }

    fn run(&self, work: impl Future<Output = ()>) {
        self.cluster.executor.run_until(work);
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Of a test that failed, too.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A pod on the node, with one container of its name.
fn made(name: &str, change: impl FnOnce(&mut Value)) -> Pod {
    let container = json!({"name": name, "image": "image:1", "command": ["run"]});
    let mut spec = json!({"nodeName": "n1", "containers": [container], "automountServiceAccountToken": false});
    change(&mut spec);
    let pod = json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec});
    serde_json::from_value(pod).expect("a pod")
}

fn stubborn(grace: u64) -> impl FnOnce(&mut Value) {
    move |spec| {
        spec["containers"][0]["command"] = json!(["stubborn"]);
        spec["terminationGracePeriodSeconds"] = json!(grace);
    }
}

fn phase(pod: &Pod) -> &str {
    pod.status.phase.as_deref().unwrap_or_default()
}

fn requests(amounts: Value) -> impl FnOnce(&mut Value) {
    move |spec| spec["containers"][0]["resources"] = json!({"requests": amounts})
}

fn memory() {
    let scene = Scene::new("memory", EvictionLimits::default(), no_collection());
    scene.run(async {
        scene.pod("modest", requests(json!({"memory": "500Mi"}))).await;
        scene.pod("greedy", requests(json!({"memory": "10Mi"}))).await;
        scene.pod("greedier", requests(json!({"memory": "10Mi"}))).await;
        scene.pod("needed", |spec| spec["priorityClassName"] = json!("system-node-critical")).await;
        for (name, used) in [("modest", 400), ("greedy", 100), ("greedier", 200), ("needed", 300)] {
            scene.running(name).await;
            scene.runtime.consume(name, used * MIB, 0);
        }
        scene.pass(60).await;
        assert_eq!(scene.node("MemoryPressure").await, "False KubeletHasSufficientMemory");
        let node = scene.cluster.client.get::<Node>("", "n1").await.expect("the node is there");
        assert_ne!(node.status.allocatable["memory"], node.status.capacity["memory"]);

        *scene.gauge.memory.lock() = 50 * MIB;
        let pod = scene.failed("greedier").await;
        *scene.gauge.memory.lock() = 900 * MIB;
        let message = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container greedier \
                       was using 200Mi, request is 10Mi, has larger consumption of memory. ";
        let status = &pod.status;
        assert_eq!((status.reason.as_deref(), status.message.as_deref()), (Some("Evicted"), Some(message)));
        let disrupted = status.conditions.iter().find(|own| own.type_ == "DisruptionTarget").expect("a condition");
        assert_eq!(
            (disrupted.status.as_str(), disrupted.reason.as_deref(), disrupted.message.as_deref()),
            ("True", Some("TerminationByKubelet"), Some(message))
        );
        assert!(status.container_statuses[0].state.terminated.is_some(), "{status:#?}");
        assert_eq!(condition(status, "Ready"), "False");
        scene.pass(30).await;
        assert!(scene.events("greedier").await.contains(&format!("Evicted: {message}")));
        let events = scene.events("n1").await;
        for wanted in [
            "EvictionThresholdMet: Attempting to reclaim memory",
            "NodeHasInsufficientMemory: Node n1 status is now: NodeHasInsufficientMemory",
        ] {
            assert!(events.iter().any(|event| event == wanted), "{wanted} in {events:?}");
        }
        assert_eq!(scene.node("MemoryPressure").await, "True KubeletHasInsufficientMemory");

        scene.pass(310).await;
        assert_eq!(scene.node("MemoryPressure").await, "False KubeletHasSufficientMemory");
        for name in ["modest", "greedy", "needed"] {
            assert_eq!(phase(&*scene.get(name).await), "Running", "{name}");
        }
    });
}

fn admission() {
    let scene = Scene::new("admission", EvictionLimits::default(), no_collection());
    scene.run(async {
        scene.pod("there", |_| {}).await;
        scene.running("there").await;
        *scene.gauge.memory.lock() = 90 * MIB;
        scene.failed("there").await;
        *scene.gauge.memory.lock() = 900 * MIB;
        scene.pod("bare", |_| {}).await;
        let pod = scene.failed("bare").await;
        let why = "The node had condition: [MemoryPressure]. ";
        assert_eq!(pod.status.reason.as_deref(), Some("Evicted"));
        assert_eq!(pod.status.message, Some(format!("Pod was rejected: {why}")));
        assert!(scene.events("bare").await.contains(&format!("Evicted: {why}")));
        scene.pod("promised", requests(json!({"cpu": "10m"}))).await;
        scene.running("promised").await;
        scene.pass(310).await;
        scene.pod("later", |_| {}).await;
        scene.running("later").await;
    });
}

fn soft() {
    let of = |text: &str, between| EvictionLimits::statements(text, between).expect("pairs");
    let (none, signal) = (Default::default(), "memory.available");
    let mut limits = EvictionLimits::read(
        &none,
        &of(&format!("{signal}<500Mi"), '<'),
        &of(&format!("{signal}=1m"), '='),
        &of(&format!("{signal}=100Mi"), '='),
    )
    .expect("limits");
    limits.max_grace = Some(Duration::from_secs(20));
    let scene = Scene::new("soft", limits, no_collection());
    scene.run(async {
        for name in ["a", "b"] {
            scene.pod(name, |spec| spec["containers"][0]["command"] = json!(["stubborn"])).await;
            scene.running(name).await;
        }
        scene.runtime.consume("a", 90 * MIB, 0);
        *scene.gauge.memory.lock() = 450 * MIB;
        scene.pass(55).await;
        assert_eq!(scene.node("MemoryPressure").await, "True KubeletHasInsufficientMemory");
        assert!(!scene.events("a").await.iter().any(|event| event.starts_with("Evicted")), "too early");
        // Enough for the threshold, but not for what is to be reclaimed: once something is done it goes on.
        scene.pass(25).await;
        assert!(scene.events("a").await.iter().any(|event| event.starts_with("Evicted")));
        *scene.gauge.memory.lock() = 550 * MIB;
        assert_eq!(phase(&*scene.get("a").await), "Running", "it gets twenty seconds");
        scene.failed("a").await;
        assert_eq!(phase(&*scene.get("b").await), "Running");
        scene.failed("b").await;
        let events = scene.events("n1").await;
        assert!(events.iter().any(|event| event == "EvictionThresholdMet: Attempting to reclaim memory"), "{events:?}");
    });
}

/// Images that nobody uses are old enough to go.
fn collected() -> ImageLimits {
    ImageLimits { min_age: Duration::ZERO, ..no_collection() }
}

fn freed() {
    let scene = Scene::new("freed", EvictionLimits::default(), collected());
    let runtime = scene.runtime.clone();
    // Every image but the used one takes 60 MiB, and every container that has ended 300.
    let images = runtime.clone();
    let dead = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&dead);
    *scene.gauge.disk.lock() =
        Box::new(move || 50 * MIB + (images.stored_images().len() as u64 - 1) * 60 * MIB + *counted.lock() * 300 * MIB);
    scene.run(async {
        scene.pod("stays", |_| {}).await;
        scene
            .pod("ended", |spec| {
                spec["restartPolicy"] = json!("Never");
                spec["containers"][0]["command"] = json!(["exit", "0"]);
            })
            .await;
        scene.running("stays").await;
        scene.until("ended", "through", |pod| phase(pod) == "Succeeded").await;
        for number in 0..10 {
            runtime.add_image(&format!("unused:{number}"));
        }
        *dead.lock() = 1;
        let there = async |name: &str| {
            let all = runtime.containers(&ContainerFilter::default()).await.expect("a list");
            all.iter().any(|container| container.key.name == name)
        };
        let clock = scene.cluster.executor.clock();
        let end = clock.uptime() + Duration::from_secs(60);
        while there("ended").await || runtime.stored_images().len() > 1 {
            assert!(clock.uptime() < end, "no room is made");
            clock.sleep(Duration::from_secs(1)).await;
        }
        *dead.lock() = 0;
        scene.pass(30).await;
        assert_eq!(scene.node("DiskPressure").await, "True KubeletHasDiskPressure");
        assert!(there("stays").await);
        assert_eq!(phase(&*scene.get("stays").await), "Running");
        assert_eq!(phase(&*scene.get("ended").await), "Succeeded");
        let events = scene.events("n1").await;
        assert!(
            events.iter().any(|event| event == "EvictionThresholdMet: Attempting to reclaim ephemeral-storage"),
            "{events:?}"
        );
    });
}

fn disk() {
    let scene = Scene::new("disk", EvictionLimits::default(), no_collection());
    scene.run(async {
        for name in ["little", "much"] {
            scene.pod(name, |_| {}).await;
            scene.running(name).await;
        }
        scene.runtime.consume("little", 500 * MIB, 10 * MIB);
        scene.runtime.consume("much", 0, 20 * MIB - scene.log_folder());
        *scene.gauge.disk.lock() = Box::new(|| 950 * MIB);
        let pod = scene.failed("much").await;
        *scene.gauge.disk.lock() = Box::new(|| 0);
        let message = "The node was low on resource: ephemeral-storage. Threshold quantity: 100Mi, available: 50Mi. \
                       Container much was using 20Mi, request is 0, has larger consumption of ephemeral-storage. ";
        assert_eq!(pod.status.message.as_deref(), Some(message));
        scene.pod("tolerant", |spec| spec["tolerations"] = json!([{"operator": "Exists"}])).await;
        let pod = scene.failed("tolerant").await;
        assert_eq!(pod.status.message.as_deref(), Some("Pod was rejected: The node had condition: [DiskPressure]. "));
        assert_eq!(phase(&*scene.get("little").await), "Running");
    });
}

fn storage() {
    let scene = Scene::new("storage", EvictionLimits::none(), no_collection());
    scene.run(async {
        let limits =
            |spec: &mut Value| spec["containers"][0]["resources"] = json!({"limits": {"ephemeral-storage": "1Mi"}});
        let volume = |spec: &mut Value| spec["volumes"] = json!([{"name": "v", "emptyDir": {"sizeLimit": "64Ki"}}]);
        scene.pod("within", limits).await;
        scene.pod("layer", limits).await;
        scene.pod("small", volume).await;
        scene.pod("large", volume).await;
        scene.pod("free", |_| {}).await;
        let names = ["within", "layer", "small", "large", "free"];
        for name in names {
            scene.running(name).await;
        }
        let logs = scene.log_folder();
        scene.runtime.consume("within", 0, MIB - logs);
        scene.runtime.consume("layer", 0, MIB + 1 - logs);
        scene.runtime.consume("free", 0, 900 * MIB);
        for (name, bytes) in [("small", 10_000), ("large", 70_000)] {
            let uid = scene.get(name).await.metadata.uid.clone().expect("a uid");
            let folder = scene.folder.join("pods").join(uid).join("volumes/v");
            std::fs::write(folder.join("file"), vec![1; bytes]).expect("a file");
        }
        let pod = scene.failed("large").await;
        assert_eq!(pod.status.reason.as_deref(), Some("Evicted"));
        assert_eq!(pod.status.message.as_deref(), Some("Usage of EmptyDir volume \"v\" exceeds the limit \"64Ki\". "));
        assert_eq!(condition(&pod.status, "DisruptionTarget"), "", "that is its own fault");
        let pod = scene.failed("layer").await;
        let said = "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ";
        assert_eq!(pod.status.message.as_deref(), Some(said));
        scene.pass(130).await;
        for name in ["within", "small", "free"] {
            assert_eq!(phase(&*scene.get(name).await), "Running", "{name}");
        }
        assert_eq!(scene.node("DiskPressure").await, "False KubeletHasNoDiskPressure");
    });
}

fn together() {
    let scene = Scene::hosted(Scene::alone("together", EvictionLimits::default(), no_collection(), "/windlass-none"));
    scene.run(async {
        // Of 1000 MiB, pods may have 900, and what is left is counted from all of it.
        *scene.gauge.pods.lock() = Some(850 * MIB);
        scene.pass(60).await;
        assert_eq!(scene.node("MemoryPressure").await, "False KubeletHasSufficientMemory");
        *scene.gauge.pods.lock() = Some(950 * MIB);
        scene.pass(60).await;
        assert_eq!(scene.node("MemoryPressure").await, "True KubeletHasInsufficientMemory");
    });
}

fn patient() {
    let of = |text: &str, between| EvictionLimits::statements(text, between).expect("pairs");
    let limits = EvictionLimits::read(
        &Default::default(),
        &of("memory.available<500Mi", '<'),
        &of("memory.available=10s", '='),
        &Default::default(),
    )
    .expect("limits");
    let scene = Scene::new("patient", limits, no_collection());
    scene.run(async {
        for name in ["a", "b"] {
            scene.pod(name, stubborn(90)).await;
            scene.running(name).await;
        }
        scene.runtime.consume("a", 90 * MIB, 0);
        *scene.gauge.memory.lock() = 450 * MIB;
        scene.until_said("a", "Evicted").await;
        scene.pass(80).await;
        assert_eq!(phase(&*scene.get("a").await), "Running", "it gets ninety seconds");
        *scene.gauge.memory.lock() = 900 * MIB;
        scene.failed("a").await;
        scene.pass(60).await;
        assert!(!scene.evicted("b").await, "there is room again");
        assert_eq!(phase(&*scene.get("b").await), "Running");
    });
}

fn deleted() {
    let scene = Scene::new("deleted", EvictionLimits::default(), no_collection());
    scene.run(async {
        for (name, used) in [("more", 200), ("less", 100)] {
            scene.pod(name, stubborn(300)).await;
            scene.running(name).await;
            scene.runtime.consume(name, used * MIB, 0);
        }
        scene.runtime.slow_down("stats", Duration::from_secs(30));
        *scene.gauge.memory.lock() = 50 * MIB;
        scene.until_said("n1", "EvictionThresholdMet").await;
        scene.cluster.client.delete::<Pod>("default", "more").await.expect("it is let go");
        // It was among those that could end, and ends without having to make room.
        let pod = scene.failed("less").await;
        assert_eq!(pod.status.reason.as_deref(), Some("Evicted"));
        assert!(!scene.evicted("more").await);
        assert_eq!(phase(&*scene.get("more").await), "Running", "it gets five minutes");
        scene.pass(310).await;
        let gone = scene.cluster.client.get::<Pod>("default", "more").await;
        assert!(gone.is_err_and(|error| error.is(ErrorKind::NotFound)));
    });
}

fn shorter() {
    let scene = Scene::alone("shorter", EvictionLimits::default(), no_collection(), "");
    scene.run(async {
        let mut pod = made("one", stubborn(30));
        pod.metadata.uid = Some("one".into());
        scene.agent.sync(vec![Arc::new(pod.clone())]).await.expect("it is taken");
        scene.reported("running", |report| report.status.phase.as_deref() == Some("Running")).await;
        // The first try to end it fails, and the deletion is there before the next.
        scene.runtime.slow_down("stop_container", Duration::from_secs(5));
        scene.runtime.fail_next("stop_container", ErrorKind::Unavailable);
        *scene.gauge.memory.lock() = 50 * MIB;
        scene.until_said("one", "Evicted").await;
        pod.metadata.deletion_timestamp = Some(Time(scene.cluster.executor.clock().now()));
        pod.metadata.deletion_grace_period_seconds = Some(30);
        scene.agent.sync(vec![Arc::new(pod)]).await.expect("it is taken");
        let report = scene.reported("released", |report| report.released).await;
        assert_eq!(report.status.phase.as_deref(), Some("Failed"));
        assert_eq!(report.status.reason.as_deref(), Some("Evicted"));
        assert_eq!(scene.containers("one").await, []);
    });
}

fn hurried() {
    let scene = Scene::alone("hurried", EvictionLimits::default(), no_collection(), "");
    scene.run(async {
        let mut pod = made("one", stubborn(30));
        pod.metadata.uid = Some("one".into());
        // A start holds up the worker while both come.
        scene.runtime.slow_down("start_container", Duration::from_secs(60));
        scene.agent.sync(vec![Arc::new(pod.clone())]).await.expect("it is taken");
        scene.until_said("one", "Created").await;
        *scene.gauge.memory.lock() = 50 * MIB;
        scene.until_said("one", "Evicted").await;
        pod.metadata.deletion_timestamp = Some(Time(scene.cluster.executor.clock().now()));
        pod.metadata.deletion_grace_period_seconds = Some(30);
        scene.agent.sync(vec![Arc::new(pod)]).await.expect("it is taken");
        let report = scene.reported("released", |report| report.released).await;
        assert_eq!(report.status.phase.as_deref(), Some("Failed"));
        assert_eq!(report.status.reason.as_deref(), Some("Evicted"));
        let disrupted = report.status.conditions.iter().any(|condition| condition.type_ == "DisruptionTarget");
        assert!(disrupted, "{:#?}", report.status);
    });
}

fn unknown() {
    let scene = Scene::alone("unknown", EvictionLimits::default(), collected(), "");
    scene.run(async {
        let mut pod = made("once", |spec| {
            spec["restartPolicy"] = json!("Never");
            spec["containers"][0]["command"] = json!(["exit", "0"]);
        });
        pod.metadata.uid = Some("once".into());
        scene.agent.sync(vec![Arc::new(pod.clone())]).await.expect("it is taken");
        let succeeded = |report: &Report| report.status.phase.as_deref() == Some("Succeeded");
        scene.reported("through", succeeded).await;
        *scene.gauge.disk.lock() = Box::new(|| 990 * MIB);
        let before = scene.containers("once").await;
        assert_eq!(before.len(), 1);
        // Nobody has taken over how it ended, so the runtime has the last word on it.
        scene.pass(60).await;
        assert_eq!(scene.containers("once").await, before);
        let report = scene.reported("the same", succeeded).await;

        // One that cannot be removed holds up nothing.
        (0..100).for_each(|_| scene.runtime.fail_next("remove_container", ErrorKind::Unavailable));
        pod.status = report.status;
        scene.agent.sync(vec![Arc::new(pod)]).await.expect("it is taken");
        scene.pass(60).await;
        assert_eq!(scene.containers("once").await, []);
        let report = scene.reported("the same", |_| true).await;
        assert!(succeeded(&report), "{report:#?}");
        assert!(report.status.container_statuses[0].state.terminated.is_some(), "{report:#?}");
    });
}
