//! TLS towards webhooks: the certificates that their configuration trusts, and the time of the kernel's clock.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
    time_provider::TimeProvider,
};
use tokio_rustls::TlsConnector;
use windlass_kernel::{
    Clock,
    error::{Error, ErrorKind, Result},
};

use super::Outgoing;

#[derive(Debug)]
struct Now(Arc<dyn Clock>);

impl TimeProvider for Now {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.now().as_duration().try_into().ok().map(UnixTime::since_unix_epoch)
    }
}

/// Begins connections to servers that one of these certificates vouches for, or one that this machine trusts where there
/// are none.
pub(super) fn connector(roots: &[u8], outgoing: &Outgoing, clock: &Arc<dyn Clock>) -> Result<TlsConnector> {
    let wrong = |why: String| Error::new(ErrorKind::Invalid, format!("cannot use caBundle: {why}"));
    let trusted = if roots.is_empty() {
        let known = outgoing.roots();
        if known.is_empty() {
            let message = "the webhook has no caBundle, and this server was given no certificates that it trusts";
            return Err(Error::new(ErrorKind::NotSupported, message));
        }
        known
    } else {
        let mut trusted = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(roots) {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            trusted.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
        if trusted.is_empty() {
            return Err(wrong("it holds no certificate".into()));
        }
        Arc::new(trusted)
    };
    let details = (Arc::new(ring::default_provider()), Arc::new(Now(Arc::clone(clock))));
    let builder = ClientConfig::builder_with_details(details.0, details.1).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| wrong(error.to_string()))?;
    let mut config = builder.with_root_certificates(trusted).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}

/// The certificates of a PEM text that can be read; a machine's collection may hold others.
pub(super) fn readable(pem: &[u8]) -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
    store
}
