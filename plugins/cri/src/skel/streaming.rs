//! The streaming server: sessions that were promised by a URL, over SPDY/3.1 and WebSockets.
//!
//! A URL is good for one session and a minute. It is served on the loopback address without TLS, as containerd does: whoever
//! serves it to others (the kubelet) stands between. WebSockets that forward by channels name their ports in the URL's query
//! (`?port=80&port=81`), as the kubelet's clients do.

use std::{collections::BTreeMap, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, select_biased};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use windlass_kernel::{
    ContainerRuntime, EntropyExt, Error, ErrorKind, Result, SpawnExt, carry::Keeping, node::Streams, runtime::Opening,
};
use windlass_transport::{
    tcp,
    upgrade::{self, Protocols, Wanted},
};

use super::Setup;

/// How long a URL is good.
const PROMISED: Duration = Duration::from_secs(60);
/// More URLs than this do not wait to be used.
const MOST: usize = 1000;

/// Sessions that were promised, and the server that keeps the promises.
#[derive(Debug)]
pub(super) struct Streaming {
    address: SocketAddr,
    runtime: Arc<dyn ContainerRuntime>,
    keeping: Keeping,
    setup: Setup,
    promised: Mutex<BTreeMap<String, Promise>>,
}

#[derive(Debug)]
struct Promise {
    opening: Opening,
    /// Uptime of the clock.
    until: Duration,
}

impl Streaming {
    pub(super) fn new(address: SocketAddr, runtime: Arc<dyn ContainerRuntime>, keeping: Keeping, setup: Setup) -> Self {
        Self { address, runtime, keeping, setup, promised: Mutex::default() }
    }

    /// A URL at which a session can be had once.
    pub(super) fn promise(&self, opening: Opening) -> Result<String> {
        let kind = match &opening {
            Opening::Exec { .. } => "exec",
            Opening::Attach { .. } => "attach",
            Opening::PortForward { .. } => "portforward",
        };
        let (now, token) = (self.setup.clock.uptime(), self.setup.entropy.uuid());
        let mut promised = self.promised.lock();
        promised.retain(|_, promise| promise.until > now);
        if promised.len() >= MOST {
            return Err(Error::new(ErrorKind::TooManyRequests, "too many sessions wait to be opened"));
        }
        let url = format!("http://{}/{kind}/{token}", self.address);
        promised.insert(token, Promise { opening, until: now + PROMISED });
        Ok(url)
    }

    fn take(&self, path: &str) -> Option<Opening> {
        let token = path.rsplit('/').next()?;
        let promise = self.promised.lock().remove(token)?;
        (promise.until > self.setup.clock.uptime()).then_some(promise.opening)
    }

    /// Serves whoever connects, until it is dropped.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let stream = tcp::accept(&listener, &*self.setup.clock).await;
            let serving = Arc::clone(&self);
            let connection = async move {
                let answer = service_fn(|request| {
                    let serving = Arc::clone(&serving);
                    async move { Ok::<_, Infallible>(serving.answer(request).await) }
                });
                // A client that goes away is no concern of the server's.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).with_upgrades().await;
            };
            self.setup.spawn.start("cri.connection", connection.boxed());
        }
    }

    async fn answer(self: Arc<Self>, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
        let Some(opening) = self.take(request.uri().path()) else {
            return text(StatusCode::NOT_FOUND, "no session was promised here, or it was had already");
        };
        let wanted = match wanted(&request, &opening) {
            Ok(wanted) => wanted,
            Err(error) if error.is(ErrorKind::Forbidden) => return text(StatusCode::FORBIDDEN, &error.to_string()),
            Err(error) => return text(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        // Opened before the answer: so it can say why not.
        let session = match self.runtime.session(opening).await {
            Ok(session) => session,
            Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        };
        let upgrading = hyper::upgrade::on(&mut request);
        let mut answer = text(StatusCode::SWITCHING_PROTOCOLS, "");
        *answer.headers_mut() = wanted.agreed.headers();
        let keeping = self.keeping.clone();
        let carried = async move {
            let upgraded = select_biased! {
                upgraded = upgrading.fuse() => upgraded,
                () = keeping.stop.wait().fuse() => return,
            };
            match upgraded {
                Ok(upgraded) => wanted.carry(TokioIo::new(upgraded), session, &keeping).await,
                Err(error) => tracing::debug!(%error, "a session's client left before it began"),
            }
        };
        self.setup.spawn.spawn("cri.session", carried).detach();
        answer
    }
}

/// Agrees with a client on how a session is carried.
fn wanted<B>(request: &Request<B>, opening: &Opening) -> Result<Wanted> {
    let (known, streams, of) = match opening {
        Opening::Exec { container, streams, .. } | Opening::Attach { container, streams } => {
            (Protocols::PROCESS, *streams, container.to_string())
        }
        Opening::PortForward { sandbox } => (Protocols::PORTS, Streams::default(), sandbox.to_string()),
    };
    let agreed = upgrade::agree(request.headers(), &known)?;
    let ports = if matches!(opening, Opening::PortForward { .. }) && agreed.needs_ports_named() {
        let parameters = request.uri().query().unwrap_or_default().split('&');
        upgrade::named_ports("port", parameters.filter_map(|parameter| parameter.strip_prefix("port=")))?
    } else {
        Vec::new()
    };
    Ok(Wanted { agreed, streams, ports, of })
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

#[cfg(test)]
mod tests {
    use windlass_transport::upgrade::Agreed;

    use super::*;

    fn check(opening: &Opening, target: &str, lines: &[(&'static str, &'static str)], expect: &str) {
        let mut request = Request::get(target);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let said = match wanted(&request, opening) {
            Ok(Wanted { agreed: Agreed::Socket { protocol, .. }, ports, .. }) => format!("socket {protocol} {ports:?}"),
            Ok(Wanted { agreed: Agreed::Spdy { protocol }, ports, .. }) => format!("spdy {protocol} {ports:?}"),
            Err(error) => format!("{:?}", error.kind()),
        };
        assert_eq!(said, expect, "{target} {lines:?}");
    }

    #[test]
    fn a_client_says_how_its_session_is_carried() {
        let attach = Opening::Attach { container: "c".into(), streams: Streams::default() };
        let forward = Opening::PortForward { sandbox: "s".into() };
        let spdy =
            |protocol| [("connection", "Upgrade"), ("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", protocol)];
        let socket = |protocol| {
            [
                ("connection", "Upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("sec-websocket-protocol", protocol),
            ]
        };
        check(&attach, "/a", &spdy("v9.channel.k8s.io, v4.channel.k8s.io"), "spdy v4.channel.k8s.io []");
        check(&attach, "/a", &socket("v5.channel.k8s.io"), "socket v5.channel.k8s.io []");
        check(&attach, "/a", &spdy("portforward.k8s.io"), "Forbidden");
        check(&attach, "/a", &[], "BadRequest");
        check(&forward, "/p", &socket("SPDY/3.1+portforward.k8s.io"), "socket SPDY/3.1+portforward.k8s.io []");
        check(&forward, "/p?port=80&port=81", &socket("v4.channel.k8s.io"), "socket v4.channel.k8s.io [80, 81]");
        check(&forward, "/p", &socket("v4.channel.k8s.io"), "BadRequest");
        check(&forward, "/p", &spdy("portforward.k8s.io"), "spdy portforward.k8s.io []");
    }
}
