//! Volumes of claims and drivers, over a runtime in memory and a driver that notes what it is asked for, in virtual time.

mod cluster;
mod fill;
pub(crate) mod scripted;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use futures::StreamExt;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use windlass_api::{core::v1::Pod, types::Time};
use windlass_kernel::{ClockExt, ErrorKind, NodeAgent, node::Report, volume::Access};
use windlass_node::{Config, Drivers, EvictionLimits, Needs, PodAgent};
use windlass_testkit::{FakeRuntime, sim::Executor};

use self::scripted::{NAME, Scripted};
use crate::{
    bench::{condition, no_collection},
    cluster::{Nowhere, Test, of},
    context::Objects,
};

const TESTS: &[Test] = &[
    ("a_volume_is_staged_for_its_first_pod_and_unstaged_with_its_last", shared),
    ("an_agent_that_is_killed_at_any_call_is_followed_by_one_that_takes_all_away", killed),
    ("an_agent_that_is_killed_at_any_call_is_followed_by_one_that_goes_on", continued),
    ("a_restarted_agent_does_not_take_away_what_a_pod_uses", restarted),
    ("what_is_missing_is_told_and_waited_for", missing),
    ("a_driver_that_hangs_is_told_and_keeps_no_pod_from_ending", hanging),
    ("a_volume_that_cannot_be_taken_away_keeps_its_pod", stuck),
    ("a_volume_is_not_used_before_it_is_attached", attached),
    ("a_volume_that_grew_is_grown_on_the_node", grown),
    ("a_volume_of_a_pods_own_knows_its_pod", inline),
    ("groups_are_given_by_drivers_that_can_or_by_the_agent", groups),
    ("secrets_reach_the_driver_and_nobody_else", secrets),
    ("how_full_volumes_are_is_told", fill::measured),
    ("a_volume_that_is_not_well_is_told", fill::unwell),
    ("a_driver_that_does_not_say_how_a_volume_is_keeps_no_pod_from_ending", fill::silent),
    ("the_cluster_is_told_of_the_nodes_drivers", cluster::drivers_are_told),
    ("a_nodes_own_rights_are_enough_for_its_volumes", cluster::a_node_may_what_it_needs),
];

pub(crate) fn trials() -> Vec<Trial> {
    of(TESTS)
}

/// An agent, what it works with, and what it says.
struct Rig {
    executor: Executor,
    runtime: FakeRuntime,
    objects: Objects,
    driver: Scripted,
    drivers: Drivers,
    folder: PathBuf,
}

impl Rig {
    /// With a driver that needs no attaching, and a claim `data` that has the volume `pv`.
    fn new(name: &str) -> Self {
        let executor = Executor::new(1);
        let runtime = FakeRuntime::new(executor.clock(), executor.spawn());
        runtime.add_image("image:1");
        let folder = Self::folder(name);
        let (objects, driver, drivers) = (Objects::default(), Scripted::default(), Drivers::default());
        let clock = executor.clock();
        executor.run_until(drivers.add(Arc::new(driver.clone()), &*clock)).expect("a driver is added");
        let rig = Self { executor, runtime, objects, driver, drivers, folder };
        rig.object(json!({"attachRequired": false}));
        rig.claim("data", "pv", "1Gi", json!({}));
        rig
    }

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("windlass-stored-{}-{name}", std::process::id()))
    }

    /// What the cluster knows of the driver.
    fn object(&self, spec: Value) {
        self.objects.put("csidrivers.storage.k8s.io", NAME, json!({"metadata": {"name": NAME}, "spec": spec}));
    }

    /// A claim of a GiB, and its volume.
    fn claim(&self, claim: &str, volume: &str, size: &str, more: Value) {
        let mut csi = json!({"driver": NAME, "volumeHandle": format!("handle of {volume}"), "fsType": "ext4",
            "volumeAttributes": {"own": "word"}});
        for (key, value) in more.as_object().into_iter().flatten() {
            csi[key] = value.clone();
        }
        let reference = json!({"namespace": "test", "name": claim, "uid": format!("uid-{claim}")});
        let spec = json!({"csi": csi, "claimRef": reference, "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": size}, "volumeMode": "Filesystem"});
        self.objects.put("persistentvolumes", volume, json!({"metadata": {"name": volume}, "spec": spec}));
        let meta = json!({"namespace": "test", "name": claim, "uid": format!("uid-{claim}")});
        let status = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
        let claimed = json!({"metadata": meta, "spec": {"volumeName": volume}, "status": status});
        self.objects.put("persistentvolumeclaims", claim, claimed);
    }

    async fn agent(&self) -> PodAgent {
        self.agent_with(&self.drivers).await
    }

    async fn agent_with(&self, drivers: &Drivers) -> PodAgent {
        let needs = Needs {
            runtime: Arc::new(self.runtime.clone()),
            images: Arc::new(self.runtime.clone()),
            context: Arc::new(self.objects.clone()),
            clock: self.executor.clock(),
            spawn: self.executor.spawn(),
            entropy: self.executor.entropy(),
            dial: Arc::new(Nowhere),
        };
        let drivers = drivers.clone();
        let config = Config {
            cgroups: String::new(),
            images: no_collection(),
            eviction: EvictionLimits::none(),
            drivers,
            ..Config::new("n1", &self.folder)
        };
        PodAgent::start(config, needs).await.expect("an agent starts")
    }

    /// Lets the agent do what it can do, then answers.
    async fn comes(&self, what: &str, so: impl Fn() -> bool) {
        let clock = self.executor.clock();
        let end = clock.uptime() + Duration::from_secs(600);
        while !so() {
            assert!(clock.uptime() < end, "it does not come to this: {what}; {:?}", self.driver.calls());
            clock.sleep(Duration::from_millis(10)).await;
        }
    }

    async fn ready(&self, agent: &PodAgent, pod: &Pod) {
        self.until(agent, pod, |report| condition(&report.status, "Ready") == "True").await;
    }

    async fn ended(&self, agent: &PodAgent, pod: &Pod) {
        self.until(agent, pod, |report| report.released).await;
    }

    async fn until(&self, agent: &PodAgent, pod: &Pod, fits: fn(&Report) -> bool) {
        let (mut reports, uid) = (agent.reports(), pod.metadata.uid.clone().unwrap_or_default());
        let wait = async { while !reports.next().await.is_some_and(|report| report.uid == uid && fits(&report)) {} };
        let waited = self.executor.clock().within(Duration::from_secs(600), wait).await;
        assert!(waited.is_some(), "the pod does not come to that: {:?}", self.objects.notices(&name(pod)));
    }

    fn notices(&self, pod: &Pod) -> String {
        self.objects.notices(&name(pod)).join("\n")
    }

    /// Nothing of pods and volumes is on the machine.
    fn check_empty(&self) {
        let pods = fs::read_dir(self.folder.join("pods")).expect("a folder").count();
        let staged = fs::read_dir(self.folder.join("plugins/kubernetes.io/csi").join(NAME)).map_or(0, Iterator::count);
        assert_eq!((pods, staged), (0, 0), "files are left");
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

/// A pod with a volume, which is mounted.
fn pod(name: &str, volume: &Value) -> Pod {
    let mut named = json!({"name": "v"});
    for (key, value) in volume.as_object().into_iter().flatten() {
        named[key] = value.clone();
    }
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "test", "uid": format!("uid-{name}")},
        "spec": {"serviceAccountName": "sa", "terminationGracePeriodSeconds": 0, "volumes": [named],
            "containers": [{"name": "c", "image": "image:1", "command": ["run"],
                "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]},
    }))
    .expect("a pod")
}

fn of_claim(name: &str) -> Pod {
    pod(name, &json!({"persistentVolumeClaim": {"claimName": "data"}}))
}

fn going(pod: &Pod) -> Pod {
    let mut pod = pod.clone();
    pod.metadata.deletion_timestamp = Some(Time("2026-01-01T00:00:00Z".parse().expect("a time")));
    pod.metadata.deletion_grace_period_seconds = Some(0);
    pod
}

async fn sync(agent: &PodAgent, pods: &[&Pod]) {
    let pods = pods.iter().map(|pod| Arc::new((*pod).clone())).collect();
    agent.sync(pods).await.expect("the agent takes its pods");
}

fn shared() {
    let rig = Rig::new("shared");
    rig.executor.run_until(async {
        let agent = rig.agent().await;
        let (one, two) = (of_claim("one"), of_claim("two"));
        sync(&agent, &[&one]).await;
        rig.ready(&agent, &one).await;
        assert_eq!(rig.driver.calls(), ["stage handle of pv", "publish handle of pv"]);
        let target = rig.folder.join("pods/uid-one/volumes/kubernetes.io~csi/pv/mount");
        assert_eq!(fs::read_to_string(target.join("data")).expect("the volume is there"), "handle of pv");
        let asked = rig.driver.published();
        assert_eq!((asked.target, asked.context.len(), asked.read_only), (target, 1, false));
        sync(&agent, &[&one, &two]).await;
        rig.ready(&agent, &two).await;
        rig.driver.calls();
        sync(&agent, &[&going(&one), &two]).await;
        rig.ended(&agent, &one).await;
        assert_eq!(rig.driver.calls(), ["unpublish handle of pv"]);
        sync(&agent, &[&going(&two)]).await;
        rig.ended(&agent, &two).await;
        assert_eq!(rig.driver.calls(), ["unpublish handle of pv", "unstage handle of pv"]);
        rig.check_empty();
    });
}

/// The moments at which an agent is killed: in the middle of a call, that took effect or not.
const MOMENTS: [&str; 8] =
    ["stage", "stage-done", "publish", "publish-done", "unpublish", "unpublish-done", "unstage", "unstage-done"];

fn killed() {
    for moment in MOMENTS {
        let rig = Rig::new(&format!("killed-{moment}"));
        rig.executor.run_until(async {
            let agent = rig.agent().await;
            let pod = of_claim("pod");
            rig.driver.hang(moment);
            let call = moment.trim_end_matches("-done");
            sync(&agent, &[&pod]).await;
            if call.starts_with("un") {
                rig.ready(&agent, &pod).await;
                sync(&agent, &[&going(&pod)]).await;
            }
            rig.comes(moment, || rig.driver.was_asked(call)).await;
            drop(agent);
            rig.driver.hang("");
            // The pod was deleted while there was no agent.
            let agent = rig.agent().await;
            sync(&agent, &[]).await;
            rig.ended(&agent, &pod).await;
            rig.check_empty();
            assert!(rig.drivers.in_use().is_empty());
        });
    }
}

fn continued() {
    for moment in &MOMENTS[..4] {
        let rig = Rig::new(&format!("continued-{moment}"));
        rig.executor.run_until(async {
            let agent = rig.agent().await;
            let pod = of_claim("pod");
            rig.driver.hang(moment);
            sync(&agent, &[&pod]).await;
            rig.comes(moment, || rig.driver.was_asked(moment.trim_end_matches("-done"))).await;
            drop(agent);
            rig.driver.hang("");
            let agent = rig.agent().await;
            sync(&agent, &[&pod]).await;
            rig.ready(&agent, &pod).await;
            sync(&agent, &[&going(&pod)]).await;
            rig.ended(&agent, &pod).await;
            rig.check_empty();
        });
    }
}

fn restarted() {
    let rig = Rig::new("restarted");
    rig.executor.run_until(async {
        let agent = rig.agent().await;
        let pod = of_claim("pod");
        sync(&agent, &[&pod]).await;
        rig.ready(&agent, &pod).await;
        drop(agent);
        rig.driver.calls();
        let agent = rig.agent().await;
        sync(&agent, &[&pod]).await;
        rig.ready(&agent, &pod).await;
        // It is seen to that all is there, once.
        rig.comes("the volume is looked at", || rig.driver.was_asked("publish")).await;
        rig.executor.clock().sleep(Duration::from_secs(30)).await;
        assert_eq!(rig.driver.calls(), ["stage handle of pv", "publish handle of pv"]);
        sync(&agent, &[&going(&pod)]).await;
        rig.ended(&agent, &pod).await;
        assert_eq!(rig.driver.calls(), ["unpublish handle of pv", "unstage handle of pv"]);
        rig.check_empty();
    });
}

fn missing() {
    let rig = Rig::new("missing");
    rig.executor.run_until(async {
        let agent = rig.agent().await;
        let pod = pod("pod", &json!({"persistentVolumeClaim": {"claimName": "late"}}));
        sync(&agent, &[&pod]).await;
        let told = |text: &str| rig.notices(&pod).contains(text);
        rig.comes("a claim is missing", || {
            told("FailedMount: Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[], failed to process volumes=[v]: error processing PVC test/late: failed to fetch PVC from API server: persistentvolumeclaim \"late\" not found")
        })
        .await;
        rig.claim("late", "other", "1Gi", json!({}));
        rig.drivers.remove(NAME);
        rig.comes("a driver is missing", || {
            told("FailedMount: MountVolume.MountDevice failed for volume \"other\" : kubernetes.io/csi: driver name scripted.example.com not found in the list of registered CSI drivers")
        })
        .await;
        rig.driver.fail("stage", ErrorKind::Internal);
        let clock = rig.executor.clock();
        rig.drivers.add(Arc::new(rig.driver.clone()), &*clock).await.expect("it is back");
        rig.comes("staging fails", || {
            told("FailedMount: MountVolume.MountDevice failed for volume \"other\" : stage was told to fail")
        })
        .await;
        rig.driver.mend();
        rig.driver.fail("publish", ErrorKind::Internal);
        rig.comes("publishing fails", || {
            told("FailedMount: MountVolume.SetUp failed for volume \"other\" : publish was told to fail")
        })
        .await;
        rig.driver.mend();
        rig.ready(&agent, &pod).await;
        sync(&agent, &[&going(&pod)]).await;
        rig.ended(&agent, &pod).await;
        rig.check_empty();
    });
}

fn hanging() {
    let rig = Rig::new("hanging");
    rig.executor.run_until(async {
        let agent = rig.agent().await;
        let pod = of_claim("pod");
        rig.driver.hang("publish");
        sync(&agent, &[&pod]).await;
        rig.comes("it is told", || {
            let text = "FailedMount: MountVolume.SetUp failed for volume \"pv\" : no answer within 120s";
            rig.notices(&pod).contains(text)
        })
        .await;
        let clock = rig.executor.clock();
        let before = clock.uptime();
        sync(&agent, &[&going(&pod)]).await;
        rig.ended(&agent, &pod).await;
        assert!(clock.uptime() - before < Duration::from_secs(30), "the pod waited for its driver");
        rig.check_empty();
    });
}

fn stuck() {
    let rig = Rig::new("stuck");
    rig.executor.run_until(async {
        let agent = rig.agent().await;
        let pod = of_claim("pod");
        sync(&agent, &[&pod]).await;
        rig.ready(&agent, &pod).await;
        rig.driver.fail("unpublish", ErrorKind::Internal);
        sync(&agent, &[&going(&pod)]).await;
        rig.comes("it is told", || {
            rig.notices(&pod).contains("FailedUnMount: UnmountVolume.TearDown failed for volume \"pv\" : unpublish was")
        })
        .await;
        let target = rig.folder.join("pods/uid-pod/volumes/kubernetes.io~csi/pv/mount");
        rig.executor.clock().sleep(Duration::from_secs(120)).await;
        assert!(target.join("data").exists(), "the agent took away what the driver still shows");
        rig.driver.mend();
        rig.ended(&agent, &pod).await;
        rig.check_empty();
    });
}

fn attached() {
    let rig = Rig::new("attached");
    rig.object(json!({}));
    rig.executor.run_until(async {
        let agent = rig.agent().await;
        let pod = of_claim("pod");
        let unique = format!("kubernetes.io/csi/{NAME}^handle of pv");
        let node = |in_use: &[&str], attached: bool| {
            let told = json!([{"name": unique, "devicePath": "csi-attachment"}]);
            let status = json!({"volumesInUse": in_use, "volumesAttached": if attached { told } else { json!([]) }});
            rig.objects.put("nodes", "n1", json!({"metadata": {"name": "n1"}, "status": status}));
        };
        node(&[], true);
        sync(&agent, &[&pod]).await;
        rig.comes("it is in use", || rig.drivers.in_use() == [unique.clone()]).await;
        // Who detaches may not know yet that it is used.
        rig.executor.clock().sleep(Duration::from_secs(1)).await;
        node(&[&unique], false);
        rig.comes("it is told", || {
            let text = "FailedMount: MountVolume.WaitForAttach failed for volume \"pv\" : timed out waiting";
            rig.notices(&pod).contains(text)
        })
        .await;
        assert!(rig.driver.calls().is_empty(), "it was used before it was attached");
        let status = json!({"attached": true, "attachmentMetadata": {"device": "d7"}});
        let attachment = json!({"metadata": {"name": "csi-attachment"}, "status": status});
        rig.objects.put("volumeattachments.storage.k8s.io", "csi-attachment", attachment);
        node(&[&unique], true);
        rig.ready(&agent, &pod).await;
        assert_eq!(rig.driver.published().publish_context, [("device".to_owned(), "d7".to_owned())].into());
        // An agent that comes after this one says so from the beginning.
        drop(agent);
        let later = Drivers::default();
        let agent = rig.agent_with(&later).await;
        assert_eq!(later.in_use(), [unique]);
        let clock = rig.executor.clock();
        later.add(Arc::new(rig.driver.clone()), &*clock).await.expect("it is back");
        sync(&agent, &[&going(&pod)]).await;
        rig.ended(&agent, &pod).await;
        assert_eq!(later.in_use().len(), 0);
        rig.check_empty();
    });
}

fn grown() {
    let rig = Rig::new("grown");
    rig.executor.run_until(async {
        let agent = rig.agent().await;
        let pod = of_claim("pod");
        sync(&agent, &[&pod]).await;
        rig.ready(&agent, &pod).await;
        rig.driver.calls();
        let grow = |size: &str| {
            rig.claim("data", "pv", size, json!({}));
            let mut claim = rig.objects.get("persistentvolumeclaims", "data");
            claim["status"]["allocatedResourceStatuses"] = json!({"storage": "NodeResizePending"});
            claim["status"]["conditions"] = json!([{"type": "FileSystemResizePending", "status": "True"}]);
            rig.objects.put("persistentvolumeclaims", "data", claim);
        };
        let status = || rig.objects.get("persistentvolumeclaims", "data")["status"].clone();
        // While it is in use.
        grow("2Gi");
        rig.comes("the claim is told", || status()["capacity"]["storage"] == "2Gi").await;
        assert!(rig.driver.was_asked("expand handle of pv to 2147483648"));
        assert_eq!(status()["conditions"], json!([]));
        assert!(status()["allocatedResourceStatuses"]["storage"].is_null());
        let text = "FileSystemResizeSuccessful: MountVolume.NodeExpandVolume succeeded for volume \"pv\" n1";
        assert!(rig.notices(&pod).contains(text), "{}", rig.notices(&pod));
        // A driver that cannot.
        rig.driver.fail("expand", ErrorKind::Invalid);
        grow("3Gi");
        rig.comes("it is told", || {
            status()["allocatedResourceStatuses"]["storage"] == "NodeResizeInfeasible"
                && rig
                    .notices(&pod)
                    .contains("VolumeResizeFailed: MountVolume.NodeExpandVolume failed for volume \"pv\"")
        })
        .await;
        assert_eq!(status()["capacity"]["storage"], "1Gi");
        sync(&agent, &[&going(&pod)]).await;
        rig.ended(&agent, &pod).await;
        // Before it is used again.
        rig.driver.mend();
        grow("4Gi");
        let next = of_claim("next");
        sync(&agent, &[&next]).await;
        rig.ready(&agent, &next).await;
        assert_eq!(status()["capacity"]["storage"], "4Gi");
    });
}

fn inline() {
    let rig = Rig::new("inline");
    rig.executor.run_until(async {
        let agent = rig.agent().await;
        let own = json!({"csi": {"driver": NAME, "readOnly": true, "volumeAttributes": {"size": "1"}}});
        let pod = pod("pod", &own);
        sync(&agent, &[&pod]).await;
        rig.comes("it is refused", || {
            rig.notices(&pod).contains("volume mode \"Ephemeral\" not supported by driver scripted.example.com")
        })
        .await;
        rig.object(json!({"podInfoOnMount": true, "volumeLifecycleModes": ["Ephemeral"],
            "tokenRequests": [{"audience": "vault"}]}));
        rig.ready(&agent, &pod).await;
        let asked = rig.driver.published();
        let word = |name: &str| asked.context.get(&format!("csi.storage.k8s.io/{name}")).cloned().unwrap_or_default();
        let words = ["pod.name", "pod.namespace", "pod.uid", "serviceAccount.name", "ephemeral"].map(word);
        assert_eq!(words, ["pod", "test", "uid-pod", "sa", "true"]);
        assert!(word("serviceAccount.tokens").contains("\"vault\":{\"expirationTimestamp\""));
        assert_eq!((asked.context["size"].as_str(), asked.read_only, asked.staging), ("1", true, None));
        rig.driver.calls();
        sync(&agent, &[&going(&pod)]).await;
        rig.ended(&agent, &pod).await;
        assert_eq!(rig.driver.calls(), ["unpublish csi-uid-pod-v"]);
        rig.check_empty();
    });
}

fn groups() {
    let check = |policy: &str, by_driver: bool, expect: (&str, bool)| {
        let rig = Rig::new("groups");
        rig.object(json!({"attachRequired": false, "fsGroupPolicy": policy}));
        if by_driver {
            rig.driver.gives_groups();
        }
        rig.executor.run_until(async {
            let agent = rig.agent().await;
            let mut pod = of_claim("pod");
            // A group of whoever runs this test, since others cannot be given without being root.
            let own = nix::unistd::getegid().as_raw();
            let context = json!({"fsGroup": own});
            pod.spec.security_context = Some(serde_json::from_value(context).expect("a context"));
            sync(&agent, &[&pod]).await;
            rig.ready(&agent, &pod).await;
            let asked = rig.driver.published();
            let Access::Mount { group, .. } = &asked.capability.access else { panic!("it is mounted") };
            let told = if group.is_empty() { "" } else { "told" };
            assert!(told.is_empty() || *group == own.to_string());
            use std::os::unix::fs::MetadataExt;
            let mode = fs::metadata(&asked.target).expect("a folder").mode();
            assert_eq!((told, mode & 0o2070 == 0o2070), expect, "{policy} {by_driver}");
        });
    };
    check("File", false, ("", true));
    check("ReadWriteOnceWithFSType", false, ("", true));
    check("None", false, ("", false));
    check("File", true, ("told", false));
}

fn secrets() {
    let rig = Rig::new("secrets");
    let secret = json!({"name": "pass", "namespace": "elsewhere"});
    rig.claim("data", "pv", "1Gi", json!({"nodePublishSecretRef": secret}));
    rig.executor.run_until(async {
        let agent = rig.agent().await;
        let pod = of_claim("pod");
        sync(&agent, &[&pod]).await;
        rig.comes("it is missing", || {
            rig.notices(&pod)
                .contains("fetching NodePublishSecretRef elsewhere/pass failed: secrets \"pass\" not found")
        })
        .await;
        rig.objects.put("secrets", "pass", json!({"data": {"pw": "aHVudGVyMg=="}}));
        rig.ready(&agent, &pod).await;
        assert_eq!(rig.driver.published().secrets.0["pw"], "hunter2");
        let record = rig.folder.join("pods/uid-pod/volumes/kubernetes.io~csi/pv/vol_data.json");
        assert!(!fs::read_to_string(record).expect("a record").contains("hunter2"));
        assert!(!rig.notices(&pod).contains("hunter2"));
    });
}
