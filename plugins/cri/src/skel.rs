//! A CRI server from any `ContainerRuntime` and `ImageStore`: both services on a socket, a streaming server beside it, and a
//! program in one line of `main`.
//!
//! Here are the protocol's manners: which fields must be there, which codes errors have, where sessions are served. What a
//! sandbox is, is the runtime's business.

mod events;
mod images;
mod runtime;
mod streaming;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Response, Status, transport::Server};
use windlass_grpc::Serve;
use windlass_kernel::{
    Clock, ContainerRuntime, Dial, Entropy, Error, ErrorKind, ImageStore, Result, Spawn, SpawnExt, Stop, carry::Keeping,
};

use self::streaming::Streaming;
use crate::wire::{image_service_server::ImageServiceServer, runtime_service_server::RuntimeServiceServer, to_status};

/// The variable that says where a program listens. Clients of CRI have it, too.
pub const ENDPOINT: &str = "CONTAINER_RUNTIME_ENDPOINT";

/// The largest request: an exec whose command is a long script.
const REQUEST_LIMIT: usize = 16 << 20;

/// What is served.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// The runtime.
    pub runtime: Arc<dyn ContainerRuntime>,
    /// Its images.
    pub images: Arc<dyn ImageStore>,
}

impl Plugin {
    /// A runtime that is its own image store.
    pub fn of(both: impl ContainerRuntime + ImageStore) -> Self {
        let both = Arc::new(both);
        Self { runtime: Arc::clone(&both) as _, images: both }
    }
}

/// What a server is made with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The machine's time.
    pub clock: Arc<dyn Clock>,
    /// Runs tasks, and work that blocks. Tasks need a tokio runtime.
    pub spawn: Arc<dyn Spawn>,
    /// The machine's randomness: URLs of sessions are secrets.
    pub entropy: Arc<dyn Entropy>,
    /// The machine's connections, for runtimes that make some.
    pub dial: Arc<dyn Dial>,
}

/// Serves a runtime at the socket that `CONTAINER_RUNTIME_ENDPOINT` names (`unix:///run/runtime.sock`, or a path), until
/// SIGTERM or SIGINT.
///
/// It says so in a line on its standard output once it answers.
///
/// ```no_run
/// use windlass_cri::{host::{RemoteRuntime, Rim}, skel::{self, Plugin}};
///
/// fn main() -> std::process::ExitCode {
///     // Passes everything on to another runtime.
///     skel::main(async |setup| {
///         let rim = Rim { dial: setup.dial, clock: setup.clock, spawn: setup.spawn };
///         Ok(Plugin::of(RemoteRuntime::connect("/run/containerd/containerd.sock", rim).await?))
///     })
/// }
/// ```
pub fn main(plugin: impl AsyncFnOnce(Setup) -> Result<Plugin>) -> ExitCode {
    windlass_grpc::main(ENDPOINT, async |machine, socket| {
        let setup = Setup { clock: machine.clone(), spawn: machine.clone(), entropy: machine.clone(), dial: machine };
        bind(plugin(setup.clone()).await?, socket, setup).await
    })
}

/// A runtime whose socket is there: who connects from now on is answered once it [runs](Serving::run).
#[derive(Debug)]
pub struct Serving {
    listener: UnixListener,
    sessions: TcpListener,
    socket: PathBuf,
    plugin: Plugin,
    setup: Setup,
}

/// Makes the socket file of a runtime, and a port on the loopback address for its sessions. A file on which nobody listens any
/// more is replaced. Needs a tokio runtime.
///
/// # Errors
///
/// [`AlreadyExists`](ErrorKind::AlreadyExists) where somebody listens there; [`Unavailable`](ErrorKind::Unavailable) where the
/// socket or the port cannot be had.
#[allow(clippy::disallowed_methods, reason = "a server is where its own socket comes from")]
pub async fn bind(plugin: Plugin, socket: &Path, setup: Setup) -> Result<Serving> {
    let sessions = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|error| {
        Error::new(ErrorKind::Unavailable, "cannot listen on 127.0.0.1 for sessions").with_source(error)
    })?;
    let listener = windlass_grpc::listen(socket)?;
    Ok(Serving { listener, sessions, socket: socket.to_owned(), plugin, setup })
}

impl Serve for Serving {
    async fn run(self, stop: Stop) -> Result<()> {
        Self::run(self, stop).await
    }
}

impl Serving {
    /// Serves until `stop`; then calls that have begun are answered, sessions end, and the socket file goes.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) where the socket fails.
    pub async fn run(self, stop: Stop) -> Result<()> {
        let Self { listener, sessions, socket, plugin, setup } = self;
        let failed = |what: String| move |error| Error::new(ErrorKind::Unavailable, what).with_source(error);
        let address = sessions.local_addr().map_err(failed("the port for sessions is gone".into()))?;
        tracing::info!(socket = %socket.display(), %address, "container runtime serves");
        let keeping = Keeping { clock: Arc::clone(&setup.clock), stop: stop.clone() };
        let streaming = Arc::new(Streaming::new(address, Arc::clone(&plugin.runtime), keeping, setup.clone()));
        let _sessions = setup.spawn.spawn("cri.streaming", Arc::clone(&streaming).serve(sessions));
        let served = Served { plugin, streaming, setup, stop: stop.clone() };
        let done = Server::builder()
            .add_service(RuntimeServiceServer::new(served.clone()).max_decoding_message_size(REQUEST_LIMIT))
            .add_service(ImageServiceServer::new(served))
            .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async move { stop.wait().await })
            .await;
        // Whoever starts next replaces a file that is left.
        let _ = fs::remove_file(&socket);
        done.map_err(|error| {
            let message = format!("cannot serve on {}", socket.display());
            Error::new(ErrorKind::Unavailable, message).with_source(error)
        })
    }
}

/// The runtime, as the servers of its services.
#[derive(Clone, Debug)]
struct Served {
    plugin: Plugin,
    streaming: Arc<Streaming>,
    setup: Setup,
    stop: Stop,
}

/// Runs a call. A runtime that panics answers, too, and serves on.
async fn answer<T>(name: &'static str, work: impl Future<Output = Result<T>> + Send) -> Result<Response<T>, Status> {
    windlass_grpc::answer(name, work, to_status).await
}

/// A service that the runtime has not.
fn lacks(what: &str) -> Error {
    windlass_grpc::lacks("runtime", what)
}

fn gone(what: &str, id: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no {what} {id}"))
}
