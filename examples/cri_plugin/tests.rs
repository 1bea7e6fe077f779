//! The suite on this runtime, through a socket as its users have it.

use std::{fs, process::Command, sync::Arc};

use windlass::{
    cri::{
        host::{RemoteRuntime, Rim},
        skel::{self, Plugin, Setup},
    },
    kernel::{Clock, ContainerRuntime, Dial, Spawn, Stop},
    rim::{SystemClock, SystemDial, SystemEntropy, TokioSpawn},
};
use windlass_conformance::{
    report::{self, Trace, Verdict},
    runtime::{Fixture, Machine, Offers, Program, cases},
};

use super::{Processes, images::IMAGE};

/// A port for programs of the suite, where this machine has something that listens.
fn port() -> Option<u16> {
    let has = |program: &str| Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    let listens = ["nc", "busybox"].iter().any(|program| has(program).is_ok_and(|output| output.status.success()));
    let free = || std::net::TcpListener::bind(("127.0.0.1", 0)).ok()?.local_addr().ok();
    listens.then(free).flatten().map(|address| address.port())
}

#[test]
fn processes_keep_the_contract_of_runtimes() {
    let folder = std::env::temp_dir().join(format!("windlass-processes-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let socket = folder.join("cri.sock");
    let tokio = tokio::runtime::Runtime::new().expect("a runtime");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let spawn: Arc<dyn Spawn> = Arc::new(TokioSpawn::on(tokio.handle().clone()));
    let dial: Arc<dyn Dial> = Arc::new(SystemDial);
    let setup = Setup {
        clock: Arc::clone(&clock),
        spawn: Arc::clone(&spawn),
        entropy: Arc::new(SystemEntropy),
        dial: Arc::clone(&dial),
    };
    let (stop, trace) = (Stop::new(), Trace::default());
    let plugin = Plugin::of(Processes::new(setup.clone()));
    let serving = tokio.block_on(skel::bind(plugin, &socket, setup)).expect("a socket");
    let task = tokio.spawn(serving.run(stop.clone()));
    let rim = Rim { dial, clock: Arc::clone(&clock), spawn };
    let remote =
        tokio.block_on(RemoteRuntime::connect(socket.display().to_string(), rim)).expect("the runtime answers");
    let remote = Arc::new(remote);
    let offers = Offers { events: true, port: port(), ..Offers::default() };
    let cases = cases(|prefix| Fixture {
        runtime: Arc::clone(&remote) as Arc<dyn ContainerRuntime>,
        images: Arc::clone(&remote) as _,
        clock: Arc::clone(&clock),
        image: IMAGE.into(),
        command: Program::shell,
        prefix,
        cgroup_parent: String::new(),
        handler: String::new(),
        logs: folder.display().to_string(),
        read: Arc::new(|path| fs::read_to_string(path).ok()),
        rename: Arc::new(|from, to| fs::rename(from, to).expect("a log is renamed")),
        offers,
        pull: None,
        machine: Some(Machine::default()),
        restart: None,
        raw: None,
        trace: trace.clone(),
    });
    let show = |outcome: &report::Outcome| println!("{}: {:?}", outcome.name.replace('_', " "), outcome.verdict);
    let report = tokio.block_on(report::run("processes", cases, &*clock, &trace, show));
    stop.stop();
    tokio.block_on(task).expect("a task").expect("the server ends well");
    fs::remove_dir_all(&folder).expect("the folder goes");
    let failed = report.outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Failed(_)));
    assert_eq!(failed.collect::<Vec<_>>(), Vec::<&report::Outcome>::new());
}
