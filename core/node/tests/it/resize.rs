//! Pods that get other resources while they run.

use serde_json::{Value, json};
use windlass_api::core::v1::Pod;
use windlass_lab::Lab;

use crate::{
    Test,
    bench::{Bench, WAIT, condition, of, shell},
};

pub(crate) const TESTS: &[Test] =
    &[("a_pod_gets_other_resources_while_it_runs_if_there_is_room", |lab| lab.tokio.block_on(resized(lab)))];

async fn resized(lab: &Lab) {
    let mut bench = Bench::new(lab, "resized").await;
    let sizes = |cpu: &str, memory: &str| {
        let set = json!({"cpu": cpu, "memory": memory});
        json!({"requests": set, "limits": set})
    };
    let mut pod = bench.pod(json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "main",
        "command": shell(WAIT), "resources": sizes("100m", "32Mi"),
        "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]}]}));
    bench.sync(&pod).await;
    let before = bench.ready().await;
    assert_eq!(sizes_of(&before), sizes("100m", "32Mi"));

    set(&mut pod, sizes("200m", "32Mi"));
    bench.sync(&pod).await;
    let after = bench.until("of another size", |report| sizes_of(report) == sizes("200m", "32Mi")).await;
    let (old, new) = (of(&before, "main"), of(&after, "main"));
    assert_eq!((&new.container_id, new.restart_count), (&old.container_id, 0), "the container was started anew");
    let quota = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cat /sys/fs/cgroup/cpu.max 2>/dev/null || true";
    let quota = bench.say(quota).await;
    assert!(quota.is_empty() || quota.starts_with("20000"), "{quota}");

    set(&mut pod, sizes("200m", "48Mi"));
    bench.sync(&pod).await;
    let after = bench.until("started anew", |report| of(report, "main").restart_count == 1).await;
    assert_eq!(sizes_of(&after), sizes("200m", "48Mi"));
    let notices = bench.objects.notices("resized").join("\n");
    assert!(notices.contains("Killing: Container main resize requires restart"), "{notices}");

    set(&mut pod, sizes("9000", "48Mi"));
    bench.sync(&pod).await;
    let waits = bench.until("refused", |report| condition(&report.status, "PodResizePending") == "True").await;
    assert_eq!(sizes_of(&waits), sizes("200m", "48Mi"));
    let why = waits.status.conditions.iter().find(|condition| condition.type_ == "PodResizePending").cloned();
    assert_eq!(why.and_then(|why| why.reason).as_deref(), Some("Infeasible"));
    set(&mut pod, sizes("100m", "48Mi"));
    bench.sync(&pod).await;
    let last = bench.until("smaller again", |report| sizes_of(report) == sizes("100m", "48Mi")).await;
    assert_eq!((condition(&last.status, "PodResizePending"), of(&last, "main").restart_count), ("", 1));
    bench.delete(&pod, 1).await;
}

fn set(pod: &mut Pod, sizes: Value) {
    pod.spec.containers[0].resources = serde_json::from_value(sizes).expect("resources");
}

/// What the status says that the container has.
fn sizes_of(report: &windlass_kernel::node::Report) -> Value {
    serde_json::to_value(&of(report, "main").resources).expect("JSON")
}
