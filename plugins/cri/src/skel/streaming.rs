//! The streaming server: sessions that were promised by a URL, over SPDY/3.1.
//!
//! A URL is good for one session and a minute. It is served on the loopback address without TLS, as containerd does: whoever
//! serves it to others (the kubelet) stands between. WebSockets are refused: clients fall back to SPDY, or begin with it.

use std::{collections::BTreeMap, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, select_biased};
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{self, HeaderName},
};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::compat::TokioAsyncReadCompatExt;
use windlass_kernel::{
    ClockExt, ContainerRuntime, EntropyExt, Error, ErrorKind, Result, SpawnExt,
    carry::{Keeping, exec_over_spdy, ports_over_spdy},
    node::{Session, Streams},
    runtime::Opening,
    spdy,
};

use super::Setup;

const PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// Protocols of exec and attach. Without a name it is the oldest.
const PROCESS: &[&str] =
    &["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io", ""];
const FORWARD: &[&str] = &["portforward.k8s.io", ""];

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

/// What was agreed on.
struct Agreed {
    protocol: &'static str,
    streams: Streams,
    of: String,
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
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely: those that end give some back.
                    tracing::warn!(%error, "cannot accept a session's connection");
                    self.setup.clock.sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
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
        let agreed = match agree(request.headers(), &opening) {
            Ok(agreed) => agreed,
            Err((status, why)) => return text(status, why),
        };
        // Opened before the answer: so it can say why not.
        let session = match self.runtime.session(opening).await {
            Ok(session) => session,
            Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        };
        let upgrade = hyper::upgrade::on(&mut request);
        let mut answer = text(StatusCode::SWITCHING_PROTOCOLS, "");
        let headers = answer.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static(spdy::UPGRADE));
        if !agreed.protocol.is_empty() {
            headers.insert(PROTOCOL, HeaderValue::from_static(agreed.protocol));
        }
        let keeping = self.keeping.clone();
        let carried = async move {
            let upgraded = select_biased! {
                upgraded = upgrade.fuse() => upgraded,
                () = keeping.stop.wait().fuse() => return,
            };
            match upgraded {
                Ok(upgraded) => carry(upgraded, session, &agreed, &keeping).await,
                Err(error) => tracing::debug!(%error, "a session's client left before it began"),
            }
        };
        self.setup.spawn.spawn("cri.session", carried).detach();
        answer
    }
}

async fn carry(upgraded: Upgraded, session: Session, agreed: &Agreed, keeping: &Keeping) {
    let io = TokioIo::new(upgraded).compat();
    match session {
        Session::Process(process) => exec_over_spdy(io, agreed.protocol, process, agreed.streams, keeping).await,
        Session::Ports(ports) => ports_over_spdy(io, &*ports, &agreed.of, keeping).await,
    }
}

/// Finds what both sides speak: the first that the client names.
fn agree(headers: &HeaderMap, opening: &Opening) -> Result<Agreed, (StatusCode, &'static str)> {
    let words = |name: &HeaderName| {
        let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        texts.flat_map(|text| text.split(',').map(str::trim)).filter(|word| !word.is_empty()).collect::<Vec<_>>()
    };
    let upgrades = words(&header::CONNECTION).iter().any(|word| word.eq_ignore_ascii_case("upgrade"));
    if !upgrades || !words(&header::UPGRADE).iter().any(|word| word.eq_ignore_ascii_case(spdy::UPGRADE)) {
        return Err((StatusCode::BAD_REQUEST, "an upgrade to SPDY/3.1 is required; WebSockets are not served"));
    }
    let (known, streams, of) = match opening {
        Opening::Exec { container, streams, .. } | Opening::Attach { container, streams } => {
            (PROCESS, *streams, container.to_string())
        }
        Opening::PortForward { sandbox } => (FORWARD, Streams::default(), sandbox.to_string()),
    };
    let offered = words(&PROTOCOL);
    let protocol = match offered.is_empty() {
        true => Some(""),
        false => offered.iter().find_map(|name| known.iter().find(|own| *own == name).copied()),
    };
    let protocol = protocol.ok_or((StatusCode::FORBIDDEN, "none of the protocols offered is served"))?;
    Ok(Agreed { protocol, streams, of })
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[(&'static str, &'static str)], expect: Result<&str, StatusCode>) {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let headers: HeaderMap = lines.iter().map(header).collect();
        let streams = Streams { stdout: true, ..Streams::default() };
        let agreed = agree(&headers, &Opening::Attach { container: "c".into(), streams });
        assert_eq!(agreed.map(|agreed| agreed.protocol).map_err(|(status, _)| status), expect, "{lines:?}");
    }

    #[test]
    fn the_first_protocol_of_the_client_that_is_known_is_taken() {
        let spdy = [("connection", "Upgrade"), ("upgrade", "SPDY/3.1")];
        let with = |protocol| [spdy[0], spdy[1], ("x-stream-protocol-version", protocol)];
        check(&with("v9.channel.k8s.io, v4.channel.k8s.io"), Ok("v4.channel.k8s.io"));
        check(&spdy, Ok(""));
        check(&with("portforward.k8s.io"), Err(StatusCode::FORBIDDEN));
        check(&[("connection", "upgrade"), ("upgrade", "websocket")], Err(StatusCode::BAD_REQUEST));
        check(&[], Err(StatusCode::BAD_REQUEST));
    }
}
