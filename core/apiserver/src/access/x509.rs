//! Client certificates as identities: the common name is the user, the organizations are the groups.
//!
//! Whether the certificate is valid and ours was checked by the TLS handshake.

use async_trait::async_trait;
use windlass_kernel::{
    Authenticator, Identity, Result,
    access::Credentials,
    error::{Error, ErrorKind},
};
use x509_parser::parse_x509_certificate;

/// Knows everyone whose certificate the TLS handshake has verified.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientCertificates;

#[async_trait]
impl Authenticator for ClientCertificates {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Identity>> {
        let Some(der) = &credentials.certificate else { return Ok(None) };
        let refuse = |_| Error::new(ErrorKind::Unauthorized, "Unauthorized");
        let (_, certificate) = parse_x509_certificate(der).map_err(refuse)?;
        let subject = certificate.subject();
        let Some(name) = subject.iter_common_name().next().and_then(|name| name.as_str().ok()) else { return Ok(None) };
        let groups: Vec<&str> = subject.iter_organization().filter_map(|group| group.as_str().ok()).collect();
        Ok((!name.is_empty()).then(|| Identity::new(name, &groups)))
    }
}
