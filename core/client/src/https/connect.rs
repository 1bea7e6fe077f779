//! Connections to one server: one for all over HTTP/2, or as many as needed over HTTP/1.1, as the server prefers.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, client::ClientRequestBuilder},
};
use tokio_util::compat::{FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use windlass_kernel::{
    Dial, Error, ErrorKind, Result, Spawn,
    dial::{ByteStream, Target},
};

use super::{REFUSAL, answer, tls::Tls, url::Message};
use crate::kubeconfig::Access;

pub(super) type Reply = Response<Incoming>;
type Body = Full<Bytes>;
type Many = http2::SendRequest<Body>;
type One = http1::SendRequest<Body>;

/// A connection's bytes, decrypted.
pub(super) type Stream = Box<dyn Duplex>;

/// What a connection reads and writes.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Where a server is.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// The host and port, as in URLs.
    authority: String,
    /// What stands before every path.
    pub(super) base: String,
    pub(super) secure: bool,
    target: Target,
    name: ServerName<'static>,
}

impl Endpoint {
    pub(super) fn parse(access: &Access) -> Result<Self> {
        let wrong = |what: &str| {
            Error::new(ErrorKind::Invalid, format!("cannot use the server URL {:?}: {what}", access.server))
        };
        let uri: Uri = access.server.parse().map_err(|error| wrong("it is no URL").with_source(error))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("its scheme is neither https nor http")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let name = access.server_name.clone().unwrap_or_else(|| host.clone());
        let name = ServerName::try_from(name).map_err(|error| wrong("its host is no name").with_source(error))?;
        Ok(Self {
            authority: authority.to_string(),
            base: uri.path().trim_end_matches('/').to_owned(),
            secure,
            target: Target::Host { host, port },
            name,
        })
    }
}

/// A server and the connections to it.
pub(super) struct Server {
    pub(super) endpoint: Endpoint,
    tls: Option<Tls>,
    dial: Arc<dyn Dial>,
    spawn: Arc<dyn Spawn>,
    open: Arc<Open>,
}

/// Connections that can be used again.
#[derive(Default)]
struct Open {
    many: Mutex<Option<Many>>,
    idle: Mutex<Vec<One>>,
}

enum Connection {
    Many(Many),
    One(One),
}

impl Server {
    pub(super) fn new(endpoint: Endpoint, tls: Option<Tls>, dial: Arc<dyn Dial>, spawn: Arc<dyn Spawn>) -> Self {
        Self { endpoint, tls, dial, spawn, open: Arc::default() }
    }

    /// Sends a message and waits for the head of the answer.
    pub(super) async fn send(&self, message: &Message) -> Result<Reply> {
        let mut fresh = false;
        loop {
            let known = if fresh { None } else { self.open.take() };
            fresh |= known.is_none();
            let connection = match known {
                Some(known) => known,
                None => self.connect().await?,
            };
            match self.exchange(connection, message).await {
                Ok(reply) => return Ok(reply),
                Err(mut error) => {
                    let unsent = error.take_message().is_some();
                    if unsent && !fresh {
                        // An old connection was closed before the server saw the message: this is no repetition.
                        fresh = true;
                        continue;
                    }
                    let error = broken(error.into_error());
                    return Err(if unsent { error } else { error.maybe_applied() });
                }
            }
        }
    }

    /// Uses the present connections no more.
    pub(super) fn forget(&self) {
        let many = self.open.many.lock().take();
        let idle = std::mem::take(&mut *self.open.idle.lock());
        drop((many, idle));
    }

    async fn exchange(&self, connection: Connection, message: &Message) -> Result<Reply, TrySendError<Request<Body>>> {
        match connection {
            Connection::Many(mut many) => {
                let uri = format!("https://{}{}", self.endpoint.authority, message.target);
                many.try_send_request(self.request(message, &uri)).await
            }
            Connection::One(mut one) => {
                let mut request = self.request(message, &message.target);
                if let Ok(host) = self.endpoint.authority.parse() {
                    request.headers_mut().insert(header::HOST, host);
                }
                let reply = one.try_send_request(request).await?;
                let open = Arc::clone(&self.open);
                self.run(async move {
                    // It is ready when the answer's body was read to its end.
                    if one.ready().await.is_ok() {
                        open.idle.lock().push(one);
                    }
                });
                Ok(reply)
            }
        }
    }

    fn request(&self, message: &Message, uri: &str) -> Request<Body> {
        let mut request = Request::new(Full::new(message.body.clone()));
        *request.method_mut() = message.method.clone();
        *request.uri_mut() = uri.parse().expect("paths and queries are percent-encoded");
        for (name, value) in &message.headers {
            match (HeaderName::from_bytes(name.as_bytes()), value.parse()) {
                (Ok(name), Ok(value)) => drop(request.headers_mut().append(name, value)),
                _ => tracing::warn!(%name, "a header is left out, it cannot be sent"),
            }
        }
        request
    }

    /// Opens a connection of its own for a session, and has it become a WebSocket of a sub-protocol.
    pub(super) async fn upgrade(&self, message: &Message, protocol: &str) -> Result<WebSocketStream<Stream>> {
        let stream = self.open_stream(self.tls.as_ref().map(|tls| &tls.one)).await?.0;
        let scheme = if self.endpoint.secure { "wss" } else { "ws" };
        let uri: Uri = format!("{scheme}://{}{}", self.endpoint.authority, message.target)
            .parse()
            .expect("paths and queries are percent-encoded");
        let mut request = ClientRequestBuilder::new(uri).with_sub_protocol(protocol);
        for (name, value) in &message.headers {
            request = request.with_header(name.as_ref(), value);
        }
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(reply)) => {
                let (head, body) = reply.into_parts();
                Err(answer::refusal(&head, &body.unwrap_or_default()))
            }
            Err(error) => {
                Err(Error::new(ErrorKind::Unavailable, "the API server opens no WebSocket").with_source(error))
            }
        }
    }

    /// A connection of its own that becomes what the message asks for.
    pub(super) async fn switch(&self, message: &Message) -> Result<ByteStream> {
        let stream = self.plain(false).await?;
        let (mut one, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        self.keep(connection.with_upgrades());
        let mut request = self.request(message, &message.target);
        if let Ok(host) = self.endpoint.authority.parse() {
            request.headers_mut().insert(header::HOST, host);
        }
        let reply = one.send_request(request).await.map_err(|error| broken(error).maybe_applied())?;
        if reply.status() != StatusCode::SWITCHING_PROTOCOLS {
            let (head, body) = reply.into_parts();
            let body = Limited::new(body, REFUSAL).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            return Err(answer::refusal(&head, &body));
        }
        let switched = hyper::upgrade::on(reply).await.map_err(broken)?;
        Ok(Box::new(TokioIo::new(switched).compat()))
    }

    /// A connection of its own, on which the server was asked for HTTP/2 or for HTTP/1.1 only.
    pub(super) async fn plain(&self, two: bool) -> Result<Stream> {
        let tls = self.tls.as_ref().map(|tls| if two { &tls.any } else { &tls.one });
        let (stream, agreed) = self.open_stream(tls).await?;
        if two && !agreed {
            let message = format!("{} does not speak HTTP/2", self.endpoint.authority);
            return Err(Error::new(ErrorKind::NotSupported, message));
        }
        Ok(stream)
    }

    /// A connection without anything said on it, not even TLS.
    pub(super) async fn bare(&self) -> Result<ByteStream> {
        self.dial.dial(&self.endpoint.target).await
    }

    async fn connect(&self) -> Result<Connection> {
        let (stream, two) = self.open_stream(self.tls.as_ref().map(|tls| &tls.any)).await?;
        if !two {
            let (one, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
            self.keep(connection);
            return Ok(Connection::One(one));
        }
        let executor = Executor(Arc::clone(&self.spawn));
        let (many, connection) = http2::handshake(executor, TokioIo::new(stream)).await.map_err(broken)?;
        self.keep(connection);
        *self.open.many.lock() = Some(many.clone());
        Ok(Connection::Many(many))
    }

    /// A connection, and whether it speaks HTTP/2.
    async fn open_stream(&self, tls: Option<&TlsConnector>) -> Result<(Stream, bool)> {
        let stream = self.dial.dial(&self.endpoint.target).await?.compat();
        let Some(tls) = tls else { return Ok((Box::new(stream), false)) };
        let stream = tls.connect(self.endpoint.name.clone(), stream).await.map_err(|error| {
            let message = format!("cannot agree on TLS with {}", self.endpoint.authority);
            Error::new(ErrorKind::Unavailable, message).with_source(error)
        })?;
        let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Box::new(stream), two))
    }

    fn keep(&self, connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
        self.run(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the API server broke");
            }
        });
    }

    /// Starts a task without a handle: it ends with its connection, which ends when nobody uses it.
    fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn.start("client.https", Box::pin(task));
    }
}

impl Open {
    fn take(&self) -> Option<Connection> {
        if let Some(many) = self.many.lock().as_ref().filter(|many| !many.is_closed()) {
            return Some(Connection::Many(many.clone()));
        }
        let mut idle = self.idle.lock();
        idle.retain(|one| !one.is_closed());
        idle.pop().map(Connection::One)
    }
}

#[derive(Clone)]
struct Executor(Arc<dyn Spawn>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, task: F) {
        self.0.start("client.https", Box::pin(task));
    }
}

pub(super) fn broken(error: hyper::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the connection to the API server broke").with_source(error)
}
