//! Commands, sessions and logs.

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use windlass_kernel::{
    ErrorKind,
    node::{Exit, Process, Session, Streams},
    runtime::{ContainerId, Opening},
};

use super::{Check, ContainerState, Fixture, Program, refused};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "a_command_gives_its_outputs_and_its_code", run: |f| command(f).boxed() },
    Check { name: "a_command_past_its_timeout_is_a_timeout", run: |f| timeout(f).boxed() },
    Check { name: "a_command_needs_a_running_container", run: |f| not_running(f).boxed() },
    Check { name: "a_session_ends_with_its_input", run: |f| session(f).boxed() },
    Check { name: "a_session_tells_the_exit_code", run: |f| session_code(f).boxed() },
    Check { name: "a_dropped_session_leaves_the_container", run: |f| dropped(f).boxed() },
    Check { name: "a_session_attaches_to_the_process", run: |f| attach(f).boxed() },
    Check { name: "a_log_has_a_record_per_line", run: |f| log(f).boxed() },
    Check { name: "a_renamed_log_is_made_anew", run: |f| reopen(f).boxed() },
];

fn say(code: i32) -> Program {
    Program::Say { stdout: "to out".into(), stderr: "to err".into(), code }
}

/// Contract 10: two outputs and a code.
async fn command(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Wait).await;
    for code in [0, 7] {
        let timeout = Some(Duration::from_secs(30));
        let done = fixture.runtime.exec(&id, &(fixture.command)(&say(code)), timeout).await.expect("a command runs");
        assert_eq!((done.code, &done.stdout[..], &done.stderr[..]), (code, &b"to out\n"[..], &b"to err\n"[..]));
    }
    pod.remove().await;
}

/// Contract 10: past the timeout.
async fn timeout(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Wait).await;
    let command = (fixture.command)(&Program::Stubborn);
    let answer = fixture.runtime.exec(&id, &command, Some(Duration::from_secs(1))).await;
    refused(answer, ErrorKind::Timeout);
    assert_eq!(fixture.status(&id).await.container.state, ContainerState::Running);
    pod.remove().await;
}

/// Contract 10: not in a container that does not run.
async fn not_running(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Exit(0)).await;
    fixture.exited(&id).await;
    refused(fixture.runtime.exec(&id, &(fixture.command)(&say(0)), None).await, ErrorKind::Conflict);
    pod.remove().await;
}

async fn exec(fixture: &Fixture, id: &ContainerId, program: &Program, stdin: bool) -> Process {
    let streams = Streams { stdin, stdout: true, stderr: true, tty: false };
    let opening = Opening::Exec { container: id.clone(), command: (fixture.command)(program), streams };
    open(fixture, opening).await
}

async fn open(fixture: &Fixture, opening: Opening) -> Process {
    match fixture.runtime.session(opening).await.expect("a session opens") {
        Session::Process(process) => process,
        Session::Ports(_) => panic!("an exec is a process"),
    }
}

/// Contract 11: the end of the input is seen, everything comes back, and then the exit is ready.
async fn session(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Wait).await;
    let mut process = exec(&fixture, &id, &Program::Copy, true).await;
    let (mut stdin, mut stdout) = (process.stdin.take().expect("an input"), process.stdout.take().expect("an output"));
    let sent: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    let mut heard = Vec::new();
    let write = async {
        stdin.write_all(&sent).await.expect("the input takes bytes");
        stdin.close().await.expect("the input ends");
    };
    let talk = async { futures::join!(write, stdout.read_to_end(&mut heard)).1.map(drop) };
    fixture.within("the output to end", talk).await.expect("the output ends well");
    assert!(heard == sent, "{} of {} bytes came back", heard.len(), sent.len());
    assert_eq!(fixture.within("the exit", process.exit).await, Exit::Code(0));
    pod.remove().await;
}

/// Contract 11: outputs are apart, and the exit follows them.
async fn session_code(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Wait).await;
    let mut process = exec(&fixture, &id, &say(3), false).await;
    let (mut stdout, mut stderr) =
        (process.stdout.take().expect("an output"), process.stderr.take().expect("an output"));
    let (mut out, mut err) = (String::new(), String::new());
    let read = async { futures::try_join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut err)).map(drop) };
    fixture.within("the outputs to end", read).await.expect("the outputs end well");
    assert_eq!((out.as_str(), err.as_str()), ("to out\n", "to err\n"));
    assert_eq!(fixture.within("the exit", process.exit).await, Exit::Code(3));
    pod.remove().await;
}

/// Contract 11: dropping a session ends it, and never the container.
async fn dropped(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Wait).await;
    drop(exec(&fixture, &id, &Program::Copy, true).await);
    let done = fixture.runtime.exec(&id, &(fixture.command)(&say(0)), None).await.expect("a command runs");
    assert_eq!(done.code, 0);
    pod.remove().await;
}

/// Contract 11: an attached session has the process's own streams.
async fn attach(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let mut config = fixture.container_config("web", &Program::Copy);
    (config.stdin, config.stdin_once) = (true, true);
    let id = pod.create(&config).await;
    fixture.runtime.start_container(&id).await.expect("a container starts");
    let streams = Streams { stdin: true, stdout: true, stderr: false, tty: false };
    let mut process = open(&fixture, Opening::Attach { container: id.clone(), streams }).await;
    let (mut stdin, mut stdout) = (process.stdin.take().expect("an input"), process.stdout.take().expect("an output"));
    let talk = async {
        stdin.write_all(b"hello\n").await?;
        let mut heard = [0; 6];
        stdout.read_exact(&mut heard).await?;
        assert_eq!(&heard, b"hello\n");
        stdin.close().await
    };
    fixture.within("the echo", talk).await.expect("the streams work");
    assert_eq!(fixture.exited(&id).await.exit.expect("an exit").code, 0);
    pod.remove().await;
}

/// Contract 13: time, stream, tag, text.
async fn log(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &say(0)).await;
    let status = fixture.exited(&id).await;
    assert_eq!(status.log_path, format!("{}/{}-web.log", fixture.logs, fixture.prefix));
    let lines = fixture
        .until("both lines in the log", || async {
            let text = (fixture.read)(&status.log_path).unwrap_or_default();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            (lines.len() >= 2).then_some(lines)
        })
        .await;
    let mut records: Vec<_> = lines.iter().map(|line| line.splitn(4, ' ').collect::<Vec<_>>()).collect();
    records.sort_by_key(|record| record.get(1).copied());
    for record in &records {
        record[0].parse::<jiff::Timestamp>().expect("a record begins with a time");
    }
    let records: Vec<_> = records.iter().map(|record| record[1..].join(" ")).collect();
    assert_eq!(records, ["stderr F to err", "stdout F to out"]);
    pod.remove().await;
}

/// Contract 13: after a rename and a reopen there is a new file, and the old one grows no more.
async fn reopen(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Tick).await;
    let path = fixture.status(&id).await.log_path;
    let old = format!("{path}.old");
    let written = || async { (fixture.read)(&path).filter(|text| text.contains("tick")) };
    fixture.until("a first line", written).await;
    (fixture.rename)(&path, &old);
    fixture.runtime.reopen_log(&id).await.expect("a log is opened again");
    fixture.until("a line in the new log", written).await;
    let kept = (fixture.read)(&old);
    assert!(kept.as_ref().is_some_and(|text| text.contains("tick")), "the old log is there");
    pod.remove().await;
}
