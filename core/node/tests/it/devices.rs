//! Devices of plugins, over a runtime in memory and a plugin that does as it is told, in virtual time.

mod scripted;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use futures::StreamExt;
use libtest_mimic::Trial;
use parking_lot::Mutex;
use serde_json::{Value, json};
use windlass_api::{
    core::v1::{Node, Pod},
    types::Time,
};
use windlass_kernel::{
    ClockExt, ContainerRuntime, ErrorKind, NodeAgent, SpawnExt, Stop,
    device::Health::{Healthy, Unhealthy},
    node::Report,
    runtime::{ContainerConfig, ContainerFilter},
};
use windlass_node::{Config, Devices, EvictionLimits, Host, Needs, PodAgent, host::Registration};
use windlass_testkit::{FakeRuntime, runtime::Act, sim::Executor};

pub(crate) use self::scripted::Scripted;
use crate::{
    bench::{condition, no_collection},
    cluster::{Cluster, Nowhere, Test, of},
    context::Objects,
};

pub(crate) const RESOURCE: &str = "example.com/thing";

const TESTS: &[Test] = &[
    ("a_node_has_the_devices_that_its_plugins_say", counted),
    ("the_cluster_is_told_of_devices_at_once", told),
    ("a_container_gets_what_its_plugin_says", equipped),
    ("devices_are_made_ready_before_each_start", prepared),
    ("a_pod_that_finds_too_few_devices_fails_and_leaves_none_behind", too_few),
    ("devices_of_pods_that_end_are_waited_for", ending),
    ("init_containers_leave_their_devices_and_sidecars_keep_theirs", reused),
    ("a_plugin_is_asked_which_devices_it_would_rather_hand_out", preferred),
    ("a_restarted_agent_knows_whose_devices_are", restarted),
    ("a_pod_is_not_run_without_its_devices_before_the_plugin_is_back", remembered),
    ("what_is_lost_or_damaged_is_read_from_the_containers", damaged),
    ("devices_of_a_pod_that_went_while_nobody_looked_are_free", forgotten),
    ("a_plugin_that_refuses_fails_the_pod_and_keeps_its_device", refusing),
    ("a_plugin_that_hangs_keeps_no_pod_from_ending", hanging),
    ("a_container_waits_for_a_plugin_that_has_to_make_its_devices_ready", awaited),
    ("a_resource_that_is_no_plugins_is_nobodys_business", others),
];

pub(crate) fn trials() -> Vec<Trial> {
    of(TESTS)
}

/// An agent, what it works with, and what it says.
struct Rig {
    executor: Executor,
    runtime: FakeRuntime,
    objects: Objects,
    plugin: Scripted,
    folder: PathBuf,
    /// Containers as they were made.
    made: Arc<Mutex<Vec<ContainerConfig>>>,
}

/// An agent and its devices.
struct Lone {
    agent: PodAgent,
    devices: Devices,
}

impl Rig {
    fn new(name: &str, devices: &str) -> Self {
        let executor = Executor::new(1);
        let made = Arc::<Mutex<Vec<ContainerConfig>>>::default();
        let notes = Arc::clone(&made);
        let runtime = FakeRuntime::new(executor.clock(), executor.spawn()).with_script(move |launch| {
            if !launch.exec {
                notes.lock().push(launch.container.clone());
            }
            Act::of_words(launch)
        });
        runtime.add_image("image:1");
        let folder = std::env::temp_dir().join(format!("windlass-devices-{}-{name}", std::process::id()));
        let plugin = Scripted::default();
        plugin.has(&devices.split_whitespace().map(|name| (name, Healthy)).collect::<Vec<_>>());
        Self { executor, runtime, objects: Objects::default(), plugin, folder, made }
    }

    /// A node that no plugin has registered with.
    async fn bare(&self) -> Lone {
        let needs = Needs {
            runtime: Arc::new(self.runtime.clone()),
            images: Arc::new(self.runtime.clone()),
            context: Arc::new(self.objects.clone()),
            clock: self.executor.clock(),
            spawn: self.executor.spawn(),
            entropy: self.executor.entropy(),
            dial: Arc::new(Nowhere),
        };
        let devices = Devices::default();
        let config = Config {
            cgroups: String::new(),
            images: no_collection(),
            eviction: EvictionLimits::none(),
            devices: devices.clone(),
            ..Config::new("n1", &self.folder)
        };
        Lone { agent: PodAgent::start(config, needs).await.expect("an agent starts"), devices }
    }

    /// A node whose plugin has said which devices there are.
    async fn node(&self) -> Lone {
        let node = self.bare().await;
        self.register(&node).await;
        node
    }

    async fn register(&self, node: &Lone) {
        let (clock, spawn) = (self.executor.clock() as _, self.executor.spawn() as _);
        node.devices.register(RESOURCE, Arc::new(self.plugin.clone()), &clock, &spawn).expect("it registers");
        let count = self.plugin.count().to_string();
        self.amounts(node, "known", |amounts| amounts.is_some_and(|[all, _]| *all == count)).await;
    }

    /// Waits for capacity and allocatable of the resource.
    async fn amounts(&self, node: &Lone, what: &str, so: impl Fn(Option<&[String; 2]>) -> bool) {
        let clock = self.executor.clock();
        let end = clock.uptime() + Duration::from_secs(600);
        loop {
            let status = node.agent.describe().await.expect("a status");
            let text = |all: &std::collections::BTreeMap<String, _>| -> Option<String> {
                all.get(RESOURCE).map(|amount: &windlass_api::types::Quantity| amount.0.to_string())
            };
            let amounts = text(&status.capacity).zip(text(&status.allocatable)).map(|(all, well)| [all, well]);
            if so(amounts.as_ref()) {
                return;
            }
            assert!(clock.uptime() < end, "the devices do not come to be {what}: {amounts:?}");
            clock.sleep(Duration::from_millis(10)).await;
        }
    }

    async fn has(&self, node: &Lone, all: &str, well: &str) {
        let wanted = [all.to_owned(), well.to_owned()];
        self.amounts(node, &format!("{all} and {well} healthy"), |amounts| amounts == Some(&wanted)).await;
    }

    async fn until(&self, node: &Lone, pod: &Pod, fits: impl Fn(&Report) -> bool + Sync) -> Report {
        let (mut reports, uid) = (node.agent.reports(), pod.metadata.uid.clone().unwrap_or_default());
        let wait = async {
            loop {
                let report = reports.next().await.expect("reports do not end");
                if report.uid == uid && fits(&report) {
                    return report;
                }
            }
        };
        let waited = self.executor.clock().within(Duration::from_secs(600), wait).await;
        waited.unwrap_or_else(|| panic!("the pod does not come to that: {:?}", self.objects.notices(&name(pod))))
    }

    async fn ready(&self, node: &Lone, pod: &Pod) {
        self.until(node, pod, |report| condition(&report.status, "Ready") == "True").await;
    }

    async fn ended(&self, node: &Lone, pod: &Pod) {
        self.until(node, pod, |report| report.released).await;
    }

    /// Why a pod failed.
    async fn failed(&self, node: &Lone, pod: &Pod) -> (String, String) {
        let status = self.until(node, pod, |report| report.status.phase.as_deref() == Some("Failed")).await.status;
        (status.reason.unwrap_or_default(), status.message.unwrap_or_default())
    }

    /// The devices of the newest container of that name.
    fn devices_of(&self, container: &str) -> String {
        let made = self.made.lock();
        let newest = made.iter().rev().find(|config| config.key.name == container).expect("it was made");
        newest.env.iter().find(|(name, _)| name == "THINGS").map(|(_, value)| value.clone()).unwrap_or_default()
    }

    async fn comes(&self, what: &str, so: impl Fn() -> bool) {
        let clock = self.executor.clock();
        let end = clock.uptime() + Duration::from_secs(600);
        while !so() {
            assert!(clock.uptime() < end, "it does not come to this: {what}; {:?}", self.plugin.calls());
            clock.sleep(Duration::from_millis(10)).await;
        }
    }

    fn record(&self) -> PathBuf {
        self.folder.join("devices.json")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // A test that failed may have made nothing.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

fn container(name: &str, count: usize, command: &[&str]) -> Value {
    let limits = if count > 0 { json!({RESOURCE: count.to_string()}) } else { json!({}) };
    json!({"name": name, "image": "image:1", "command": command, "resources": {"limits": limits}})
}

fn with(name: &str, spec: Value) -> Pod {
    let mut spec = spec;
    spec["terminationGracePeriodSeconds"] = json!(0);
    let meta = json!({"name": name, "namespace": "test", "uid": format!("uid-{name}")});
    serde_json::from_value(json!({"metadata": meta, "spec": spec})).expect("a pod")
}

/// A pod whose only container, which is called as it is, has so many devices.
fn pod(name: &str, count: usize) -> Pod {
    with(name, json!({"containers": [container(name, count, &["run"])]}))
}

fn going(pod: &Pod) -> Pod {
    let mut pod = pod.clone();
    pod.metadata.deletion_timestamp = Some(Time("2026-01-01T00:00:00Z".parse().expect("a time")));
    pod.metadata.deletion_grace_period_seconds = Some(0);
    pod
}

async fn sync(node: &Lone, pods: &[&Pod]) {
    let pods = pods.iter().map(|pod| Arc::new((*pod).clone())).collect();
    node.agent.sync(pods).await.expect("the agent takes its pods");
}

fn counted() {
    let rig = Rig::new("counted", "");
    rig.executor.run_until(async {
        rig.plugin.has(&[("a", Healthy), ("b", Unhealthy), ("c", Healthy)]);
        let node = rig.node().await;
        rig.has(&node, "3", "2").await;
        rig.plugin.has(&[("b", Healthy), ("c", Healthy), ("d", Healthy), ("e", Healthy)]);
        rig.has(&node, "4", "4").await;
        // A plugin that is gone leaves its devices for five minutes, and none of them can be used.
        rig.plugin.leave();
        rig.has(&node, "4", "0").await;
        let clock = rig.executor.clock();
        clock.sleep(Duration::from_secs(290)).await;
        rig.has(&node, "4", "0").await;
        clock.sleep(Duration::from_secs(10)).await;
        rig.has(&node, "0", "0").await;
        assert_eq!(node.devices.resources(), Vec::<String>::new());
        rig.register(&node).await;
        rig.has(&node, "4", "4").await;
        // One that takes its place is believed, and the end of the first is nobody's any more.
        let second = Scripted::default();
        second.has(&[("z", Healthy)]);
        let (clock, spawn) = (rig.executor.clock() as _, rig.executor.spawn() as _);
        node.devices.register(RESOURCE, Arc::new(second), &clock, &spawn).expect("it registers");
        rig.has(&node, "1", "1").await;
        rig.plugin.leave();
        clock.sleep(Duration::from_secs(10)).await;
        rig.has(&node, "1", "1").await;
        let refused = node.devices.register("cpu", Arc::new(rig.plugin.clone()), &clock, &spawn).unwrap_err();
        assert!(refused.is(ErrorKind::Invalid) && refused.message().contains("\"cpu\""), "{refused}");
    });
}

fn told() {
    let rig = Rig::new("told", "a b");
    let cluster = Cluster::new();
    cluster.executor.run_until(async {
        let (clock, spawn) = (cluster.executor.clock(), cluster.executor.spawn());
        let devices = Devices::default();
        let config = Config {
            cgroups: String::new(),
            images: no_collection(),
            eviction: EvictionLimits::none(),
            devices: devices.clone(),
            ..Config::new("n1", &rig.folder)
        };
        let runtime = FakeRuntime::new(clock.clone(), spawn.clone());
        let needs = Needs {
            runtime: Arc::new(runtime.clone()),
            images: Arc::new(runtime),
            context: Host::context(&cluster.informers, "n1"),
            clock: clock.clone(),
            spawn: spawn.clone(),
            entropy: cluster.executor.entropy(),
            dial: Arc::new(Nowhere),
        };
        let agent = Arc::new(PodAgent::start(config, needs).await.expect("an agent starts"));
        // A heart that hardly beats.
        let registration = Registration { renewal: Duration::from_secs(3600), ..Registration::named("n1") };
        let host = Host::new(registration, &cluster.informers, agent).with_devices(devices.clone());
        let _host = spawn.spawn("host", host.run(Stop::new()));
        let until = async |all: &str, well: &str| loop {
            if let Some(node) = cluster.client.get_opt::<Node>("", "n1").await.expect("an answer") {
                let amount = |all: &std::collections::BTreeMap<String, windlass_api::types::Quantity>| {
                    all.get(RESOURCE).map(|amount| amount.0.to_string()).unwrap_or_default()
                };
                if (amount(&node.status.capacity), amount(&node.status.allocatable)) == (all.into(), well.into()) {
                    return;
                }
            }
            assert!(clock.uptime() < Duration::from_secs(3600), "the cluster is not told of {all} and {well}");
            clock.sleep(Duration::from_millis(100)).await;
        };
        until("", "").await;
        let (clock, spawn) = (clock.clone() as _, spawn.clone() as _);
        devices.register(RESOURCE, Arc::new(rig.plugin.clone()), &clock, &spawn).expect("it registers");
        until("2", "2").await;
        rig.plugin.has(&[("a", Unhealthy), ("b", Healthy)]);
        until("2", "1").await;
    });
}

fn equipped() {
    let rig = Rig::new("equipped", "a b");
    rig.executor.run_until(async {
        let node = rig.node().await;
        let mut own = container("p", 2, &["run", "$(THINGS)", "$(OWN)"]);
        own["env"] = json!([{"name": "OWN", "value": "mine"}]);
        let pod = with("p", json!({"containers": [own, container("none", 0, &["run"])]}));
        sync(&node, &[&pod]).await;
        rig.ready(&node, &pod).await;
        assert_eq!(rig.plugin.calls(), ["allocate a b"]);
        let made = rig.made.lock().clone();
        let [first, none] = &made[..] else { panic!("two containers: {made:?}") };
        // The pod's own words come last, and stand.
        let env: Vec<_> = first.env.iter().filter(|(name, _)| name == "THINGS" || name == "OWN").cloned().collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(env, [pair("OWN", "theirs"), pair("THINGS", "a,b"), pair("OWN", "mine")]);
        assert_eq!(first.command, ["run", "a,b", "mine"]);
        assert_eq!((&*first.mounts[0].container_path, &*first.mounts[0].host_path), ("/things", "/host/a,b"));
        assert!(first.mounts[0].readonly);
        assert_eq!((&*first.devices[0].container_path, &*first.devices[0].permissions), ("/dev/thing", "rw"));
        assert_eq!(first.cdi_devices, ["example.com/thing=a,b"]);
        assert_eq!(first.annotations["example.com/told"], "yes");
        assert_eq!(first.annotations["windlass.dev/devices"], r#"{"example.com/thing":["a","b"]}"#);
        // Kubelets' own annotations are theirs.
        assert_eq!(first.annotations["io.kubernetes.container.restartCount"], "0");
        assert!(none.cdi_devices.is_empty() && none.devices.is_empty(), "{none:?}");
        assert!(!none.annotations.contains_key("windlass.dev/devices"));
    });
}

fn prepared() {
    let rig = Rig::new("prepared", "a");
    rig.plugin.prepares();
    rig.executor.run_until(async {
        let node = rig.node().await;
        let pod = with("p", json!({"containers": [container("p", 1, &["exit", "1", "5"])]}));
        sync(&node, &[&pod]).await;
        rig.comes("it runs a third time", || rig.made.lock().len() == 3).await;
        assert_eq!(rig.plugin.calls(), ["allocate a", "prepare a", "prepare a", "prepare a"]);
        rig.plugin.fail("prepare", "it is jammed");
        let report = rig
            .until(&node, &pod, |report| {
                let waiting = report.status.container_statuses[0].state.waiting.as_ref();
                waiting.is_some_and(|own| own.reason.as_deref() == Some("CreateContainerConfigError"))
            })
            .await;
        let waiting = report.status.container_statuses[0].state.waiting.clone().expect("it waits");
        let why = "device plugin PreStartContainer rpc failed with err: it is jammed";
        assert_eq!(waiting.message.as_deref(), Some(why));
        rig.plugin.mend();
        rig.comes("it runs again", || rig.made.lock().len() == 4).await;
    });
}

fn too_few() {
    let rig = Rig::new("few", "a b");
    rig.executor.run_until(async {
        let node = rig.node().await;
        let (one, two, three) = (pod("one", 1), pod("two", 2), pod("three", 2));
        sync(&node, &[&one]).await;
        rig.ready(&node, &one).await;
        sync(&node, &[&one, &two]).await;
        let why = "Allocate failed due to requested number of devices unavailable for example.com/thing. \
                   Requested: 2, Available: 1, which is unexpected";
        let failed = rig.failed(&node, &two).await;
        assert_eq!(failed, ("UnexpectedAdmissionError".into(), format!("Pod was rejected: {why}")));
        assert!(rig.objects.notices("two").contains(&format!("UnexpectedAdmissionError: {why}")));
        assert!(rig.made.lock().iter().all(|config| config.key.name != "two"), "it was begun");
        // What ran to its end has none any more, though it is still there.
        let brief =
            with("brief", json!({"restartPolicy": "Never", "containers": [container("brief", 1, &["exit", "0"])]}));
        sync(&node, &[&one, &two, &brief]).await;
        rig.until(&node, &brief, |report| report.status.phase.as_deref() == Some("Succeeded")).await;
        assert_eq!(rig.devices_of("brief"), "b");
        sync(&node, &[&going(&one), &two, &brief]).await;
        rig.ended(&node, &one).await;
        sync(&node, &[&two, &brief, &three]).await;
        rig.ready(&node, &three).await;
        assert_eq!(rig.devices_of("three"), "a,b");
    });
}

fn ending() {
    let rig = Rig::new("ending", "a");
    rig.executor.run_until(async {
        let node = rig.node().await;
        let slow = with("slow", json!({"containers": [container("slow", 1, &["stubborn"])]}));
        sync(&node, &[&slow]).await;
        rig.ready(&node, &slow).await;
        // The cluster has forgotten it, and it takes half a minute to end.
        let mut patient = slow.clone();
        patient.spec.termination_grace_period_seconds = Some(30);
        sync(&node, &[&patient]).await;
        let next =
            with("next", json!({"restartPolicy": "Never", "containers": [container("next", 1, &["exit", "0"])]}));
        rig.runtime.slow_down("stop_sandbox", Duration::from_secs(5));
        sync(&node, &[&next]).await;
        rig.until(&node, &next, |report| report.status.phase.as_deref() == Some("Succeeded")).await;
        assert_eq!(rig.devices_of("next"), "a");
        // It has run to its end, and is not cleaned up after yet.
        let last = pod("last", 1);
        sync(&node, &[&next, &last]).await;
        rig.ready(&node, &last).await;
        // Nobody ends any more.
        let none = pod("none", 1);
        sync(&node, &[&next, &last, &none]).await;
        assert_eq!(rig.failed(&node, &none).await.0, "UnexpectedAdmissionError");
    });
}

fn reused() {
    let rig = Rig::new("reused", "a b c d");
    rig.executor.run_until(async {
        let node = rig.node().await;
        let mut sidecar = container("sidecar", 1, &["run"]);
        sidecar["restartPolicy"] = json!("Always");
        let init = [container("first", 2, &["exit", "0"]), sidecar, container("second", 3, &["exit", "0"])];
        let pod = with("p", json!({"initContainers": init, "containers": [container("main", 3, &["run"])]}));
        sync(&node, &[&pod]).await;
        rig.ready(&node, &pod).await;
        let had = ["first", "sidecar", "second", "main"].map(|name| rig.devices_of(name));
        // The sidecar took one that was left, and nobody after it had that.
        assert_eq!(had, ["a,b", "a", "b,c,d", "b,c,d"]);
        let other = self::pod("other", 1);
        sync(&node, &[&pod, &other]).await;
        let (reason, _) = rig.failed(&node, &other).await;
        assert_eq!(reason, "UnexpectedAdmissionError");
    });
}

fn preferred() {
    let rig = Rig::new("preferred", "a b c d");
    rig.plugin.prefers("d b");
    rig.executor.run_until(async {
        let node = rig.node().await;
        let init = [container("init", 1, &["exit", "0"])];
        let pod = with("p", json!({"initContainers": init, "containers": [container("main", 3, &["run"])]}));
        sync(&node, &[&pod]).await;
        rig.ready(&node, &pod).await;
        assert_eq!(
            rig.plugin.calls(),
            [
                "prefer 1 of a b c d with ",
                "allocate d",
                // What there is already is among them.
                "prefer 3 of a b c d with d",
                "allocate a b d",
            ]
        );
        rig.plugin.fail("prefer", "no idea");
        let other = self::pod("other", 1);
        sync(&node, &[&pod, &other]).await;
        let (_, message) = rig.failed(&node, &other).await;
        assert!(message.contains("device plugin GetPreferredAllocation rpc failed with err: no idea"), "{message}");
    });
}

fn restarted() {
    let rig = Rig::new("restarted", "a b");
    rig.executor.run_until(async {
        let node = rig.node().await;
        let (one, two) = (pod("one", 1), pod("two", 1));
        sync(&node, &[&one]).await;
        rig.ready(&node, &one).await;
        drop(node);
        // Before the plugin is back, there is none of it; what runs goes on.
        let node = rig.bare().await;
        rig.has(&node, "0", "0").await;
        sync(&node, &[&one]).await;
        rig.ready(&node, &one).await;
        rig.register(&node).await;
        sync(&node, &[&one, &two]).await;
        rig.ready(&node, &two).await;
        assert_eq!((rig.devices_of("one"), rig.devices_of("two")), ("a".into(), "b".into()));
        assert_eq!(rig.plugin.calls(), ["allocate a", "allocate b"]);
        assert_eq!(rig.made.lock().len(), 2, "nothing was started anew");
        // A container that starts again has what it had, though nobody asks the plugin.
        let all = rig.runtime.containers(&ContainerFilter::default()).await.expect("a list");
        let first = all.iter().find(|container| container.key.name == "one").expect("it is there");
        rig.runtime.end(&first.id, 1, "Error");
        rig.comes("it is started again", || rig.made.lock().len() == 3).await;
        assert_eq!((rig.devices_of("one"), rig.plugin.calls()), ("a".into(), vec![]));
    });
}

fn remembered() {
    let rig = Rig::new("remembered", "a");
    rig.executor.run_until(async {
        drop(rig.node().await);
        let node = rig.bare().await;
        let pod = pod("p", 1);
        sync(&node, &[&pod]).await;
        let (reason, message) = rig.failed(&node, &pod).await;
        assert_eq!(reason, "UnexpectedAdmissionError");
        assert!(message.contains("no healthy devices present"), "{message}");
    });
}

fn damaged() {
    for damage in ["half of", "gone"] {
        let rig = Rig::new("damaged", "a b");
        rig.executor.run_until(async {
            let node = rig.node().await;
            let (one, two, three) = (pod("one", 1), pod("two", 1), pod("three", 1));
            sync(&node, &[&one]).await;
            rig.ready(&node, &one).await;
            drop(node);
            if damage == "gone" {
                fs::remove_file(rig.record()).expect("it goes");
            } else {
                let text = fs::read_to_string(rig.record()).expect("it was written down");
                fs::write(rig.record(), &text[..text.len() / 2]).expect("it is damaged");
            }
            // One that is killed before it has looked leaves as much to the next.
            drop(rig.node().await);
            let node = rig.node().await;
            let notices = rig.objects.notices("the node").join("\n");
            assert_eq!(notices.contains("DamagedDeviceRecord"), damage != "gone", "{notices}");
            sync(&node, &[&one, &two]).await;
            rig.ready(&node, &two).await;
            assert_eq!(rig.devices_of("two"), "b");
            sync(&node, &[&one, &two, &three]).await;
            assert_eq!(rig.failed(&node, &three).await.0, "UnexpectedAdmissionError");
            // What the plugin said is lost: it is asked again before the next start.
            let all = rig.runtime.containers(&ContainerFilter::default()).await.expect("a list");
            let first = all.iter().find(|container| container.key.name == "one").expect("it is there");
            rig.runtime.end(&first.id, 1, "Error");
            rig.comes("it is started again", || rig.made.lock().len() == 3).await;
            assert_eq!(rig.devices_of("one"), "a");
            assert_eq!(rig.plugin.calls(), ["allocate a", "allocate b", "allocate a"]);
        });
    }
}

fn forgotten() {
    let rig = Rig::new("forgotten", "a");
    rig.executor.run_until(async {
        let node = rig.node().await;
        // It has its device, and no sandbox comes of it.
        rig.runtime.slow_down("run_sandbox", Duration::from_secs(3600));
        let (one, two) = (pod("one", 1), pod("two", 1));
        sync(&node, &[&one]).await;
        rig.comes("it has its device", || fs::read_to_string(rig.record()).is_ok_and(|text| text.contains("uid-one")))
            .await;
        drop(node);
        rig.runtime.slow_down("run_sandbox", Duration::ZERO);
        let node = rig.node().await;
        sync(&node, &[]).await;
        rig.comes("it is free", || fs::read_to_string(rig.record()).is_ok_and(|text| !text.contains("uid-one"))).await;
        sync(&node, &[&two]).await;
        rig.ready(&node, &two).await;
        assert_eq!(rig.devices_of("two"), "a");
    });
}

fn refusing() {
    let rig = Rig::new("refusing", "a");
    rig.executor.run_until(async {
        let node = rig.node().await;
        rig.plugin.fail("allocate", "it is on fire");
        let (one, two) = (pod("one", 1), pod("two", 1));
        sync(&node, &[&one]).await;
        let (reason, message) = rig.failed(&node, &one).await;
        assert_eq!(reason, "UnexpectedAdmissionError");
        assert!(message.contains("Allocate failed due to it is on fire, which is unexpected"), "{message}");
        rig.plugin.mend();
        sync(&node, &[&one, &two]).await;
        rig.ready(&node, &two).await;
        rig.plugin.has(&[("a", Unhealthy)]);
        rig.has(&node, "1", "0").await;
        let three = pod("three", 1);
        sync(&node, &[&one, &two, &three]).await;
        let (_, message) = rig.failed(&node, &three).await;
        assert!(
            message.contains("no healthy devices present; cannot allocate unhealthy devices example.com/thing"),
            "{message}"
        );
    });
}

fn hanging() {
    let rig = Rig::new("hanging", "a b");
    rig.executor.run_until(async {
        let node = rig.node().await;
        rig.plugin.hang("allocate");
        let (one, two) = (pod("one", 1), pod("two", 2));
        sync(&node, &[&one]).await;
        rig.comes("it is asked", || rig.plugin.was_asked("allocate")).await;
        sync(&node, &[&going(&one)]).await;
        rig.ended(&node, &one).await;
        rig.plugin.hang("");
        sync(&node, &[&two]).await;
        rig.ready(&node, &two).await;
        assert_eq!(rig.devices_of("two"), "a,b");
    });
}

fn awaited() {
    let rig = Rig::new("awaited", "a");
    rig.plugin.prepares();
    rig.executor.run_until(async {
        let node = rig.node().await;
        let pod = pod("p", 1);
        sync(&node, &[&pod]).await;
        rig.ready(&node, &pod).await;
        drop(node);
        let node = rig.bare().await;
        sync(&node, &[&pod]).await;
        let all = rig.runtime.containers(&ContainerFilter::default()).await.expect("a list");
        rig.runtime.end(&all[0].id, 1, "Error");
        let away = "the device plugin of example.com/thing is away, and has to be asked before the container starts";
        let waits = |report: &Report| {
            let waiting = report.status.container_statuses[0].state.waiting.as_ref();
            waiting.is_some_and(|own| own.message.as_deref() == Some(away))
        };
        rig.until(&node, &pod, waits).await;
        rig.register(&node).await;
        rig.ready(&node, &pod).await;
        assert_eq!(rig.plugin.calls(), ["allocate a", "prepare a", "prepare a"]);
    });
}

fn others() {
    let rig = Rig::new("others", "a");
    rig.executor.run_until(async {
        let node = rig.bare().await;
        let pod = pod("p", 1);
        sync(&node, &[&pod]).await;
        rig.ready(&node, &pod).await;
        assert_eq!((rig.devices_of("p"), rig.record().exists()), (String::new(), false));
    });
}
