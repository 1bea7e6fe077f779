//! A node's own API: what `nodes/proxy` leads to. It answers over any agent, real or scripted.
//!
//! Connections come from the cluster's dialler, which is where access was decided; nothing here listens.

mod figures;

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Frame, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_util::compat::TokioAsyncReadCompatExt;
use windlass_api::core::v1::Pod;
use windlass_client::{Cache, Informers, Select};
use windlass_kernel::{
    Error, ErrorKind, NodeAgent, Result, Spawn, SpawnExt,
    controller::ObjectKey,
    dial::ByteStream,
    node::{Details, LogRequest, PodVolume},
};

/// The port of upstream's kubelet.
const PORT: u16 = 10_250;
/// So much waits in a connection before its writer must.
const BUFFER: usize = 64 * 1024;

type Body = UnsyncBoxBody<Bytes, Error>;

/// Serves a node's API: `/healthz`, `/pods`, `/containerLogs`, and of what is measured `/stats/summary`, `/metrics` and
/// `/metrics/resource`.
#[derive(Clone, Debug)]
pub struct Kubelet {
    name: String,
    agent: Arc<dyn NodeAgent>,
    pods: Cache<Arc<Pod>>,
    spawn: Arc<dyn Spawn>,
}

impl Kubelet {
    /// The API of the node `name`. `informers` act as the node's own identity.
    #[must_use]
    pub fn new(name: &str, informers: &Informers, agent: Arc<dyn NodeAgent>) -> Self {
        let pods = informers.typed(Select::all().fields(format!("spec.nodeName={name}")));
        Self { name: name.into(), agent, pods, spawn: Arc::clone(&informers.parts().spawn) }
    }

    /// The port that the node says it serves at.
    #[must_use]
    pub fn port(&self) -> u16 {
        PORT
    }

    /// Opens a connection. It speaks HTTP/1.1 and ends when the stream is dropped.
    #[must_use]
    pub fn connect(&self) -> ByteStream {
        let (near, far) = tokio::io::duplex(BUFFER);
        let kubelet = self.clone();
        let serving = async move {
            let service = service_fn(|request| {
                let kubelet = kubelet.clone();
                async move { Ok::<_, Error>(kubelet.answer(&request).await.unwrap_or_else(|error| refusal(&error))) }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the node's API ended");
            }
        };
        self.spawn.spawn("node.kubelet", serving).detach();
        Box::new(near.compat())
    }

    async fn answer<B: Send>(&self, request: &Request<B>) -> Result<Response<Body>> {
        let segments: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed\n"));
        }
        match segments[..] {
            ["healthz"] => Ok(text(StatusCode::OK, "ok")),
            ["pods"] => Ok(self.list()),
            ["containerLogs", namespace, pod, container] => {
                self.logs(ObjectKey::new(namespace, pod), container, request.uri().query().unwrap_or_default()).await
            }
            ["stats", "summary"] => self.summary(request.uri().query().unwrap_or_default()).await,
            ["metrics", "resource"] => {
                let usage = match self.agent.metering() {
                    Some(metering) => metering.usage().await.ok(),
                    None => None,
                };
                Ok(text(StatusCode::OK, &figures::resource(usage.as_ref(), &self.pods.values())))
            }
            ["metrics"] => Ok(text(StatusCode::OK, &figures::metrics(&self.volumes().await?))),
            _ => Ok(text(StatusCode::NOT_FOUND, "404 page not found\n")),
        }
    }

    /// What the node, its pods and their volumes use.
    async fn summary(&self, query: &str) -> Result<Response<Body>> {
        let missing = || Error::new(ErrorKind::NotSupported, format!("nothing is measured on node {}", self.name));
        let usage = self.agent.metering().ok_or_else(missing)?.usage().await?;
        let without = form_urlencoded::parse(query.as_bytes())
            .any(|(key, value)| key == "only_cpu_and_memory" && matches!(&*value, "true" | "1"));
        let (volumes, details) =
            if without { (Vec::new(), None) } else { (self.volumes().await?, self.details().await?) };
        Ok(as_json(&figures::summary(&self.name, &usage, &volumes, details.as_ref(), &self.pods.values())))
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

    fn list(&self) -> Response<Body> {
        let mut pods = self.pods.values();
        pods.sort_by(|a, b| (&a.metadata.namespace, &a.metadata.name).cmp(&(&b.metadata.namespace, &b.metadata.name)));
        let items: Vec<&Pod> = pods.iter().map(|pod| &**pod).collect();
        let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
        as_json(&list)
    }

    async fn logs(&self, pod: ObjectKey, container: &str, query: &str) -> Result<Response<Body>> {
        let value = |name: &str| {
            let found = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name);
            found.map(|(_, value)| value.into_owned())
        };
        let flag = |name: &str| value(name).is_some_and(|text| text == "true");
        let known = self.pods.values().into_iter().find(|own| {
            let meta = &own.metadata;
            meta.namespace.as_deref() == Some(&*pod.namespace) && meta.name.as_deref() == Some(&*pod.name)
        });
        let Some(uid) = known.and_then(|known| known.metadata.uid.clone()) else {
            return Err(Error::new(ErrorKind::NotFound, format!("pod {pod} does not run here")));
        };
        let request = LogRequest {
            pod,
            uid,
            container: container.into(),
            follow: flag("follow"),
            previous: flag("previous"),
            timestamps: flag("timestamps"),
            tail_lines: value("tailLines").and_then(|lines| lines.parse().ok()),
            limit_bytes: value("limitBytes").and_then(|bytes| bytes.parse().ok()),
            ..LogRequest::default()
        };
        let chunks = self.agent.logs(request).await?.0.map(|chunk| chunk.map(Frame::data));
        let mut out = Response::new(BodyExt::boxed_unsync(StreamBody::new(chunks)));
        out.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        Ok(out)
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

fn as_json(value: &Value) -> Response<Body> {
    let mut out = text(StatusCode::OK, &value.to_string());
    out.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    out
}
