//! What a scripted pod says: a log of its steps, a few commands, and ports that answer HTTP and echo the rest.

use std::{fmt::Write as _, sync::Arc};

use bytes::Bytes;
use futures::{
    AsyncWriteExt, FutureExt, StreamExt,
    channel::{mpsc, oneshot},
    future::BoxFuture,
    io::Cursor,
    stream,
};
use windlass_kernel::{
    Result, Spawn, SpawnExt,
    api::Chunks,
    controller::ObjectKey,
    dial::ByteStream,
    node::{Exit, LogRequest, Ports, Process, Session, SessionRequest, Streams},
    runtime::ExecOutput,
};

use super::{
    commands,
    life::{Instance, Served},
    pod::{Id, Running},
    web,
};
use crate::pipe;

/// One line for each container that has started, and what its script says.
pub(super) fn logs(running: &Running, request: &LogRequest, said: &str) -> Chunks {
    let mut text = String::new();
    let statuses = running.status.init_container_statuses.iter().chain(&running.status.container_statuses);
    for status in statuses.filter(|status| request.container.is_empty() || status.name == request.container) {
        let started = status.state.running.as_ref().and_then(|running| running.started_at);
        let started = started.or(status.state.terminated.as_ref().and_then(|ended| ended.started_at));
        if let Some(at) = started {
            if request.timestamps {
                let _ = write!(text, "{} ", at.0);
            }
            let _ = writeln!(text, "{} runs {}", status.name, status.image);
            for line in said.lines() {
                if request.timestamps {
                    let _ = write!(text, "{} ", at.0);
                }
                let _ = writeln!(text, "{line}");
            }
        }
    }
    if request.tail_lines == Some(0) {
        text.clear();
    }
    text.truncate(
        request.limit_bytes.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(text.len()).min(text.len()),
    );
    let said = stream::iter((!text.is_empty()).then(|| Ok(Bytes::from(text))));
    // A follower waits for more, which a script never says.
    if request.follow { Chunks(said.chain(stream::pending()).boxed()) } else { Chunks(said.boxed()) }
}

pub(super) fn open(running: &Running, request: SessionRequest, spawn: &Arc<dyn Spawn>) -> Session {
    match request {
        SessionRequest::Exec { command, streams, container, .. } => {
            let instance = running.life.as_ref().and_then(|life| life.instance(&container));
            exec(&command, streams, instance.as_deref(), spawn)
        }
        SessionRequest::Attach { streams, .. } => {
            let name = running.pod.spec.containers.first().map(|container| container.name.clone()).unwrap_or_default();
            exec(&["echo".into(), name], streams, None, spawn)
        }
        SessionRequest::PortForward { .. } => match &running.life {
            Some(life) => Session::Ports(Box::new(Served(Arc::clone(life)))),
            None => Session::Ports(Box::new(Scripted { pod: Id::of(&running.pod).key, spawn: Arc::clone(spawn) })),
        },
    }
}

fn exec(command: &[String], streams: Streams, instance: Option<&Instance>, spawn: &Arc<dyn Spawn>) -> Session {
    if streams.stdin && command == ["cat"] {
        return cat(spawn);
    }
    let ExecOutput { code, stdout, stderr } = run(command, instance);
    Session::Process(Process {
        stdin: streams.stdin.then(|| Box::new(futures::io::sink()) as _),
        stdout: streams.stdout.then(|| Box::new(Cursor::new(stdout)) as _),
        stderr: streams.stderr.then(|| Box::new(Cursor::new(stderr)) as _),
        resize: streams.tty.then(|| mpsc::channel(1).0),
        exit: async move { Exit::Code(code) }.boxed(),
    })
}

/// Runs a command in a container: what its program makes of it, or what [`commands`] do.
pub(super) fn run(command: &[String], instance: Option<&Instance>) -> ExecOutput {
    if let Some((code, said)) = instance.and_then(Instance::commands).and_then(|own| own(command)) {
        return ExecOutput { code, stdout: said.into(), stderr: Bytes::new() };
    }
    commands::run(command, &|path| instance?.path(path))
}

/// Gives back what comes in, until that ends.
fn cat(spawn: &Arc<dyn Spawn>) -> Session {
    let (stdin, mut from) = pipe::pipe();
    let (mut to, stdout) = pipe::pipe();
    let (done, ended) = oneshot::channel();
    let copying = async move {
        let _ = futures::io::copy(&mut from, &mut to).await;
        let _ = to.close().await;
        let _ = done.send(());
    };
    spawn.spawn("fake.cat", copying).detach();
    Session::Process(Process {
        stdin: Some(Box::new(stdin)),
        stdout: Some(Box::new(stdout)),
        stderr: Some(Box::new(Cursor::new(Vec::new()))),
        resize: None,
        exit: ended.map(|_| Exit::Code(0)).boxed(),
    })
}

struct Scripted {
    pod: ObjectKey,
    spawn: Arc<dyn Spawn>,
}

impl Ports for Scripted {
    fn connect(&self, port: u16) -> BoxFuture<'static, Result<ByteStream>> {
        let (near, far) = pipe::duplex();
        let pod = self.pod.clone();
        let serving = async move {
            // A client that leaves in the middle of something is none of the pod's business.
            let _ = web::serve(far, pod, port).await;
        };
        self.spawn.spawn("fake.port", serving).detach();
        async move { Ok(Box::new(near) as ByteStream) }.boxed()
    }
}
