//! The runtime suite on the fake, in virtual time.

use std::sync::Arc;

use futures::AsyncWriteExt;
use windlass_conformance::{
    report::{self, Report, Trace, Verdict},
    runtime::{Fixture, Offers, Program, cases},
};
use windlass_kernel::{
    Error, ErrorKind, SpawnExt,
    runtime::{Pull, RegistryAuth},
};

use super::{Act, FakeRuntime};
use crate::{pipe::duplex, sim::Executor};

const PULLED: &str = "registry.local/pulled:1";

/// Runs every check on a runtime of its own.
fn run(runtime: impl Fn(FakeRuntime) -> FakeRuntime) -> Report {
    let executor = Executor::new(7);
    let (clock, spawn) = (executor.clock(), executor.spawn());
    let trace = Trace::default();
    let fixture = |prefix: String| {
        let tasks = executor.spawn();
        let greet = move |_: &_, port| {
            if port != 8080 {
                return Err(Error::new(ErrorKind::Unavailable, format!("nothing is at port {port}")));
            }
            let (mut here, there) = duplex();
            let greet = async move {
                // Whoever connected may have gone.
                let _ = here.write_all(Program::GREETING.as_bytes()).await;
                let _ = here.close().await;
            };
            tasks.spawn("greet", greet).detach();
            Ok(Box::new(there) as _)
        };
        let runtime = runtime(FakeRuntime::new(clock.clone(), spawn.clone()).with_ports(greet));
        runtime.add_image("registry.local/app:1");
        runtime.publish(PULLED, Some(("user", "secret")));
        let (reader, renamer) = (runtime.clone(), runtime.clone());
        let auth = RegistryAuth { username: "user".into(), password: "secret".into(), ..RegistryAuth::default() };
        Fixture {
            images: Arc::new(runtime.clone()),
            runtime: Arc::new(runtime),
            clock: clock.clone(),
            image: "registry.local/app:1".into(),
            command: Program::words,
            prefix,
            cgroup_parent: String::new(),
            handler: String::new(),
            logs: "/logs".into(),
            read: Arc::new(move |path| reader.log(path)),
            rename: Arc::new(move |from, to| renamer.rename_log(from, to)),
            offers: Offers { events: true, port: Some(8080), ..Offers::default() },
            pull: Some(Pull { image: PULLED.into(), auth: Some(auth), ..Pull::default() }),
            machine: None,
            restart: None,
            raw: None,
            trace: trace.clone(),
        }
    };
    let cases = cases(fixture);
    executor.run_until(report::run("the fake runtime", cases, &*executor.clock(), &trace, |_| {}))
}

fn failed(report: &Report) -> Vec<&'static str> {
    let failed = report.outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Failed(_)));
    failed.map(|outcome| outcome.name).collect()
}

#[test]
fn the_fake_keeps_the_contract_of_runtimes() {
    let report = run(|runtime| runtime);
    assert_eq!(failed(&report), [""; 0], "{report:#?}");
    let [passed, ..] = report.counts();
    assert!(passed > 35, "only {passed} checks were run");
}

#[test]
fn a_runtime_that_does_not_pass_signals_on_is_found_by_name() {
    // Nothing is asked to end: every container is killed.
    let deaf = |runtime: FakeRuntime| runtime.with_script(|launch| Act::of_words(launch).stubborn());
    assert_eq!(failed(&run(deaf)), ["a_stopped_container_ends_by_its_signal"]);
}
