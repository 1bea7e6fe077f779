//! The streams of containers: named pipes, the program that carries them, and sessions that attach to it.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures::{FutureExt, future::Either, future::select};
use nix::{sys::stat::Mode, unistd::mkfifo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio_util::compat::FuturesAsyncReadCompatExt;
use windlass_kernel::{
    ClockExt, Error, ErrorKind, Result, SpawnExt, Stop,
    dial::Target,
    node::Streams,
    runtime::{ContainerConfig, ContainerId},
};

use super::{
    Containerd,
    carry::{HAS_INPUT, INPUT_ONCE, PIPES, SOCKET, TERMINAL},
    frames::{self, ASK_ATTACH, ASK_QUIT, ASK_REOPEN, INPUT, OK, STDERR, STDOUT},
    record::{Kept, label},
};

/// How long the program may take to be there.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);
/// What waits between a session and a container.
const BUFFER: usize = 64 << 10;

/// Where the pipes of a process are.
#[derive(Clone, Debug, Default)]
pub(super) struct Pipes {
    pub(super) stdin: String,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Makes a folder with pipes in it. What is there already is used.
pub(super) fn make_pipes(folder: &Path, streams: Streams) -> Result<Pipes> {
    let failed = |error: io::Error| {
        Error::new(ErrorKind::Internal, format!("cannot make pipes in {}", folder.display())).with_source(error)
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let make = |wanted: bool, name: &str| {
        let path = folder.join(name);
        match wanted.then(|| mkfifo(&path, Mode::from_bits_truncate(0o600))) {
            None => Ok(String::new()),
            Some(Ok(()) | Err(nix::Error::EEXIST)) => Ok(path.display().to_string()),
            Some(Err(error)) => Err(failed(error.into())),
        }
    };
    Ok(Pipes {
        stdin: make(streams.stdin, PIPES[0])?,
        stdout: make(streams.stdout, PIPES[1])?,
        stderr: make(streams.stderr && !streams.tty, PIPES[2])?,
    })
}

/// The streams that a container has.
pub(super) fn of_container(config: &ContainerConfig) -> Streams {
    Streams { stdin: config.stdin, stdout: true, stderr: !config.tty, tty: config.tty }
}

/// A session's ends of the streams of a process.
pub(super) struct Attached {
    pub(super) stdin: Option<DuplexStream>,
    pub(super) stdout: Option<DuplexStream>,
    pub(super) stderr: Option<DuplexStream>,
    /// Carries bytes for as long as it is polled; it ends with the outputs.
    pub(super) carrying: futures::future::BoxFuture<'static, ()>,
    /// Stops once the end of the session's input was that of the container's.
    pub(super) closed: Stop,
}

impl Containerd {
    /// The folder of a container's pipes.
    pub(super) fn pipes_folder(&self, id: &str) -> PathBuf {
        self.0.state_dir.join("io").join(id)
    }

    /// Starts the program that carries a container's streams, and waits until it does.
    pub(super) async fn carry(&self, id: &str, config: &ContainerConfig, log: &str) -> Result<Pipes> {
        let folder = self.pipes_folder(id);
        let pipes = make_pipes(&folder, of_container(config))?;
        let words = [(config.stdin, HAS_INPUT), (config.stdin_once, INPUT_ONCE), (config.tty, TERMINAL)];
        let words = words.into_iter().filter_map(|(has, word)| has.then_some(word));
        let Some((program, first)) = self.0.carrier.split_first() else {
            return Err(Error::new(ErrorKind::Invalid, "no program was named that carries streams"));
        };
        let mut command = Command::new(program);
        command.args(first).arg(&folder).arg(log).args(words);
        // Nothing of this process is its business.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).env_clear().current_dir("/");
        let child = command.spawn().map_err(|error| {
            let message = format!("cannot start {program}, which carries streams");
            Error::new(ErrorKind::Unavailable, message).with_source(error)
        })?;
        let pid = child.id();
        self.0.children.lock().push(child);
        let end = self.0.setup.clock.uptime() + PATIENCE;
        while !self.is_carried(id).await {
            if let Some(how) = self.ended_child(pid) {
                let message = format!("{program}, which carries the streams of {id}, ended at once: {how}");
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
            if self.0.setup.clock.uptime() >= end {
                self.end_child(pid);
                return Err(Error::new(ErrorKind::Unavailable, format!("the streams of {id} are not carried")));
            }
            self.0.setup.clock.sleep(PAUSE).await;
        }
        self.reap();
        Ok(pipes)
    }

    /// Sees to it that the streams of what runs are carried. The pipes are open on the other side, so nothing that was said is lost.
    pub(super) async fn ensure_carried(&self, kept: &Kept) -> Result<()> {
        let _id = self.0.locks.lock(&kept.id).await;
        // What has ended meanwhile says nothing any more, and is not started to be carried again.
        if self.is_carried(&kept.id).await || self.running_task(&kept.id).await?.is_none() {
            return Ok(());
        }
        match self.carry(&kept.id, &kept.container_config()?, kept.label(label::LOG)).await {
            // With the container's outputs the program ends, too.
            Err(_) if self.running_task(&kept.id).await?.is_none() => Ok(()),
            carried => carried.map(drop),
        }
    }

    /// How a program ended, if it has.
    fn ended_child(&self, pid: u32) -> Option<String> {
        let ended = match self.0.children.lock().iter_mut().find(|child| child.id() == pid).map(Child::try_wait) {
            Some(Ok(None)) => return None,
            Some(Ok(Some(status))) => status.to_string(),
            Some(Err(error)) => error.to_string(),
            // Somebody else took note of it.
            None => "it is gone".into(),
        };
        self.reap();
        Some(ended)
    }

    /// Kills a program that does not do what it was started for.
    fn end_child(&self, pid: u32) {
        let mut children = self.0.children.lock();
        if let Some(at) = children.iter().position(|child| child.id() == pid) {
            let mut child = children.swap_remove(at);
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Takes note of those that have ended.
    pub(super) fn reap(&self) {
        self.0.children.lock().retain_mut(|child: &mut Child| matches!(child.try_wait(), Ok(None)));
    }

    pub(super) async fn is_carried(&self, id: &str) -> bool {
        self.reach_carrier(id).await.is_ok()
    }

    async fn reach_carrier(&self, id: &str) -> Result<impl AsyncRead + tokio::io::AsyncWrite + Unpin + Send + use<>> {
        let socket = self.pipes_folder(id).join(SOCKET);
        Ok(self.0.setup.dial.dial(&Target::Unix(socket.display().to_string())).await?.compat())
    }

    /// Asks for a new log file.
    pub(super) async fn ask_reopen(&self, id: &str) -> Result<()> {
        let mut stream = self.reach_carrier(id).await?;
        let broken = |error| Error::new(ErrorKind::Unavailable, "the log's writer does not answer").with_source(error);
        stream.write_u8(ASK_REOPEN).await.map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        if stream.read_u8().await.map_err(broken)? == OK {
            return Ok(());
        }
        let mut why = String::new();
        stream.read_to_string(&mut why).await.map_err(broken)?;
        Err(Error::new(ErrorKind::Internal, format!("cannot open the log anew: {why}")))
    }

    /// Ends the carrying of what has ended, and takes the pipes away. Gone is success.
    pub(super) async fn end_carrying(&self, id: &str) -> Result<()> {
        if let Ok(mut stream) = self.reach_carrier(id).await {
            // It may end while it is asked to.
            let _ = stream.write_u8(ASK_QUIT).await;
            let _ = stream.flush().await;
            let _ = stream.read_u8().await;
        }
        let end = self.0.setup.clock.uptime() + PATIENCE;
        while self.is_carried(id).await && self.0.setup.clock.uptime() < end {
            self.0.setup.clock.sleep(PAUSE).await;
        }
        self.reap();
        remove_folder(&self.pipes_folder(id))
    }

    /// Attaches to a container that is carried.
    pub(super) async fn attach_to(&self, id: &ContainerId, streams: Streams) -> Result<Attached> {
        let broken = |error| Error::new(ErrorKind::Unavailable, format!("cannot attach to {id}")).with_source(error);
        let mut stream = self.reach_carrier(id.as_str()).await?;
        let wants = [(streams.stdin, INPUT), (streams.stdout, STDOUT), (streams.stderr && !streams.tty, STDERR)];
        let wants = wants.iter().filter(|(wanted, _)| *wanted).fold(0, |all, (_, kind)| all | frames::wants(*kind));
        stream.write_all(&[ASK_ATTACH, wants]).await.map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        if stream.read_u8().await.map_err(broken)? != OK {
            return Err(Error::new(ErrorKind::Unavailable, format!("cannot attach to {id}")));
        }
        let pair = |wanted: bool| wanted.then(|| duplex(BUFFER)).unzip();
        let (stdin, input) = pair(streams.stdin);
        let (stdout, out) = pair(streams.stdout);
        let (stderr, err) = pair(streams.stderr && !streams.tty);
        let (from, to) = split(stream);
        let (this, id, closed) = (self.clone(), id.clone(), Stop::new());
        let closing = closed.clone();
        let carrying = async move {
            let close = async || {
                this.close_input(id.as_str(), "").await;
                closing.stop();
            };
            let hearing = hear(from, out, err, close).boxed();
            // The input's end is not the session's.
            if let Either::Right(((), hearing)) = select(hearing, speak(input, to).boxed()).await {
                hearing.await;
            }
        };
        Ok(Attached { stdin, stdout, stderr, carrying: carrying.boxed(), closed })
    }

    /// Closes containerd's own end of an input, which otherwise keeps it open.
    pub(super) async fn close_input(&self, id: &str, exec: &str) {
        let request = containerd_client::services::v1::CloseIoRequest {
            container_id: id.to_owned(),
            exec_id: exec.to_owned(),
            stdin: true,
        };
        // The process may have ended by itself.
        let _ = self.0.calls.tasks().close_io(request).await;
    }

    /// Runs work that outlives the call that began it.
    pub(super) fn detach_work(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.0.setup.spawn.spawn(name, work).detach();
    }
}

/// Passes on what a container says, to its end. Who does not listen any more is left out.
async fn hear<F: Future<Output = ()>>(
    mut from: impl AsyncRead + Unpin,
    mut out: Option<DuplexStream>,
    mut err: Option<DuplexStream>,
    closed: impl Fn() -> F,
) {
    while let Ok(Some((kind, bytes))) = frames::read(&mut from).await {
        let to = match kind {
            STDOUT => &mut out,
            STDERR => &mut err,
            INPUT => {
                closed().await;
                continue;
            }
            _ => continue,
        };
        if let Some(stream) = to
            && stream.write_all(&bytes).await.is_err()
        {
            *to = None;
        }
    }
}

/// Passes on what a session says, then that it has said everything.
async fn speak(input: Option<DuplexStream>, mut to: impl tokio::io::AsyncWrite + Unpin) {
    let Some(mut input) = input else { return };
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = input.read(&mut buffer).await {
        if to.write_all(&frames::frame(INPUT, &buffer[..count])).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    let _ = to.write_all(&frames::frame(INPUT, &[])).await;
    let _ = to.flush().await;
}

/// Removes a folder. Gone is success.
pub(super) fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::new(ErrorKind::Internal, format!("cannot remove {}", folder.display())).with_source(error))
        }
        _ => Ok(()),
    }
}
