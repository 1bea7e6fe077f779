//! Connections to webhooks that stay open between calls, and the certificates that this machine trusts.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;
use rustls::RootCertStore;

use super::{Endpoint, tls};

/// So long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(90);
/// So many are kept for one webhook, and for all.
const EACH: usize = 4;
const ALL: usize = 64;

pub(super) type Sender = SendRequest<Full<Bytes>>;

/// What calls of webhooks share.
pub(crate) struct Outgoing {
    /// The certificates that vouch for webhooks whose configuration names none, as PEM.
    roots: String,
    parsed: OnceLock<Arc<RootCertStore>>,
    idle: Mutex<BTreeMap<Server, Vec<Idle>>>,
}

/// What one connection is good for: whom it leads to, and what vouches for that.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Server {
    target: String,
    name: String,
    roots: Vec<u8>,
}

struct Idle {
    sender: Sender,
    since: Duration,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").finish_non_exhaustive()
    }
}

impl Outgoing {
    pub(crate) fn new(roots: String) -> Self {
        Self { roots, parsed: OnceLock::new(), idle: Mutex::default() }
    }

    /// The certificates that this machine trusts.
    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(self.parsed.get_or_init(|| Arc::new(tls::readable(self.roots.as_bytes()))))
    }

    /// A connection that waits for a request to the endpoint's server.
    pub(super) fn take(&self, to: &Endpoint, now: Duration) -> Option<Sender> {
        let mut idle = self.idle.lock();
        let kept = idle.get_mut(&Server::of(to))?;
        // The newest first: the oldest are to end.
        while let Some(Idle { sender, since }) = kept.pop() {
            if !sender.is_closed() && since + IDLE > now {
                return Some(sender);
            }
        }
        None
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn keep(&self, to: &Endpoint, sender: Sender, now: Duration) {
        let mut idle = self.idle.lock();
        for kept in idle.values_mut() {
            kept.retain(|one| !one.sender.is_closed() && one.since + IDLE > now);
        }
        idle.retain(|_, kept| !kept.is_empty());
        if idle.values().map(Vec::len).sum::<usize>() >= ALL {
            return;
        }
        let kept = idle.entry(Server::of(to)).or_default();
        if kept.len() < EACH {
            kept.push(Idle { sender, since: now });
        }
    }
}

impl Server {
    fn of(to: &Endpoint) -> Self {
        Self { target: format!("{:?}", to.target), name: to.name.clone(), roots: to.roots.clone() }
    }
}
