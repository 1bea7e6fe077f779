//! The program that stands between a container and everybody who wants to hear it: it writes the log, passes the output on to those
//! who attached, and their input to the container.
//!
//! It is a process of its own, one for each container that runs, so that neither the end of the node agent nor its restart stops or
//! blocks a container. It ends with the container's outputs. It knows nothing of containerd.

mod log;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{
    FutureExt, SinkExt, StreamExt,
    channel::mpsc,
    future::{BoxFuture, join_all},
    select_biased,
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixListener, UnixStream,
        unix::pipe::{OpenOptions, Receiver, Sender},
    },
};
use windlass_grpc::Machine;
use windlass_kernel::{Clock, ClockExt, Spawn, SpawnExt, Stop};

use self::log::Log;
use super::frames::{self, ASK_ATTACH, ASK_QUIT, ASK_REOPEN, FAILED, INPUT, OK, STDERR, STDOUT};

/// Frames that wait for a listener.
const QUEUE: usize = 64;
/// A listener that takes nothing for so long is left behind: the container must not wait for it.
const STALLED: Duration = Duration::from_secs(10);
/// How long outputs may take to end once nobody needs them any more.
const LINGER: Duration = Duration::from_secs(1);

/// Names of what is in a container's folder.
pub(super) const SOCKET: &str = "socket";
const LOCK: &str = "lock";
pub(super) const PIPES: [&str; 3] = ["stdin", "stdout", "stderr"];
/// Words that say what a container has.
pub(super) const HAS_INPUT: &str = "stdin";
pub(super) const INPUT_ONCE: &str = "once";
pub(super) const TERMINAL: &str = "tty";

/// Runs the program: `FOLDER LOG [stdin] [once] [tty]`, where an empty `LOG` keeps none. It is started by the runtime only.
pub fn carry(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let (Some(folder), Some(log)) = (arguments.next(), arguments.next()) else {
        eprintln!("this program is started by the container runtime");
        return ExitCode::FAILURE;
    };
    let words: Vec<String> = arguments.collect();
    // Signals for whoever started it are not for it. A leader of its session already has one.
    let _ = nix::unistd::setsid();
    let done = tokio::runtime::Builder::new_current_thread().enable_all().build().and_then(|tokio| {
        let machine = Arc::new(Machine::on(tokio.handle().clone()));
        tokio.block_on(run(Path::new(&folder), PathBuf::from(log), &words, machine))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot carry what is in {folder}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(folder: &Path, log: PathBuf, words: &[String], machine: Arc<Machine>) -> io::Result<()> {
    let has = |word: &str| words.iter().any(|known| known == word);
    // Two on the same pipes would each have half of what is said. It is let go with the process.
    let alone = File::create(folder.join(LOCK))?;
    alone.try_lock()?;
    let open = |name: &str| OpenOptions::new().open_receiver(folder.join(name));
    let mut outputs = vec![(STDOUT, open(PIPES[1])?)];
    if !has(TERMINAL) {
        outputs.push((STDERR, open(PIPES[2])?));
    }
    // Open for both, so that it opens before the container's side does.
    let input = has(HAS_INPUT).then(|| OpenOptions::new().read_write(true).open_sender(folder.join(PIPES[0])));
    let input = input.transpose()?;
    let socket = folder.join(SOCKET);
    // One that was killed leaves its own.
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket)?;
    let clock: Arc<dyn Clock> = machine.clone();
    let log = if log.as_os_str().is_empty() { None } else { Some(Log::open(log, Arc::clone(&clock))?) };
    let carrier = Arc::new(Carrier {
        log: Mutex::new(log),
        listeners: Mutex::default(),
        input: async_lock::Mutex::new(input),
        once: has(INPUT_ONCE),
        attached: AtomicUsize::new(0),
        quit: Stop::new(),
        clock,
    });
    let _serving = machine.spawn("carry.serve", Arc::clone(&carrier).serve(listener, machine.clone()));
    let pumps = join_all(outputs.into_iter().map(|(stream, pipe)| Arc::clone(&carrier).pump(stream, pipe)));
    let quit = async {
        carrier.quit.wait().await;
        carrier.clock.sleep(LINGER).await;
    };
    select_biased! {
        _ = pumps.fuse() => {}
        () = quit.boxed().fuse() => {}
    }
    carrier.end().await;
    let _ = std::fs::remove_file(&socket);
    Ok(())
}

struct Carrier {
    log: Mutex<Option<Log>>,
    listeners: Mutex<Vec<Listener>>,
    input: async_lock::Mutex<Option<Sender>>,
    once: bool,
    /// How many are being told something.
    attached: AtomicUsize,
    quit: Stop,
    clock: Arc<dyn Clock>,
}

/// Someone who attached.
#[derive(Clone)]
struct Listener {
    /// [`frames::wants`].
    wants: u8,
    give: mpsc::Sender<Bytes>,
}

impl Carrier {
    /// Carries one output to its end.
    async fn pump(self: Arc<Self>, stream: u8, mut pipe: Receiver) {
        let mut buffer = vec![0; 16 << 10];
        // Nothing is ready before the container's side has opened, so nothing read is the end.
        while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
            if let Some(log) = &mut *self.log.lock() {
                log.write(stream, &buffer[..count]);
            }
            self.tell(stream, &buffer[..count]).await;
        }
        if let Some(log) = &mut *self.log.lock() {
            log.end(stream);
        }
    }

    /// Passes bytes on to all who want them.
    async fn tell(&self, stream: u8, bytes: &[u8]) {
        let wanting = |listener: &Listener| listener.wants & frames::wants(stream) != 0;
        let listeners: Vec<_> = self.listeners.lock().iter().filter(|listener| wanting(listener)).cloned().collect();
        if listeners.is_empty() {
            return;
        }
        let frame = frames::frame(stream, bytes);
        for mut listener in listeners {
            let sent = self.clock.within(STALLED, listener.give.send(frame.clone())).await;
            if !matches!(sent, Some(Ok(()))) {
                self.listeners.lock().retain(|other| !other.give.same_receiver(&listener.give));
            }
        }
    }

    /// Lets everybody have what is still theirs.
    async fn end(&self) {
        for listener in &mut *self.listeners.lock() {
            listener.give.close_channel();
        }
        let end = self.clock.uptime() + STALLED;
        while self.attached.load(Ordering::Relaxed) > 0 && self.clock.uptime() < end {
            self.clock.sleep(Duration::from_millis(2)).await;
        }
    }

    async fn serve(self: Arc<Self>, listener: UnixListener, machine: Arc<Machine>) {
        while let Ok((stream, _)) = listener.accept().await {
            let carrier = Arc::clone(&self);
            let talk: BoxFuture<'static, ()> = async move {
                // Who does not speak the language is none of ours.
                let _ = carrier.talk(stream).await;
            }
            .boxed();
            machine.start("carry.talk", talk);
        }
    }

    async fn talk(self: Arc<Self>, mut stream: UnixStream) -> io::Result<()> {
        match stream.read_u8().await? {
            ASK_REOPEN => {
                let done = self.log.lock().as_mut().map_or(Ok(()), Log::reopen);
                let answer = done.err().map(|error| error.to_string());
                stream.write_u8(if answer.is_some() { FAILED } else { OK }).await?;
                stream.write_all(answer.unwrap_or_default().as_bytes()).await
            }
            ASK_QUIT => {
                self.quit.stop();
                stream.write_u8(OK).await
            }
            ASK_ATTACH => {
                let wants = stream.read_u8().await?;
                self.attached.fetch_add(1, Ordering::Relaxed);
                let done = self.attach(stream, wants).await;
                self.attached.fetch_sub(1, Ordering::Relaxed);
                done
            }
            _ => Ok(()),
        }
    }

    async fn attach(&self, stream: UnixStream, wants: u8) -> io::Result<()> {
        let (give, mut take) = mpsc::channel(QUEUE);
        self.listeners.lock().push(Listener { wants, give: give.clone() });
        let (mut from, mut to) = stream.into_split();
        to.write_u8(OK).await?;
        let sending = async {
            while let Some(frame) = take.next().await {
                if to.write_all(&frame).await.is_err() {
                    break;
                }
            }
        };
        let mut closed = give.clone();
        let receiving = async {
            loop {
                match frames::read(&mut from).await {
                    Ok(Some((INPUT, bytes))) if !bytes.is_empty() => self.feed(&bytes).await,
                    Ok(Some(_)) if self.once => {
                        *self.input.lock().await = None;
                        // The other side has one more end of the input to close.
                        let _ = closed.send(frames::frame(INPUT, &[])).await;
                    }
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => break,
                }
            }
        };
        select_biased! {
            () = sending.boxed().fuse() => {}
            () = receiving.boxed().fuse() => {}
        }
        self.listeners.lock().retain(|other| !other.give.same_receiver(&give));
        // Who left without a word was the first that could speak: its end is the input's.
        if self.once && wants & frames::wants(INPUT) != 0 {
            *self.input.lock().await = None;
        }
        Ok(())
    }

    async fn feed(&self, bytes: &[u8]) {
        let mut input = self.input.lock().await;
        let Some(pipe) = &mut *input else { return };
        if pipe.write_all(bytes).await.is_err() {
            *input = None;
        }
    }
}
