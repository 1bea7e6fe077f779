//! Calls of HTTPS servers that extend this one, by URL or by Service (`WebhookClientConfig`).
//!
//! What is asked and what the answer means is the caller's business. Redirects are not followed, and an answer has a
//! limit of time and size.

mod calls;
mod kept;
mod resolve;
mod tls;

use std::time::Duration;

use bytes::Bytes;
use futures::{
    FutureExt,
    future::{self, Either},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio_util::compat::FuturesAsyncReadCompatExt;
use windlass_kernel::{
    ClockExt,
    dial::{ByteStream, Target},
    error::{Error, ErrorKind, Result},
};

pub(crate) use self::{
    calls::{Call, Calls, Outcome},
    kept::Outgoing,
};
use crate::server::ApiServer;

/// What an answer may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// From dialling to its last byte.
    pub(crate) time: Duration,
    /// In bytes.
    pub(crate) size: usize,
}

/// A server to call.
#[derive(Debug)]
pub(crate) struct Endpoint {
    target: Target,
    /// The name that its certificate must have.
    name: String,
    /// The host and port, as in URLs.
    authority: String,
    path: String,
    /// The certificates to trust, as PEM; those of this machine where it is empty.
    roots: Vec<u8>,
}

impl Endpoint {
    /// Reads a `WebhookClientConfig`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where it names no server.
    pub(crate) fn read(config: &Value) -> Result<Self> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let wrong = |why: &str| Error::new(ErrorKind::Invalid, format!("cannot call a webhook: {why}"));
        let roots = STANDARD.decode(text(&config["caBundle"])).map_err(|_| wrong("caBundle is not base64"))?;
        let service = &config["service"];
        if service.is_object() {
            let (namespace, name) = (text(&service["namespace"]), text(&service["name"]));
            let port =
                u16::try_from(service["port"].as_u64().unwrap_or(443)).map_err(|_| wrong("the port is no port"))?;
            let host = format!("{name}.{namespace}.svc");
            let path = text(&service["path"]);
            return Ok(Self {
                target: Target::Service { namespace, name, port },
                authority: format!("{host}:{port}"),
                name: host,
                path: if path.starts_with('/') { path } else { format!("/{path}") },
                roots,
            });
        }
        let url = text(&config["url"]);
        let uri: hyper::Uri = url.parse().map_err(|_| wrong("the URL cannot be read"))?;
        let (Some("https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong("the URL is not one of https"));
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(443);
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self {
            target: Target::Host { host: host.clone(), port },
            authority: authority.to_string(),
            name: host,
            path,
            roots,
        })
    }

    /// The same server, asked with one more parameter.
    pub(crate) fn asking(mut self, parameter: &str) -> Self {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(parameter);
        self
    }

    /// The URL, as messages name it.
    pub(crate) fn url(&self) -> String {
        format!("https://{}{}", self.authority, self.path)
    }
}

/// Posts JSON and reads the JSON that comes back.
///
/// # Errors
///
/// [`Unavailable`](ErrorKind::Unavailable) where the server cannot be reached, [`Timeout`](ErrorKind::Timeout) where it
/// does not answer within its time, [`Internal`](ErrorKind::Internal) where its answer is none.
pub(crate) async fn post(server: &ApiServer, to: &Endpoint, body: &Value, limits: Limits) -> Result<Value> {
    let call = exchange(server, to, body.to_string().into(), limits.size);
    let failed = |error: Error| {
        let message = format!("Post {:?}: {}", to.url(), error.message());
        Error::new(error.kind(), message).with_source(error)
    };
    let late = || Error::new(ErrorKind::Timeout, "context deadline exceeded");
    let answer = server.parts.clock.timeout(limits.time, Box::pin(call)).await;
    let bytes = answer.map_err(|_| late()).and_then(|answer| answer).map_err(failed)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Error::new(ErrorKind::Internal, format!("the answer of {:?} is no JSON", to.url())).with_source(error)
    })
}

async fn exchange(server: &ApiServer, to: &Endpoint, body: Bytes, size: usize) -> Result<Bytes> {
    let outgoing = &server.parts.outgoing;
    let now = || server.parts.clock.uptime();
    if let Some(mut kept) = outgoing.take(to, now()) {
        match ask(&mut kept, to, body.clone(), size).await {
            Ok(answer) => {
                outgoing.keep(to, kept, now());
                return Ok(answer);
            }
            // The other side may have ended the connection at this very moment; asking again changes nothing there.
            Err(error) if error.is(ErrorKind::Unavailable) => {}
            Err(error) => return Err(error),
        }
    }
    let stream = dial(server, &to.target).await?;
    let name = ServerName::try_from(to.name.clone())
        .map_err(|_| Error::new(ErrorKind::Invalid, format!("{:?} is no name of a host", to.name)))?;
    let tls = tls::connector(&to.roots, outgoing, &server.parts.clock)?;
    let stream = tls.connect(name, stream.compat()).await.map_err(|error| {
        Error::new(ErrorKind::Unavailable, format!("tls: failed to verify certificate: {error}")).with_source(error)
    })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    if let Some(spawn) = &server.parts.spawn {
        // It ends when the sender is dropped, or the other side ends it.
        spawn.start("webhook.connection", Box::pin(async move { drop(connection.await) }));
        let answer = ask(&mut sender, to, body, size).await?;
        outgoing.keep(to, sender, now());
        return Ok(answer);
    }
    let connection = connection.then(|ended| async move {
        match ended {
            // Without an error the answer has come, and whoever reads it says so.
            Ok(()) => future::pending::<Error>().await,
            Err(error) => broken(error),
        }
    });
    match future::select(Box::pin(ask(&mut sender, to, body, size)), Box::pin(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((error, _)) => Err(error),
    }
}

fn broken(error: hyper::Error) -> Error {
    Error::new(ErrorKind::Unavailable, error.to_string()).with_source(error)
}

/// Sends one request over a connection and reads its answer to the end.
async fn ask(sender: &mut kept::Sender, to: &Endpoint, body: Bytes, size: usize) -> Result<Bytes> {
    let request = Request::post(&to.path)
        .header(header::HOST, &to.authority)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "kube-apiserver-admission")
        .body(Full::new(body))
        .map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
    // A connection that was just used may need a moment.
    sender.ready().await.map_err(broken)?;
    read(sender.send_request(request).await.map_err(broken)?, size).await
}

async fn read(response: hyper::Response<Incoming>, size: usize) -> Result<Bytes> {
    let status = response.status();
    let body = Limited::new(response.into_body(), size).collect().await;
    let body = body.map_err(|error| Error::new(ErrorKind::Internal, format!("cannot read the answer: {error}")))?;
    if !status.is_success() {
        let said = body.to_bytes();
        let said = String::from_utf8_lossy(&said[..said.len().min(200)]).into_owned();
        return Err(Error::new(ErrorKind::Internal, format!("the server answered {status}: {said}")));
    }
    Ok(body.to_bytes())
}

async fn dial(server: &ApiServer, target: &Target) -> Result<ByteStream> {
    let Some(dial) = &server.parts.dial else {
        return Err(Error::new(ErrorKind::NotSupported, "this server was given no way to open connections"));
    };
    match dial.dial(target).await {
        // Whoever dials may know no services; the server does.
        Err(error) if error.is(ErrorKind::NotSupported) => dial.dial(&resolve::resolve(server, target).await?).await,
        dialled => dialled,
    }
}
