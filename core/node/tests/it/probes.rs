//! Probes over TLS and gRPC, against servers of the test's own: a pod on the node's network has the node's address.

use std::{convert::Infallible, net::Ipv4Addr, sync::Arc};

use bytes::Bytes;
use futures::stream;
use http_body_util::{Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    header::HeaderMap,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use libtest_mimic::{Failed, Trial};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, rustls};
use windlass_lab::rim;

use crate::bench::{Bench, condition, of};

type Test = (&'static str, fn(&tokio::runtime::Runtime));

const TESTS: &[Test] = &[
    ("a_probe_over_tls_asks_nobody_for_a_good_certificate", |tokio| tokio.block_on(secure())),
    ("a_probe_over_grpc_believes_what_the_server_says_of_itself", |tokio| tokio.block_on(health())),
];

pub(crate) fn trials() -> Vec<Trial> {
    let run = |test: fn(&tokio::runtime::Runtime)| -> Result<(), Failed> {
        test(&tokio::runtime::Runtime::new()?);
        Ok(())
    };
    TESTS.iter().map(|&(name, test)| Trial::test(name, move || run(test)).with_kind("fake runtime")).collect()
}

/// A pod on the node's network with one readiness probe.
async fn probed(name: &'static str, probe: Value) -> (Bench, windlass_api::core::v1::Pod) {
    let bench = Bench::fake(name, &rim(&tokio::runtime::Handle::current())).await;
    let mut probe = probe;
    probe["periodSeconds"] = json!(1);
    probe["failureThreshold"] = json!(1);
    let pod = bench.pod(json!({"hostNetwork": true, "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "command": ["run"], "readinessProbe": probe}]}));
    bench.sync(&pod).await;
    (bench, pod)
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

fn acceptor() -> TlsAcceptor {
    // Of another name than it will be asked by, and signed by nobody.
    let made = rcgen::generate_simple_self_signed(["other.example".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("protocols").with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![made.cert.der().clone()], key).expect("a key")).into()
}

async fn secure() {
    let (listener, port) = listen().await;
    let status = Arc::new(Mutex::new(200_u16));
    let (acceptor, said) = (acceptor(), Arc::clone(&status));
    let seen = Arc::new(Mutex::new(String::new()));
    let noted = Arc::clone(&seen);
    let serve = move |stream: TcpStream| {
        let (acceptor, said, noted) = (acceptor.clone(), said.clone(), noted.clone());
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let answer = service_fn(move |request: hyper::Request<Incoming>| {
                *noted.lock() = format!("{} {:?}", request.uri(), request.headers().get("user-agent"));
                let answer = hyper::Response::builder().status(*said.lock()).body(Full::new(Bytes::from_static(b"ok")));
                async { Ok::<_, Infallible>(answer.expect("an answer")) }
            });
            // A probe that goes away is no concern of the server's.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        }
    };
    let _server = served(listener, serve);
    let probe = json!({"httpGet": {"scheme": "HTTPS", "path": "/healthz", "port": port}});
    let (mut bench, pod) = probed("secure", probe).await;
    bench.ready().await;
    assert_eq!(*seen.lock(), "/healthz Some(\"kube-probe/1.36\")");
    *status.lock() = 500;
    bench.until("unready", |report| condition(&report.status, "Ready") == "False").await;
    let notices = bench.objects.notices("secure").join("\n");
    assert!(notices.contains("Readiness probe failed: HTTP probe failed with statuscode: 500"), "{notices}");
    bench.delete(&pod, 0).await;
    std::fs::remove_dir_all(&bench.config.data_dir).expect("the folder goes");
}

async fn health() {
    let (listener, port) = listen().await;
    // As grpc.health.v1 numbers them: 1 is SERVING.
    let status = Arc::new(Mutex::new(1_u8));
    let said = Arc::clone(&status);
    let serve = move |stream: TcpStream| {
        let said = said.clone();
        async move {
            let answer = service_fn(move |request: hyper::Request<Incoming>| {
                let known = request.uri().path() == "/grpc.health.v1.Health/Check";
                // One message of two bytes: the field 1, and the status.
                let message = Bytes::from(vec![0, 0, 0, 0, 2, 8, *said.lock()]);
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", hyper::header::HeaderValue::from(if known { 0 } else { 12 }));
                let frames = [Frame::data(message), Frame::trailers(trailers)].map(Ok::<_, Infallible>);
                let answer = hyper::Response::builder().header("content-type", "application/grpc");
                let answer = answer.body(StreamBody::new(stream::iter(frames))).expect("an answer");
                async { Ok::<_, Infallible>(answer) }
            });
            // A probe that goes away is no concern of the server's.
            let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
        }
    };
    let _server = served(listener, serve);
    let (mut bench, pod) = probed("health", json!({"grpc": {"port": port, "service": "shop"}})).await;
    bench.ready().await;
    *status.lock() = 2;
    bench.until("unready", |report| condition(&report.status, "Ready") == "False").await;
    let notices = bench.objects.notices("health").join("\n");
    let wanted = "Readiness probe failed: service unhealthy (responded with \"NOT_SERVING\")";
    assert!(notices.contains(wanted), "{notices}");
    assert!(of(&bench.delete(&pod, 0).await, "main").state.running.is_none());
    std::fs::remove_dir_all(&bench.config.data_dir).expect("the folder goes");
}

/// Serves every connection, until the handle is dropped with its runtime.
fn served<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    let tokio = tokio::runtime::Handle::current();
    let each = tokio.clone();
    tokio.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            each.spawn(serve(stream));
        }
    })
}
