//! The same parts over TLS and HTTP, on connections in memory: the shelf behind a small HTTP front.

use std::{
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{AsyncReadExt, AsyncWriteExt, SinkExt, StreamExt, TryStreamExt, future::BoxFuture};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request as HttpRequest, Response as HttpResponse,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig, crypto::ring, pki_types::PrivateKeyDer, server::WebPkiClientVerifier,
    time_provider::TimeProvider,
};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::{
    Message,
    handshake::server::{Request as WsRequest, Response as WsResponse},
};
use tokio_util::compat::TokioAsyncReadCompatExt;
use windlass_api::core::v1::ConfigMap;
use windlass_client::{
    Client, Informers, Select,
    https::{HttpsApi, Means},
    informer::Parts,
    kubeconfig::{Access, Credential},
};
use windlass_kernel::{
    Api, Clock, ClockExt, Dial, Error, ErrorKind, Identity, Result, Spawn,
    api::{Answer, GroupVersionResource, PatchType, Request, Verb, WatchEvent},
    dial::{ByteStream, Target},
    node::{Exit, Session, TermSize},
};
use windlass_testkit::sim::{Executor, Handle};

use crate::shelf::{Shelf, config_map};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A server at the other end of every connection.
#[derive(Clone)]
struct Front {
    shelf: Shelf,
    sim: Arc<Handle>,
    tls: Arc<ServerConfig>,
    two: bool,
    /// The certificates that clients have shown, a connection each.
    shown: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Another certificate of a client, as PEM and as it is shown, and its key.
    renewed: (String, Vec<u8>, String),
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Front")
    }
}

#[derive(Clone)]
struct Tasks(Arc<Handle>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.start("server", Box::pin(task));
    }
}

#[async_trait]
impl Dial for Front {
    async fn dial(&self, target: &Target) -> Result<ByteStream> {
        assert_eq!(*target, Target::Host { host: "api.test".into(), port: 6443 });
        let (near, far) = tokio::io::duplex(1 << 16);
        let front = self.clone();
        self.sim.start(
            "server",
            Box::pin(async move {
                // A client that is refused by TLS is the client's business.
                let Ok(stream) = TlsAcceptor::from(Arc::clone(&front.tls)).accept(far).await else { return };
                let own = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                front.shown.lock().extend(own.map(|own| own.to_vec()));
                let (stream, tasks) = (TokioIo::new(stream), Tasks(Arc::clone(&front.sim)));
                let two = front.two;
                let service = service_fn(move |request| front.clone().serve(request));
                // How a connection ends is no concern of these tests.
                if two {
                    let _ = hyper::server::conn::http2::Builder::new(tasks).serve_connection(stream, service).await;
                } else {
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
                }
            }),
        );
        Ok(Box::new(near.compat()))
    }
}

impl Front {
    fn serve(self, request: HttpRequest<Incoming>) -> BoxFuture<'static, Result<HttpResponse<Body>, Infallible>> {
        Box::pin(async move {
            Ok(self.answer(request).await.unwrap_or_else(|error| {
                let code = error.kind().http().0;
                reply(code, "application/json", error.to_status().to_string())
            }))
        })
    }

    async fn answer(&self, request: HttpRequest<Incoming>) -> Result<HttpResponse<Body>> {
        let (head, body) = request.into_parts();
        let parts: Vec<_> = head.uri.path().trim_start_matches("/base/api/v1/").split('/').map(str::to_owned).collect();
        let at = |place: usize| parts.get(place).cloned().unwrap_or_default();
        let (namespace, resource, name) =
            if at(0) == "namespaces" { (at(1), at(2), at(3)) } else { (String::new(), at(0), at(1)) };
        if at(4) == "log" {
            return Ok(reply(200, "text/plain", "line one\nline two\n".into()));
        }
        let query = head.uri.query().unwrap_or_default().to_owned();
        let has = |text: &str| query.split('&').any(|pair| pair == text);
        let value =
            |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')).unwrap_or("");
        let verb = match head.method {
            Method::GET if has("watch=true") => Verb::Watch,
            Method::GET if name.is_empty() => Verb::List,
            Method::GET => Verb::Get,
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch(PatchType::Merge),
            _ => Verb::Delete,
        };
        let identity = head.headers.get("authorization").map_or("nobody", |value| value.to_str().unwrap());
        let resource = GroupVersionResource { group: "".into(), version: "v1".into(), resource: resource.into() };
        let mut inner = Request::new(Arc::new(Identity::new(identity, &[])), verb, resource);
        (inner.namespace, inner.name) = (namespace, name);
        inner.options.resource_version = value("resourceVersion").into();
        inner.options.send_initial_events = has("sendInitialEvents=true").then_some(true);
        let body =
            body.collect().await.map_err(|error| Error::new(ErrorKind::BadRequest, error.to_string()))?.to_bytes();
        if !body.is_empty() && verb != Verb::Delete {
            inner = inner.body(serde_json::from_slice(&body).unwrap());
        }
        if verb == Verb::Watch {
            let events = self.shelf.watch(inner).await?;
            let lines = events.map(|event| Ok(Frame::data(Bytes::from(format!("{}\n", frame(event))))));
            let body = BodyExt::boxed_unsync(StreamBody::new(lines));
            return Ok(HttpResponse::builder().header("content-type", "application/json").body(body).unwrap());
        }
        let json = match self.shelf.call(inner).await?.answer {
            Answer::Object(document) => document.value()?,
            Answer::List(list) => json!({
                "kind": "ConfigMapList", "apiVersion": "v1",
                "metadata": {"resourceVersion": list.revision.to_string(), "continue": list.continue_token},
                "items": list.items.iter().map(|item| item.value().unwrap()).collect::<Vec<_>>(),
            }),
            _ => unreachable!(),
        };
        Ok(reply(200, "application/json", json.to_string()))
    }
}

fn frame(event: Result<WatchEvent>) -> Value {
    match event {
        Ok(WatchEvent::Added(document)) => json!({"type": "ADDED", "object": document.value().unwrap()}),
        Ok(WatchEvent::Modified(document)) => json!({"type": "MODIFIED", "object": document.value().unwrap()}),
        Ok(WatchEvent::Deleted(document)) => json!({"type": "DELETED", "object": document.value().unwrap()}),
        Ok(WatchEvent::Bookmark { revision, initial_events_end }) => {
            let end = initial_events_end.to_string();
            let annotations = json!({"k8s.io/initial-events-end": end});
            let metadata = json!({"resourceVersion": revision.to_string(), "annotations": annotations});
            json!({"type": "BOOKMARK", "object": {"metadata": metadata}})
        }
        Err(error) => json!({"type": "ERROR", "object": error.to_status()}),
    }
}

fn reply(code: u16, media_type: &str, text: String) -> HttpResponse<Body> {
    let body = Full::new(Bytes::from(text)).boxed_unsync();
    let builder = HttpResponse::builder().status(code).header("content-type", media_type);
    builder.header("warning", "299 - \"be warned\"").body(body).unwrap()
}

#[derive(Debug)]
struct Now(Arc<dyn Clock>);

impl TimeProvider for Now {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        Some(rustls::pki_types::UnixTime::since_unix_epoch(self.0.now().as_duration().try_into().ok()?))
    }
}

/// A server with its own authority, and the access to it.
fn front(executor: &Executor, two: bool, certificate: bool) -> (Front, Access) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let issue = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        (certificate, key)
    };
    let (server, server_key) = issue("api.test");
    let (client, client_key) = issue("client");
    let (second, second_key) = issue("client");
    let renewed = (second.pem(), second.der().to_vec(), second_key.serialize_pem());
    let provider = Arc::new(ring::default_provider());
    let now = Arc::new(Now(executor.clock()));
    let builder = ServerConfig::builder_with_details(Arc::clone(&provider), now).with_safe_default_protocol_versions();
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = if certificate { verifier } else { verifier.allow_unauthenticated() };
    let key = PrivateKeyDer::try_from(server_key.serialize_der()).unwrap();
    let builder = builder.unwrap().with_client_cert_verifier(verifier.build().unwrap());
    let mut tls = builder.with_single_cert(vec![server.der().clone()], key).unwrap();
    tls.alpn_protocols = vec![if two { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let credential = if certificate {
        Credential::Certificate { chain: client.pem().into(), key: client_key.serialize_pem().into() }
    } else {
        Credential::Token("t0".into())
    };
    let access = Access {
        server: "https://api.test:6443/base".into(),
        insecure: false,
        server_name: None,
        authority: issuer.pem().into(),
        credential,
        namespace: "default".into(),
    };
    let (shelf, sim, shown) = (Shelf::new(executor), executor.handle(), Arc::default());
    (Front { shelf, sim, tls: Arc::new(tls), two, shown, renewed }, access)
}

fn connect(executor: &Executor, front: &Front, access: &Access) -> Parts {
    let means = Means { dial: Arc::new(front.clone()), spawn: executor.spawn(), clock: executor.clock() };
    let api = HttpsApi::new(access, means).unwrap();
    let client = Client::new(Arc::new(api), Arc::default()).with_user_agent("tests/1");
    Parts { client, spawn: executor.spawn(), clock: executor.clock(), entropy: executor.entropy() }
}

#[test]
fn calls_and_informers_work_over_both_protocols_and_with_tokens_and_certificates() {
    for (two, certificate) in [(true, true), (true, false), (false, true), (false, false)] {
        let executor = Executor::new(1);
        let (front, access) = front(&executor, two, certificate);
        let parts = connect(&executor, &front, &access);
        let client = parts.client.clone();
        let cache = Informers::new(parts).typed::<ConfigMap>(Select::all());
        executor.run_until(async {
            client.create(&config_map("a")).await.unwrap();
            client.create(&config_map("b app=x")).await.unwrap();
            let error = client.create(&config_map("a")).await.unwrap_err();
            assert!(error.is(ErrorKind::AlreadyExists), "{error:?}");
            cache.wait_until(|cache| cache.len() == 2).await;
            assert_eq!(client.list::<ConfigMap>(&Select::namespace("default")).await.unwrap().len(), 2);
            assert!(client.get_opt::<ConfigMap>("default", "none").await.unwrap().is_none());
            let changed =
                client.modify::<ConfigMap>("default", "a", |map| drop(map.data.insert("k".into(), "v".into())));
            assert_eq!(changed.await.unwrap().data["k"], "v");
            front.shelf.compact();
            client.delete::<ConfigMap>("default", "b").await.unwrap();
            cache.wait_until(|cache| cache.len() == 1).await;
        });
        let who = if certificate { "nobody" } else { "Bearer t0" };
        assert!(front.shelf.log.lines().iter().all(|line| line.starts_with(who)));
    }
}

#[test]
fn logs_come_as_bytes_and_warnings_are_heard() {
    let executor = Executor::new(2);
    let (front, access) = front(&executor, true, false);
    let client = connect(&executor, &front, &access).client;
    executor.run_until(async {
        let log = client.logs("default", "p", vec![]).await.unwrap();
        let bytes: Vec<Bytes> = log.0.try_collect().await.unwrap();
        assert_eq!(bytes.concat(), b"line one\nline two\n");
        let list = client.request(Verb::List, GroupVersionResource::of("", "v1", "configmaps"));
        assert_eq!(client.call(list).await.unwrap().warnings, ["be warned"]);
    });
}

/// Writes a kubeconfig of that user in place of the one that is there, if any.
fn write_config(folder: &Path, authority: &[u8], user: &Value) -> PathBuf {
    let cluster = json!({
        "server": "https://api.test:6443/base", "certificate-authority-data": STANDARD.encode(authority),
    });
    let config = json!({
        "current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": user}],
    });
    replace(&folder.join("config"), &config.to_string())
}

/// Writes a file, whole at any moment, as tools that renew certificates do.
fn replace(path: &Path, text: &str) -> PathBuf {
    let fresh = path.with_extension("fresh");
    fs::write(&fresh, text).unwrap();
    fs::rename(fresh, path).unwrap();
    path.to_owned()
}

#[test]
fn a_kubeconfig_is_read_again_when_it_changes() {
    let executor = Executor::new(9);
    let (front, access) = front(&executor, true, false);
    let folder = tempfile::tempdir().unwrap();
    let write = |token: &str| write_config(folder.path(), &access.authority, &json!({"token": token}));
    let file = write("t0");
    let means = Means { dial: Arc::new(front.clone()), spawn: executor.spawn(), clock: executor.clock() };
    let (api, read) = HttpsApi::following(&file, "", means).unwrap();
    assert_eq!(read.server, "https://api.test:6443/base");
    let client = Client::new(Arc::new(api), Arc::default());
    let asked_as = || {
        executor.run_until(async {
            executor.clock().sleep(Duration::from_secs(10)).await;
            client.get_opt::<ConfigMap>("default", "a").await.unwrap();
        });
        front.shelf.log.lines().last().unwrap().split(" Get ").next().unwrap().to_owned()
    };
    assert_eq!(asked_as(), "Bearer t0");
    write("t1");
    assert_eq!(asked_as(), "Bearer t1");
    replace(&file, "clusters: [");
    assert_eq!(asked_as(), "Bearer t1");
    write("t2");
    assert_eq!(asked_as(), "Bearer t2");
}

#[test]
fn a_renewed_certificate_is_shown_by_new_connections() {
    let executor = Executor::new(10);
    let (front, access) = front(&executor, true, true);
    let Credential::Certificate { chain, key } = &access.credential else { panic!("no certificate") };
    let folder = tempfile::tempdir().unwrap();
    let [certificate_file, key_file] = ["own.crt", "own.key"].map(|name| folder.path().join(name));
    replace(&certificate_file, std::str::from_utf8(chain).unwrap());
    replace(&key_file, std::str::from_utf8(key).unwrap());
    let user = json!({"client-certificate": "own.crt", "client-key": "own.key"});
    let file = write_config(folder.path(), &access.authority, &user);
    let means = Means { dial: Arc::new(front.clone()), spawn: executor.spawn(), clock: executor.clock() };
    let (api, _) = HttpsApi::following(&file, "x", means).unwrap();
    let client = Client::new(Arc::new(api), Arc::default());
    let connections = || {
        executor.run_until(async {
            executor.clock().sleep(Duration::from_secs(10)).await;
            client.get_opt::<ConfigMap>("default", "a").await.unwrap();
        });
        front.shown.lock().len()
    };
    assert_eq!((connections(), connections()), (1, 1));
    let (pem, shown, renewed_key) = &front.renewed;
    replace(&certificate_file, pem);
    // The key of another certificate is no key: as before, until both are there.
    assert_eq!(connections(), 1);
    replace(&key_file, renewed_key);
    assert_eq!((connections(), connections()), (2, 2));
    assert_eq!(front.shown.lock().last(), Some(shown));
}

#[test]
fn a_server_of_another_authority_is_not_trusted() {
    let executor = Executor::new(3);
    let (front_a, _) = front(&executor, true, false);
    let (_, access_b) = front(&executor, true, false);
    let client = connect(&executor, &front_a, &access_b).client;
    let error = executor.run_until(client.get::<ConfigMap>("default", "a")).unwrap_err();
    assert!(error.is(ErrorKind::Unavailable) && error.message().contains("TLS"), "{error}");
    assert!(front_a.shelf.log.lines().is_empty());
}

#[test]
fn a_server_that_went_away_is_connected_to_anew() {
    for two in [true, false] {
        let executor = Executor::new(4);
        let (front, access) = front(&executor, two, false);
        let process = executor.process();
        let mortal = Front { sim: process.handle(), ..front.clone() };
        let client = connect(&executor, &mortal, &access).client;
        executor.run_until(client.create(&config_map("a"))).unwrap();
        process.kill();
        // Whether the first call notices depends on what the connection had heard; the one after it works.
        let _ = executor.run_until(client.get::<ConfigMap>("default", "a"));
        assert!(executor.run_until(client.get::<ConfigMap>("default", "a")).is_ok(), "http/2: {two}");
    }
}

/// A server that does one session on every connection: echoes the input in capitals, then exits with 3.
#[derive(Clone, Debug)]
struct Shell(Front);

#[async_trait]
impl Dial for Shell {
    async fn dial(&self, _: &Target) -> Result<ByteStream> {
        let (near, far) = tokio::io::duplex(1 << 16);
        let tls = Arc::clone(&self.0.tls);
        let session = async move {
            let stream = TlsAcceptor::from(tls).accept(far).await.unwrap();
            let mut forwards = false;
            #[allow(clippy::result_large_err, reason = "the signature is the callback's")]
            let answer = |request: &WsRequest, mut response: WsResponse| {
                assert_eq!(request.headers()["authorization"], "Bearer t0");
                let protocol = request.headers()["sec-websocket-protocol"].clone();
                if request.uri().path().contains("/forbidden/") {
                    let status = Error::new(ErrorKind::Forbidden, "not you").to_status().to_string();
                    return Err(HttpResponse::builder().status(403).body(Some(status)).unwrap());
                }
                forwards = request.uri().query() == Some("ports=80");
                response.headers_mut().insert("sec-websocket-protocol", protocol);
                Ok(response)
            };
            let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, answer).await else { return };
            if forwards {
                socket.send(Message::binary([0, 80, 0].as_slice())).await.unwrap();
                socket.send(Message::binary([1, 80, 0].as_slice())).await.unwrap();
            }
            let echo = u8::from(!forwards);
            while let Some(Ok(Message::Binary(data))) = socket.next().await {
                match data.split_first().unwrap() {
                    (0, text) => {
                        let echo = [&[echo], text.to_ascii_uppercase().as_slice()].concat();
                        socket.send(Message::binary(echo)).await.unwrap();
                    }
                    (4, size) => socket.send(Message::binary([b"\x02", size].concat())).await.unwrap(),
                    (255, [0]) => break,
                    other => panic!("unexpected: {other:?}"),
                }
            }
            let causes = json!([{"reason": "ExitCode", "message": "3"}]);
            let status = json!({"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}});
            let _ = socket.send(Message::binary([b"\x03", status.to_string().as_bytes()].concat())).await;
            let _ = socket.close(None).await;
        };
        self.0.sim.start("shell", Box::pin(session));
        Ok(Box::new(near.compat()))
    }
}

fn shell(executor: &Executor) -> Client {
    let (front, access) = front(executor, false, false);
    let means = Means { dial: Arc::new(Shell(front)), spawn: executor.spawn(), clock: executor.clock() };
    Client::new(Arc::new(HttpsApi::new(&access, means).unwrap()), Arc::default())
}

#[test]
fn a_command_is_run_over_a_web_socket() {
    let executor = Executor::new(5);
    let client = shell(&executor);
    let query = ["stdin", "stdout", "stderr", "tty"].map(|name| (name.to_owned(), "true".to_owned())).to_vec();
    executor.run_until(async {
        let Session::Process(mut process) = client.connect("default", "p", "exec", query).await.unwrap() else {
            panic!("no process")
        };
        process.resize.as_mut().unwrap().send(TermSize { width: 80, height: 24 }).await.unwrap();
        let stderr = process.stderr.as_mut().unwrap();
        let mut size = [0; 24];
        stderr.read_exact(&mut size).await.unwrap();
        assert_eq!(size, *br#"{"Height":24,"Width":80}"#);
        let mut stdin = process.stdin.take().unwrap();
        stdin.write_all(b"hello").await.unwrap();
        stdin.close().await.unwrap();
        let mut text = String::new();
        process.stdout.take().unwrap().read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), process.exit.await), ("HELLO", Exit::Code(3)));
    });
}

#[test]
fn ports_are_forwarded_over_web_sockets() {
    let executor = Executor::new(6);
    let client = shell(&executor);
    executor.run_until(async {
        let Session::Ports(ports) = client.connect("default", "p", "portforward", Vec::new()).await.unwrap() else {
            panic!("no ports")
        };
        let mut stream = ports.connect(80).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut text = [0; 4];
        stream.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"PING");
    });
}

#[test]
fn a_refused_session_says_why_and_proxying_is_not_supported() {
    let executor = Executor::new(7);
    let client = shell(&executor);
    executor.run_until(async {
        let error = client.connect("forbidden", "p", "exec", Vec::new()).await.unwrap_err();
        assert!(error.is(ErrorKind::Forbidden), "{error:?}");
        let error = client.connect("default", "p", "proxy", Vec::new()).await.unwrap_err();
        assert!(error.is(ErrorKind::NotSupported));
    });
}
