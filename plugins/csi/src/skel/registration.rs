//! Makes a driver known to a node's agent: the part of the sidecar that CSI drivers are deployed with (node-driver-registrar).

use std::{fs, path::Path};

use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, async_trait, transport::Server};
use windlass_kernel::{Error, ErrorKind, Result, Stop};

use crate::{
    host::{Announced, KIND},
    wire::{registration, registration_server},
};

/// What an agent is told.
#[derive(Clone, Debug)]
struct Known(Announced);

/// Waits at `socket`, in a folder that a node's agent watches, and says that the driver `name` serves on the socket `endpoint`.
/// Needs a tokio runtime; ends with `stop`.
///
/// # Errors
///
/// Those of [`bind`](super::bind); [`Unavailable`](ErrorKind::Unavailable) where the socket fails.
pub async fn register(name: &str, endpoint: &Path, socket: &Path, stop: Stop) -> Result<()> {
    let announced = Announced {
        kind: KIND.into(),
        name: name.to_owned(),
        endpoint: endpoint.to_string_lossy().into_owned(),
        versions: vec!["1.0.0".into()],
    };
    announce(announced, socket, stop).await
}

/// As [`register`], for a plugin of whatever kind.
///
/// # Errors
///
/// Those of [`register`].
pub async fn announce(announced: Announced, socket: &Path, stop: Stop) -> Result<()> {
    let listener = windlass_grpc::listen(socket)?;
    let done = Server::builder()
        .add_service(registration_server::RegistrationServer::new(Known(announced)))
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async move { stop.wait().await })
        .await;
    // Whoever starts next replaces a file that is left.
    let _ = fs::remove_file(socket);
    done.map_err(|error| {
        let message = format!("cannot serve on {}", socket.display());
        Error::new(ErrorKind::Unavailable, message).with_source(error)
    })
}

#[async_trait]
impl registration_server::Registration for Known {
    async fn get_info(
        &self,
        _: Request<registration::InfoRequest>,
    ) -> Result<Response<registration::PluginInfo>, Status> {
        let Announced { kind, name, endpoint, versions } = self.0.clone();
        Ok(Response::new(registration::PluginInfo { r#type: kind, name, endpoint, supported_versions: versions }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<registration::RegistrationStatus>,
    ) -> Result<Response<registration::RegistrationStatusResponse>, Status> {
        let status = request.into_inner();
        if status.plugin_registered {
            tracing::info!(plugin = self.0.name, "registered with the node's agent");
        } else {
            tracing::error!(plugin = self.0.name, error = status.error, "the node's agent refuses the plugin");
        }
        Ok(Response::new(registration::RegistrationStatusResponse {}))
    }
}
