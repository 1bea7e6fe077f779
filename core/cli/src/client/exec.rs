//! `windlass exec`: a command in a container, with this process's streams. Ends with the command's own exit code.

use std::{
    io::{self, Read, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};
use futures::{AsyncRead, AsyncReadExt, AsyncWriteExt, SinkExt, channel::mpsc, future};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use windlass::kernel::{
    Error, ErrorKind, Spawn, SpawnExt,
    api::{Answer, GroupVersionResource, Verb},
    node::{Exit, Process, Session, TermSize},
};
use windlass::rim::TokioSpawn;

use super::connect::within;
use crate::args::Exec;

pub(crate) fn run(exec: &Exec) -> Result<ExitCode> {
    within(&exec.scope, async |connected| {
        let pods = GroupVersionResource::of("", "v1", "pods");
        let mut request = connected.client.request(Verb::Connect, pods).in_namespace(&connected.namespace);
        request = request.named(exec.pod.trim_start_matches("pod/")).subresource("exec");
        let mut add = |name: &str, value: &str| request.options.query.push((name.into(), value.into()));
        if let Some(container) = &exec.container {
            add("container", container);
        }
        exec.command.iter().for_each(|word| add("command", word));
        add("stdout", "true");
        // A terminal has one output.
        for (name, is_set) in [("stdin", exec.stdin), ("tty", exec.tty), ("stderr", !exec.tty)] {
            if is_set {
                add(name, "true");
            }
        }
        match connected.client.call(request).await?.answer {
            Answer::Session(Session::Process(process)) => converse(process).await,
            other => Err(Error::new(ErrorKind::Internal, format!("expected a session, got {other:?}")).into()),
        }
    })
}

/// Connects the streams until the command has ended.
async fn converse(process: Process) -> Result<ExitCode> {
    let spawn = TokioSpawn::current();
    let Process { stdin, stdout, stderr, resize, exit } = process;
    let raw = if resize.is_some() { Raw::enter() } else { None };
    let typed = stdin.map(|stdin| spawn.spawn("exec.stdin", pump_in(stdin)));
    let sized = resize.map(|resize| spawn.spawn("exec.resize", follow_size(resize)));
    let (written, complained) = future::join(pump_out(stdout, io::stdout()), pump_out(stderr, io::stderr())).await;
    let exit = exit.await;
    drop((typed, sized, raw));
    written.and(complained).context("cannot pass on what the command writes")?;
    match exit {
        Exit::Code(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))),
        Exit::Failed(why) => {
            Err(Error::new(ErrorKind::Unavailable, format!("the command's end is not known: {why}")).into())
        }
    }
}

async fn pump_out(from: Option<Box<dyn AsyncRead + Send + Unpin>>, mut to: impl Write) -> io::Result<()> {
    let Some(mut from) = from else { return Ok(()) };
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count]).and_then(|()| to.flush())?,
        }
    }
}

/// Passes on what is typed. Reading blocks, so it has a thread of its own, which ends with the process.
async fn pump_in(mut to: Box<dyn futures::AsyncWrite + Send + Unpin>) {
    let (give, mut take) = mpsc::channel::<Vec<u8>>(1);
    TokioSpawn::current().blocking("exec.read", Box::new(move || read(give)));
    while let Some(chunk) = futures::StreamExt::next(&mut take).await {
        if to.write_all(&chunk).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    // The command may have ended before its input.
    let _ = to.close().await;
}

fn read(mut give: mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = io::stdin().read(&mut buffer) {
        if futures::executor::block_on(give.send(buffer[..count].to_vec())).is_err() {
            return;
        }
    }
}

/// Tells the terminal's size, now and whenever it changes.
async fn follow_size(mut to: mpsc::Sender<TermSize>) {
    let Ok(mut changed) = signal(SignalKind::window_change()) else { return };
    loop {
        if let Ok(size) = tcgetwinsize(rustix::stdio::stdout()) {
            let size = TermSize { width: size.ws_col, height: size.ws_row };
            if to.send(size).await.is_err() {
                return;
            }
        }
        changed.recv().await;
    }
}

/// A terminal that passes keys on as they are, until dropped.
struct Raw(Termios);

impl Raw {
    /// Nothing where the standard input is no terminal.
    fn enter() -> Option<Self> {
        let before = tcgetattr(rustix::stdio::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs no mending.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.0);
    }
}
