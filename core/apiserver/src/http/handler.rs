//! One HTTP request from its headers to its answer: who asks, for what, and how long that took.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::FutureExt;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use windlass_kernel::{
    Api, Authenticator, Authorizer, Clock, ClockExt, Dial, Entropy, EntropyExt, Identity, Keys, Result, Spawn,
    SpawnExt, Stop,
    access::{Attributes, Credentials, Decision},
    error::{Error, ErrorKind},
};

use super::{
    body::{Asked, Body, packed_status, status},
    documents::Documents,
    health::Check,
    metrics::{Dispatched, Labels, Meter, Metrics},
    negotiate, options,
    pages::Page,
    route::{self, Target},
    upgrade::Connect,
};
use crate::{
    ApiServer, Flow,
    access::{Impersonation, forbidden, impersonate},
    discovery::{Catalog, Texts},
};

const LIMIT: Duration = Duration::from_secs(60);
/// The uid of the flow schema that a request belongs to.
const FLOW_SCHEMA: &str = "x-kubernetes-pf-flowschema-uid";
/// The uid of its priority level.
const PRIORITY_LEVEL: &str = "x-kubernetes-pf-prioritylevel-uid";
const SLOW: Duration = Duration::from_millis(500);

/// Who signs service-account tokens, for those who want to verify them.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// The issuer's URL.
    pub issuer: String,
    /// Where the keys are published.
    pub jwks_uri: String,
    /// The keys.
    pub keys: Arc<dyn Keys>,
}

/// What a server is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Carries out requests.
    pub api: Arc<dyn Api>,
    /// The server behind it, where there is one in this process: it tells which flow a request belongs to, and metrics.
    pub inside: Option<Arc<ApiServer>>,
    /// Says who asks.
    pub authenticator: Arc<dyn Authenticator>,
    /// Says who may read pages and act as others. Requests for resources are authorized by `api`.
    pub authorizer: Arc<dyn Authorizer>,
    /// Knows what is served.
    pub catalog: Arc<dyn Catalog>,
    /// Opens sessions and forwards requests.
    pub connector: Arc<dyn Connect>,
    /// Reaches the servers that proxied requests go on to.
    pub dial: Arc<dyn Dial>,
    /// Knows what fields mean.
    pub texts: Arc<dyn Texts>,
    /// Signs tokens, where that is done.
    pub issuer: Option<Issuer>,
    /// What must work for the server to be ready.
    pub checks: Vec<Arc<dyn Check>>,
    /// Whose figures `/metrics` tells beside the server's own.
    pub meters: Vec<Arc<dyn Meter>>,
    /// Where clients reach the server, as host and port.
    pub address: String,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub entropy: Arc<dyn Entropy>,
    /// Where connections run.
    pub spawn: Arc<dyn Spawn>,
}

/// Serves an [`Api`] over HTTP.
#[derive(Debug)]
pub struct Server {
    parts: Parts,
    metrics: Metrics,
    documents: Arc<Documents>,
    stop: Stop,
}

/// What is known about who asks, apart from the request.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    pub(super) certificate: Option<Arc<Vec<u8>>>,
    // Who it is where nothing has to prove it.
    pub(super) known: Option<Identity>,
}

impl Server {
    /// A server that ends when `stop` says so.
    #[must_use]
    pub fn new(parts: Parts, stop: Stop) -> Arc<Self> {
        let started = parts.clock.now().as_second();
        let metrics = Metrics::new(started, parts.inside.as_deref(), parts.meters.clone());
        let documents = Arc::new(Documents::new(Arc::clone(&parts.texts)));
        Arc::new(Self { parts, metrics, documents, stop })
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.parts
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(super) fn documents(&self) -> &Arc<Documents> {
        &self.documents
    }

    /// Runs work that computes for long where it delays nobody.
    pub(super) async fn apart<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let done = self.parts.spawn.run_blocking(name, work).await;
        done.unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, format!("{name} panicked"))))
    }

    pub(super) fn issuer(&self) -> Option<&Issuer> {
        self.parts.issuer.as_ref()
    }

    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Answers a request that came over no connection, from someone in this process.
    ///
    /// It is `identity` that asks, unless the request has a bearer token of its own. Sessions cannot be opened this way:
    /// there is no connection that they could take over ([`serve_in_process`](Self::serve_in_process) has one).
    pub async fn answer_in_process(&self, identity: Identity, request: Request<Asked>) -> Response<Body> {
        self.handle(&Peer { certificate: None, known: Some(identity) }, request).await
    }

    /// Answers one request. A panic on the way is answered 500 and stays alone.
    pub(super) async fn handle(&self, peer: &Peer, request: Request<Asked>) -> Response<Body> {
        let started = self.parts.clock.uptime();
        let path = request.uri().path().to_owned();
        let (target, method) = (route::parse(&path), request.method().clone());
        let long = target.as_ref().is_some_and(|target| long_running(target, &request));
        let labels = self.labels(target.as_ref(), &request);
        let dispatched = OnceLock::new();
        let protobuf = negotiate::begins_with_protobuf(request.headers());
        let _in_flight = (!long).then(|| self.metrics.in_flight(&method));
        let work = AssertUnwindSafe(self.answer(peer, target, &labels, &dispatched, request)).catch_unwind();
        let done = if long { Ok(work.await) } else { self.parts.clock.timeout(LIMIT, work).await };
        let mut out = match done {
            Ok(Ok(Ok(out))) => out,
            Ok(Ok(Err(error))) => {
                if error.is(ErrorKind::Internal) || error.is(ErrorKind::Corrupt) {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%method, path, %error, cause, "request failed");
                }
                if protobuf { packed_status(&error) } else { status(&error) }
            }
            Ok(Err(_)) => {
                tracing::error!(%method, path, "request panicked");
                status(&Error::new(
                    ErrorKind::Internal,
                    "This request caused apiserver to panic. Look in the logs for details.",
                ))
            }
            Err(_) => status(&Error::new(ErrorKind::Timeout, "request did not complete within the allotted timeout")),
        };
        let took = self.parts.clock.uptime().saturating_sub(started);
        self.metrics.answered(&labels, out.status().as_u16(), (!long).then_some(took.as_secs_f64()));
        if took > SLOW && !long {
            let (code, millis) = (out.status().as_u16(), u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
            tracing::info!(%method, path, code, millis, "slow request");
        }
        if out.headers().contains_key(header::WARNING) {
            self.metrics.deprecated(&labels, &self.parts.catalog.snapshot());
        }
        self.finish(&mut out, dispatched.get().map(Dispatched::flow));
        if matches!(labels.verb.as_str(), "GET" | "LIST") && !long { self.metrics.sized(&labels, out) } else { out }
    }

    fn finish(&self, out: &mut Response<Body>, flow: Option<&Flow>) {
        let headers = out.headers_mut();
        let uids =
            flow.into_iter().flat_map(|flow| [(FLOW_SCHEMA, &flow.schema.uid), (PRIORITY_LEVEL, &flow.level.uid)]);
        for (name, uid) in uids {
            if let Ok(uid) = HeaderValue::from_str(uid) {
                headers.insert(HeaderName::from_static(name), uid);
            }
        }
        if !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        }
        if let Ok(mut id) = HeaderValue::try_from(self.parts.entropy.uuid()) {
            // It never comes again, so HTTP/2 need not keep it in its table of headers.
            id.set_sensitive(true);
            headers.insert(HeaderName::from_static("audit-id"), id);
        }
    }

    async fn answer(
        &self,
        peer: &Peer,
        target: Option<Target>,
        labels: &Labels,
        dispatched: &OnceLock<Dispatched>,
        request: Request<Asked>,
    ) -> Result<Response<Body>> {
        let identity = self.identity(peer, request.headers()).await?;
        if let Some(inside) = &self.parts.inside {
            let found = inside.flow(&identity, &attributes(target.as_ref(), labels, &request)).await;
            // It is said for information: a request does not fail for it.
            if let Some(flow) = found.ok().flatten() {
                let watches = labels.verb == "WATCH";
                let _ = dispatched.set(self.metrics.dispatched(flow, watches, Arc::clone(&self.parts.clock)));
            }
        }
        if let Some(target) = target {
            return self.resource(Arc::new(identity), target, labels, request).await;
        }
        let (path, method) = (request.uri().path(), request.method());
        let verb = method_verb(method);
        let ask = Attributes { verb: verb.into(), path: path.into(), ..Attributes::default() };
        match self.parts.authorizer.authorize(&identity, &ask).await? {
            Decision::Allow(_) => {}
            Decision::Deny(reason) | Decision::NoOpinion(reason) => return Err(forbidden(&identity, &ask, &reason)),
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(Error::new(ErrorKind::MethodNotAllowed, format!("{path} is read only")));
        }
        let page = Page { path, query: request.uri().query().unwrap_or_default(), headers: request.headers() };
        Ok(match Box::pin(self.page(&page)).await? {
            Some(out) => out,
            None => {
                let mut out = super::pages::answer("text/plain; charset=utf-8", "404 page not found\n");
                out.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
                *out.status_mut() = StatusCode::NOT_FOUND;
                out
            }
        })
    }

    async fn identity(&self, peer: &Peer, headers: &HeaderMap) -> Result<Identity> {
        let credentials = Credentials {
            bearer: bearer(headers)?,
            certificate: peer.certificate.as_deref().cloned(),
            ..Credentials::default()
        };
        let own = self.parts.authenticator.authenticate(&credentials).await;
        // Why a credential is not valid is for the log, not for whoever tries.
        let own = own.map_err(|error| match error.kind() {
            ErrorKind::Unauthorized => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::debug!(%error, cause, "credential refused");
                Error::new(ErrorKind::Unauthorized, "Unauthorized")
            }
            _ => error,
        })?;
        let own = own.or_else(|| peer.known.clone()).unwrap_or_else(Identity::anonymous);
        let wanted = impersonation(headers);
        if wanted.is_empty() { Ok(own) } else { impersonate(&own, wanted, &*self.parts.authorizer).await }
    }

    /// What the request is counted as. Names that are not served are left out: they are the client's to invent.
    fn labels(&self, target: Option<&Target>, request: &Request<Asked>) -> Labels {
        let snapshot = self.parts.catalog.snapshot();
        let known = target.and_then(|t| snapshot.find(&t.group, &t.version, &t.resource));
        let (Some(target), Some(resource)) = (target, known) else {
            let verb = method_verb(request.method()).to_ascii_uppercase();
            return Labels { verb, component: "apiserver".into(), ..Labels::default() };
        };
        let query = request.uri().query().unwrap_or_default();
        let verb = match *request.method() {
            _ if target.connects() => "CONNECT".to_owned(),
            ref method if is_watch(target, method, query) => "WATCH".to_owned(),
            Method::GET | Method::HEAD if target.name.is_empty() => "LIST".to_owned(),
            Method::DELETE if target.name.is_empty() => "DELETECOLLECTION".to_owned(),
            ref method => method_verb(method).to_ascii_uppercase(),
        };
        let scope = match (target.name.is_empty(), target.namespace.is_empty()) {
            (false, _) => "resource",
            (true, false) => "namespace",
            (true, true) => "cluster",
        };
        let sub = resource.subresources.iter().find(|sub| sub.name == target.subresource.as_str());
        Labels {
            verb,
            group: target.group.clone(),
            version: target.version.clone(),
            resource: target.resource.clone(),
            subresource: sub.map(|sub| sub.name.to_string()).unwrap_or_default(),
            scope: scope.into(),
            component: "apiserver".into(),
        }
    }
}

/// What a request is about, as far as its URL says it.
fn attributes(target: Option<&Target>, labels: &Labels, request: &Request<Asked>) -> Attributes {
    let method = request.method();
    let Some(target) = target else {
        let (verb, path) = (method_verb(method).into(), request.uri().path().into());
        return Attributes { verb, path, ..Attributes::default() };
    };
    let verb = match (labels.verb.as_str(), method) {
        ("WATCH", _) => "watch",
        ("LIST", _) => "list",
        ("DELETECOLLECTION", _) => "deletecollection",
        (_, &Method::POST) => "create",
        (_, &Method::PUT) => "update",
        _ => method_verb(method),
    };
    Attributes {
        verb: verb.into(),
        group: target.group.clone(),
        version: target.version.clone(),
        resource: target.resource.clone(),
        subresource: target.subresource.clone(),
        namespace: target.namespace.clone(),
        name: target.name.clone(),
        ..Attributes::default()
    }
}

fn method_verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::HEAD => "head",
        Method::OPTIONS => "options",
        _ => "get",
    }
}

/// The bearer token of the header, or of the WebSocket sub-protocol where a browser cannot set headers.
fn bearer(headers: &HeaderMap) -> Result<Option<String>> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let text = value.to_str().unwrap_or_default();
        let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
        return Ok(scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| token.trim().to_owned())
            .filter(|token| !token.is_empty()));
    }
    let protocols = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut coded = protocols
        .flat_map(|text| text.split(','))
        .filter_map(|p| p.trim().strip_prefix("base64url.bearer.authorization.k8s.io."));
    let Some(coded) = coded.next() else { return Ok(None) };
    let token =
        URL_SAFE_NO_PAD.decode(coded.trim_end_matches('=')).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    token.map(Some).ok_or_else(|| Error::new(ErrorKind::Unauthorized, "Unauthorized"))
}

fn impersonation(headers: &HeaderMap) -> Impersonation {
    let text = |value: &HeaderValue| value.to_str().map(str::to_owned).unwrap_or_default();
    let mut wanted = Impersonation::default();
    for (name, value) in headers {
        match name.as_str().strip_prefix("impersonate-") {
            Some("user") => wanted.user = text(value),
            Some("uid") => wanted.uid = text(value),
            Some("group") => wanted.groups.push(text(value)),
            Some(extra) => {
                if let Some(key) = extra.strip_prefix("extra-") {
                    let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy().into_owned();
                    wanted.extra.entry(key).or_default().push(text(value));
                }
            }
            None => {}
        }
    }
    wanted
}

fn long_running(target: &Target, request: &Request<Asked>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    target.connects() || target.subresource == "log" || is_watch(target, request.method(), query)
}

/// Whether a request follows changes.
pub(super) fn is_watch(target: &Target, method: &Method, query: &str) -> bool {
    *method == Method::GET && (target.watch || (target.name.is_empty() && options::watches(query)))
}
