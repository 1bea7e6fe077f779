//! Ephemeral containers: what `kubectl debug` puts beside a container that runs.

use std::sync::Arc;

use serde_json::json;
use windlass_kernel::{
    NodeAgent,
    node::{Exit, Session, SessionRequest, Streams},
};
use windlass_lab::{BUSYBOX, Lab};

use crate::{
    Test,
    bench::{Bench, WAIT, of, reason, shell},
};

pub(crate) const TESTS: &[Test] =
    &[("an_ephemeral_container_sees_what_it_is_to_look_at_and_is_not_started_again", |lab| {
        lab.tokio.block_on(looks(lab))
    })];

async fn looks(lab: &Lab) {
    let mut bench = Bench::new(lab, "debug").await;
    let mut pod = bench.pod(json!({"terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "command": shell(&format!(": the-one-to-look-at; {WAIT}"))}]}));
    bench.sync(&pod).await;
    let before = of(&bench.ready().await, "main").container_id.clone();

    let extra = |name: &str, target: &str, script: &str| {
        json!({"name": name, "image": BUSYBOX, "targetContainerName": target,
        "command": shell(script)})
    };
    pod.spec.ephemeral_containers = serde_json::from_value(json!([
        extra("debug", "main", WAIT),
        extra("once", "main", "exit 3"),
        extra("lost", "nobody", WAIT)
    ]))
    .expect("containers");
    bench.sync(&pod).await;
    let report = bench.until("looked at", |report| {
        report.status.ephemeral_container_statuses.len() == 3
            && of(report, "debug").state.running.is_some()
            && of(report, "once").state.terminated.is_some()
            && reason(report, "lost") == "CreateContainerConfigError"
    });
    let report = report.await;
    assert_eq!(of(&report, "main").container_id, before, "the container was started anew");
    assert_eq!(report.status.phase.as_deref(), Some("Running"));
    assert_eq!(of(&report, "once").restart_count, 0);
    assert!(!of(&report, "debug").ready && of(&report, "debug").started.is_none());

    let (seen, exit) = bench.exec_in("debug", &["/bin/sh", "-c", "cat /proc/1/cmdline"]).await;
    assert_eq!(exit, Exit::Code(0));
    assert!(seen.contains("the-one-to-look-at"), "{seen:?}");
    assert_eq!(bench.logs("once", |_| {}).await, "");
    let attach = SessionRequest::Attach {
        pod: windlass_kernel::controller::ObjectKey::new("test", "debug"),
        uid: "uid-debug".into(),
        container: "debug".into(),
        streams: Streams { stdout: true, ..Streams::default() },
    };
    assert!(matches!(bench.agent.open(attach).await, Ok(Session::Process(_))));
    let notices = bench.objects.notices("debug").join("\n");
    assert!(notices.contains("Error: unable to find target container nobody"), "{notices}");
    // Handed over once more, nothing is begun again.
    bench.agent.sync(vec![Arc::new(pod.clone())]).await.expect("the agent takes its pods");
    let last = bench.delete(&pod, 1).await;
    assert_eq!(of(&last, "once").restart_count, 0);
    assert!(of(&last, "debug").state.running.is_none());
}
