//! The agreement before a session over SPDY: that it is asked for, and which protocol is spoken. Pure.

use crate::{
    error::{Error, ErrorKind, Result},
    spdy,
};

/// Protocols of exec and attach over SPDY. Without a name it is the oldest.
pub const PROCESS_PROTOCOLS: &[&str] =
    &["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io", ""];
/// Protocols of port-forward over SPDY.
pub const PORTS_PROTOCOLS: &[&str] = &["portforward.k8s.io", ""];

/// What a client's headers say that asks for a session: the values of each, as they stand.
#[derive(Clone, Copy, Debug)]
pub struct Agreement<'a> {
    /// `Connection`.
    pub connection: &'a [&'a str],
    /// `Upgrade`.
    pub upgrade: &'a [&'a str],
    /// [`HEADER`](Agreement::HEADER): the protocols that the client speaks.
    pub offered: &'a [&'a str],
}

impl Agreement<'_> {
    /// The header that names protocols, the client's and then the one that is spoken.
    pub const HEADER: &'static str = "x-stream-protocol-version";

    /// The protocol that is spoken: the first of the client's that is among `known`.
    ///
    /// # Errors
    ///
    /// [`BadRequest`](ErrorKind::BadRequest) where no upgrade to SPDY is asked for, [`Forbidden`](ErrorKind::Forbidden) where no
    /// protocol is known to both.
    pub fn on(&self, known: &'static [&'static str]) -> Result<&'static str> {
        let names = |values: &[&str], wanted: &str| words(values).any(|word| word.eq_ignore_ascii_case(wanted));
        if !names(self.connection, "upgrade") || !names(self.upgrade, spdy::UPGRADE) {
            return Err(Error::new(ErrorKind::BadRequest, "an upgrade to SPDY/3.1 is required"));
        }
        let offered: Vec<&str> = words(self.offered).collect();
        if offered.is_empty() && known.contains(&"") {
            return Ok("");
        }
        let found = offered.iter().find_map(|name| known.iter().find(|own| *own == name));
        found.copied().ok_or_else(|| {
            let message =
                format!("unable to negotiate protocol: client supports {offered:?}, server accepts {known:?}");
            Error::new(ErrorKind::Forbidden, message)
        })
    }
}

/// The words of a header's values, between commas.
fn words<'a>(values: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    values.iter().flat_map(|text| text.split(',').map(str::trim)).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(upgrade: &str, offered: &[&str], expect: Result<&str, ErrorKind>) {
        let agreement = Agreement { connection: &["keep-alive, Upgrade"], upgrade: &[upgrade], offered };
        assert_eq!(agreement.on(PROCESS_PROTOCOLS).map_err(|error| error.kind()), expect, "{upgrade} {offered:?}");
    }

    #[test]
    fn the_first_protocol_of_the_client_that_is_known_is_spoken() {
        check("SPDY/3.1", &["v9.channel.k8s.io, v4.channel.k8s.io"], Ok("v4.channel.k8s.io"));
        check("spdy/3.1", &["v5.channel.k8s.io", "v4.channel.k8s.io"], Ok("v5.channel.k8s.io"));
        check("SPDY/3.1", &[], Ok(""));
        check("SPDY/3.1", &["portforward.k8s.io"], Err(ErrorKind::Forbidden));
        check("websocket", &[], Err(ErrorKind::BadRequest));
    }
}
