//! The device suite on the plugin of files: directly, and behind a server in this process; the host among sockets that are not
//! there, hang, vanish or say nonsense; and a plugin whose agent comes, goes and comes again.

mod host;
mod kit;
mod registering;

use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use windlass_conformance::device::{Fixture, checks};

use self::kit::{Kit, Place};

type Test = fn(&Kit);

fn main() {
    let arguments = Arguments::from_args();
    let kit = Arc::new(Kit::start());
    let mut trials = Vec::new();
    for (kind, hosted) in [("direct", false), ("hosted", true)] {
        for check in checks() {
            let kit = Arc::clone(&kit);
            let run = move || {
                let place = Place::new();
                let files = Arc::new(kit.files(&place));
                let plugin = if hosted { Arc::new(kit.served(files, &place)) as _ } else { files as _ };
                let fixture = Fixture { plugin, clock: kit.rim.clock.clone() };
                assert_eq!(check.lacks(&fixture), None);
                kit.runtime.block_on(check.run(fixture));
                Ok(())
            };
            trials.push(Trial::test(check.name, run).with_kind(kind));
        }
    }
    for &(name, test) in host::TESTS.iter().chain(registering::TESTS) {
        let kit = Arc::clone(&kit);
        let run = move || {
            test(&kit);
            Ok(())
        };
        trials.push(Trial::test(name, run));
    }
    libtest_mimic::run(&arguments, trials).exit();
}
