//! TLS towards the server: whom to trust, and the own certificate. Time comes from the kernel's clock.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    time_provider::TimeProvider,
};
use tokio_rustls::TlsConnector;
use windlass_kernel::{Clock, Error, ErrorKind, Result};
use windlass_transport::tls::Anyone;

use crate::kubeconfig::{Access, Credential};

#[derive(Debug)]
struct Now(Arc<dyn Clock>);

impl TimeProvider for Now {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = self.0.now().as_duration();
        seconds.try_into().ok().map(UnixTime::since_unix_epoch)
    }
}

/// The two ways to begin a connection.
pub(super) struct Tls {
    /// Over HTTP/2 where the server can, else HTTP/1.1.
    pub(super) any: TlsConnector,
    /// Over HTTP/1.1, for what becomes another protocol.
    pub(super) one: TlsConnector,
}

pub(super) fn connectors(access: &Access, clock: &Arc<dyn Clock>) -> Result<Tls> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&access.authority) {
        let certificate = certificate.map_err(|error| wrong("certificate authority", error))?;
        roots.add(certificate).map_err(|error| wrong("certificate authority", error))?;
    }
    if roots.is_empty() && !access.insecure {
        let message = format!("no certificate authority is given for {}", access.server);
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let builder =
        ClientConfig::builder_with_details(Arc::new(ring::default_provider()), Arc::new(Now(Arc::clone(clock))));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| wrong("protocol versions", error))?;
    let builder = if access.insecure {
        builder.dangerous().with_custom_certificate_verifier(Anyone::verifier())
    } else {
        builder.with_root_certificates(roots)
    };
    let mut config = match &access.credential {
        Credential::Certificate { chain, key } => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
            let chain = chain.map_err(|error| wrong("client certificate", error))?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| wrong("client key", error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| wrong("client certificate", error))?
        }
        Credential::Anonymous | Credential::Token(_) | Credential::TokenFile(_) | Credential::Password { .. } => {
            builder.with_no_client_auth()
        }
    };
    let mut one = config.clone();
    one.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Tls { any: Arc::new(config).into(), one: Arc::new(one).into() })
}

fn wrong(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Invalid, format!("cannot use the {what}")).with_source(error)
}
