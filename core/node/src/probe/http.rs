//! Asks over HTTP, with or without TLS.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use tokio_util::compat::FuturesAsyncReadCompatExt;
use windlass_kernel::{SpawnExt, dial::Target as Address};

use super::{
    ask::{BODY, Means},
    tls, whole,
};

/// One request (HTTPGetAction).
#[derive(Clone, Debug)]
pub(crate) struct Get {
    pub(crate) secure: bool,
    /// Whose certificates are good, over TLS; without it everybody's, as probes have it.
    pub(crate) trusted: Option<Arc<RootCertStore>>,
    /// Empty for the pod's own address.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

/// Sends the request to a host. What the answer says does not matter, only its status.
pub(super) async fn get(means: &Means, host: &str, get: &Get) -> Result<(), String> {
    // Read to its end so that the server does not see a broken connection.
    let (status, _) = exchange(means, host, get, BODY).await?;
    match status.is_success() || status.is_redirection() {
        true => Ok(()),
        false => Err(format!("HTTP probe failed with statuscode: {}", status.as_u16())),
    }
}

/// Sends the request to a host and reads the answer; one of more bytes than `most`, and one that breaks off, has none.
pub(crate) async fn exchange(
    means: &Means,
    host: &str,
    get: &Get,
    most: usize,
) -> Result<(http::StatusCode, Option<Bytes>), String> {
    let authority = if host.contains(':') { format!("[{host}]:{}", get.port) } else { format!("{host}:{}", get.port) };
    let scheme = if get.secure { "https" } else { "http" };
    let url = format!("{scheme}://{authority}{}", get.path);
    let failed = |error: &dyn std::fmt::Display| format!("Get \"{url}\": {error}");
    let address = Address::Host { host: host.to_owned(), port: get.port };
    let mut stream = means.dial.dial(&address).await.map_err(|error| failed(&whole(&error)))?;
    if get.secure {
        stream = tls::wrap(stream, host, get.trusted.clone(), &means.clock).await.map_err(|error| failed(&error))?;
    }
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream.compat())).await;
    let (mut sender, connection) = handshake.map_err(|error| failed(&error))?;
    // Ends with this request: its handle goes at the end of the function.
    let _driver = means.spawn.spawn("node.probe.http", async move {
        // What goes wrong is seen by the request.
        let _ = connection.await;
    });
    let request = request(get, &authority).map_err(|error| failed(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), most).collect().await;
    Ok((status, body.ok().map(http_body_util::Collected::to_bytes)))
}

fn request(get: &Get, authority: &str) -> http::Result<http::Request<Empty<Bytes>>> {
    let mut request = http::Request::get(&get.path).header(http::header::CONNECTION, "close");
    let named = |name: &str| get.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let host = named("host").map_or(authority, |(_, value)| value);
    request = request.header(http::header::HOST, host);
    for (name, default) in [("User-Agent", super::AGENT), ("Accept", "*/*")] {
        if named(name).is_none() {
            request = request.header(name, default);
        }
    }
    for (name, value) in get.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        request = request.header(name, value);
    }
    request.body(Empty::new())
}
