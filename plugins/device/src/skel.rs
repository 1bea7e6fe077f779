//! A device plugin from any `DevicePlugin`: a server on a socket that registers with the node's agent, and again whenever the
//! agent is another; and a program in one line of `main`.
//!
//! Here are the protocol's manners. What a device is, is the plugin's business.

mod program;
mod served;
mod watch;

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::future::{Either, select};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Server};
use windlass_kernel::{
    Clock, ClockExt, DevicePlugin, Dial, Error, ErrorKind, Result, Spawn, SpawnExt, Stop, device::is_extended_resource,
};

pub use self::program::{ENDPOINT, main};
use self::{served::Served, watch::Folder};
use crate::wire::{AGENT, RegistrationClient, VERSION, api, device_plugin_server::DevicePluginServer, from_status};

/// Delays after a registration that failed, as where the agent is not there yet.
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);
/// How long an agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a plugin is served with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The machine's time.
    pub clock: Arc<dyn Clock>,
    /// Runs tasks, which need a tokio runtime.
    pub spawn: Arc<dyn Spawn>,
    /// Reaches the agent's socket.
    pub dial: Arc<dyn Dial>,
}

/// A plugin whose socket is there: who connects from now on is answered once it [runs](Serving::run).
#[derive(Debug)]
pub struct Serving {
    own: Own,
    listener: UnixListener,
    folder: Folder,
}

/// What is served, where.
#[derive(Clone, Debug)]
struct Own {
    resource: String,
    plugin: Arc<dyn DevicePlugin>,
    socket: PathBuf,
    setup: Setup,
}

/// Makes the socket file of a plugin of `resource`, in the folder where the node's agent has its `kubelet.sock`, or will have it.
/// One on which nobody listens any more is replaced. Needs a tokio runtime.
///
/// # Errors
///
/// [`Invalid`](ErrorKind::Invalid) where no plugin may have that resource, or the socket has no name;
/// [`AlreadyExists`](ErrorKind::AlreadyExists) where somebody listens there; [`Unavailable`](ErrorKind::Unavailable) where the
/// socket cannot be made, or its folder cannot be watched.
pub fn bind(resource: &str, plugin: Arc<dyn DevicePlugin>, socket: &Path, setup: Setup) -> Result<Serving> {
    if !is_extended_resource(resource) {
        let message = format!("{resource:?} is no resource of a plugin: it is to be like example.com/thing");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let (Some(folder), Some(_)) = (socket.parent(), socket.file_name()) else {
        let message = format!("{} is no socket in a folder of device plugins", socket.display());
        return Err(Error::new(ErrorKind::Invalid, message));
    };
    let failed = |error: std::io::Error| {
        let message = format!("cannot watch the folder of device plugins {}", folder.display());
        Error::new(ErrorKind::Unavailable, message).with_source(error)
    };
    fs::create_dir_all(folder).map_err(failed)?;
    let folder = Folder::watch(folder).map_err(failed)?;
    let listener = windlass_grpc::listen(socket)?;
    Ok(Serving { own: Own { resource: resource.into(), plugin, socket: socket.into(), setup }, listener, folder })
}

/// Serves a plugin until `stop`: [`bind`] and [`Serving::run`].
///
/// # Errors
///
/// Those of both.
pub async fn serve(
    resource: &str,
    plugin: Arc<dyn DevicePlugin>,
    socket: &Path,
    setup: Setup,
    stop: Stop,
) -> Result<()> {
    bind(resource, plugin, socket, setup)?.run(stop).await
}

impl windlass_grpc::Serve for Serving {
    async fn run(self, stop: Stop) -> Result<()> {
        Self::run(self, stop).await
    }
}

impl Serving {
    /// Serves until `stop`, and registers with every agent that comes; then the socket file goes.
    ///
    /// An agent that starts removes the sockets of plugins: the plugin's is made anew then. An agent that is not there, or refuses,
    /// is asked again from time to time.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) where the socket cannot be made anew, or the folder cannot be watched any more.
    pub async fn run(self, stop: Stop) -> Result<()> {
        let done = stop.race(self.follow()).await;
        done.unwrap_or(Ok(()))
    }

    async fn follow(self) -> Result<()> {
        let Self { own, listener, folder } = self;
        let agent = own.socket.with_file_name(AGENT);
        let mut bound = Bound::new(&own, listener);
        let (mut known, mut delay) = (None, FIRST);
        loop {
            if !bound.stands() {
                tracing::info!(socket = %own.socket.display(), "the plugin's socket is gone; it is made anew");
                bound = Bound::new(&own, windlass_grpc::listen(&own.socket)?);
                known = None;
            }
            let there = identity(&agent);
            if there.is_none() || there == known {
                // What happened since these looks waits to be heard.
                folder.changed().await?;
                continue;
            }
            match own.register(&agent).await {
                Ok(()) => {
                    tracing::info!(resource = own.resource, "registered with the node's agent");
                    (known, delay) = (there, FIRST);
                }
                Err(error) => {
                    tracing::warn!(resource = own.resource, %error, "the plugin cannot register yet");
                    let sleep = own.setup.clock.sleep(delay);
                    delay = (delay * 2).min(LONGEST);
                    if let Either::Left((changed, _)) = select(Box::pin(folder.changed()), sleep).await {
                        changed?;
                    }
                }
            }
        }
    }
}

impl Own {
    async fn register(&self, agent: &Path) -> Result<()> {
        let name = self.socket.file_name().unwrap_or_default();
        Registration::new(&self.resource, name.to_string_lossy(), &*self.plugin).at(agent, &self.setup).await
    }
}

/// What a plugin tells an agent of itself. [`Serving`] does it by itself; this is for those whose server is their own.
#[derive(Clone, Debug)]
pub struct Registration {
    resource: String,
    /// The name of the plugin's socket, in the folder of the agent's.
    endpoint: String,
    version: String,
    options: api::DevicePluginOptions,
}

impl Registration {
    /// A plugin of `resource` that serves at the socket `endpoint`, with the version that is spoken here.
    pub fn new(resource: impl Into<String>, endpoint: impl Into<String>, plugin: &dyn DevicePlugin) -> Self {
        let options = served::options(plugin);
        Self { resource: resource.into(), endpoint: endpoint.into(), version: VERSION.into(), options }
    }

    /// The version of the API that the plugin speaks, where it is not the one that is spoken here.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Tells the agent at a socket.
    ///
    /// # Errors
    ///
    /// Why it refuses; [`Unavailable`](ErrorKind::Unavailable) where nobody answers, [`Timeout`](ErrorKind::Timeout) where that
    /// takes too long.
    pub async fn at(self, agent: &Path, setup: &Setup) -> Result<()> {
        let request = api::RegisterRequest {
            version: self.version,
            endpoint: self.endpoint,
            resource_name: self.resource,
            options: Some(self.options),
        };
        let channel: Channel = windlass_grpc::open(agent.to_string_lossy().into(), Arc::clone(&setup.dial));
        let mut client = RegistrationClient::new(channel);
        let answer = setup.clock.timeout(PATIENCE, client.register(request)).await?;
        answer.map(drop).map_err(|status| from_status("register with the node's agent", status))
    }
}

/// A socket file that is served until this is dropped.
#[derive(Debug)]
struct Bound {
    socket: PathBuf,
    identity: Option<(u64, i64)>,
    stop: Stop,
}

impl Bound {
    fn new(own: &Own, listener: UnixListener) -> Self {
        let socket = own.socket.clone();
        tracing::info!(socket = %socket.display(), resource = own.resource, "device plugin serves");
        let stop = Stop::new();
        let served = Served { plugin: Arc::clone(&own.plugin), stop: stop.clone() };
        let (told, ended) = (socket.clone(), stop.clone());
        let server = Server::builder()
            .add_service(DevicePluginServer::new(served))
            .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async move { ended.wait().await });
        let serving = async move {
            if let Err(error) = server.await {
                tracing::error!(socket = %told.display(), %error, "the plugin serves no more");
            }
        };
        // It ends by itself: calls that have begun are answered.
        own.setup.spawn.spawn("device.serve", serving).detach();
        Self { identity: identity(&socket), socket, stop }
    }

    /// Whether the file is still this one.
    fn stands(&self) -> bool {
        // One that was gone before it was looked at is none. As long as it is bound nothing else has its inode, whatever mode or
        // owner it is given.
        let inode = |file: (u64, i64)| file.0;
        self.identity.is_some() && identity(&self.socket).map(inode) == self.identity.map(inode)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.stop.stop();
        // One that somebody else has made since is not ours.
        if self.stands() {
            // Whoever starts next replaces a file that is left.
            let _ = fs::remove_file(&self.socket);
        }
    }
}

/// Which file is at a path: another one of the same path is another.
fn identity(path: &Path) -> Option<(u64, i64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.ino(), file.ctime_nsec()))
}
