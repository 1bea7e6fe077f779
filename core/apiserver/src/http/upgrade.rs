//! Where sessions and proxied requests leave the request path: exec, attach, port-forward and proxy.
//!
//! The framing (WebSocket, SPDY) and the forwarding are an implementation's business.

use std::{
    fmt::{self, Debug},
    sync::Arc,
};

use async_trait::async_trait;
use hyper::{Request, Response};
use windlass_kernel::{
    Api, Authorizer, Clock, Dial, Spawn, Stop, api,
    error::{Error, ErrorKind},
};

use super::{
    body::{Asked, Body, status},
    metrics::Running,
};

/// A request that goes on as a session or to another server.
#[derive(Debug)]
pub struct Connecting {
    /// What is asked for. The verb is [`Verb::Connect`](api::Verb::Connect); nothing is authorized yet.
    pub request: api::Request,
    /// What follows the sub-resource in the path, without its slash.
    pub rest: String,
    /// The HTTP request; `hyper::upgrade::on` gives its connection after a 101 answer, where it has one.
    pub http: Request<Asked>,
    /// Where the request is carried out.
    pub api: Arc<dyn Api>,
    /// Who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// Reaches the servers that proxied requests go on to.
    pub dial: Arc<dyn Dial>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where the session's task runs.
    pub spawn: Arc<dyn Spawn>,
    /// When the server ends.
    pub stop: Stop,
    /// Counts the session as open until it is dropped.
    pub held: Held,
}

/// Counts a session as open for as long as it lives.
pub struct Held(#[expect(dead_code, reason = "it counts by being dropped")] pub(super) Running);

impl Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

/// Answers requests that open sessions or are forwarded.
///
/// # Contract
///
/// 1. **Authorizes.** Nothing was authorized before: a call of the `Api` or the authorizer comes first.
/// 2. **Answers soon.** The answer is the 101 or an error; what follows runs in a task of its own.
#[async_trait]
pub trait Connect: Debug + Send + Sync + 'static {
    /// Answers one request.
    async fn connect(&self, connecting: Connecting) -> Response<Body>;
}

/// Opens no sessions: every request is answered 501.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSessions;

#[async_trait]
impl Connect for NoSessions {
    async fn connect(&self, connecting: Connecting) -> Response<Body> {
        let what = &connecting.request.subresource;
        status(&Error::new(ErrorKind::NotSupported, format!("this server opens no sessions: {what} is not supported")))
    }
}
