//! Connections to a node's API: within the process, where access was decided before, and over TLS, where it is decided here.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures::FutureExt;
use http::{Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::compat::TokioAsyncReadCompatExt;
use windlass_kernel::{
    Authenticator, Authorizer, ClockExt, ErrorKind, Identity, SpawnExt, Stop,
    access::{Credentials, Decision},
    carry::Keeping,
    dial::ByteStream,
};
use windlass_transport::tcp;

use super::{Body, Kubelet, access, refusal, text};

/// So much waits in a connection within the process before its writer must.
const BUFFER: usize = 64 * 1024;
/// So long a client may take to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// So long a connection is kept on which nobody asks for anything.
const IDLE: Duration = Duration::from_secs(90);

/// How it is decided who may ask for what.
#[derive(Clone, Debug)]
pub struct Gates {
    /// Says who asks: by the client's certificate, which the handshake has verified, or a bearer token. Whom it does not know is
    /// refused; nobody is anonymous.
    pub authenticator: Arc<dyn Authenticator>,
    /// Says whether they may use the verb on the node's sub-resource: `proxy`, or a finer one.
    pub authorizer: Arc<dyn Authorizer>,
}

/// Whom a connection belongs to, as far as it says so.
#[derive(Clone)]
struct Peer {
    gates: Gates,
    /// The client's certificate (DER).
    certificate: Option<Vec<u8>>,
}

impl Kubelet {
    /// Opens a connection within the process. It speaks HTTP/1.1 and ends when the stream is dropped. Whoever holds it may
    /// everything.
    #[must_use]
    pub fn connect(&self) -> ByteStream {
        let (near, far) = tokio::io::duplex(BUFFER);
        let kubelet = self.clone();
        let serving = async move { kubelet.speak(far, None, Stop::new()).await };
        self.spawn.spawn("node.kubelet", serving).detach();
        Box::new(near.compat())
    }

    /// Serves whoever connects to `listener`, in HTTP/1.1 over TLS, until `stop`; sessions end then, too. `tls` asks clients for a
    /// certificate and verifies it.
    pub async fn serve(&self, listener: TcpListener, tls: Arc<ServerConfig>, gates: Gates, stop: Stop) {
        let mut tls = ServerConfig::clone(&tls);
        // Sessions are upgrades, which HTTP/2 does not have.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        while let Some(stream) = stop.race(tcp::accept(&listener, &*self.clock)).await {
            let (kubelet, acceptor, gates, stop) = (self.clone(), acceptor.clone(), gates.clone(), stop.clone());
            let serving = async move {
                stop.race(kubelet.greet(stream, acceptor, gates, stop.clone())).await;
            };
            self.spawn.start("node.kubelet", serving.boxed());
        }
    }

    async fn greet(&self, stream: TcpStream, acceptor: TlsAcceptor, gates: Gates, stop: Stop) {
        let Ok(Ok(stream)) = self.clock.timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = Peer { gates, certificate: certificate.map(|der| der.to_vec()) };
        self.speak(stream, Some(peer), stop).await;
    }

    async fn speak<T>(&self, stream: T, peer: Option<Peer>, stop: Stop)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let outside = peer.is_some();
        let keeping = Keeping { clock: Arc::clone(&self.clock), stop };
        let service = service_fn(|request| {
            let (kubelet, peer, keeping) = (self.clone(), peer.clone(), keeping.clone());
            async move {
                let refused = match &peer {
                    Some(peer) => kubelet.check(peer, &request).await,
                    None => None,
                };
                let answer = match refused {
                    Some(refused) => Ok(refused),
                    None => kubelet.answer(request, keeping).await,
                };
                Ok::<_, Infallible>(answer.unwrap_or_else(|error| refusal(&error)))
            }
        });
        let mut builder = http1::Builder::new();
        if outside {
            builder.timer(TokioTimer::new()).header_read_timeout(IDLE);
        }
        let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the node's API ended");
        }
    }

    /// The refusal of a request that may not be made.
    async fn check(&self, peer: &Peer, request: &Request<Incoming>) -> Option<Response<Body>> {
        let unauthorized = || Some(text(StatusCode::UNAUTHORIZED, "Unauthorized"));
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = given.and_then(|given| {
            let (scheme, token) = given.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
        });
        let credentials = Credentials { bearer, certificate: peer.certificate.clone(), audiences: Vec::new() };
        let identity = match peer.gates.authenticator.authenticate(&credentials).await {
            Ok(Some(identity)) => identity,
            Ok(None) => return unauthorized(),
            Err(error) => {
                if !error.is(ErrorKind::Unauthorized) {
                    tracing::warn!(%error, "cannot find out who asks for the node's API");
                }
                return unauthorized();
            }
        };
        self.may(peer, &identity, request).await
    }

    async fn may(&self, peer: &Peer, identity: &Identity, request: &Request<Incoming>) -> Option<Response<Body>> {
        let wanted = access::wanted(&self.name, request.method(), request.uri().path());
        for one in &wanted {
            match peer.gates.authorizer.authorize(identity, one).await {
                Ok(Decision::Allow(_)) => return None,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, user = identity.name, "cannot find out who may use the node's API");
                    let said = format!(
                        "Authorization error (user={}, verb={}, resource=nodes, subresource={})",
                        identity.name, one.verb, one.subresource
                    );
                    return Some(text(StatusCode::INTERNAL_SERVER_ERROR, &said));
                }
            }
        }
        Some(text(StatusCode::FORBIDDEN, &access::forbidden(&identity.name, &wanted)))
    }
}
