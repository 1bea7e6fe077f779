//! A device plugin beside `windlass up` with real containers: pods have its devices, and keep them through the end of the agent.

use std::{fs, path::Path, sync::Arc};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::Value;
use windlass::{
    device::{
        files::Files,
        skel::{self, Setup},
    },
    kernel::Stop,
    rim::{SystemClock, SystemDial, TokioSpawn},
};

use crate::{
    Test,
    cluster::{Cluster, until_so},
    real::{Ended, Network, build_images},
};

pub(crate) const TESTS: &[Test] =
    &[("a_pod_keeps_its_devices_through_the_end_of_the_agent", a_pod_keeps_its_devices_through_the_end_of_the_agent)];

const RESOURCE: &str = "example.com/thing";

fn a_pod_keeps_its_devices_through_the_end_of_the_agent() {
    let network = Network::new();
    let listen = format!("{}:6443", network.host);
    let mut cluster = Cluster::prepare(&["--runtime", "auto", "--listen", &listen], Some(&network.name));
    build_images(&cluster.data().join("images"), &["busybox"]);
    cluster.up();
    let mut cluster = Ended(cluster);
    let cluster = &mut cluster.0;

    // A device of the kernel, and a file.
    let folder = tempfile::Builder::new().prefix("things").tempdir().expect("a folder");
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    mknod(&one, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3)).expect("a device like /dev/null");
    fs::write(&two, "mine\n").expect("a file");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let clock = Arc::new(SystemClock::new());
    let spawn = Arc::new(TokioSpawn::on(runtime.handle().clone()));
    let setup = Setup { clock: clock.clone(), spawn, dial: Arc::new(SystemDial) };
    let things = [("one".into(), one.clone()), ("two".into(), two.clone())];
    let plugin = Arc::new(Files::new(RESOURCE, things, clock));
    let stop = Stop::new();
    let serving = runtime.spawn({
        let (socket, stop) = (cluster.data().join("node/device-plugins/thing.sock"), stop.clone());
        async move { skel::serve(RESOURCE, plugin, &socket, setup, stop).await }
    });
    until_so("the node has the devices", || amounts(cluster) == ["2", "2"]);

    run(cluster, "first", 2);
    until_so("the pod is ready", || ready(cluster, "first"));
    // The device answers to its number, and is one of those that the container may use.
    let look = format!(
        "echo $EXAMPLE_COM_THING; cat {two}; test -c {one} && echo gone > {one} && cat {one}",
        one = one.display(),
        two = two.display()
    );
    let exec = |cluster: &Cluster, pod: &str| cluster.windlass(&["exec", pod, "--", "sh", "-c", &look]);
    assert_eq!(exec(cluster, "first").ok(), "one,two\nmine\n");
    run(cluster, "second", 1);
    until_so("there is none for the second", || waits(cluster, "second"));

    let before = container(cluster, "first");
    cluster.end(false);
    cluster.up();
    until_so("the plugin has registered again", || amounts(cluster) == ["2", "2"]);
    until_so("the agent answers", || exec(cluster, "first").code == Some(0));
    assert_eq!(exec(cluster, "first").ok(), "one,two\nmine\n");
    assert_eq!(container(cluster, "first"), before);
    assert!(waits(cluster, "second"), "{}", get(cluster, "pod", "second"));

    cluster.windlass(&["delete", "pod", "first"]).ok();
    until_so("the second has what the first had", || ready(cluster, "second"));
    let said = cluster.windlass(&["exec", "second", "--", "sh", "-c", "echo $EXAMPLE_COM_THING"]).ok();
    assert_eq!(said, "one\n");

    // A device that is not well is none to hand out, and a plugin that is gone has none.
    fs::remove_file(&two).expect("it goes");
    until_so("one is not well", || amounts(cluster) == ["2", "1"]);
    stop.stop();
    until_so("the plugin is gone", || amounts(cluster) == ["2", "0"]);
    runtime.block_on(serving).expect("a task").expect("it ends well");
    assert!(ready(cluster, "second"));
    assert!(!Path::new(&cluster.data().join("node/device-plugins/thing.sock")).exists());
}

/// What the node has of the resource, and what of that can be used.
fn amounts(cluster: &Cluster) -> [String; 2] {
    let nodes: Value = serde_json::from_str(&cluster.windlass(&["get", "nodes", "-o", "json"]).ok()).expect("JSON");
    let status = &nodes["items"][0]["status"];
    ["capacity", "allocatable"].map(|field| status[field][RESOURCE].as_str().unwrap_or_default().to_owned())
}

fn run(cluster: &Cluster, name: &str, count: usize) {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  \
         containers:\n  - name: c\n    image: registry.local/busybox:1.35\n    command: [sleep, '1000000']\n    \
         resources: {{limits: {{{RESOURCE}: {count}}}}}\n"
    );
    let file = cluster.file("pod.yaml", &text);
    cluster.windlass(&["apply", "-f", file.to_str().expect("a path")]).ok();
}

fn get(cluster: &Cluster, kind: &str, name: &str) -> Value {
    serde_json::from_str(&cluster.windlass(&["get", kind, name, "-o", "json"]).ok()).expect("JSON")
}

fn condition(cluster: &Cluster, name: &str, kind: &str) -> Value {
    let pod = get(cluster, "pod", name);
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|one| one["type"] == kind).unwrap_or_default()
}

fn ready(cluster: &Cluster, name: &str) -> bool {
    condition(cluster, name, "Ready")["status"] == "True"
}

/// Whether a pod is not placed for lack of devices.
fn waits(cluster: &Cluster, name: &str) -> bool {
    let placed = condition(cluster, name, "PodScheduled");
    let message = placed["message"].as_str().unwrap_or_default();
    placed["status"] == "False" && message.contains(&format!("Insufficient {RESOURCE}"))
}

fn container(cluster: &Cluster, name: &str) -> (Value, Value) {
    let pod = get(cluster, "pod", name);
    let status = &pod["status"]["containerStatuses"][0];
    (status["containerID"].clone(), status["restartCount"].clone())
}
