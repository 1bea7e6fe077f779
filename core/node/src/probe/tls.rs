//! TLS towards whatever a probe asks. Nobody's certificate is checked, as HTTPGetAction.scheme has it: a probe asks whether
//! a server answers, not who it is. That the server holds the key of its certificate is part of the handshake and is.

use std::sync::Arc;

use rustls::{
    ClientConfig,
    client::Resumption,
    crypto::ring,
    pki_types::{ServerName, UnixTime},
    time_provider::TimeProvider,
};
use tokio_rustls::TlsConnector;
use tokio_util::compat::{FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use windlass_client::tls::Anyone;
use windlass_kernel::{Clock, dial::ByteStream};

/// Speaks TLS over a stream to a host.
pub(super) async fn wrap(stream: ByteStream, host: &str, clock: &Arc<dyn Clock>) -> Result<ByteStream, String> {
    let builder =
        ClientConfig::builder_with_details(Arc::new(ring::default_provider()), Arc::new(Now(Arc::clone(clock))));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(Anyone::verifier()).with_no_client_auth();
    // The next probe begins anew, so that it sees what a new client would see.
    config.resumption = Resumption::disabled();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream.compat()).await;
    Ok(Box::new(stream.map_err(|error| error.to_string())?.compat()))
}

#[derive(Debug)]
struct Now(Arc<dyn Clock>);

impl TimeProvider for Now {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.now().as_duration().try_into().ok().map(UnixTime::since_unix_epoch)
    }
}
