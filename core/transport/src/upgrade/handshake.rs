//! The agreement before a session: which framing and which protocol of it. Pure.

use http::{
    HeaderMap,
    header::{self, HeaderName, HeaderValue},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use windlass_kernel::{
    carry::PROTOCOL_HEADER,
    error::{Error, ErrorKind, Result},
    spdy,
};

const PROTOCOL: HeaderName = HeaderName::from_static(PROTOCOL_HEADER);

/// Protocols of exec and attach over WebSockets. Without a name it is the oldest.
const EXEC_SOCKET: &[&str] = &[
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "",
];
/// Protocols of exec and attach over SPDY. Without a name it is the oldest.
const EXEC_SPDY: &[&str] =
    &["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io", ""];
/// SPDY in the messages of a WebSocket.
pub(super) const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const PORTS_SOCKET: &[&str] = &[TUNNEL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io"];
const PORTS_SPDY: &[&str] = &["portforward.k8s.io", ""];

/// The protocols that a server serves for a kind of session. One without a name is taken where the client names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// Sub-protocols of WebSockets.
    pub socket: &'static [&'static str],
    /// Protocols over SPDY. Without any, SPDY is not served.
    pub spdy: &'static [&'static str],
}

impl Protocols {
    /// Those of exec and attach.
    pub const PROCESS: Self = Self { socket: EXEC_SOCKET, spdy: EXEC_SPDY };
    /// Those of port-forward.
    pub const PORTS: Self = Self { socket: PORTS_SOCKET, spdy: PORTS_SPDY };
}

/// What a client and the server agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreed {
    /// A WebSocket.
    Socket {
        /// Its sub-protocol.
        protocol: &'static str,
        /// The answer to its key.
        accept: String,
    },
    /// A SPDY connection.
    Spdy {
        /// Its protocol.
        protocol: &'static str,
    },
}

/// Whether the client asks for a WebSocket.
#[must_use]
pub fn wants_socket(headers: &HeaderMap) -> bool {
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
///
/// # Errors
///
/// [`BadRequest`](ErrorKind::BadRequest) where no upgrade is asked for that is served, [`Forbidden`](ErrorKind::Forbidden)
/// where none of the protocols offered is.
pub fn agree(headers: &HeaderMap, protocols: &Protocols) -> Result<Agreed> {
    let Protocols { socket, spdy } = *protocols;
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
    /// Whether what is forwarded has to be named in the request, because nothing later names it.
    #[must_use]
    pub fn needs_ports_named(&self) -> bool {
        matches!(self, Self::Socket { protocol, .. } if *protocol != TUNNEL)
    }

    /// The headers of the answer that begins the session (101 Switching Protocols).
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
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
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_SPDY: Protocols = Protocols { socket: &["binary.k8s.io", ""], spdy: &[] };

    fn check(protocols: &Protocols, lines: &[(&'static str, &'static str)], expect: &str) {
        let headers: HeaderMap = lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let said = match agree(&headers, protocols) {
            Ok(Agreed::Socket { protocol, accept }) => format!("socket {protocol} {accept}"),
            Ok(Agreed::Spdy { protocol }) => format!("spdy {protocol}"),
            Err(error) => format!("{:?}", error.kind()),
        };
        assert_eq!(said, expect, "{protocols:?} {lines:?}");
    }

    fn socket(known: &Protocols, offered: &'static str, expect: &str) {
        // The key and its answer are those of RFC 6455, 1.3.
        let lines = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", offered),
        ];
        check(known, &lines, expect);
    }

    #[test]
    fn the_first_protocol_of_the_client_that_is_known_is_taken() {
        socket(
            &Protocols::PROCESS,
            "v5.channel.k8s.io, v4.channel.k8s.io",
            "socket v5.channel.k8s.io s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        );
        socket(
            &Protocols::PROCESS,
            "v9.channel.k8s.io,channel.k8s.io",
            "socket channel.k8s.io s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        );
        socket(&NO_SPDY, "", "socket  s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        socket(&Protocols::PORTS, TUNNEL, "socket SPDY/3.1+portforward.k8s.io s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        socket(&Protocols::PORTS, "", "Forbidden");
        socket(&Protocols::PROCESS, "v9.channel.k8s.io", "Forbidden");
    }

    #[test]
    fn spdy_is_asked_for_by_its_own_header() {
        let spdy = [("connection", "Upgrade"), ("upgrade", "SPDY/3.1")];
        let with = |protocol| [spdy[0], spdy[1], ("x-stream-protocol-version", protocol)];
        check(&Protocols::PROCESS, &with("v4.channel.k8s.io"), "spdy v4.channel.k8s.io");
        check(&Protocols::PROCESS, &spdy, "spdy ");
        check(&Protocols::PORTS, &with("portforward.k8s.io"), "spdy portforward.k8s.io");
        check(&NO_SPDY, &spdy, "BadRequest");
    }

    #[test]
    fn other_requests_are_told_what_is_missing() {
        check(&Protocols::PROCESS, &[], "BadRequest");
        check(&Protocols::PROCESS, &[("upgrade", "websocket")], "BadRequest");
        check(&Protocols::PROCESS, &[("connection", "upgrade"), ("upgrade", "websocket")], "BadRequest");
    }
}
