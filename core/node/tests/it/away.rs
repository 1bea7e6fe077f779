//! A runtime that goes away and comes back.

use std::{fs, time::Duration};

use futures::{FutureExt, StreamExt};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use windlass_api::core::v1::NodeCondition;
use windlass_kernel::{ClockExt, NodeAgent};
use windlass_lab::Lab;

use crate::{
    Test,
    bench::{Bench, PATIENCE, of, shell},
};

pub(crate) const TESTS: &[Test] = &[("a_runtime_that_is_away_makes_the_node_unready_and_harms_no_pod", away)];

/// On a containerd of its own, since it goes away for a while.
fn away(_: &Lab) {
    let lab = Lab::start("away");
    lab.tokio.block_on(lives(&lab));
    lab.end();
}

async fn lives(lab: &Lab) {
    let mut bench = Bench::new(lab, "away").await;
    let mount = json!([{"name": "work", "mountPath": "/work"}]);
    let pod = bench.pod(json!({"terminationGracePeriodSeconds": 0, "volumes": [{"name": "work", "emptyDir": {}}],
        "containers": [
            {"name": "main", "volumeMounts": mount, "command": shell("while :; do echo >> /work/alive; sleep 0.05; done")},
            {"name": "short", "volumeMounts": mount,
                "command": shell("while [ ! -e /work/end ]; do sleep 0.05; done; echo > /work/ended; exit 5")}]}));
    bench.sync(&pod).await;
    let before = bench.ready().await;
    assert_eq!(ready(&bench).await.status, "True");
    let work = bench.config.data_dir.join("pods/uid-away/volumes/work");

    kill(Pid::from_raw(lab.running.pid), Signal::SIGKILL).expect("containerd is killed");
    lab.launcher.stop().await.expect("it is gone");
    let condition = ready(&bench).await;
    assert_eq!((condition.status.as_str(), condition.reason.as_deref()), ("False", Some("KubeletNotReady")));
    assert!(condition.message.is_some_and(|message| message.contains("container runtime is down")));
    // What runs goes on, and what ends meanwhile is noticed later.
    let size = || fs::metadata(work.join("alive")).map_or(0, |meta| meta.len());
    let then = size();
    fs::write(work.join("end"), "").expect("a file");
    until(&bench, "one to go on and the other to end", || size() > then && work.join("ended").exists()).await;
    fs::remove_file(work.join("end")).expect("the file goes");
    // A set that is handed over meanwhile is taken, and nobody says that anything has ended.
    bench.sync(&pod).await;
    while let Some(Some(report)) = bench.reports.next().now_or_never() {
        assert!(of(&report, "main").state.running.is_some() && !report.released, "{report:?}");
    }

    lab.launcher.start().await.expect("containerd starts");
    let after = bench.until("as before", |report| of(report, "short").restart_count == 1);
    let after = after.await;
    let ended = of(&after, "short").last_state.terminated.clone().expect("it ended");
    assert_eq!(ended.exit_code, 5);
    let (old, new) = (of(&before, "main"), of(&after, "main"));
    assert_eq!((&new.container_id, new.restart_count), (&old.container_id, 0), "the container was started anew");
    assert_eq!(ready(&bench).await.status, "True");
    bench.delete(&pod, 0).await;
}

async fn ready(bench: &Bench) -> NodeCondition {
    let status = bench.agent.describe().await.expect("the agent says what the node is");
    status.conditions.into_iter().find(|condition| condition.type_ == "Ready").expect("a condition")
}

async fn until(bench: &Bench, what: &str, so: impl Fn() -> bool) {
    let end = bench.clock.uptime() + PATIENCE;
    while !so() {
        assert!(bench.clock.uptime() < end, "waited {PATIENCE:?} for {what}");
        bench.clock.sleep(Duration::from_millis(20)).await;
    }
}
