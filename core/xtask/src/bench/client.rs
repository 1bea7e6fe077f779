//! One TLS connection to an API server, over HTTP/2 or HTTP/1.1, and requests on it. No retries: what fails is reported.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    client::conn::{http1, http2},
    rt::{Read, Write},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use windlass_client::kubeconfig::{Access, Credential, Kubeconfig};

/// Where a server is, and as whom to speak to it.
#[derive(Clone)]
pub(super) struct Target {
    authority: String,
    name: ServerName<'static>,
    authorization: Option<String>,
    tls: Arc<ClientConfig>,
}

/// Which HTTP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    One,
    Two,
}

/// A connection.
pub(super) struct Connection {
    sender: Sender,
    authority: String,
    authorization: Option<String>,
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Target {
    /// The server that a kubeconfig's current context names.
    pub(super) fn read(kubeconfig: &Path) -> Result<Self> {
        Self::new(&Kubeconfig::read(kubeconfig)?.access("")?)
    }

    /// A server and a credential.
    pub(super) fn new(access: &Access) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&access.authority) {
            roots.add(certificate?)?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots);
        let (mut authorization, mut own) = (None, None);
        match &access.credential {
            Credential::Anonymous => {}
            Credential::Token(token) => authorization = Some(format!("Bearer {token}")),
            Credential::Certificate { chain, key } => own = Some((chain, key)),
            Credential::TokenFile(_) | Credential::Password { .. } => {
                bail!("the benchmark speaks with a token or a client certificate");
            }
        }
        let tls = match own {
            Some((chain, key)) => {
                let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>()?;
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key)?)?
            }
            None => builder.with_no_client_auth(),
        };
        let uri: Uri = access.server.parse().with_context(|| format!("{:?} is no URL", access.server))?;
        let host = uri.host().with_context(|| format!("{:?} names no host", access.server))?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(443));
        let name = access.server_name.as_deref().unwrap_or(host).trim_matches(['[', ']']);
        let name = ServerName::try_from(name.to_owned())?;
        Ok(Self { authority, name, authorization, tls: Arc::new(tls) })
    }

    /// Connects.
    #[allow(clippy::disallowed_methods, reason = "the load generator is a program of its own, outside the kernel")]
    pub(super) async fn connect(&self, protocol: Protocol) -> Result<Connection> {
        let stream = TcpStream::connect(&self.authority).await;
        let stream = stream.with_context(|| format!("cannot connect to {}", self.authority))?;
        stream.set_nodelay(true)?;
        let mut tls = ClientConfig::clone(&self.tls);
        tls.alpn_protocols = vec![if protocol == Protocol::Two { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let stream = TlsConnector::from(Arc::new(tls)).connect(self.name.clone(), stream).await?;
        let sender = Sender::start(TokioIo::new(stream), protocol).await?;
        Ok(Connection { sender, authority: self.authority.clone(), authorization: self.authorization.clone() })
    }
}

impl Sender {
    #[allow(clippy::disallowed_methods, reason = "the load generator is a program of its own, outside the kernel")]
    async fn start(stream: impl Read + Write + Send + Unpin + 'static, protocol: Protocol) -> Result<Self> {
        Ok(match protocol {
            Protocol::One => {
                let (sender, connection) = http1::handshake(stream).await?;
                drop(tokio::spawn(connection));
                Self::One(sender)
            }
            Protocol::Two => {
                // As wide a window as Go's client has, so that a large answer is not throttled by this end.
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder.initial_stream_window_size(4 << 20).initial_connection_window_size(1 << 30);
                let (sender, connection) = builder.handshake(stream).await?;
                drop(tokio::spawn(connection));
                Self::Two(sender)
            }
        })
    }
}

impl Connection {
    /// Speaks HTTP/2 in the clear, as gRPC does.
    #[allow(clippy::disallowed_methods, reason = "the load generator is a program of its own, outside the kernel")]
    pub(super) async fn clear(authority: &str) -> Result<Self> {
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let sender = Sender::start(TokioIo::new(stream), Protocol::Two).await?;
        Ok(Self { sender, authority: authority.to_owned(), authorization: None })
    }

    /// Sends a request of JSON and waits for the headers and the length of its answer.
    pub(super) async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, usize)> {
        let kind = (!body.is_empty()).then_some("application/json");
        self.exchange(method, path, kind, body).await
    }

    /// Sends a request with a type of content, and counts the bytes of its answer.
    pub(super) async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        kind: Option<&str>,
        body: Bytes,
    ) -> Result<(StatusCode, usize)> {
        let mut request = Request::builder().method(method);
        request = match &self.sender {
            Sender::One(_) => request.uri(path).header(header::HOST, &self.authority),
            Sender::Two(_) => request.uri(format!("https://{}{path}", self.authority)),
        };
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
            if kind == "application/grpc" {
                request = request.header(header::TE, "trailers");
            }
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.header(header::ACCEPT, "application/json").body(Full::new(body))?;
        let response = match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let status = response.status();
        let mut body = response.into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok((status, length))
    }
}
