//! A node's own API: what upstream's kubelet serves, over any agent, real or scripted.
//!
//! Those of the cluster's process are [connected](Kubelet::connect) to it, and access was decided before. Everybody else comes
//! [over TLS](Kubelet::serve), and is asked who they are.

mod access;
mod figures;
mod gauges;
mod serve;
mod sessions;

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};
use windlass_api::core::v1::Pod;
use windlass_client::{Cache, Informers, Select};
use windlass_kernel::{
    Clock, Error, ErrorKind, NodeAgent, Result, Spawn,
    carry::Keeping,
    controller::ObjectKey,
    error,
    node::{Details, LogRequest, PodVolume, Usage},
};

pub use self::serve::Gates;

/// The port of upstream's kubelet.
const PORT: u16 = 10_250;

type Body = UnsyncBoxBody<Bytes, Error>;

/// Serves a node's API: `/healthz`, `/pods`, `/runningpods`, `/containerLogs`, `/exec`, `/attach`, `/portForward`, `/run`, and of
/// what is measured `/stats/summary`, `/metrics`, `/metrics/resource` and `/metrics/cadvisor`.
///
/// Sessions are SPDY/3.1 or WebSockets. What upstream's kubelet serves beside these is not found here, but for what it lets people
/// turn off: `/logs` and `/debug` say so.
#[derive(Clone, Debug)]
pub struct Kubelet {
    name: String,
    agent: Arc<dyn NodeAgent>,
    pods: Cache<Arc<Pod>>,
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
}

impl Kubelet {
    /// The API of the node `name`. `informers` act as the node's own identity.
    #[must_use]
    pub fn new(name: &str, informers: &Informers, agent: Arc<dyn NodeAgent>) -> Self {
        let pods = informers.typed(Select::all().fields(format!("spec.nodeName={name}")));
        let parts = informers.parts();
        let (clock, spawn) = (Arc::clone(&parts.clock), Arc::clone(&parts.spawn));
        Self { name: name.into(), agent, pods, clock, spawn }
    }

    /// The port that the node is asked at unless it says another: that of upstream's kubelet.
    #[must_use]
    pub fn port(&self) -> u16 {
        PORT
    }

    async fn answer(&self, request: Request<Incoming>, keeping: Keeping) -> Result<Response<Body>> {
        let path = request.uri().path().to_owned();
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        match segments[..] {
            ["exec" | "attach" | "portForward", ..] => return self.session(&segments, request, keeping).await,
            ["run", namespace, pod, container] => {
                return self.run(ObjectKey::new(namespace, pod), None, container, &request).await;
            }
            ["run", namespace, pod, uid, container] => {
                return self.run(ObjectKey::new(namespace, pod), Some(uid), container, &request).await;
            }
            ["logs", ..] => return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "logs endpoint is disabled.\n")),
            ["debug", ..] => return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "profiling endpoint is disabled.\n")),
            _ => {}
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed\n"));
        }
        let query = request.uri().query().unwrap_or_default();
        match segments[..] {
            ["healthz"] | ["healthz", "ping" | "log" | "syncloop"] => Ok(text(StatusCode::OK, "ok")),
            ["pods"] => Ok(self.list(|_| true)),
            ["runningpods"] => Ok(self.list(|pod| pod.status.phase.as_deref() == Some("Running"))),
            ["containerLogs", namespace, pod, container] => {
                self.logs(ObjectKey::new(namespace, pod), container, query).await
            }
            ["stats", "summary"] => self.summary(query).await,
            ["metrics", "resource"] => {
                let usage = self.usage().await;
                Ok(exposed(&gauges::resource(usage.as_ref(), &self.pods.values())))
            }
            ["metrics", "cadvisor"] => {
                let usage = self.usage().await;
                // What cannot be measured is left out; that nothing can be is a figure, too.
                let (details, node) = (self.details().await.ok().flatten(), self.agent.describe().await.ok());
                let pods = self.pods.values();
                Ok(exposed(&gauges::cadvisor(usage.as_ref(), details.as_ref(), &pods, node.as_ref())))
            }
            ["metrics"] => Ok(exposed(&gauges::metrics(&self.volumes().await?))),
            _ => Ok(text(StatusCode::NOT_FOUND, "404 page not found\n")),
        }
    }

    /// What the node, its pods and their volumes use.
    async fn summary(&self, query: &str) -> Result<Response<Body>> {
        let missing = || Error::new(ErrorKind::NotSupported, format!("nothing is measured on node {}", self.name));
        let usage = self.agent.metering().ok_or_else(missing)?.usage().await?;
        let without = Query::read(query).flag("only_cpu_and_memory");
        let (volumes, details) =
            if without { (Vec::new(), None) } else { (self.volumes().await?, self.details().await?) };
        Ok(as_json(&figures::summary(&self.name, &usage, &volumes, details.as_ref(), &self.pods.values())))
    }

    /// What node and pods use, where that can be measured.
    async fn usage(&self) -> Option<Usage> {
        self.agent.metering()?.usage().await.ok()
    }

    /// The volumes that the agent measures.
    async fn volumes(&self) -> Result<Vec<PodVolume>> {
        match self.agent.metering().and_then(|metering| metering.volumes()) {
            Some(measured) => measured.volumes().await,
            None => Ok(Vec::new()),
        }
    }

    /// What is measured beside CPU, where the agent does.
    async fn details(&self) -> Result<Option<Details>> {
        match self.agent.metering().and_then(|metering| metering.details()) {
            Some(measured) => measured.details().await.map(Some),
            None => Ok(None),
        }
    }

    fn list(&self, wanted: impl Fn(&Pod) -> bool) -> Response<Body> {
        let mut pods = self.pods.values();
        pods.sort_by(|a, b| (&a.metadata.namespace, &a.metadata.name).cmp(&(&b.metadata.namespace, &b.metadata.name)));
        let items: Vec<&Pod> = pods.iter().map(|pod| &**pod).filter(|pod| wanted(pod)).collect();
        let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
        as_json(&list)
    }

    /// The uid of a pod of the node: of that one where a uid is given.
    fn uid(&self, pod: &ObjectKey, uid: Option<&str>) -> Result<String> {
        let known = self.pods.values().into_iter().find(|own| {
            let meta = &own.metadata;
            meta.namespace.as_deref() == Some(&*pod.namespace)
                && meta.name.as_deref() == Some(&*pod.name)
                && uid.is_none_or(|uid| meta.uid.as_deref() == Some(uid))
        });
        let missing = || Error::new(ErrorKind::NotFound, format!("pod {pod} does not exist on node {}", self.name));
        known.and_then(|known| known.metadata.uid.clone()).ok_or_else(missing)
    }

    async fn logs(&self, pod: ObjectKey, container: &str, query: &str) -> Result<Response<Body>> {
        let query = Query::read(query);
        let asked = LogRequest::from_query(|name| query.first(name), self.clock.now()).map_err(|causes| {
            let said: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
            Error::new(ErrorKind::Invalid, said.join("; "))
                .with_details(error::Details { causes, ..error::Details::default() })
        })?;
        let uid = self.uid(&pod, None)?;
        let chunks = self.agent.logs(LogRequest { pod, uid, container: container.into(), ..asked }).await?;
        let chunks = chunks.0.map(|chunk| chunk.map(Frame::data));
        let mut out = Response::new(BodyExt::boxed_unsync(StreamBody::new(chunks)));
        out.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        Ok(out)
    }
}

/// The parameters of a query, in their order.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    fn flag(&self, name: &str) -> bool {
        self.first(name).is_some_and(|value| matches!(value, "1" | "true"))
    }
}

fn refusal(error: &Error) -> Response<Body> {
    let code = error.to_status()["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    let code = code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    text(code, &format!("{error}\n"))
}

fn text(code: StatusCode, said: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(said.to_owned())).map_err(|never| match never {});
    let mut out = Response::new(BodyExt::boxed_unsync(body));
    *out.status_mut() = code;
    out.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    out
}

/// Figures in Prometheus' text. Scrapers tell by the type which format it is.
fn exposed(figures: &str) -> Response<Body> {
    let mut out = text(StatusCode::OK, figures);
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    out.headers_mut().insert(header::CONTENT_TYPE, kind);
    out
}

fn as_json(value: &Value) -> Response<Body> {
    let mut out = text(StatusCode::OK, &value.to_string());
    out.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    out
}
