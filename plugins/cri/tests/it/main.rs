//! The runtime suite and more against a real containerd.
//!
//! Where the machine cannot do that (no root, no containerd), every test is listed as ignored with the reason.

mod real;

use std::{
    fs,
    sync::{Arc, Mutex, PoisonError},
};

use libtest_mimic::{Arguments, Trial};
use windlass_conformance::runtime::{Fixture, Program};
use windlass_lab::{BUSYBOX, Lab};

fn main() {
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
        trials.push(Trial::test(check.name, move || {
            let lab = shared(&lab);
            lab.tokio.block_on(check.run(fixture(&lab, format!("c{number}"))));
            Ok(())
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
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if let Some(lab) = lab.lock().unwrap_or_else(PoisonError::into_inner).take().and_then(Arc::into_inner) {
        lab.end();
    }
    conclusion.exit();
}

fn fixture(lab: &Lab, prefix: String) -> Fixture {
    Fixture {
        runtime: Arc::new(lab.running.runtime.clone()),
        images: Arc::new(lab.running.runtime.clone()),
        clock: lab.rim.clock.clone(),
        image: BUSYBOX.into(),
        command: Program::shell,
        prefix,
        logs: lab.folder.join("logs").display().to_string(),
        read: Arc::new(|path| fs::read_to_string(path).ok()),
        rename: Arc::new(|from, to| fs::rename(from, to).expect("a log is renamed")),
    }
}
