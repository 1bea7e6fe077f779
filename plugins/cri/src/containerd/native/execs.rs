//! Commands beside a container's process: their pipes are held here, since they end with whoever asked for them.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use containerd_client::services::v1 as api;
use futures::{
    FutureExt, StreamExt,
    channel::{mpsc, oneshot},
    future::{BoxFuture, Either, join, join3, select},
};
use oci_spec::runtime::{Process as Specified, Spec};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy, duplex, sink},
    net::unix::pipe::{OpenOptions, Receiver, Sender},
};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};
use windlass_kernel::{
    ClockExt, Error, ErrorKind, Result,
    node::{Exit, Process, Streams, TermSize},
    runtime::{ContainerId, ContainerState, ExecOutput},
};

use super::{
    Containerd,
    calls::unless_gone,
    record::typed,
    streams::{Pipes, make_pipes, remove_folder},
};
use crate::wire::error_from_wire;

/// What waits between a session and a command.
const BUFFER: usize = 64 << 10;
/// The most that a command may say when its output is kept for an answer: what CRI's runtimes keep.
const OUTPUT_LIMIT: usize = 16 << 20;
/// How long the outputs of a command may stay open after it, held by what it left running.
const DRAIN: Duration = Duration::from_secs(10);

/// SIGKILL.
const KILL: u32 = 9;

/// A command that was started.
struct Started {
    container: String,
    exec: String,
    input: Option<Sender>,
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
}

/// The session's ends of its streams.
struct Ends {
    stdin: Option<DuplexStream>,
    stdout: Option<DuplexStream>,
    stderr: Option<DuplexStream>,
}

impl Containerd {
    /// Runs a command to its end.
    pub(super) async fn run_command(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Option<Duration>,
    ) -> Result<ExecOutput> {
        let streams = Streams { stdout: true, stderr: true, ..Streams::default() };
        let process = self.open_command(id, command, streams).await?;
        let Process { stdout, stderr, exit, .. } = process;
        let work = join3(kept(stdout), kept(stderr), exit);
        let done = match timeout {
            None => Some(work.await),
            // Dropping the session ends the command.
            Some(span) => self.0.setup.clock.within(span, work).await,
        };
        let Some((stdout, stderr, exit)) = done else {
            let message = format!("the command did not end within {:?}", timeout.unwrap_or_default());
            return Err(Error::new(ErrorKind::Timeout, message));
        };
        match exit {
            Exit::Code(code) => Ok(ExecOutput { code, stdout: stdout.into(), stderr: stderr.into() }),
            Exit::Failed(why) => Err(Error::new(ErrorKind::Unavailable, why).maybe_applied()),
        }
    }

    /// Starts a command with streams. It ends when the session is dropped, or the call.
    pub(super) async fn open_command(&self, id: &ContainerId, command: &[String], streams: Streams) -> Result<Process> {
        let (this, id, command) = (self.clone(), id.clone(), command.to_vec());
        // A session that nobody takes is dropped where it was made.
        self.own("cri.open_command", async move { this.begin_command(&id, &command, streams).await }).await
    }

    async fn begin_command(&self, id: &ContainerId, command: &[String], streams: Streams) -> Result<Process> {
        let kept = self.need_running(id).await?;
        let spec: Spec = serde_json::from_slice(&kept.spec).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("the specification of {id} cannot be read")).with_source(error)
        })?;
        let process = specified(&spec, command, streams.tty)?;
        let exec = self.fresh_id();
        let folder = self.0.state_dir.join("execs").join(format!("{id}.{exec}"));
        let pipes = make_pipes(&folder, streams)?;
        let started = self.start_command(id, &exec, process, &pipes, streams).await;
        let started = started.inspect_err(|_| drop(remove_folder(&folder)))?;
        let (size, sizes) = mpsc::channel(4);
        let (process, ends) = session(streams, size);
        let (give, exit) = oneshot::channel();
        let this = self.clone();
        self.detach_work("cri.exec", async move { this.follow_command(started, ends, sizes, give, &folder).await });
        let exit = exit.map(|exit| exit.unwrap_or_else(|_| Exit::Failed("the end of the command is not known".into())));
        Ok(Process { exit: exit.boxed(), ..process })
    }

    async fn start_command(
        &self,
        id: &ContainerId,
        exec: &str,
        process: Vec<u8>,
        pipes: &Pipes,
        streams: Streams,
    ) -> Result<Started> {
        let unusable = |error| Error::new(ErrorKind::Internal, "cannot open the pipes of a command").with_source(error);
        let output = |path: &str| (!path.is_empty()).then(|| OpenOptions::new().open_receiver(path)).transpose();
        // Ours are open first: containerd waits for that.
        let (stdout, stderr) = (output(&pipes.stdout).map_err(unusable)?, output(&pipes.stderr).map_err(unusable)?);
        let opened = (!pipes.stdin.is_empty()).then(|| OpenOptions::new().read_write(true).open_sender(&pipes.stdin));
        let input = opened.transpose().map_err(unusable)?;
        let request = api::ExecProcessRequest {
            container_id: id.to_string(),
            stdin: pipes.stdin.clone(),
            stdout: pipes.stdout.clone(),
            stderr: pipes.stderr.clone(),
            terminal: streams.tty,
            spec: Some(typed("Process", process)),
            exec_id: exec.to_owned(),
        };
        if let Err(status) = self.0.calls.tasks().exec(request).await {
            self.delete_command(id.as_str(), exec).await;
            return Err(error_from_wire("run a command", status));
        }
        let request = api::StartRequest { container_id: id.to_string(), exec_id: exec.to_owned() };
        if let Err(status) = self.0.calls.tasks().start(request).await {
            // It may run, where the answer was lost.
            self.kill_command(id.as_str(), exec).await;
            self.delete_command(id.as_str(), exec).await;
            return Err(error_from_wire("run a command", status));
        }
        Ok(Started { container: id.to_string(), exec: exec.to_owned(), input, stdout, stderr })
    }

    /// Carries a command's streams until it has ended and everything was heard, or nobody wants it any more.
    async fn follow_command(
        &self,
        started: Started,
        ends: Ends,
        mut sizes: mpsc::Receiver<TermSize>,
        mut give: oneshot::Sender<Exit>,
        folder: &Path,
    ) {
        let Started { container, exec, input, stdout, stderr } = started;
        let feeding = async {
            if let (Some(mut from), Some(mut to)) = (ends.stdin, input) {
                let _ = copy(&mut from, &mut to).await;
                drop(to);
                self.close_input(&container, &exec).await;
            }
        };
        let sizing = async {
            while let Some(size) = sizes.next().await {
                self.resize(&container, &exec, size).await;
            }
        };
        let hearing = async {
            let moved = Moved::default();
            let outputs = join(pour(stdout, ends.stdout, &moved), pour(stderr, ends.stderr, &moved));
            match select(self.wait(&container, &exec).boxed(), outputs.boxed()).await {
                Either::Left((exit, outputs)) => {
                    self.drain(outputs, &moved).await;
                    exit
                }
                Either::Right((_, wait)) => wait.await,
            }
        };
        // Neither the end of the input nor that of the sizes is the session's.
        let beside = join3(feeding, sizing, futures::future::pending::<()>());
        let work = async {
            match select(hearing.boxed(), beside.boxed()).await {
                Either::Left((exit, _)) => exit,
                Either::Right(_) => Ok(None),
            }
        };
        let exit = match select(work.boxed(), give.cancellation().boxed()).await {
            Either::Left((exit, _)) => Some(exit),
            Either::Right(_) => None,
        };
        if !matches!(exit, Some(Ok(_))) {
            self.kill_command(&container, &exec).await;
        }
        // One that could not be ended is found by its folder, when the runtime is started anew.
        if self.delete_command(&container, &exec).await {
            let _ = remove_folder(folder);
        }
        let told = match exit {
            Some(Ok(Some(exit))) => Exit::Code(exit.code),
            Some(Ok(None)) | None => Exit::Failed("the end of the command is not known".into()),
            Some(Err(error)) => Exit::Failed(error.to_string()),
        };
        let _ = give.send(told);
    }

    /// Waits for outputs to end, as long as something comes: what the command left running may hold them for ever. A reader that
    /// takes its time with what came is waited for.
    async fn drain(&self, mut outputs: BoxFuture<'_, ((), ())>, moved: &Moved) {
        loop {
            let before = moved.reads.load(Ordering::Relaxed);
            let ended = self.0.setup.clock.within(DRAIN, &mut outputs).await.is_some();
            let waits = moved.waiting.load(Ordering::Relaxed) > 0;
            if ended || (!waits && moved.reads.load(Ordering::Relaxed) == before) {
                return;
            }
        }
    }

    async fn kill_command(&self, container: &str, exec: &str) {
        let request =
            api::KillRequest { container_id: container.to_owned(), exec_id: exec.to_owned(), signal: KILL, all: false };
        // It may have ended by itself.
        if self.0.calls.tasks().kill(request).await.is_ok() {
            let _ = self.0.setup.clock.within(DRAIN, self.wait(container, exec)).await;
        }
    }

    /// Lets the record of a command go that has ended; answers whether it is gone.
    async fn delete_command(&self, container: &str, exec: &str) -> bool {
        let request = api::DeleteProcessRequest { container_id: container.to_owned(), exec_id: exec.to_owned() };
        // The container may be gone, and its commands with it.
        unless_gone("let a command go", self.0.calls.tasks().delete_process(request).await).is_ok()
    }

    pub(super) async fn resize(&self, container: &str, exec: &str, size: TermSize) {
        let request = api::ResizePtyRequest {
            container_id: container.to_owned(),
            exec_id: exec.to_owned(),
            width: size.width.into(),
            height: size.height.into(),
        };
        // A terminal that has ended has no size.
        let _ = self.0.calls.tasks().resize_pty(request).await;
    }

    /// Ends commands whose sessions ended with the process that held them.
    pub(super) async fn end_left_commands(&self) {
        let folder = self.0.state_dir.join("execs");
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if let Some((container, exec)) = entry.file_name().to_str().and_then(|name| name.split_once('.')) {
                self.kill_command(container, exec).await;
                // One that does not end is tried again.
                if !self.delete_command(container, exec).await {
                    continue;
                }
            }
            let _ = remove_folder(&entry.path());
        }
    }

    /// A container in which something can be run.
    pub(super) async fn need_running(&self, id: &ContainerId) -> Result<super::record::Kept> {
        let kept = self.need_container(id).await?;
        match self.state_of(&kept).await? {
            ContainerState::Running => Ok(kept),
            _ => Err(Error::new(ErrorKind::Conflict, format!("container {id} does not run"))),
        }
    }
}

/// The container's process, with another command.
fn specified(spec: &Spec, command: &[String], tty: bool) -> Result<Vec<u8>> {
    let mut process: Specified = spec.process().clone().unwrap_or_default();
    process.set_args(Some(command.to_vec())).set_terminal(Some(tty));
    serde_json::to_vec(&process)
        .map_err(|error| Error::new(ErrorKind::Internal, "cannot describe a command").with_source(error))
}

/// Both ends of a session.
fn session(streams: Streams, size: mpsc::Sender<TermSize>) -> (Process, Ends) {
    let pair = |wanted: bool| wanted.then(|| duplex(BUFFER)).unzip();
    let (stdin, from) = pair(streams.stdin);
    let (stdout, out) = pair(streams.stdout);
    let (stderr, err) = pair(streams.stderr && !streams.tty);
    let process = Process {
        stdin: stdin.map(|stdin| Box::new(stdin.compat_write()) as Box<_>),
        stdout: stdout.map(|stdout| Box::new(stdout.compat()) as Box<_>),
        stderr: stderr.map(|stderr| Box::new(stderr.compat()) as Box<_>),
        resize: streams.tty.then_some(size),
        exit: futures::future::pending().boxed(),
    };
    (process, Ends { stdin: from, stdout: out, stderr: err })
}

/// What goes through outputs.
#[derive(Debug, Default)]
struct Moved {
    reads: AtomicU64,
    /// How many wait for a reader.
    waiting: AtomicU64,
}

/// Passes an output on, to its end, and counts. When nobody listens any more it goes nowhere, so that the process does not stop.
async fn pour(from: Option<Receiver>, to: Option<DuplexStream>, moved: &Moved) {
    let (Some(mut from), Some(to)) = (from, to) else { return };
    let (mut to, mut buffer) = (Some(to), vec![0; 16 << 10]);
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        moved.waiting.fetch_add(1, Ordering::Relaxed);
        if let Some(stream) = &mut to
            && stream.write_all(&buffer[..count]).await.is_err()
        {
            to = None;
        }
        moved.waiting.fetch_sub(1, Ordering::Relaxed);
        moved.reads.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads an output to its end and keeps its beginning.
async fn kept(from: Option<Box<dyn futures::AsyncRead + Send + Unpin>>) -> Vec<u8> {
    let Some(from) = from else { return Vec::new() };
    let mut from = tokio_util::compat::FuturesAsyncReadCompatExt::compat(from);
    let mut bytes = Vec::new();
    let _ = (&mut from).take(OUTPUT_LIMIT as u64).read_to_end(&mut bytes).await;
    let _ = copy(&mut from, &mut sink()).await;
    bytes
}
