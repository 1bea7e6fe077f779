//! The volume suite on the hostpath driver: directly, behind its own server in this process, and as a process that is killed;
//! and on the NFS driver, directly and behind a server, with exports that a local folder stands in for.
//!
//! All of it happens in a mount namespace of this process's own. Where the machine cannot do that, the tests are listed as
//! ignored with the reason.

mod host;
mod hostpath;
mod kit;
mod nfs;

use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use windlass_conformance::volume::checks;

use self::kit::{Kind, Kit};

type Test = fn(&Kit);

fn main() {
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
    for kind in [Kind::Direct, Kind::Hosted, Kind::Process] {
        let sample = missing.is_none().then(|| kit.fixture(kind));
        for check in checks() {
            let lacks = sample.as_ref().and_then(|(fixture, _)| check.lacks(fixture)).map(Into::into);
            let run = move |kit: &Kit| kit.check(kind, &check);
            trials.push(real(check.name, kind.name(), missing.clone().or(lacks), Box::new(run)));
        }
    }
    for kind in [Kind::Direct, Kind::Hosted] {
        let sample = missing.is_none().then(|| nfs::fixture(&kit, kind));
        for check in checks() {
            let lacks = sample.as_ref().and_then(|(fixture, _)| check.lacks(fixture)).map(Into::into);
            let run = move |kit: &Kit| nfs::check(kit, kind, &check);
            let kind = format!("nfs, {}", kind.name());
            trials.push(real(check.name, &kind, missing.clone().or(lacks), Box::new(run)));
        }
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
    libtest_mimic::run(&arguments, trials).exit();
}
