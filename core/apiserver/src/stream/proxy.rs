//! Requests that go on to a pod, a service or a node: one HTTP/1.1 connection for each, over whatever the dialler opens.
//!
//! What is rewritten is what upstream rewrites: headers that concern one hop, where a redirect leads, and the links of
//! pages that are not packed.

mod links;
mod tls;

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future, select_biased, stream};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    body::Frame,
    header::{self, HeaderName, HeaderValue},
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::compat::FuturesAsyncReadCompatExt;
use windlass_kernel::{
    ClockExt, Error, ErrorKind, Result, Spawn, SpawnExt, Stop,
    api::{self, Answer, Destination, PatchType, Verb},
};

use self::links::Links;
use crate::http::{Asked, Body, Connecting, empty};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// So long a connection may take to come about.
const DIAL: Duration = Duration::from_secs(10);

/// Headers that concern one hop (RFC 9110, 7.6.1).
const HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
];

/// Sends the request on and brings back the answer.
pub(super) async fn forward(connecting: Connecting) -> Result<Response<Body>> {
    let Connecting { mut request, rest, mut http, api, dial, clock, spawn, stop, held, .. } = connecting;
    request.verb = verb(http.method());
    // A session of a node's agent is none for those who may only read, whatever begins it.
    let session =
        matches!(rest.trim_start_matches('/').split('/').next(), Some("exec" | "attach" | "portForward" | "run"));
    if session && request.resource.resource == "nodes" && request.verb == Verb::Get {
        request.verb = Verb::Create;
    }
    // The query is the other server's to read.
    request.options = api::Options::default();
    let Answer::Destination(to) = api.call(request).await?.answer else {
        return Err(Error::new(ErrorKind::Internal, "the API answered a proxied request with something else"));
    };
    let prefix = prefix(http.uri().path(), &rest).to_owned();
    if let Some(redirect) = slash(&http, &rest) {
        return Ok(redirect);
    }
    let upgrading = http.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut http));
    let asked_at = http.headers().get(header::HOST).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let onward = onward(http, &rest, &to)?;

    let stream = clock.timeout(DIAL, dial.dial(&to.target)).await.unwrap_or_else(Err);
    let stream = stream.map_err(|error| unreachable(&error))?.compat();
    let mut sender = if to.tls {
        let stream = clock.timeout(DIAL, tls::connect(stream, &to.host)).await.unwrap_or_else(Err);
        start(stream.map_err(|error| unreachable(&error))?, &*spawn).await?
    } else {
        start(stream, &*spawn).await?
    };
    let answered = sender.send_request(onward).await.map_err(|error| unreachable(&error))?;
    let (mut parts, body) = answered.into_parts();
    let moves = Moves { prefix, host: to.host, asked_at };
    moves.redirect(&mut parts.headers);
    if parts.status == StatusCode::SWITCHING_PROTOCOLS
        && let Some(near) = upgrading
        && let Some(far) = parts.extensions.remove::<OnUpgrade>()
    {
        let joined = async move {
            join(near, far, &stop).await;
            drop(held);
        };
        spawn.spawn("proxy.upgraded", joined).detach();
        return Ok(Response::from_parts(parts, empty()));
    }
    one_hop(&mut parts.headers);
    let body = body.map_err(move |error| {
        // The session counts as open, and the connection lives, for as long as its body is read.
        let _ = (&held, &sender);
        Box::from(error)
    });
    if !is_page(&parts.headers) {
        return Ok(Response::from_parts(parts, body.boxed_unsync()));
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(parts, page(body, Links::new(moves))))
}

/// A body with its links moved.
fn page(body: impl hyper::body::Body<Data = Bytes, Error = BoxError> + Send + 'static, mut links: Links) -> Body {
    let pieces = BodyStream::new(body).filter_map(|frame| {
        // Trailers concern the bytes as they were.
        future::ready(frame.map(|frame| frame.into_data().ok()).transpose())
    });
    let pieces = pieces.map(Some).chain(stream::once(future::ready(None)));
    let moved = pieces.map(move |piece| {
        let bytes = match piece.transpose()? {
            Some(piece) => links.feed(&piece),
            None => links.end(),
        };
        Ok(Frame::data(Bytes::from(bytes)))
    });
    BodyExt::boxed_unsync(StreamBody::new(moved))
}

/// The verb that a method needs the permission for.
fn verb(method: &Method) -> Verb {
    match *method {
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch(PatchType::Merge),
        Method::DELETE => Verb::Delete,
        _ => Verb::Get,
    }
}

fn unreachable(error: &(dyn std::error::Error + 'static)) -> Error {
    let mut message = format!("error trying to reach service: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    Error::new(ErrorKind::Unavailable, message)
}

/// The path up to and with `proxy`.
fn prefix<'p>(path: &'p str, rest: &str) -> &'p str {
    path.strip_suffix(rest).unwrap_or(path).trim_end_matches('/')
}

/// A proxy's root is a folder: without its slash, relative links would lead nowhere.
fn slash(http: &Request<Asked>, rest: &str) -> Option<Response<Body>> {
    let path = http.uri().path();
    let wanted = rest.is_empty() && !path.ends_with('/') && matches!(*http.method(), Method::GET | Method::HEAD);
    if !wanted || http.headers().contains_key(header::UPGRADE) {
        return None;
    }
    let query = http.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut out = Response::new(empty());
    *out.status_mut() = StatusCode::MOVED_PERMANENTLY;
    out.headers_mut().insert(header::LOCATION, HeaderValue::try_from(format!("{path}/{query}")).ok()?);
    Some(out)
}

/// The request as the other server is to see it.
fn onward(http: Request<Asked>, rest: &str, to: &Destination) -> Result<Request<Asked>> {
    let bad = |what: &str| Error::new(ErrorKind::BadRequest, format!("cannot forward the request: {what}"));
    let (mut parts, body) = http.into_parts();
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = parts.uri.path().to_owned();
    let host = parts.uri.authority().map(|authority| authority.as_str().to_owned());
    parts.uri = Uri::try_from(format!("/{rest}{query}")).map_err(|_| bad("its path is not valid"))?;
    parts.version = hyper::Version::HTTP_11;
    let upgrade = parts.headers.get(header::UPGRADE).cloned();
    one_hop(&mut parts.headers);
    let own: Vec<HeaderName> = parts.headers.keys().filter(|name| ours(name)).cloned().collect();
    for name in own {
        parts.headers.remove(name);
    }
    let asked_at = parts.headers.remove(header::HOST).or_else(|| host.and_then(|host| host.try_into().ok()));
    let mut set = |name: &'static str, value: Option<HeaderValue>| {
        if let Some(value) = value {
            parts.headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("host", HeaderValue::try_from(&to.host).ok());
    set("x-forwarded-uri", HeaderValue::try_from(path).ok());
    set("x-forwarded-host", asked_at);
    set("x-forwarded-proto", Some(HeaderValue::from_static("https")));
    if let Some(upgrade) = upgrade {
        set("connection", Some(HeaderValue::from_static("Upgrade")));
        set("upgrade", Some(upgrade));
    }
    Ok(Request::from_parts(parts, body))
}

/// Who asks is proved to us, and is nobody else's to know.
fn ours(name: &HeaderName) -> bool {
    *name == header::AUTHORIZATION || name.as_str().starts_with("impersonate-")
}

fn one_hop(headers: &mut HeaderMap) {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<String> = named.flat_map(|text| text.split(',')).map(|name| name.trim().to_lowercase()).collect();
    for name in HOP.into_iter().chain(["upgrade"]).chain(named.iter().map(String::as_str)) {
        headers.remove(name);
    }
}

/// Which URLs of the other server lead behind the proxy (`rewriteURL` in upstream's proxy transport).
#[derive(Clone, Debug)]
struct Moves {
    /// The path up to and with `proxy`.
    prefix: String,
    /// The other server, as it was asked.
    host: String,
    /// This server, as it was asked.
    asked_at: Option<String>,
}

impl Moves {
    /// Where a URL leads behind the proxy; `None` where it stays as it is.
    fn moved(&self, url: &str) -> Option<String> {
        let url: Uri = url.parse().ok()?;
        let host = url.authority().map(http::uri::Authority::as_str);
        let same = host.is_none_or(|host| host == self.host || self.asked_at.as_deref() == Some(host));
        if !same || !url.path().starts_with('/') || url.path().starts_with(&self.prefix) {
            return None;
        }
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Some(format!("{}{}{query}", self.prefix, url.path()))
    }

    /// Moves the place that a redirect leads to.
    fn redirect(&self, headers: &mut HeaderMap) {
        let place = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        if let Some(moved) = place.and_then(|place| self.moved(place)).and_then(|text| text.try_into().ok()) {
            headers.insert(header::LOCATION, moved);
        }
    }
}

/// Whether an answer is a page whose links can be read.
fn is_page(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let html = media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/html");
    html && !headers.contains_key(header::CONTENT_ENCODING)
}

type Sender = hyper::client::conn::http1::SendRequest<Asked>;

/// Begins to speak HTTP.
async fn start<S>(stream: S, spawn: &dyn Spawn) -> Result<Sender>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let begun = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = begun.map_err(|error| unreachable(&error))?;
    let driving = async move {
        // What goes wrong is seen by the request.
        let _ = connection.with_upgrades().await;
    };
    spawn.start("proxy.connection", Box::pin(driving));
    Ok(sender)
}

/// Carries bytes both ways until both sides have ended or the server does.
async fn join(near: OnUpgrade, far: OnUpgrade, stop: &Stop) {
    let Ok((near, far)) = future::try_join(near, far).await else { return };
    let io = |upgraded: Upgraded| TokioIo::new(upgraded);
    let (mut near, mut far) = (io(near), io(far));
    select_biased! {
        // An end that breaks is the end of both.
        _ = tokio::io::copy_bidirectional(&mut near, &mut far).fuse() => {}
        () = stop.wait().fuse() => {}
    }
}
