//! The cluster's authority as the signer of certificate requests.

use windlass_apiserver::http::tls::{Authority, Requested};
use windlass_controllers::certificates::{Signer, Subject, Terms};
use windlass_kernel::Result;

use super::Pki;

/// Signs certificate requests with a cluster's authority.
#[derive(Debug)]
pub struct RequestSigner(Authority);

impl RequestSigner {
    /// A signer with the authority of `pki`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](windlass_kernel::ErrorKind::Invalid) where the authority cannot be read back.
    pub fn new(pki: &Pki) -> Result<Self> {
        Authority::from_pem(pki.authority.pem().clone()).map(Self)
    }
}

impl Signer for RequestSigner {
    fn read(&self, request: &str) -> Result<Subject> {
        let Requested { name, organizations, hosts, others } = Requested::read(request)?;
        Ok(Subject { name, organizations, hosts, others })
    }

    fn sign(&self, request: &str, terms: &Terms) -> Result<String> {
        self.0.certify(request, &terms.usages, (terms.from, terms.until))
    }
}
