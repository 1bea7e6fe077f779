use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_kernel::runtime::{
    Container as RuntimeContainer, ContainerExit, ContainerKey, Sandbox, SandboxKey, SandboxState,
};

use super::*;
use crate::pod::{Health, Waiting};

fn instance(name: &str, attempt: u32, exit: Option<i32>) -> Instance {
    let at = Timestamp::from_second(1_000_000 + i64::from(attempt)).unwrap();
    Instance {
        container: RuntimeContainer {
            id: format!("{name}{attempt}").as_str().into(),
            sandbox: "s".into(),
            key: ContainerKey { name: name.into(), attempt },
            image: "img:1".into(),
            image_id: "sha256:1".into(),
            state: if exit.is_some() { RuntimeState::Exited } else { RuntimeState::Running },
            created: at,
            labels: Default::default(),
            annotations: Default::default(),
        },
        started: Some(at),
        exit: exit.map(|code| ContainerExit { code, finished: at }),
        reason: String::new(),
        message: String::new(),
        log_path: String::new(),
        mounts: vec![],
        resources: None,
        user: None,
    }
}

fn observed(instances: &[(&str, u32, Option<i32>)]) -> Observed {
    let sandbox = Sandbox {
        id: "s".into(),
        key: SandboxKey::default(),
        state: SandboxState::Ready,
        created: Timestamp::from_second(0).unwrap(),
        labels: Default::default(),
        annotations: Default::default(),
        handler: String::new(),
    };
    let containers = instances.iter().map(|(name, attempt, exit)| instance(name, *attempt, *exit)).collect();
    let mut observed = Observed { sandboxes: vec![sandbox], ips: vec!["10.0.0.9".parse().unwrap()], containers };
    observed.sort();
    observed
}

/// The phase, the conditions that do not hold, and each container as `name:state(reason):ready:restarts:last`.
fn words(status: &PodStatus) -> String {
    let mut words = vec![status.phase.clone().unwrap()];
    for condition in status.conditions.iter().filter(|condition| condition.status != "True") {
        words.push(format!("!{}({})", condition.type_, condition.reason.clone().unwrap_or_default()));
    }
    for one in status.init_container_statuses.iter().chain(&status.container_statuses) {
        let state = |state: &ContainerState| match state {
            ContainerState { running: Some(_), .. } => "running".to_owned(),
            ContainerState { terminated: Some(ended), .. } => {
                format!("{}({})", ended.reason.clone().unwrap(), ended.exit_code)
            }
            ContainerState { waiting: Some(waiting), .. } => waiting.reason.clone().unwrap(),
            ContainerState { .. } => "-".to_owned(),
        };
        let ready = if one.ready { "ready" } else { "unready" };
        words.push(format!(
            "{}:{}:{ready}:{}:{}",
            one.name,
            state(&one.state),
            one.restart_count,
            state(&one.last_state)
        ));
    }
    words.join(" ")
}

fn check_with(spec: Value, instances: &[(&str, u32, Option<i32>)], records: &Records, expect: &str) {
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
    let hosts = ["192.0.2.1".parse().unwrap()];
    let scene = Scene { hosts: &hosts, runtime: "containerd", ending: false, over: false };
    assert_eq!(words(&status(&pod, &observed(instances), records, &scene)), expect);
}

fn check(spec: Value, instances: &[(&str, u32, Option<i32>)], expect: &str) {
    check_with(spec, instances, &Records::default(), expect);
}

fn web() -> Value {
    json!({"restartPolicy": "Always", "containers": [{"name": "web", "image": "img:1"}]})
}

const UNREADY: &str = "!Ready(ContainersNotReady) !ContainersReady(ContainersNotReady)";

#[test]
fn a_pod_is_pending_until_its_containers_run() {
    check(web(), &[], &format!("Pending {UNREADY} web:ContainerCreating:unready:0:-"));
    check(web(), &[("web", 0, None)], "Running web:running:ready:0:-");
}

#[test]
fn a_crash_loop_is_told_with_the_last_end() {
    let mut records = Records::default();
    records.waiting.insert("web".into(), Waiting::new("CrashLoopBackOff", "back-off"));
    let instances = [("web", 2, Some(1)), ("web", 1, Some(3))];
    check_with(web(), &instances, &records, &format!("Running {UNREADY} web:CrashLoopBackOff:unready:2:Error(1)"));
    check(web(), &instances, &format!("Running {UNREADY} web:Error(1):unready:2:Error(3)"));
}

#[test]
fn init_containers_hold_the_pod_pending() {
    let spec = json!({"containers": [{"name": "web"}], "initContainers": [{"name": "one"}]});
    check(
        spec.clone(),
        &[("one", 0, None)],
        &format!(
            "Pending !Initialized(ContainersNotInitialized) {UNREADY} one:running:unready:0:- web:PodInitializing:unready:0:-"
        ),
    );
    check(spec, &[("one", 0, Some(0)), ("web", 0, None)], "Running one:Completed(0):ready:0:- web:running:ready:0:-");
}

#[test]
fn an_ended_pod_has_succeeded_or_failed() {
    let spec = |policy: &str| json!({"restartPolicy": policy, "containers": [{"name": "web"}]});
    check(
        spec("OnFailure"),
        &[("web", 0, Some(0))],
        "Succeeded !Ready(PodCompleted) !ContainersReady(PodCompleted) web:Completed(0):unready:0:-",
    );
    check(
        spec("Never"),
        &[("web", 0, Some(2))],
        "Failed !Ready(PodFailed) !ContainersReady(PodFailed) web:Error(2):unready:0:-",
    );
}

#[test]
fn probes_decide_what_is_started_and_ready() {
    let spec = json!({"containers": [{"name": "web", "readinessProbe": {"tcpSocket": {"port": 1}}}]});
    check(spec.clone(), &[("web", 0, None)], &format!("Running {UNREADY} web:running:unready:0:-"));
    let mut records = Records::default();
    records.health.insert("web".into(), Health { readiness: Some(true), ..Health::of("web0".into()) });
    check_with(spec, &[("web", 0, None)], &records, "Running web:running:ready:0:-");
}

#[test]
fn a_closed_gate_keeps_the_pod_unready() {
    let spec = json!({"containers": [{"name": "web"}], "readinessGates": [{"conditionType": "example.com/lb"}]});
    check(spec, &[("web", 0, None)], "Running !Ready(ReadinessGatesNotReady) web:running:ready:0:-");
}
