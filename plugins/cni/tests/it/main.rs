//! The network suite on the bridge, on its binary behind the host, and on Debian's plugins; and what only real kernels and
//! real processes can show.
//!
//! All of it happens in network and mount namespaces of this process's own. Where the machine cannot do that, the tests are
//! listed as ignored with the reason.

mod bridge;
mod debian;
mod host;
mod kit;
mod options;
mod routes;

use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use windlass_cni::lab::Lab;
use windlass_conformance::network::{Fixture, checks};
use windlass_machine::Machine;

use self::kit::Kit;

type Test = fn(&Kit);

/// A network under the suite; the text is what its names begin with.
type MakeFixture = fn(&Kit, String) -> Fixture;

fn main() {
    let mut arguments = Arguments::from_args();
    // The node is shared, and what a check leaves is compared with what was there: one at a time.
    arguments.test_threads = Some(1);
    let missing = Lab::missing();
    // Before any thread is started: threads are where they were made.
    let lab = missing.is_none().then(|| Lab::enter().expect("a lab"));
    let tokio = tokio::runtime::Runtime::new().expect("a runtime");
    let machine = Arc::new(Machine::on(tokio.handle().clone()));
    let kit = lab.map(|lab| Arc::new(Kit::new(lab, Arc::clone(&machine))));
    let mut trials = Vec::new();
    let real = |name: String, kind: &str, reason: Option<String>, test: Box<dyn FnOnce(&Kit) + Send>| {
        let (ignored, kit) = (reason.is_some(), kit.clone());
        let run = move || match &kit {
            Some(kit) => {
                test(kit);
                Ok(())
            }
            None => Err(Failed::from("there is no lab")),
        };
        Trial::test(name, run).with_kind(reason.unwrap_or_else(|| kind.to_owned())).with_ignored_flag(ignored)
    };
    for &(name, test) in bridge::TESTS {
        trials.push(real(name.into(), "bridge", missing.clone(), Box::new(test)));
    }
    let tools = missing.clone().or_else(routes::missing);
    for &(name, test) in routes::TESTS {
        trials.push(real(name.into(), "routes", tools.clone(), Box::new(test)));
    }
    for &(name, test) in options::TESTS {
        trials.push(real(name.into(), "bridge", missing.clone(), Box::new(test)));
    }
    let fixtures = [("direct", bridge::direct as MakeFixture), ("hosted", bridge::hosted), ("routed", routes::fixture)];
    for (kind, fixture) in fixtures {
        for (number, check) in checks().into_iter().enumerate() {
            let lacks = kit.as_ref().and_then(|kit| check.lacks(&fixture(kit, "x".into()))).map(Into::into);
            let run = move |kit: &Kit| {
                let prefix = format!("{}{number}", &kind[..1]);
                kit.machine.block_on(check.run(fixture(kit, prefix)));
            };
            trials.push(real(check.name.into(), kind, missing.clone().or(lacks), Box::new(run)));
        }
    }
    let absent = missing.clone().or_else(debian::missing);
    trials.push(real("debians_plugins_do_as_is_written_down".into(), "debian", absent, Box::new(debian::suite)));
    for &(name, test) in host::TESTS {
        let machine = Arc::clone(&machine);
        trials.push(Trial::test(name, move || {
            test(&machine);
            Ok(())
        }));
    }
    libtest_mimic::run(&arguments, trials).exit();
}
