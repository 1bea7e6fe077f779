//! The law of every controller (contract of [`windlass_kernel::Controller`]): whatever happens on the way, the outcome is
//! the same.

use std::fmt::Debug;

use windlass_controllers::Config;

use crate::cluster::{Cluster, Fault, Reconciles, Watches};

/// Checks that a scenario ends the same whatever happens to the controller of that name.
///
/// `scenario` acts on a cluster whose controllers run, waits until what it asked for came to be, and answers what there
/// is then, without what chance may decide. It runs with every reconcile doubled, with two instances that race, with
/// watches that are late and break, and with a write that is refused, whose answer is lost, or at which the controllers
/// are killed: for each write that the controller makes.
#[track_caller]
pub(crate) fn hold<T: Debug + PartialEq>(of: &'static str, scenario: impl Fn(&Cluster) -> T) {
    hold_with(&Config::default(), of, scenario);
}

/// As [`hold`], for controllers that are told something.
#[track_caller]
pub(crate) fn hold_with<T: Debug + PartialEq>(config: &Config, of: &'static str, scenario: impl Fn(&Cluster) -> T) {
    let run = |seed, prepare: &dyn Fn(&Cluster)| {
        let mut cluster = Cluster::without_controllers(seed);
        cluster.config = config.clone();
        prepare(&cluster);
        let outcome = scenario(&cluster);
        assert!(cluster.executor.panics().is_empty(), "{:?}", cluster.executor.panics());
        (cluster, outcome)
    };
    let start = |cluster: &Cluster| cluster.run_controllers(Watches::Prompt, Reconciles::Once);
    let (calm, expect) = run(1, &start);
    let writes = calm.gate.count(of);
    assert!(writes > 0, "{of} wrote nothing: {:#?}", calm.gate.log());
    rests(&calm, of);

    let same = |what: &str, (cluster, outcome): (Cluster, T)| {
        assert_eq!(outcome, expect, "{what}, after {:#?}", cluster.gate.log());
    };
    for seed in 2..5 {
        let double = |cluster: &Cluster| cluster.run_controllers(Watches::Prompt, Reconciles::Twice);
        same(&format!("doubled reconciles, seed {seed}"), run(seed, &double));
        let race = |cluster: &Cluster| [start, start].iter().for_each(|start| start(cluster));
        same(&format!("two instances, seed {seed}"), run(seed, &race));
        let late = |cluster: &Cluster| cluster.run_controllers(Watches::Late, Reconciles::Once);
        same(&format!("late watches, seed {seed}"), run(seed, &late));
    }
    for at in 0..writes {
        for fault in [Fault::Refused, Fault::Lost, Fault::KilledBefore, Fault::KilledAfter] {
            let fail = |cluster: &Cluster| {
                start(cluster);
                cluster.gate.fail_of(of, at, 1, fault);
            };
            same(&format!("{fault:?} at write {at}"), run(1, &fail));
        }
    }
}

/// Checks that a fresh instance, which looks at everything, finds nothing to write.
#[track_caller]
fn rests(cluster: &Cluster, of: &str) {
    cluster.settle();
    let before = cluster.gate.count(of);
    cluster.run_controllers(Watches::Prompt, Reconciles::Twice);
    cluster.settle();
    assert_eq!(cluster.gate.count(of), before, "{of} does not rest: {:#?}", cluster.gate.log());
}
