//! The agreement before a session: which framing and which protocol of it. Pure.

use hyper::{
    HeaderMap, Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use windlass_kernel::{
    Result,
    carry::{Agreement, PORTS_PROTOCOLS, PROCESS_PROTOCOLS},
    error::{Error, ErrorKind},
    spdy,
};

use crate::http::{Body, empty};

const PROTOCOL: HeaderName = HeaderName::from_static(Agreement::HEADER);

/// Protocols of exec and attach over WebSockets. Without a name it is the oldest.
const EXEC_SOCKET: &[&str] = &[
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "",
];
/// SPDY in the messages of a WebSocket.
pub(super) const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const PORTS_SOCKET: &[&str] = &[TUNNEL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io"];
const LOGS_SOCKET: &[&str] = &["binary.k8s.io", "base64.binary.k8s.io", ""];

/// What a client and the server agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Agreed {
    /// A WebSocket with a sub-protocol, and the answer to its key.
    Socket { protocol: &'static str, accept: String },
    /// A SPDY connection with a protocol.
    Spdy { protocol: &'static str },
}

/// Whether the client asks for a WebSocket.
pub(crate) fn wants_socket(headers: &HeaderMap) -> bool {
    upgrades(headers, "websocket")
}

fn upgrades(headers: &HeaderMap, to: &str) -> bool {
    let has = |name: HeaderName, wanted: &str| words(headers, &name).any(|word| word.eq_ignore_ascii_case(wanted));
    has(header::CONNECTION, "upgrade") && has(header::UPGRADE, to)
}

/// The words of all headers of that name.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',').map(str::trim)).filter(|word| !word.is_empty())
}

/// Finds what both sides speak: the first that the client names.
pub(super) fn agree(headers: &HeaderMap, subresource: &str) -> Result<Agreed> {
    let (socket, spdy) = match subresource {
        "exec" | "attach" => (EXEC_SOCKET, PROCESS_PROTOCOLS),
        "portforward" => (PORTS_SOCKET, PORTS_PROTOCOLS),
        _ => (LOGS_SOCKET, &[][..]),
    };
    if wants_socket(headers) {
        let protocol = choose(words(headers, &header::SEC_WEBSOCKET_PROTOCOL), socket)?;
        let key = headers.get(header::SEC_WEBSOCKET_KEY);
        let version = headers.get(header::SEC_WEBSOCKET_VERSION);
        return match (key, version.map(HeaderValue::as_bytes)) {
            (Some(key), Some(b"13")) => Ok(Agreed::Socket { protocol, accept: derive_accept_key(key.as_bytes()) }),
            _ => Err(bad("a WebSocket needs a key and version 13")),
        };
    }
    if upgrades(headers, spdy::UPGRADE) && !spdy.is_empty() {
        return Ok(Agreed::Spdy { protocol: choose(words(headers, &PROTOCOL), spdy)? });
    }
    Err(bad("Upgrade request required"))
}

fn choose<'a>(offered: impl Iterator<Item = &'a str>, known: &'static [&'static str]) -> Result<&'static str> {
    let offered: Vec<&str> = offered.collect();
    if offered.is_empty() && known.contains(&"") {
        return Ok("");
    }
    let found = offered.iter().find_map(|name| known.iter().find(|own| *own == name));
    found.copied().ok_or_else(|| {
        let message = format!("unable to negotiate protocol: client supports {offered:?}, server accepts {known:?}");
        Error::new(ErrorKind::Forbidden, message)
    })
}

fn bad(message: &str) -> Error {
    Error::new(ErrorKind::BadRequest, message)
}

impl Agreed {
    /// The answer that begins the session.
    pub(super) fn answer(&self) -> Response<Body> {
        let mut out = Response::new(empty());
        *out.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = out.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        match self {
            Self::Socket { protocol, accept } => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                if let Ok(accept) = HeaderValue::from_str(accept) {
                    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
                }
                if !protocol.is_empty() {
                    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
                }
            }
            Self::Spdy { protocol } => {
                headers.insert(header::UPGRADE, HeaderValue::from_static(spdy::UPGRADE));
                if !protocol.is_empty() {
                    headers.insert(PROTOCOL, HeaderValue::from_static(protocol));
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(subresource: &str, lines: &[(&'static str, &'static str)], expect: &str) {
        let headers: HeaderMap = lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let said = match agree(&headers, subresource) {
            Ok(Agreed::Socket { protocol, accept }) => format!("socket {protocol} {accept}"),
            Ok(Agreed::Spdy { protocol }) => format!("spdy {protocol}"),
            Err(error) => format!("{:?}", error.kind()),
        };
        assert_eq!(said, expect, "{subresource} {lines:?}");
    }

    fn socket(subresource: &str, protocols: &'static str, expect: &str) {
        // The key and its answer are those of RFC 6455, 1.3.
        let lines = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", protocols),
        ];
        check(subresource, &lines, expect);
    }

    #[test]
    fn the_first_protocol_of_the_client_that_is_known_is_taken() {
        socket("exec", "v5.channel.k8s.io, v4.channel.k8s.io", "socket v5.channel.k8s.io s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        socket("exec", "v9.channel.k8s.io,channel.k8s.io", "socket channel.k8s.io s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        socket("log", "", "socket  s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        socket("portforward", TUNNEL, "socket SPDY/3.1+portforward.k8s.io s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        socket("portforward", "", "Forbidden");
        socket("exec", "v9.channel.k8s.io", "Forbidden");
    }

    #[test]
    fn spdy_is_asked_for_by_its_own_header() {
        let spdy = [("connection", "Upgrade"), ("upgrade", "SPDY/3.1")];
        let with = |protocol| [spdy[0], spdy[1], ("x-stream-protocol-version", protocol)];
        check("attach", &with("v4.channel.k8s.io"), "spdy v4.channel.k8s.io");
        check("exec", &spdy, "spdy ");
        check("portforward", &with("portforward.k8s.io"), "spdy portforward.k8s.io");
        check("log", &spdy, "BadRequest");
    }

    #[test]
    fn other_requests_are_told_what_is_missing() {
        check("exec", &[], "BadRequest");
        check("exec", &[("upgrade", "websocket")], "BadRequest");
        check("exec", &[("connection", "upgrade"), ("upgrade", "websocket")], "BadRequest");
    }
}
