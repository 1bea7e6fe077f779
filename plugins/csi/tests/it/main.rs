//! The volume suite on the hostpath driver and on the NFS driver, with exports that a local folder stands in for: directly,
//! behind a server in this process, and as a process that is killed. Of hostpath, also with each file system that it makes.
//!
//! All of it happens in a mount namespace of this process's own. Where the machine cannot do that, the tests are listed as
//! ignored with the reason. What cannot be checked of a driver that is called directly, such as its end by SIGKILL, is checked of
//! the process, and not listed twice; what a driver does not do is listed once, as ignored.

mod host;
mod hostpath;
mod kit;
mod nfs;
mod systems;

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Trial};
use windlass_conformance::volume::{Fixture, checks};

use self::kit::{Kind, Kit, Place};

type Test = fn(&Kit);

/// Makes a driver, and what is around it.
type Fresh = fn(&Kit) -> (Fixture, Place);

fn main() -> ExitCode {
    if let Some(folder) = std::env::var_os(nfs::SERVES) {
        return nfs::serve(folder.into());
    }
    let mut arguments = Arguments::from_args();
    // A process that is started holds for a moment what others have open, and then nothing of it can be unmounted.
    arguments.test_threads = Some(1);
    // Before any thread is started: threads are where they were made.
    let missing = kit::enter().err();
    let kit = Arc::new(Kit::start());
    let mut trials = Vec::new();
    let real = |name: &str, kind: &str, reason: Option<String>, test: Box<dyn FnOnce(&Kit) + Send>| {
        let (ignored, kit) = (reason.is_some(), Arc::clone(&kit));
        let run = move || {
            test(&kit);
            Ok(())
        };
        Trial::test(name, run).with_kind(reason.unwrap_or_else(|| kind.to_owned())).with_ignored_flag(ignored)
    };
    let mut suite = |name: String, missing: Option<String>, once: bool, fresh: Fresh| {
        let sample = missing.is_none().then(|| fresh(&kit));
        for check in checks() {
            let lacks = sample.as_ref().and_then(|(fixture, _)| check.lacks(fixture)).map(Into::into);
            if lacks.is_some() && !once {
                continue;
            }
            let lacks = lacks.or_else(|| systems::lacks_growth(&name, check.name));
            let run = move |kit: &Kit| {
                let (fixture, _place) = fresh(kit);
                kit.runtime.block_on(check.run(fixture));
            };
            trials.push(real(check.name, &name, missing.clone().or(lacks), Box::new(run)));
        }
    };
    for (kind, hostpath, nfs) in [
        (
            Kind::Direct,
            (|kit: &Kit| kit.fixture(Kind::Direct)) as Fresh,
            (|kit| nfs::fixture(kit, Kind::Direct)) as Fresh,
        ),
        (Kind::Hosted, |kit| kit.fixture(Kind::Hosted), |kit| nfs::fixture(kit, Kind::Hosted)),
        (Kind::Process, |kit| kit.fixture(Kind::Process), |kit| nfs::fixture(kit, Kind::Process)),
    ] {
        let once = kind == Kind::Process;
        suite(kind.name().to_owned(), missing.clone(), once, hostpath);
        suite(format!("nfs, {}", kind.name()), missing.clone(), once, nfs);
    }
    for (name, fresh) in systems::FIXTURES {
        suite((*name).to_owned(), missing.clone().or_else(|| systems::lacks(name)), false, *fresh);
    }
    for &(kind, name, test) in systems::TESTS {
        trials.push(real(name, kind, missing.clone().or_else(|| systems::lacks(kind)), Box::new(test)));
    }
    for &(name, test) in nfs::TESTS {
        trials.push(real(name, "nfs", missing.clone(), Box::new(test)));
    }
    for &(name, test) in hostpath::TESTS {
        trials.push(real(name, "hostpath", missing.clone(), Box::new(test)));
    }
    for &(name, test) in host::TESTS {
        trials.push(real(name, "host", None, Box::new(test)));
    }
    libtest_mimic::run(&arguments, trials).exit()
}
