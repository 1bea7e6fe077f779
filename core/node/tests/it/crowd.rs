//! Many pods at once on a real containerd, and the calls of their start without an agent.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt, future::join_all};
use serde_json::json;
use windlass_api::{core::v1::Pod, types::Time};
use windlass_kernel::{
    ContainerRuntime, NodeAgent,
    node::Report,
    runtime::{ContainerConfig, SandboxConfig, SandboxId},
};
use windlass_lab::Lab;

use crate::{
    Test,
    bench::{Bench, condition, shell},
    timed::timed,
};

pub(crate) const TESTS: &[Test] =
    &[("how_fast_fifty_pods_start_at_once_is_told", |lab| lab.tokio.block_on(fifty_at_once(lab)))];

const PODS: usize = 50;

/// Told, not judged: `cargo xtask bench` reads what is printed.
async fn fifty_at_once(lab: &Lab) {
    let clock = lab.rim.clock.clone();
    let (mut bench, timed) = timed(lab, "crowd").await;
    let one = bench.pod(json!({"terminationGracePeriodSeconds": 0,
        "volumes": [{"name": "work", "emptyDir": {}}],
        "containers": [{"name": "main", "command": shell("exec sleep 1000080"),
            "volumeMounts": [{"name": "work", "mountPath": "/w"}]}]}));
    let mut pods: Vec<Pod> = (0..PODS)
        .map(|at| {
            let mut pod = one.clone();
            pod.metadata.name = Some(format!("crowd-{at}"));
            pod.metadata.uid = Some(format!("uid-crowd-{at}"));
            pod
        })
        .collect();
    let hand_over = |pods: &[Pod]| pods.iter().cloned().map(Arc::new).collect();

    let begin = clock.uptime();
    bench.agent.sync(hand_over(&pods)).await.expect("the agent takes its pods");
    all(&mut bench, "ready", |report| condition(&report.status, "Ready") == "True").await;
    let whole = clock.uptime() - begin;

    // The folders that these calls name are there as long as the pods are.
    let made = timed.made();
    assert_eq!(made.len(), PODS);
    let inner = &lab.running.runtime;
    let begin = clock.uptime();
    let started = join_all(made.into_iter().map(|(sandbox, container)| start(inner, sandbox, container))).await;
    let calls = clock.uptime() - begin;
    println!("crowd: {PODS} pods in {whole:?} by the agent, in {calls:?} by the calls of the runtime alone");
    join_all(started.iter().map(async |id| {
        inner.stop_sandbox(id).await.expect("a sandbox stops");
        inner.remove_sandbox(id).await.expect("a sandbox goes");
    }))
    .await;

    for pod in &mut pods {
        pod.metadata.deletion_timestamp = Some(Time(clock.now()));
        pod.metadata.deletion_grace_period_seconds = Some(0);
    }
    bench.agent.sync(hand_over(&pods)).await.expect("the agent takes its pods");
    all(&mut bench, "released", |report| report.released).await;
    bench.check_nothing_left().await;
}

/// Waits until the last report of each pod fits.
async fn all(bench: &mut Bench, what: &str, fits: impl Fn(&Report) -> bool) {
    let mut waited: BTreeSet<String> = (0..PODS).map(|at| format!("uid-crowd-{at}")).collect();
    let deadline = bench.clock.uptime() + Duration::from_secs(300);
    while !waited.is_empty() {
        assert!(bench.clock.uptime() < deadline, "not {what}: {waited:?}");
        let report = bench.reports.next().await.expect("reports do not end");
        if fits(&report) {
            waited.remove(&report.uid);
        }
    }
}

/// Starts what an agent started, as somebody else's.
async fn start(
    runtime: &dyn ContainerRuntime,
    mut sandbox: SandboxConfig,
    mut container: ContainerConfig,
) -> SandboxId {
    sandbox.key.uid.push_str("-again");
    sandbox.key.name.push_str("-again");
    for labels in [&mut sandbox.labels, &mut sandbox.annotations, &mut container.labels, &mut container.annotations] {
        labels.clear();
    }
    container.log_path.push_str(".again");
    let id = runtime.run_sandbox(&sandbox).await.expect("a sandbox runs");
    let made = runtime.create_container(&id, &container, &sandbox).await.expect("a container is made");
    runtime.start_container(&made).await.expect("a container starts");
    id
}
