//! A webhook that listens on this machine, speaks TLS and says what a test wants it to.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use parking_lot::Mutex;
use serde_json::Value;
use windlass_apiserver::http::tls::{Authority, server_config};

use crate::rim::Rim;

/// What the webhook answers.
pub(crate) enum Reply {
    Json(Value),
    Bytes(Vec<u8>),
    /// A redirect to this address.
    Elsewhere(String),
    /// Nothing, ever.
    Hang,
}

/// A webhook that is listening.
pub(crate) struct Hook {
    port: u16,
    authority: String,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
    connections: Arc<AtomicUsize>,
}

impl Hook {
    /// A `clientConfig` that leads here.
    pub(crate) fn client(&self, path: &str) -> Value {
        serde_json::json!({"url": format!("https://localhost:{}{path}", self.port), "caBundle": self.authority})
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The certificate to trust, as objects have it.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// A `clientConfig` that leads here and does not say whom to trust.
    pub(crate) fn client_without_bundle(&self, path: &str) -> Value {
        serde_json::json!({"url": format!("https://localhost:{}{path}", self.port)})
    }

    /// How many connections were opened.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// What was asked so far, with the path and query that it was asked at; forgets it.
    pub(crate) fn take(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut *self.seen.lock())
    }
}

/// Listens, and answers each request by its path and what it says.
pub(crate) async fn listen(rim: &Rim, answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> Hook {
    listen_as(&Authority::generate("hook-ca", rim.clock.now()).unwrap(), rim, answer).await
}

/// As [`listen`], with a certificate of this authority.
pub(crate) async fn listen_as(
    authority: &Authority,
    rim: &Rim,
    answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static,
) -> Hook {
    let own = authority.server("hook", &["localhost", "hook.default.svc"], rim.clock.now()).unwrap();
    let config = server_config(&own, &authority.pem().certificate).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
    let (noted, answer) = (Arc::clone(&seen), Arc::new(answer));
    let connections: Arc<AtomicUsize> = Arc::default();
    let opened = Arc::clone(&connections);
    let runtime = tokio::runtime::Handle::current();
    runtime.clone().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            opened.fetch_add(1, Ordering::SeqCst);
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&config));
            let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
            runtime.spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper::service::service_fn(move |request| {
                    let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                    async move { serve(request, &noted, &*answer).await }
                });
                let io = hyper_util::rt::TokioIo::new(stream);
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
            });
        }
    });
    Hook { port, authority: STANDARD.encode(&authority.pem().certificate), seen, connections }
}

async fn serve(
    request: hyper::Request<hyper::body::Incoming>,
    noted: &Mutex<Vec<(String, Value)>>,
    answer: &(dyn Fn(&str, &Value) -> Reply + Send + Sync),
) -> Result<hyper::Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path_and_query().unwrap().to_string();
    let body = request.into_body().collect().await?.to_bytes();
    let said: Value = serde_json::from_slice(&body).unwrap();
    let reply = answer(path.split('?').next().unwrap(), &said);
    noted.lock().push((path, said));
    Ok(match reply {
        Reply::Json(value) => hyper::Response::new(Full::new(value.to_string().into())),
        Reply::Bytes(bytes) => hyper::Response::new(Full::new(bytes.into())),
        Reply::Elsewhere(to) => {
            hyper::Response::builder().status(302).header("location", to).body(Full::default()).unwrap()
        }
        Reply::Hang => std::future::pending().await,
    })
}
