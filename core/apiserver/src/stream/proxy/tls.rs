//! TLS to servers inside the cluster whose certificates nobody here can judge: pods bring their own.

use std::sync::Arc;

use rustls::{ClientConfig, crypto::ring, pki_types::ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};
use windlass_kernel::{Error, ErrorKind, Result};
use windlass_transport::tls::Anyone;

/// Speaks TLS over a stream to `host`, which may have a port, whatever certificate it shows (as upstream's proxy
/// transport, `InsecureSkipVerify`).
pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(stream: S, host: &str) -> Result<TlsStream<S>> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        Error::new(ErrorKind::Unavailable, format!("cannot speak TLS with {host}: {error}"))
    };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    let name = ServerName::try_from(name.to_owned()).map_err(|error| failed(&error))?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Anyone::verifier())
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| failed(&error))
}
