//! The agent over a runtime in memory, and over a real containerd.
//!
//! Where the machine cannot run containers (no root, no containerd), those tests are listed as ignored with the reason.
#![allow(clippy::needless_pass_by_value, reason = "a check takes its case as it stands")]

mod away;
mod bench;
mod cluster;
mod context;
mod crowd;
mod debug;
mod devices;
mod eviction;
mod images;
mod logs;
mod pods;
mod probes;
mod ranges;
mod registry;
mod replaced;
mod resize;
mod statics;
mod stored;
mod suite;
mod timed;
mod usage;
mod volumes;

use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Trial};
use windlass_lab::Lab;

/// A test on a real containerd, by the name of what it shows.
type Test = (&'static str, fn(&Lab));

fn main() {
    let missing = windlass_lab::alone();
    let arguments = Arguments::from_args();
    let lab: Arc<Mutex<Option<Arc<Lab>>>> = Arc::default();
    let shared = |lab: &Mutex<Option<Arc<Lab>>>| {
        let mut lab = lab.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(lab.get_or_insert_with(|| Arc::new(Lab::start("node"))))
    };
    let mut trials = suite::trials();
    trials.extend(probes::trials());
    trials.extend(logs::trials());
    trials.extend(cluster::trials());
    trials.extend(eviction::trials());
    trials.extend(replaced::trials());
    trials.extend(stored::trials());
    trials.extend(registry::trials());
    trials.extend(devices::trials());
    trials.extend(statics::trials());
    trials.extend(ranges::trials());
    let mut real = Vec::new();
    for (number, check) in windlass_conformance::node::checks().into_iter().enumerate() {
        let lab = Arc::clone(&lab);
        real.push(Trial::test(check.name, move || {
            let lab = shared(&lab);
            let run = async { check.run(suite::real(&lab, &format!("c{number}")).await).await };
            lab.tokio.block_on(run).map_err(|not_run| not_run.to_string().into())
        }));
    }
    for &(name, test) in [
        pods::TESTS,
        crowd::TESTS,
        images::TESTS,
        debug::TESTS,
        away::TESTS,
        resize::TESTS,
        usage::TESTS,
        volumes::TESTS,
        eviction::REAL,
    ]
    .concat()
    .iter()
    {
        let lab = Arc::clone(&lab);
        real.push(Trial::test(name, move || {
            test(&shared(&lab));
            Ok(())
        }));
    }
    trials.extend(real.into_iter().map(|trial| match &missing {
        Some(reason) => trial.with_kind(reason.clone()).with_ignored_flag(true),
        None => trial.with_kind("containerd"),
    }));
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Some(lab) = lab.lock().unwrap_or_else(PoisonError::into_inner).take().and_then(Arc::into_inner) {
        lab.end();
    }
    conclusion.exit();
}
