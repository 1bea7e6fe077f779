//! Client certificates as identities: the common name is the user, the organizations are the groups.
//!
//! Whether the certificate is valid and ours was checked by the TLS handshake.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;
use windlass_kernel::{
    Authenticator, Identity, Result,
    access::Credentials,
    error::{Error, ErrorKind},
};
use x509_parser::parse_x509_certificate;

/// So many certificates are remembered.
const REMEMBERED: usize = 256;

/// Knows everyone whose certificate the TLS handshake has verified.
///
/// What a certificate says never changes, so each is read once and not for every request of its connection.
#[derive(Clone, Default)]
pub struct ClientCertificates(Arc<Mutex<BTreeMap<Vec<u8>, Identity>>>);

impl std::fmt::Debug for ClientCertificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCertificates").field("remembered", &self.0.lock().len()).finish()
    }
}

#[async_trait]
impl Authenticator for ClientCertificates {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Identity>> {
        let Some(der) = credentials.certificate.as_ref().filter(|_| credentials.audiences.is_empty()) else {
            return Ok(None);
        };
        if let Some(known) = self.0.lock().get(der) {
            return Ok(Some(known.clone()));
        }
        let refuse = |_| Error::new(ErrorKind::Unauthorized, "Unauthorized");
        let (_, certificate) = parse_x509_certificate(der).map_err(refuse)?;
        let subject = certificate.subject();
        let Some(name) = subject.iter_common_name().next().and_then(|name| name.as_str().ok()) else { return Ok(None) };
        let groups: Vec<&str> = subject.iter_organization().filter_map(|group| group.as_str().ok()).collect();
        if name.is_empty() {
            return Ok(None);
        }
        let identity = Identity::new(name, &groups);
        let mut known = self.0.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(der.clone(), identity.clone());
        Ok(Some(identity))
    }
}
