//! The text of a kubeconfig: one cluster, one user, one context.

use std::fmt::Write;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use windlass_apiserver::http::tls::KeyAndCertificate;

/// A kubeconfig for `user` on the server at `url` (client-go's `clientcmd/api/v1 Config`). Holds the private key.
#[must_use]
pub fn kubeconfig(url: &str, authority: &str, user: &str, own: &KeyAndCertificate) -> String {
    let [authority, certificate, key] = [authority, &own.certificate, &own.key].map(|text| STANDARD.encode(text));
    let mut text = String::from("apiVersion: v1\nkind: Config\npreferences: {}\n");
    // Nothing here needs quoting: base64, a URL and names of our own.
    let _ = write!(
        text,
        "clusters:\n- name: windlass\n  cluster:\n    server: {url}\n    certificate-authority-data: {authority}\n\
         users:\n- name: {user}\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n\
         contexts:\n- name: windlass\n  context:\n    cluster: windlass\n    user: {user}\n\
         current-context: windlass\n"
    );
    text
}
