//! `windlass conform cri` on a containerd of the test's own: verdicts, reports, and what is found in it.
#![allow(clippy::disallowed_methods, reason = "a test with a network of its own is a thread of its own")]

use std::{
    collections::BTreeMap,
    fs,
    process::Command,
    sync::{Arc, OnceLock},
};

use serde_json::Value;
use windlass::{
    cri::skel::{self, Plugin, Setup},
    kernel::Stop,
    rim::{SystemClock, SystemDial, SystemEntropy, TokioSpawn},
    testkit::{
        FakeRuntime,
        runtime::{Act, Launch},
    },
};
use windlass_conformance::runtime::Program;
use windlass_lab::{BUSYBOX, Lab};

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("conform_cri_says_what_containerd_keeps", verdicts),
    ("conform_cri_kills_containerd_in_the_middle_of_calls", killed),
    ("conform_node_drives_containerd", node),
];

pub(crate) const ANYWHERE: &[Test] = &[
    ("conform_cri_takes_any_runtime_behind_the_skeleton", served),
    ("conform_cri_finds_a_runtime_that_passes_no_signals_on", deaf),
    ("conform_cri_names_what_is_wrong_with_its_input", wrong),
];

/// What containerd 1.6 does not keep, and how that is told; `docs/status.md` has the evidence.
const FOUND: &[(&str, &str)] = &[(
    "each_opposite_succeeds_on_what_is_gone",
    "/runtime.v1.RuntimeService/StopPodSandbox of what never was answered 5",
)];

/// Asked on a thread of its own, since that is moved into another network.
pub(crate) fn missing() -> Option<String> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    let ask = || std::thread::spawn(windlass_lab::alone).join().expect("an answer");
    MISSING.get_or_init(ask).clone()
}

/// Runs `work` on a thread in a network of its own, with a containerd there.
fn with_lab(name: &'static str, work: fn(&Lab)) {
    let run = move || {
        assert_eq!(windlass_lab::alone(), None);
        let lab = Lab::start(name);
        work(&lab);
        lab.end();
    };
    if let Err(panic) = std::thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

fn conform(lab: &Lab, more: &[&str]) -> (Option<i32>, String, Value) {
    let report = lab.folder.join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_windlass"))
        .args(["conform", "cri", "--image", BUSYBOX, "--cgroup-parent", &lab.cgroup(), "--endpoint"])
        .arg(format!("unix://{}", lab.running.socket.display()))
        .arg("--json")
        .arg(&report)
        .arg("--state")
        .arg(&lab.folder)
        .args(more)
        .env("CONFORM_PASSWORD", "hidden")
        .output()
        .expect("windlass runs");
    let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    let report = fs::read_to_string(&report).ok().and_then(|text| serde_json::from_str(&text).ok());
    (output.status.code(), said, report.unwrap_or_default())
}

/// The checks of a report that failed, and how.
fn failed(report: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let cases = report["cases"].as_array().into_iter().flatten();
    cases.filter(|case| case["verdict"] == "failed").map(|case| (text(&case["name"]), text(&case["message"]))).collect()
}

fn verdicts() {
    with_lab("cvc", |lab| {
        let pulled = lab.registry.publish("conform", "1", Some(("user", "hidden")));
        let (code, said, report) = conform(lab, &["--pull", &pulled, "--pull-secret", "user=CONFORM_PASSWORD"]);
        assert!(said.contains("container runtime containerd "), "{said}");
        let failed = failed(&report);
        assert_eq!(code, Some(if failed.is_empty() { 0 } else { 5 }), "{said}");
        for (name, why) in &failed {
            let known = FOUND.iter().any(|(known, found)| known == name && why.contains(found));
            assert!(known, "{name}: {why}\n{said}");
        }
        assert!(report["passed"].as_u64().is_some_and(|passed| passed > 50), "{said}");
        assert!(said.contains("  ok    a registry is told the secret that was given ("), "{said}");
        assert!(!said.contains("hidden"), "a secret is shown: {said}");
    });
}

fn killed() {
    with_lab("cvk", |lab| {
        lab.tokio.block_on(lab.launcher.stop()).expect("containerd ends");
        let command = format!("containerd --config {}", lab.launcher.layout().config().display());
        let (_, said, report) = conform(lab, &["--command", &command, "--only", "runtime_is_away"]);
        assert_eq!(report["passed"], 1, "{said}");
    });
}

/// A runtime without pods, and one with a pod.
fn node() {
    with_lab("cvn", |lab| {
        let run = || {
            let output = Command::new(env!("CARGO_BIN_EXE_windlass"))
                .args(["conform", "node", "--image", BUSYBOX, "--cgroups", &lab.cgroup(), "--endpoint"])
                .arg(&lab.running.socket)
                .output()
                .expect("windlass runs");
            let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
            (output.status.code(), said)
        };
        let (code, said) = run();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("  ok    a new agent finds the containers of the one before ("), "{said}");
        let pod = lab.tokio.block_on(async {
            use windlass::kernel::{
                ContainerRuntime,
                runtime::{SandboxConfig, SandboxKey},
            };
            let key = SandboxKey { name: "a".into(), namespace: "default".into(), uid: "u".into(), attempt: 0 };
            let config = SandboxConfig { key, cgroup_parent: lab.cgroup(), ..SandboxConfig::default() };
            lab.running.runtime.run_sandbox(&config).await.expect("a sandbox runs")
        });
        let (code, said) = run();
        assert_ne!(code, Some(0), "{said}");
        assert!(said.contains("the runtime holds 1 pods, which the agent would end"), "{said}");
        let removed = windlass::kernel::ContainerRuntime::remove_sandbox(&lab.running.runtime, &pod);
        lab.tokio.block_on(removed).expect("a sandbox is removed");
    });
}

/// The fake plays what the suite's scripts do, or what `change` makes of it.
fn play(launch: &Launch<'_>, change: fn(Act) -> Act) -> Act {
    let programs =
        [Program::Wait, Program::Stubborn, Program::Exit(0), Program::Exit(3), Program::Tick, Program::Missing];
    let program = programs.into_iter().find(|program| program.shell() == launch.command);
    let words = program.map(|program| program.words()).unwrap_or_default();
    change(Act::of_words(&Launch { command: &words, ..*launch }))
}

/// Runs the checks whose names contain `only` on a fake runtime behind the skeleton.
fn conform_fake(only: &str, change: fn(Act) -> Act) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("cri.sock");
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let setup = Setup {
        clock: Arc::new(SystemClock::new()),
        spawn: Arc::new(TokioSpawn::on(tokio.handle().clone())),
        entropy: Arc::new(SystemEntropy),
        dial: Arc::new(SystemDial),
    };
    let fake = FakeRuntime::new(Arc::clone(&setup.clock), Arc::clone(&setup.spawn));
    let fake = fake.with_script(move |launch| play(launch, change));
    fake.add_image("example.com/fake:1");
    let stop = Stop::new();
    let serving = tokio.block_on(skel::bind(Plugin::of(fake), &socket, setup)).expect("a socket");
    let task = tokio.spawn(serving.run(stop.clone()));
    let output = Command::new(env!("CARGO_BIN_EXE_windlass"))
        .args(["conform", "cri", "--shared", "--image", "example.com/fake:1", "--only", only, "--endpoint"])
        .arg(&socket)
        .output()
        .expect("windlass runs");
    stop.stop();
    tokio.block_on(task).expect("a task").expect("the server ends well");
    let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    (output.status.code(), said)
}

fn served() {
    let (code, said) = conform_fake("container_goes_forward_only", |act| act);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("container runtime fake "), "{said}");
    assert!(said.contains("  ok    a container goes forward only ("), "{said}");
}

fn deaf() {
    let (code, said) = conform_fake("ends_by_its_signal", Act::stubborn);
    assert_eq!(code, Some(5), "{said}");
    for part in [
        "  FAIL  a stopped container ends by its signal (",
        "        tests: StopContainer: with a grace period, in which it can end by its stop signal",
        "        | -> stop_container ",
    ] {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
}

fn wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("cri.sock");
    let output = Command::new(env!("CARGO_BIN_EXE_windlass"))
        .args(["conform", "cri", "--endpoint"])
        .arg(&socket)
        .output()
        .expect("windlass runs");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&format!("no container runtime answers at {}", socket.display())), "{said}");
}
