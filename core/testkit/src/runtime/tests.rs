//! The runtime suite on the fake, in virtual time.

use std::sync::Arc;

use windlass_conformance::runtime::{Fixture, Program, checks};

use super::FakeRuntime;
use crate::sim::Executor;

fn words(program: &Program) -> Vec<String> {
    let words: Vec<String> = match program {
        Program::Wait => vec!["wait".into()],
        Program::Stubborn => vec!["stubborn".into()],
        Program::Exit(code) => vec!["exit".into(), code.to_string()],
        Program::Say { stdout, stderr, code } => vec!["say".into(), stdout.clone(), stderr.clone(), code.to_string()],
        Program::Copy => vec!["copy".into()],
        Program::Tick => vec!["tick".into()],
        Program::Missing => vec!["missing".into()],
    };
    words
}

#[test]
fn the_fake_keeps_the_contract_of_runtimes() {
    for (number, check) in checks().into_iter().enumerate() {
        let executor = Executor::new(number as u64);
        let runtime = FakeRuntime::new(executor.clock(), executor.spawn());
        runtime.add_image("registry.local/app:1");
        let (reader, renamer) = (runtime.clone(), runtime.clone());
        let fixture = Fixture {
            images: Arc::new(runtime.clone()),
            runtime: Arc::new(runtime),
            clock: executor.clock(),
            image: "registry.local/app:1".into(),
            command: words,
            prefix: format!("c{number}"),
            logs: "/logs".into(),
            read: Arc::new(move |path| reader.log(path)),
            rename: Arc::new(move |from, to| renamer.rename_log(from, to)),
        };
        println!("{}", check.name);
        executor.run_until(check.run(fixture));
    }
}
