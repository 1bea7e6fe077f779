//! The certificates that this machine trusts, where its system keeps them.

use std::fs;

/// Where Linux distributions keep them, in the order in which Go's programs look.
const PLACES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The certificates of authorities that this machine trusts, as PEM: those of the file that `SSL_CERT_FILE` names, or of
/// the first place that has some. Empty where there are none.
#[must_use]
pub fn trusted_certificates() -> String {
    let named = std::env::var_os("SSL_CERT_FILE").and_then(|file| fs::read_to_string(file).ok());
    named.or_else(|| PLACES.iter().find_map(|file| fs::read_to_string(file).ok())).unwrap_or_default()
}
