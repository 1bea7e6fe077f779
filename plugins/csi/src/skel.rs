//! A CSI plugin from any `VolumeDriver`: a server on a socket, and a program in one line of `main`.
//!
//! Here are the protocol's manners: which fields must be there, which codes errors have, what the driver can. What a volume
//! is, is the driver's business.

mod controller;
mod identity;
mod node;
mod program;
mod registration;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Response, Status, transport::Server};
use windlass_grpc::Serve;
use windlass_kernel::{Error, ErrorKind, Result, Stop, VolumeDriver};

pub use self::{
    program::{Setup, main},
    registration::{announce, register},
};
use crate::wire::{
    controller_server::ControllerServer, identity_server::IdentityServer, node_server::NodeServer, to_status,
};

/// The driver, as the servers of its services.
#[derive(Clone, Debug)]
struct Served(Arc<dyn VolumeDriver>);

/// Serves a driver on a socket file until `stop`; then calls that have begun are answered. Needs a tokio runtime.
///
/// # Errors
///
/// Those of [`bind`] and [`Serving::run`].
pub async fn serve(driver: Arc<dyn VolumeDriver>, socket: &Path, stop: Stop) -> Result<()> {
    bind(driver, socket)?.run(stop).await
}

/// A driver whose socket is there: who connects from now on is answered once it [runs](Serving::run).
#[derive(Debug)]
pub struct Serving {
    listener: UnixListener,
    socket: PathBuf,
    driver: Arc<dyn VolumeDriver>,
}

/// Makes the socket file of a driver. One on which nobody listens any more is replaced. Needs a tokio runtime.
///
/// # Errors
///
/// [`AlreadyExists`](ErrorKind::AlreadyExists) where somebody listens there; [`Unavailable`](ErrorKind::Unavailable) where the
/// socket cannot be made.
pub fn bind(driver: Arc<dyn VolumeDriver>, socket: &Path) -> Result<Serving> {
    Ok(Serving { listener: windlass_grpc::listen(socket)?, socket: socket.to_owned(), driver })
}

impl Serve for Serving {
    async fn run(self, stop: Stop) -> Result<()> {
        Serving::run(self, stop).await
    }
}

impl Serving {
    /// Serves until `stop`; then calls that have begun are answered, and the socket file goes.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) where the socket fails.
    pub async fn run(self, stop: Stop) -> Result<()> {
        let Self { listener, socket, driver } = self;
        tracing::info!(socket = %socket.display(), "volume driver serves");
        let served = Served(driver);
        let done = Server::builder()
            .add_service(IdentityServer::new(served.clone()))
            .add_service(ControllerServer::new(served.clone()))
            .add_service(NodeServer::new(served))
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

/// Runs a call. A driver that panics answers, too, and serves on.
async fn answer<T>(name: &'static str, work: impl Future<Output = Result<T>> + Send) -> Result<Response<T>, Status> {
    windlass_grpc::answer(name, work, to_status).await
}

/// A service that the driver has not.
fn lacks(what: &str) -> Error {
    windlass_grpc::lacks("driver", what)
}
