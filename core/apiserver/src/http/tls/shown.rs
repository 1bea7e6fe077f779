//! The certificates that a server shows, which may be replaced while it runs.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::{
    client::verify_server_name,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};
use windlass_kernel::Result;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::{KeyAndCertificate, unreadable};

/// What a server shows to whoever connects: a certificate of its own, and perhaps one that its user gave it.
///
/// The given one is shown to clients that ask for a name it is valid for, and to those that ask for no name, as clients
/// do that were told an address, where it is valid for an address. All others are shown the server's own. Connections
/// that stand are not touched when one is replaced.
#[derive(Debug)]
pub struct Certificates {
    own: ArcSwap<CertifiedKey>,
    given: ArcSwapOption<Given>,
}

#[derive(Debug)]
struct Given {
    key: Arc<CertifiedKey>,
    /// Whether it is valid for addresses.
    addresses: bool,
}

impl Certificates {
    /// The server's own certificate alone.
    ///
    /// # Errors
    ///
    /// [`Invalid`](windlass_kernel::ErrorKind::Invalid) where it is not PEM, or the key is that of another.
    pub fn new(own: &KeyAndCertificate) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { own: ArcSwap::new(read(own)?), given: ArcSwapOption::empty() }))
    }

    /// Shows another certificate as the server's own from the next handshake on.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); then the last one goes on being shown.
    pub fn renew(&self, own: &KeyAndCertificate) -> Result<()> {
        self.own.store(read(own)?);
        Ok(())
    }

    /// Shows a certificate that the server's user gave it from the next handshake on.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); then the last one goes on being shown.
    pub fn give(&self, given: &KeyAndCertificate) -> Result<()> {
        let key = read(given)?;
        let addresses = key.end_entity_cert().is_ok_and(has_address);
        self.given.store(Some(Arc::new(Given { key, addresses })));
        Ok(())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let given = self.given.load();
        let shown = given.as_ref().filter(|given| match hello.server_name() {
            Some(name) => is_for(&given.key, name),
            None => given.addresses,
        });
        Some(shown.map_or_else(|| self.own.load_full(), |given| Arc::clone(&given.key)))
    }
}

fn read(pem: &KeyAndCertificate) -> Result<Arc<CertifiedKey>> {
    let chain = CertificateDer::pem_slice_iter(pem.certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).map_err(unreadable)?;
    let read = CertifiedKey::from_der(chain.map_err(unreadable)?, key, &ring::default_provider());
    read.map(Arc::new).map_err(unreadable)
}

fn is_for(key: &CertifiedKey, name: &str) -> bool {
    let parsed = key.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|certificate| {
        ServerName::try_from(name).is_ok_and(|name| verify_server_name(&certificate, &name).is_ok())
    })
}

fn has_address(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = parse_x509_certificate(certificate) else { return false };
    let names = certificate.subject_alternative_name().ok().flatten();
    names.is_some_and(|names| names.value.general_names.iter().any(|name| matches!(name, GeneralName::IPAddress(_))))
}
