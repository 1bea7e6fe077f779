//! The built binary from outside: its own commands, kubectl where it is installed, crashes, and real containers where the
//! machine can run them. What this machine cannot run is listed as ignored, with the reason.

mod cluster;
mod conform;
mod conform_api;
mod conform_cri;
mod conform_csi;
mod conform_upstream;
mod devices;
mod durable;
mod guestbook;
mod kubectl;
mod node;
mod own;
mod real;
mod snapshots;
mod stand_in;
mod volumes;

use libtest_mimic::{Arguments, Trial};

/// A test, by the name of what it shows.
type Test = (&'static str, fn());

fn main() {
    // Called by the name of Kubernetes' suite, this program stands in for it.
    if stand_in::is_wanted() {
        return stand_in::main();
    }
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    let groups = [
        (own::TESTS, None),
        (durable::TESTS, None),
        (kubectl::TESTS, kubectl::missing()),
        (kubectl::tools::TESTS, kubectl::missing()),
        (kubectl::reach::TESTS, kubectl::missing()),
        (guestbook::TESTS, guestbook::missing()),
        (guestbook::WITH_KUBECTL, guestbook::missing().or_else(kubectl::missing)),
        (volumes::TESTS, volumes::missing()),
        (snapshots::TESTS, real::missing(&[])),
        (node::TESTS, real::missing(&[])),
        (devices::TESTS, real::missing(&[])),
        (conform::TESTS, conform::missing()),
        (conform_api::TESTS, None),
        (conform_cri::TESTS, conform_cri::missing()),
        (conform_cri::ANYWHERE, None),
        (conform_csi::TESTS, conform_csi::missing()),
        (conform_upstream::TESTS, None),
    ];
    for (tests, missing) in groups {
        for &(name, test) in tests {
            let trial = Trial::test(name, move || {
                test();
                Ok(())
            });
            trials.push(match &missing {
                Some(reason) => trial.with_kind(reason.clone()).with_ignored_flag(true),
                None => trial,
            });
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}
