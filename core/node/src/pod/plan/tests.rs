use jiff::SignedDuration;
use serde_json::{Value, json};
use windlass_kernel::runtime::{
    Container as RuntimeContainer, ContainerExit, ContainerKey, Sandbox, SandboxKey, SandboxState,
};

use super::*;
use crate::pod::{Backoff, Health};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}, "spec": spec})).unwrap()
}

/// `s0` ready sandbox, `s0!` one that is not; `web/0@s0` running, `web/0@s0=3` exited with 3, `web/0@s0?` unknown,
/// `web/0@s0.` created only.
fn observed(words: &str) -> Observed {
    let mut observed = Observed::default();
    for (order, word) in words.split_whitespace().enumerate() {
        let created = at(i64::try_from(order).unwrap() - 100);
        if let Some((name, rest)) = word.split_once('/') {
            let (attempt, rest) = rest.split_once('@').unwrap();
            let (sandbox, state, exit) = match rest.split_once('=') {
                Some((sandbox, code)) => (sandbox, ContainerState::Exited, Some(code.parse().unwrap())),
                None if rest.ends_with('?') => (rest.trim_end_matches('?'), ContainerState::Unknown, None),
                None if rest.ends_with('.') => (rest.trim_end_matches('.'), ContainerState::Created, None),
                None => (rest, ContainerState::Running, None),
            };
            observed.containers.push(ContainerStatus {
                container: RuntimeContainer {
                    id: word.split(['=', '?', '.']).next().unwrap().into(),
                    sandbox: sandbox.into(),
                    key: ContainerKey { name: name.into(), attempt: attempt.parse().unwrap() },
                    image: "i".into(),
                    image_id: "i".into(),
                    state,
                    created,
                    labels: Default::default(),
                    annotations: Default::default(),
                },
                started: Some(created),
                exit: exit.map(|code| ContainerExit { code, finished: at(0) }),
                reason: String::new(),
                message: String::new(),
                log_path: String::new(),
                mounts: vec![],
                resources: None,
                user: None,
            });
        } else {
            let ready = !word.ends_with('!');
            let id = word.trim_end_matches('!');
            observed.sandboxes.push(Sandbox {
                id: id.into(),
                key: SandboxKey { attempt: id[1..].parse().unwrap(), ..SandboxKey::default() },
                state: if ready { SandboxState::Ready } else { SandboxState::NotReady },
                created,
                labels: Default::default(),
                annotations: Default::default(),
                handler: String::new(),
            });
        }
    }
    observed.sort();
    observed
}

fn words(plan: &Plan) -> String {
    let mut words: Vec<String> = plan
        .actions
        .iter()
        .map(|action| match action {
            Action::Sandbox(attempt) => format!("sandbox:{attempt}"),
            Action::StopSandbox(id) => format!("stop:{id}"),
            Action::RemoveSandbox(id) => format!("remove:{id}"),
            Action::Start { name, attempt } => format!("start:{name}/{attempt}"),
            Action::Stop { id, why, .. } => format!("kill:{id}:{why:?}"),
            Action::Remove(id) => format!("remove:{id}"),
        })
        .collect();
    words.extend(plan.held.iter().map(|(name, until)| format!("held:{name}:{}", until.as_second() - 1_000_000)));
    if plan.over {
        words.push("over".into());
    }
    words.join(" ")
}

fn check(spec: Value, state: &str, expect: &str) {
    check_with(spec, state, &Records::default(), expect);
}

fn check_with(spec: Value, state: &str, records: &Records, expect: &str) {
    assert_eq!(words(&plan(&pod(spec), &observed(state), records, at(1))), expect, "for {state:?}");
}

fn web(policy: &str) -> Value {
    json!({"restartPolicy": policy, "containers": [{"name": "web"}]})
}

fn staged(policy: &str) -> Value {
    json!({"restartPolicy": policy, "containers": [{"name": "web"}], "initContainers": [
        {"name": "one"}, {"name": "mesh", "restartPolicy": "Always"}, {"name": "two"}]})
}

#[test]
fn a_new_pod_gets_a_sandbox_first_and_then_its_containers() {
    check(web("Always"), "", "sandbox:0");
    check(web("Always"), "s0", "start:web/0");
    check(web("Always"), "s0 web/0@s0", "");
}

#[test]
fn what_ended_is_started_again_as_the_policy_says() {
    check(web("Always"), "s0 web/0@s0=0", "start:web/1");
    check(web("OnFailure"), "s0 web/0@s0=3", "start:web/1");
    check(web("OnFailure"), "s0 web/0@s0=0", "over");
    check(web("Never"), "s0 web/0@s0=3", "over");
}

#[test]
fn a_restart_waits_for_its_back_off() {
    let mut records = Records::default();
    records.restarts.insert("web".into(), Backoff { delay: std::time::Duration::from_secs(10), raised: at(-50) });
    check_with(web("Always"), "s0 web/1@s0=1", &records, "held:web:10");
    let plan = plan(&pod(web("Always")), &observed("s0 web/1@s0=1"), &records, at(1));
    assert_eq!(plan.wake, Some(at(10)));
}

#[test]
fn a_container_that_could_not_be_started_waits_for_its_turn() {
    let mut records = Records::default();
    records.not_before.insert("web".into(), at(7));
    check_with(web("Always"), "s0", &records, "");
    let plan = plan(&pod(web("Always")), &observed("s0"), &records, at(1));
    assert_eq!(plan.wake, Some(at(7)));
}

#[test]
fn init_containers_run_in_order_and_sidecars_stay() {
    check(staged("Always"), "s0", "start:one/0");
    check(staged("Always"), "s0 one/0@s0", "");
    check(staged("Always"), "s0 one/0@s0=0", "start:mesh/0");
    check(staged("Always"), "s0 one/0@s0=0 mesh/0@s0", "start:two/0");
    check(staged("Always"), "s0 one/0@s0=0 mesh/0@s0 two/0@s0=0", "start:web/0");
    check(staged("Always"), "s0 one/0@s0=0 mesh/0@s0=1 two/0@s0=0 web/0@s0", "start:mesh/1");
}

#[test]
fn a_failed_init_container_runs_again_or_fails_the_pod() {
    check(staged("Always"), "s0 one/0@s0=1", "start:one/1");
    check(staged("OnFailure"), "s0 one/0@s0=1", "start:one/1");
    check(staged("Never"), "s0 one/0@s0=1", "over");
}

#[test]
fn a_dead_sandbox_is_replaced_and_everything_begins_anew_in_it() {
    check(web("Always"), "s0! web/0@s0", "stop:s0 sandbox:1");
    check(web("Always"), "s0! web/0@s0=137 s1", "start:web/1");
    check(staged("Always"), "s0! one/0@s0=0 mesh/0@s0=0 two/0@s0=0 web/0@s0=137 s1", "start:one/1");
    // What a finished pod had is not made again.
    check(web("Never"), "s0! web/0@s0=0", "over");
}

#[test]
fn old_instances_and_sandboxes_go_when_nothing_needs_them() {
    check(web("Always"), "s0 web/0@s0=1 web/1@s0=1 web/2@s0", "remove:web/0@s0");
    check(web("Always"), "s0! web/0@s0=1 s1 web/1@s1=1 web/2@s1", "remove:s0 remove:web/0@s0");
    check(web("Always"), "s0! web/0@s0=1 s1 web/1@s1", "");
}

#[test]
fn a_container_that_was_made_and_not_started_is_replaced() {
    check(web("Always"), "s0 web/0@s0.", "remove:web/0@s0 start:web/1");
    check(web("Always"), "s0 web/0@s0?", "kill:web/0@s0:Unknown");
}

#[test]
fn failed_probes_end_an_instance_and_only_that_one() {
    let mut records = Records::default();
    let mut health = Health::of("web/1@s0".into());
    health.liveness = Some(false);
    records.health.insert("web".into(), health.clone());
    check_with(web("Always"), "s0 web/1@s0", &records, "kill:web/1@s0:Liveness");
    check_with(web("Always"), "s0 web/2@s0", &records, "");
    health.startup = Some(false);
    records.health.insert("web".into(), health);
    check_with(web("Always"), "s0 web/1@s0", &records, "kill:web/1@s0:Startup");
}

#[test]
fn the_main_containers_wait_for_the_startup_of_a_sidecar() {
    let spec = json!({"containers": [{"name": "web"}], "initContainers": [
        {"name": "mesh", "restartPolicy": "Always", "startupProbe": {"exec": {"command": ["true"]}}}]});
    check(spec.clone(), "s0 mesh/0@s0", "");
    let mut records = Records::default();
    records.health.insert("mesh".into(), Health { startup: Some(true), ..Health::of("mesh/0@s0".into()) });
    check_with(spec, "s0 mesh/0@s0", &records, "start:web/0");
}

#[test]
fn a_deadline_is_a_reason_to_look_again() {
    let records = Records { seen: Some(at(0)), ..Records::default() };
    let spec = json!({"activeDeadlineSeconds": 5, "containers": [{"name": "web"}]});
    let plan = plan(&pod(spec), &observed("s0 web/0@s0"), &records, at(1));
    assert_eq!(plan.wake, Some(at(0).checked_add(SignedDuration::from_secs(5)).unwrap()));
}

#[test]
fn an_ephemeral_container_runs_once_and_waits_for_nobody() {
    let spec = json!({"containers": [{"name": "web"}], "initContainers": [{"name": "one"}],
        "ephemeralContainers": [{"name": "debug"}]});
    check(spec.clone(), "", "sandbox:0");
    check(spec.clone(), "s0 one/0@s0", "start:debug/0");
    check(spec.clone(), "s0 one/0@s0 debug/0@s0", "");
    check(spec.clone(), "s0 one/0@s0=0 web/0@s0 debug/0@s0=1", "");
    check(spec.clone(), "s0 one/0@s0 debug/0@s0.", "remove:debug/0@s0 start:debug/1");
    // In a new sandbox it is not begun anew, and the old one stays for its last words.
    check(spec, "s0! one/0@s0=0 debug/0@s0=137 s1 one/0@s1", "");
}
