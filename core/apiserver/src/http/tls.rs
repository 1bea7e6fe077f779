//! A certificate authority and what it signs: server and client certificates, as PEM. Files are the caller's business.

mod requests;
mod shown;

use std::sync::Arc;

use jiff::{Span, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, string::Ia5String,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use windlass_kernel::{
    Result,
    error::{Error, ErrorKind},
};

pub use self::{requests::Requested, shown::Certificates};

const CA_DAYS: i64 = 3650;
const LEAF_DAYS: i64 = 365;

/// A certificate and its private key, both as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyAndCertificate {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl std::fmt::Debug for KeyAndCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyAndCertificate").finish_non_exhaustive()
    }
}

/// Signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: KeyAndCertificate,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new authority, valid for ten years.
    ///
    /// # Errors
    ///
    /// [`Internal`](ErrorKind::Internal) where the system gives no randomness.
    pub fn generate(name: &str, now: Timestamp) -> Result<Self> {
        let mut params = params(name, &[], now, CA_DAYS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
        let key = new_key()?;
        let certificate = params.self_signed(&key).map_err(cannot("sign a certificate authority"))?;
        let pem = KeyAndCertificate { certificate: certificate.pem(), key: key.serialize_pem() };
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Reads an authority that was made before.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where it is not a certificate authority with its key.
    pub fn from_pem(pem: KeyAndCertificate) -> Result<Self> {
        let invalid =
            |error| Error::new(ErrorKind::Invalid, "cannot read the certificate authority").with_source(error);
        let key = KeyPair::from_pem(&pem.key).map_err(invalid)?;
        let issuer = Issuer::from_ca_cert_pem(&pem.certificate, key).map_err(invalid)?;
        Ok(Self { issuer, pem })
    }

    /// The authority's own certificate and key.
    #[must_use]
    pub fn pem(&self) -> &KeyAndCertificate {
        &self.pem
    }

    /// A certificate for a server that is reached under these names and addresses, valid for a year.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where a name cannot stand in a certificate.
    pub fn server(&self, name: &str, reached_at: &[&str], now: Timestamp) -> Result<KeyAndCertificate> {
        let mut params = params(name, &[], now, LEAF_DAYS)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for place in reached_at {
            params.subject_alt_names.push(match place.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(Ia5String::try_from(*place).map_err(|error| {
                    Error::new(ErrorKind::Invalid, format!("{place:?} is no host name")).with_source(error)
                })?),
            });
        }
        self.sign(params)
    }

    /// A certificate for a client: a user and its groups, valid for a year.
    ///
    /// # Errors
    ///
    /// [`Internal`](ErrorKind::Internal) where the system gives no randomness.
    pub fn client(&self, user: &str, groups: &[&str], now: Timestamp) -> Result<KeyAndCertificate> {
        let mut params = params(user, groups, now, LEAF_DAYS)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<KeyAndCertificate> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = new_key()?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(cannot("sign a certificate"))?;
        Ok(KeyAndCertificate { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn new_key() -> Result<KeyPair> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(cannot("generate a key"))
}

fn cannot(what: &'static str) -> impl Fn(rcgen::Error) -> Error {
    move |error| Error::new(ErrorKind::Internal, format!("cannot {what}")).with_source(error)
}

fn params(name: &str, organizations: &[&str], now: Timestamp, days: i64) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    // The library keeps one value for each kind of attribute, so there is room for one group.
    if let [one] = organizations {
        subject.push(DnType::OrganizationName, *one);
    } else if !organizations.is_empty() {
        return Err(Error::new(ErrorKind::NotSupported, "a client certificate names at most one group"));
    }
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    // A day back, for clocks that are behind.
    let day = |offset: i64| {
        let date = now.to_zoned(TimeZone::UTC).date().saturating_add(Span::new().days(offset));
        rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = day(-1);
    params.not_after = day(days);
    Ok(params)
}

/// A server's TLS: HTTP/2 and HTTP/1.1, with client certificates of `clients` (PEM) where a client brings one.
///
/// # Errors
///
/// [`Invalid`](ErrorKind::Invalid) where one is not PEM of the right kind.
pub fn server_config(own: &KeyAndCertificate, clients: &str) -> Result<Arc<ServerConfig>> {
    server_config_with(Certificates::new(own)?, clients)
}

/// As [`server_config`], with certificates that may be replaced while the server runs.
///
/// # Errors
///
/// [`Invalid`](ErrorKind::Invalid) where `clients` is not PEM of the right kind.
pub fn server_config_with(own: Arc<Certificates>, clients: &str) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(clients.as_bytes()) {
        roots.add(root.map_err(unreadable)?).map_err(unreadable)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = verifier.allow_unauthenticated().build().map_err(unreadable)?;
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(unreadable)?.with_client_cert_verifier(verifier);
    let mut config = config.with_cert_resolver(own);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Invalid, "cannot read the TLS certificates").with_source(error)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::pki_types::UnixTime;

    use super::*;

    #[test]
    fn an_authority_read_back_signs_what_its_certificate_verifies() {
        let now: Timestamp = "2027-03-04T05:06:07Z".parse().unwrap();
        let made = Authority::generate("ca", now).unwrap();
        let again = Authority::from_pem(made.pem().clone()).unwrap();
        let client = again.client("alice", &["devs"], now).unwrap();
        let certificate = CertificateDer::from_pem_slice(client.certificate.as_bytes()).unwrap();

        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(made.pem().certificate.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let at = |seconds: i64| UnixTime::since_unix_epoch(Duration::from_secs(seconds.unsigned_abs()));
        let valid = |seconds| verifier.verify_client_cert(&certificate, &[], at(seconds)).is_ok();
        assert!(valid(now.as_second()));
        assert!(!valid(now.as_second() + 400 * 86_400));

        let own = again.server("server", &["localhost", "::1", "10.0.0.1"], now).unwrap();
        assert!(server_config(&own, &made.pem().certificate).is_ok());
        assert!(made.client("alice", &["a", "b"], now).is_err());
    }
}
