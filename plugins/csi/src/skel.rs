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
    fs, io,
    os::unix::{fs::FileTypeExt, net::UnixStream},
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::FutureExt;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Response, Status, transport::Server};
use tracing::Instrument;
use windlass_kernel::{Error, ErrorKind, Result, Stop, VolumeDriver};

pub use self::{
    program::{Setup, main},
    registration::register,
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
    Ok(Serving { listener: listen(socket)?, socket: socket.to_owned(), driver })
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

fn listen(socket: &Path) -> Result<UnixListener> {
    let failed = |error: io::Error| {
        Error::new(ErrorKind::Unavailable, format!("cannot listen on {}", socket.display())).with_source(error)
    };
    if fs::symlink_metadata(socket).is_ok_and(|file| file.file_type().is_socket()) {
        if UnixStream::connect(socket).is_ok() {
            let message = format!("somebody listens on {} already", socket.display());
            return Err(Error::new(ErrorKind::AlreadyExists, message));
        }
        fs::remove_file(socket).map_err(failed)?;
    }
    UnixListener::bind(socket).map_err(failed)
}

/// Runs a call. A driver that panics answers, too, and serves on.
async fn answer<T>(name: &'static str, work: impl Future<Output = Result<T>> + Send) -> Result<Response<T>, Status> {
    let work = AssertUnwindSafe(work).catch_unwind().instrument(tracing::debug_span!("csi.call", name));
    match work.await {
        Ok(Ok(done)) => Ok(Response::new(done)),
        Ok(Err(error)) => {
            tracing::debug!(name, %error, "call refused");
            Err(to_status(&error))
        }
        Err(_) => Err(Status::internal(format!("the driver panicked in {name}"))),
    }
}

/// A service that the driver has not.
fn lacks(what: &str) -> Error {
    Error::new(ErrorKind::NotSupported, format!("this driver does not {what}"))
}
