//! The socket at which plugins register with a node's agent.

use std::{
    fmt::Debug,
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, transport::Server};
use windlass_kernel::{DevicePlugin, Error, ErrorKind, Result, Stop};

use super::{RemotePlugin, Rim};
use crate::wire::{AGENT, VERSION, api, registration_server, to_status};

/// Takes plugins over that registered.
#[async_trait]
pub trait Registrar: Debug + Send + Sync + 'static {
    /// Takes over the plugin of a resource; one that was there before is replaced.
    ///
    /// # Errors
    ///
    /// Why it is refused, which the plugin is told.
    async fn register(&self, resource: &str, plugin: Arc<dyn DevicePlugin>) -> Result<()>;
}

/// The socket `kubelet.sock` in the folder of plugins: who connects from now on is answered once it [runs](Door::run).
#[derive(Debug)]
pub struct Door {
    folder: PathBuf,
    listener: UnixListener,
}

impl Door {
    /// Makes the folder and the socket. All sockets that lie there go: that is how plugins learn that they are to register again.
    /// Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) where another agent listens there; [`Unavailable`](ErrorKind::Unavailable)
    /// where the folder or the socket cannot be made.
    pub fn open(folder: &Path) -> Result<Self> {
        let socket = folder.join(AGENT);
        let failed = |error: io::Error| {
            let message = format!("cannot clear the sockets of device plugins in {}", folder.display());
            Error::new(ErrorKind::Unavailable, message).with_source(error)
        };
        // Whoever can write here can hand containers any file of the machine.
        fs::DirBuilder::new().recursive(true).mode(0o750).create(folder).map_err(failed)?;
        // The agent's own first: where another agent listens, its plugins are let alone.
        let listener = windlass_grpc::listen(&socket)?;
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.path() != socket && entry.file_type().map_err(failed)?.is_socket() {
                gone(fs::remove_file(entry.path())).map_err(failed)?;
            }
        }
        Ok(Self { folder: folder.to_owned(), listener })
    }

    /// Hands what registers to `registrar` until `stop`; then the socket goes.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) where the socket fails.
    pub async fn run(self, registrar: Arc<dyn Registrar>, rim: Rim, stop: Stop) -> Result<()> {
        let Self { folder, listener } = self;
        let socket = folder.join(AGENT);
        let desk = Desk { folder, registrar, rim };
        let done = Server::builder()
            .add_service(registration_server::RegistrationServer::new(desk))
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

fn gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// What answers registrations.
#[derive(Debug)]
struct Desk {
    folder: PathBuf,
    registrar: Arc<dyn Registrar>,
    rim: Rim,
}

impl Desk {
    async fn register(&self, request: api::RegisterRequest) -> Result<()> {
        let refused = |why: String| Error::new(ErrorKind::Invalid, why);
        if request.version != VERSION {
            let version = request.version;
            return Err(refused(format!("requested API version {version:?} is not supported, only {VERSION:?} is")));
        }
        // A name in the folder, and nothing that leads out of it.
        let endpoint = Path::new(&request.endpoint);
        if endpoint.file_name().is_none_or(|name| name != endpoint.as_os_str()) {
            let why = format!("the endpoint {:?} is no name of a socket in {}", endpoint, self.folder.display());
            return Err(refused(why));
        }
        let socket = self.folder.join(endpoint).to_string_lossy().into_owned();
        let plugin = RemotePlugin::connect(socket, self.rim.clone()).await?;
        self.registrar.register(&request.resource_name, Arc::new(plugin)).await
    }
}

#[async_trait]
impl registration_server::Registration for Desk {
    async fn register(&self, request: Request<api::RegisterRequest>) -> Result<Response<api::Empty>, Status> {
        let request = request.into_inner();
        let (resource, endpoint) = (request.resource_name.clone(), request.endpoint.clone());
        windlass_grpc::answer(
            "Register",
            async {
                let done = Self::register(self, request).await;
                match &done {
                    Ok(()) => tracing::info!(resource, endpoint, "a device plugin registered itself"),
                    Err(error) => tracing::warn!(resource, endpoint, %error, "a device plugin is refused"),
                }
                done.map(|()| api::Empty {})
            },
            to_status,
        )
        .await
    }
}
