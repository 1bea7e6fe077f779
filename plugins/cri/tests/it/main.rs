//! The runtime suite against a real containerd, and against a server over the fake runtime; and what only one of them can show.
//!
//! Where the machine cannot run containerd (no root, none there), its tests are listed as ignored with the reason.

#[cfg(feature = "containerd")]
mod native;
mod real;
mod skel;

use std::{
    fs,
    sync::{Arc, Mutex, PoisonError},
};

use futures::FutureExt;
use libtest_mimic::{Arguments, Completion, Trial};
use windlass_conformance::{
    report::{self, Case, Trace, Verdict},
    runtime::{Check, Fixture, Machine, Offers, Program, RawAnswer, perform},
};
use windlass_kernel::runtime::{Pull, RegistryAuth};
use windlass_lab::{BUSYBOX, Lab};

fn main() {
    #[cfg(feature = "containerd")]
    if let Some(code) = native::serve() {
        std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
    }
    let missing = windlass_lab::alone();
    let arguments = Arguments::from_args();
    let lab: Arc<Mutex<Option<Arc<Lab>>>> = Arc::default();
    let shared = |lab: &Mutex<Option<Arc<Lab>>>| {
        let mut lab = lab.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(lab.get_or_insert_with(|| Arc::new(Lab::start("cri"))))
    };
    let mut trials = Vec::new();
    for (number, check) in windlass_conformance::runtime::checks().into_iter().enumerate() {
        let lab = Arc::clone(&lab);
        trials.push(Trial::ignorable_test(check.name, move || {
            let lab = shared(&lab);
            Ok(run(&lab, check, fixture(&lab, format!("c{number}"))))
        }));
    }
    for &(name, test) in real::TESTS {
        let lab = Arc::clone(&lab);
        trials.push(Trial::test(name, move || {
            test(&shared(&lab));
            Ok(())
        }));
    }
    let trials = trials.into_iter().map(|trial| match &missing {
        Some(reason) => trial.with_kind(reason.clone()).with_ignored_flag(true),
        None => trial.with_kind("containerd"),
    });
    let trials: Vec<Trial> = trials.chain(served()).collect();
    #[cfg(feature = "containerd")]
    let (trials, references) = references(trials, missing.as_ref());
    let conclusion = libtest_mimic::run(&arguments, trials);
    #[cfg(feature = "containerd")]
    for reference in references {
        if let Some(reference) =
            reference.lock().unwrap_or_else(PoisonError::into_inner).take().and_then(Arc::into_inner)
        {
            reference.end();
        }
    }
    if let Some(lab) = lab.lock().unwrap_or_else(PoisonError::into_inner).take().and_then(Arc::into_inner) {
        lab.end();
    }
    conclusion.exit();
}

/// What is started by whoever needs it first.
#[cfg(feature = "containerd")]
type Once<T> = Arc<Mutex<Option<Arc<T>>>>;

/// Adds the suite on the reference runtime, directly and over the wire.
#[cfg(feature = "containerd")]
fn references(mut trials: Vec<Trial>, missing: Option<&String>) -> (Vec<Trial>, Vec<Once<native::Reference>>) {
    let mut references = Vec::new();
    for (kind, short, served) in [("native", "crin", false), ("native-served", "cris", true)] {
        let reference: Once<native::Reference> = Arc::default();
        let shared = move |reference: &Once<native::Reference>| {
            let mut reference = reference.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(reference.get_or_insert_with(|| Arc::new(native::Reference::start(short, served))))
        };
        let mut add = |name: &str, work: Box<dyn Fn(&native::Reference) -> Completion + Send>| {
            let reference = Arc::clone(&reference);
            let trial = Trial::ignorable_test(name, move || Ok(work(&shared(&reference))));
            trials.push(match missing {
                Some(reason) => trial.with_kind(reason.clone()).with_ignored_flag(true),
                None => trial.with_kind(kind),
            });
        };
        for (number, check) in windlass_conformance::runtime::checks().into_iter().enumerate() {
            add(
                check.name,
                Box::new(move |reference| {
                    // A server is killed now and then.
                    let _gate = served.then(|| reference.gate.lock().unwrap_or_else(PoisonError::into_inner));
                    run_on(
                        &reference.lab.tokio,
                        &*reference.lab.rim.clock,
                        check,
                        reference.fixture(format!("n{number}")),
                        &[],
                    )
                }),
            );
        }
        for &(name, test) in native::TESTS.iter().filter(|_| !served) {
            let work = move |reference: &native::Reference| {
                test(reference);
                Completion::Completed
            };
            add(name, Box::new(work));
        }
        references.push(reference);
    }
    (trials, references)
}

/// The tests of the skeleton, which need nothing of the machine.
fn served() -> Vec<Trial> {
    let suite = windlass_conformance::runtime::checks().into_iter().map(|check| {
        Trial::test(check.name, move || {
            let served = skel::Served::start();
            let fixture = served.fixture();
            if check.lacks(&fixture).is_none() {
                served.tokio.block_on(perform(check, fixture));
            }
            Ok(())
        })
    });
    let own = skel::TESTS.iter().map(|&(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    suite.chain(own).map(|trial| trial.with_kind("served")).collect()
}

/// What containerd 1.6 does not keep, and how that is told; `docs/status.md` has the evidence.
const FOUND: &[(&str, &str)] = &[(
    "each_opposite_succeeds_on_what_is_gone",
    "/runtime.v1.RuntimeService/StopPodSandbox of what never was answered 5",
)];

/// Runs a check for which the fixture has what it needs. One that fails shows what was asked.
fn run(lab: &Lab, check: Check, fixture: Fixture) -> Completion {
    run_on(&lab.tokio, &*lab.rim.clock, check, fixture, FOUND)
}

fn run_on(
    tokio: &tokio::runtime::Runtime,
    clock: &dyn windlass_kernel::Clock,
    check: Check,
    fixture: Fixture,
    found: &[(&str, &str)],
) -> Completion {
    if let Some(why) = check.lacks(&fixture) {
        return Completion::ignored_with(why);
    }
    let trace = fixture.trace.clone();
    let case = Case {
        suite: "runtime",
        name: check.name,
        clause: check.clause,
        skip: None,
        work: perform(check, fixture).boxed(),
    };
    let report = tokio.block_on(report::run("containerd", vec![case], clock, &trace, |_| {}));
    let known = found.iter().find(|(name, _)| *name == check.name);
    for outcome in report.outcomes {
        match (outcome.verdict, known) {
            (Verdict::Failed(why), Some((_, found))) if why.contains(found) => {}
            (Verdict::Failed(why), _) => panic!("{why}\n{}", outcome.trace.join("\n")),
            _ => {}
        }
    }
    Completion::Completed
}

fn fixture(lab: &Lab, prefix: String) -> Fixture {
    let runtime = lab.running.runtime.clone();
    let raw = runtime.clone();
    let auth = RegistryAuth { username: "suite".into(), password: "hidden".into(), ..RegistryAuth::default() };
    let image = lab.registry.publish("suite", &prefix, Some((&auth.username, &auth.password)));
    Fixture {
        runtime: Arc::new(runtime.clone()),
        images: Arc::new(runtime),
        clock: lab.rim.clock.clone(),
        image: BUSYBOX.into(),
        command: Program::shell,
        prefix,
        cgroup_parent: lab.cgroup(),
        handler: String::new(),
        logs: lab.folder.join("logs").display().to_string(),
        read: Arc::new(|path| fs::read_to_string(path).ok()),
        rename: Arc::new(|from, to| fs::rename(from, to).expect("a log is renamed")),
        offers: Offers { events: false, terminals: true, containers: true, port: Some(8080) },
        pull: Some(Pull { image: image.into(), auth: Some(auth), ..Pull::default() }),
        machine: Some(Machine { state: vec![lab.folder.clone()], alone: false }),
        restart: None,
        raw: Some(Arc::new(move |call| {
            let runtime = raw.clone();
            async move {
                let answer = runtime.raw(call.method, call.message.into(), call.deadline).await;
                let answer = answer.expect("containerd can be reached");
                RawAnswer { code: answer.code, body: answer.body.into() }
            }
            .boxed()
        })),
        trace: Trace::default(),
    }
}
