//! Sessions: exec, attach and port-forward.

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, SinkExt};
use windlass_kernel::{
    ClockExt,
    node::{Exit, Process, Session, Streams, TermSize},
    runtime::{ContainerId, Opening},
};

use super::{Check, Fixture, Program, always, commands::say};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a_session_ends_with_its_input",
        clause: "Exec: a streaming endpoint to execute a command; stdin ends, then the command does",
        needs: always,
        run: |f| session(f).boxed(),
    },
    Check {
        name: "a_session_tells_the_exit_code",
        clause: "Exec: stdout and stderr apart, and the exit code on the error stream",
        needs: always,
        run: |f| session_code(f).boxed(),
    },
    Check {
        name: "a_dropped_session_leaves_the_container",
        clause: "Exec: the command is none of the container's own processes",
        needs: always,
        run: |f| dropped(f).boxed(),
    },
    Check {
        name: "a_terminal_has_a_size_and_no_second_output",
        clause: "ExecRequest.tty: stdout and stderr are one stream, and sizes are passed on",
        needs: |f| (!f.offers.terminals).then_some("commands of this runtime get no terminals"),
        run: |f| terminal(f).boxed(),
    },
    Check {
        name: "a_session_attaches_to_the_process",
        clause: "Attach: the streams of a running container; ContainerConfig.stdin_once",
        needs: always,
        run: |f| attach(f).boxed(),
    },
    Check {
        name: "a_second_session_hears_the_process_too",
        clause: "Attach: a streaming endpoint for each call",
        needs: always,
        run: |f| two_listeners(f).boxed(),
    },
    Check {
        name: "a_port_of_a_sandbox_is_reached",
        clause: "PortForward: connections to ports of the sandbox",
        needs: |f| f.offers.port.is_none().then_some("programs of this runtime listen at no ports"),
        run: |f| ports(f).boxed(),
    },
];

/// After so long without an answer a terminal is asked again.
const QUIET: Duration = Duration::from_secs(1);

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

/// Contract 11: the size arrives, and what is written to either output comes from one.
async fn terminal(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Wait).await;
    let streams = Streams { stdin: true, stdout: true, stderr: true, tty: true };
    let command = (fixture.command)(&Program::Terminal);
    let Process { stdin, stdout, stderr, resize, exit } =
        open(&fixture, Opening::Exec { container: id, command, streams }).await;
    assert!(stderr.is_none(), "a terminal has one output");
    let (mut stdin, mut stdout) = (stdin.expect("an input"), stdout.expect("an output"));
    let mut resize = resize.expect("a terminal has a size");
    resize.send(TermSize { width: 91, height: 37 }).await.expect("the size is taken");
    let mut heard = String::new();
    let talk = async {
        let mut bytes = [0; 256];
        loop {
            // The size takes another way than the input; and a shell that is told of it may drop the line that it reads.
            let word: &[u8] = if heard.contains("37 91") { b"end\n" } else { b"go\n" };
            let asked = sizes(&heard) + 1;
            stdin.write_all(word).await?;
            while sizes(&heard) < asked {
                match fixture.clock.within(QUIET, stdout.read(&mut bytes)).await {
                    Some(Ok(0)) => return Ok(()),
                    Some(read) => heard += &String::from_utf8_lossy(&bytes[..read?]),
                    None => break,
                }
            }
        }
    };
    let talked: std::io::Result<()> = fixture.within("the output to end", talk).await;
    talked.expect("the streams work");
    assert!(heard.contains("37 91") && heard.contains("to-err"), "{heard:?}");
    assert_eq!(fixture.within("the exit", exit).await, Exit::Code(4));
    pod.remove().await;
}

/// How many lines are nothing but two numbers.
fn sizes(heard: &str) -> usize {
    let is_size = |line: &&str| line.split(' ').count() == 2 && line.split(' ').all(|word| word.parse::<u16>().is_ok());
    heard.split_inclusive('\n').filter_map(|line| line.strip_suffix("\r\n")).filter(is_size).count()
}

/// Contract 11: one that attached does not take the output from another, and leaving does not end the container.
async fn two_listeners(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Tick).await;
    let streams = Streams { stdout: true, ..Streams::default() };
    let opening = Opening::Attach { container: id.clone(), streams };
    let mut first = open(&fixture, opening.clone()).await;
    let mut second = open(&fixture, opening).await;
    for turn in 0..4 {
        let process = if turn % 2 == 0 { &mut first } else { &mut second };
        let stdout = process.stdout.as_mut().expect("an output");
        let mut heard = [0; 10];
        fixture.within("two ticks", stdout.read_exact(&mut heard)).await.expect("the output goes on");
        assert_eq!(&heard, b"tick\ntick\n");
    }
    drop((first, second));
    assert_eq!(fixture.status(&id).await.exit, None, "the container went with its listeners");
    pod.remove().await;
}

/// Contract 11: whoever listens inside is reached, and a port at which nobody listens is told.
async fn ports(fixture: Fixture) {
    let port = fixture.offers.port.expect("the check needs it");
    let pod = fixture.sandbox("a").await;
    pod.start("web", &Program::Serve(port)).await;
    let opening = Opening::PortForward { sandbox: pod.id.clone() };
    let Session::Ports(ports) = fixture.runtime.session(opening).await.expect("a session opens") else {
        panic!("ports were asked for")
    };
    for _ in 0..2 {
        // The server needs a moment to listen, each time. Some wait for their client to close first.
        let heard = fixture.until("an answer", || async {
            let mut heard = vec![0; Program::GREETING.len()];
            let mut stream = ports.connect(port).await.ok()?;
            let read = fixture.clock.within(Duration::from_secs(5), stream.read_exact(&mut heard)).await;
            read.is_some_and(|read| read.is_ok()).then_some(heard)
        });
        assert_eq!(String::from_utf8_lossy(&heard.await), Program::GREETING);
    }
    // Which of the two says so is the protocol's business.
    if let Ok(mut closed) = ports.connect(1).await {
        let read = fixture.within("the refusal", closed.read_to_string(&mut String::new())).await;
        assert!(read.is_err(), "nobody listens at port 1, and nothing says so");
    }
    pod.remove().await;
}
