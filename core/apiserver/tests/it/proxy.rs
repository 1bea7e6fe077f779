//! Requests that go on to pods, services and nodes, over a dialler that opens no socket.

use std::{convert::Infallible, sync::Arc};

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_util::compat::TokioAsyncReadCompatExt as _;
use windlass_apiserver::http::tls::{Authority, server_config};
use windlass_kernel::{
    Dial, Error, ErrorKind, Result,
    dial::{ByteStream, Target},
};

use crate::{
    pods::pod,
    rim::{self, Rim, parse, read},
};

/// Servers behind every target: port 8443 speaks TLS, port 1 refuses, the others speak plain HTTP.
#[derive(Debug, Default)]
struct Servers(Mutex<Vec<Target>>);

#[async_trait]
impl Dial for Servers {
    async fn dial(&self, target: &Target) -> Result<ByteStream> {
        self.0.lock().push(target.clone());
        let (near, far) = tokio::io::duplex(4096);
        let (Target::Pod { port, .. } | Target::Node { port, .. }) = target else { panic!("{target:?}") };
        match port {
            1 => return Err(Error::new(ErrorKind::Unavailable, "connection refused")),
            8443 => {
                let authority = Authority::generate("somebody", jiff::Timestamp::UNIX_EPOCH).unwrap();
                let own = authority.server("web", &["web"], jiff::Timestamp::UNIX_EPOCH).unwrap();
                let config = server_config(&own, &authority.pem().certificate).unwrap();
                let acceptor = tokio_rustls::TlsAcceptor::from(config);
                tokio::runtime::Handle::current()
                    .spawn(async move { serve(acceptor.accept(far).await.unwrap()).await });
            }
            _ => drop(tokio::runtime::Handle::current().spawn(serve(far))),
        }
        Ok(Box::new(near.compat()))
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
    let _ = connection.with_upgrades().await;
}

/// Says what was asked; `/elsewhere` redirects, and an upgrade is answered with what comes in.
async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let builder = Response::builder();
    if request.headers().contains_key("upgrade") {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::runtime::Handle::current().spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            let mut heard = [0; 5];
            stream.read_exact(&mut heard).await.unwrap();
            stream.write_all(&heard).await.unwrap();
        });
        let builder = builder.status(101).header("connection", "upgrade").header("upgrade", "echo");
        return Ok(builder.body(Full::default()).unwrap());
    }
    let headers: serde_json::Map<String, Value> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().into()))
        .collect();
    let (method, uri) = (request.method().to_string(), request.uri().to_string());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let said = json!({"method": method, "uri": uri, "headers": headers, "body": String::from_utf8_lossy(&body)});
    if uri == "/page" {
        let page = "<a href=\"/rewriteme\">test</a>";
        return Ok(builder.header("content-type", "text/html; charset=utf-8").body(Full::from(page)).unwrap());
    }
    let builder = match uri.strip_prefix("/elsewhere?") {
        Some(to) => builder.status(302).header("location", to),
        None => builder.header("x-own", "kept").header("keep-alive", "timeout=1"),
    };
    Ok(builder.body(Full::from(said.to_string())).unwrap())
}

const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";

/// A server with a pod `a` behind a service `web`, a pod `b` without an address, and a node.
async fn start() -> (Rim, Arc<Servers>) {
    let servers = Arc::new(Servers::default());
    let rim = rim::start_dialling(Arc::clone(&servers) as _).await;
    let post = async |path: &str, object: Value| {
        let made = rim.send(&format!("POST {path}\ncontent-type: application/json\n\n{object}")).await;
        assert_eq!(made.code, 201, "{made:?}");
    };
    let status = async |path: &str, status: Value| {
        let patch = json!({"status": status});
        let head = format!("PATCH {path}/status\ncontent-type: application/merge-patch+json\n\n{patch}");
        assert_eq!(rim.send(&head).await.code, 200);
    };
    post("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    for name in ["a", "b"] {
        let mut object = pod(name);
        object["spec"]["containers"][0]["ports"] = json!([{"name": "main", "containerPort": 8080}]);
        post(PODS, object).await;
    }
    status(&format!("{PODS}/a"), json!({"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]}))
        .await;
    let ports = json!([
        {"name": "main", "port": 80, "targetPort": 8080}, {"name": "secret", "port": 443, "targetPort": 8443}
    ]);
    for (name, ports) in [("web", ports), ("empty", json!([{"port": 80}]))] {
        post(SERVICES, json!({"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": ports}})).await;
    }
    let endpoints = json!({"metadata": {"name": "web"}, "subsets": [{
        "addresses": [{"ip": "10.0.0.1", "targetRef": {"kind": "Pod", "name": "a", "namespace": "default"}}],
        "ports": [{"name": "main", "port": 8080}, {"name": "secret", "port": 8443}]
    }]});
    post("/api/v1/namespaces/default/endpoints", endpoints).await;
    post("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
    status("/api/v1/nodes/n1", json!({"addresses": [{"type": "InternalIP", "address": "10.1.0.1"}]})).await;
    (rim, servers)
}

#[tokio::test]
async fn a_request_goes_on_with_its_method_path_query_body_and_headers() {
    let (rim, servers) = start().await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let head = format!("{method} {PODS}/a/proxy/x%20y/z/?limit=many&watch=true\nx-own: 1\n\nbody");
        let said = rim.send(&head).await;
        assert_eq!((said.code, said.header("x-own"), said.header("keep-alive")), (200, "kept", ""), "{said:?}");
        let said = said.json();
        assert_eq!(said["method"], method);
        assert_eq!(said["uri"], "/x%20y/z/?limit=many&watch=true");
        assert_eq!((&said["body"], &said["headers"]["x-own"]), (&json!("body"), &json!("1")));
        assert_eq!(said["headers"]["host"], "10.0.0.1:8080");
        assert_eq!(said["headers"]["x-forwarded-proto"], "https");
    }
    let target = Target::Pod { namespace: "default".into(), name: "a".into(), port: 8080 };
    assert!(servers.0.lock().iter().all(|dialled| *dialled == target));
    assert_eq!(rim.http2(&format!("GET {PODS}/a:main/proxy/")).await.json()["uri"], "/");
    assert_eq!(rim.send(&format!("HEAD {PODS}/a/proxy/")).await.code, 200);
}

#[tokio::test]
async fn who_asks_is_not_told_and_must_be_allowed() {
    let (rim, _) = start().await;
    let bearer = "authorization: Bearer root-token";
    let said = rim.send_anonymous(&format!("GET {PODS}/a/proxy/\n{bearer}")).await;
    assert_eq!((said.code, said.json()["headers"].get("authorization")), (200, None));
    let refused = rim.send_anonymous(&format!("PUT {PODS}/a/proxy/x\nauthorization: Bearer user-token")).await;
    assert_eq!(refused.code, 403);
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("cannot update resource \"pods/proxy\""), "{message}");
}

#[tokio::test]
async fn a_service_is_named_with_its_scheme_and_port() {
    let (rim, servers) = start().await;
    for name in ["web:main", "web:80", "http:web:80", "https:web:secret", "https:web:443"] {
        let said = rim.send(&format!("GET {SERVICES}/{name}/proxy/p")).await;
        assert_eq!(said.json()["uri"], "/p", "{name}");
    }
    let ports: Vec<u16> = servers
        .0
        .lock()
        .iter()
        .map(|target| match target {
            Target::Pod { port, .. } => *port,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ports, [8080, 8080, 8080, 8443, 8443]);
    let refused = async |name: &str| {
        let said = rim.send(&format!("GET {SERVICES}/{name}/proxy/")).await;
        (said.code, said.json()["message"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(refused("empty").await, (503, "no endpoints available for service \"empty\"".into()));
    assert_eq!(refused("web:other").await, (503, "no endpoints available for service \"web:other\"".into()));
    assert_eq!(refused("web:81").await, (503, "no service port 81 found for service \"web\"".into()));
    assert_eq!(refused("ftp:web:80").await, (400, "invalid service request \"ftp:web:80\"".into()));
    assert_eq!(refused("absent").await, (404, "services \"absent\" not found".into()));
}

#[tokio::test]
async fn what_cannot_be_reached_is_said() {
    let (rim, _) = start().await;
    let away = rim.send(&format!("GET {PODS}/a:1/proxy/")).await.json();
    assert_eq!((&away["code"], &away["reason"]), (&json!(503), &json!("ServiceUnavailable")));
    assert_eq!(away["message"], "error trying to reach service: connection refused");
    let waiting = rim.send(&format!("GET {PODS}/b/proxy/")).await.json();
    assert_eq!((&waiting["code"], &waiting["message"]), (&json!(400), &json!("address not allowed")));
    assert_eq!(rim.send(&format!("GET {PODS}/absent/proxy/")).await.code, 404);
}

#[tokio::test]
async fn redirects_and_links_stay_behind_the_proxy() {
    let (rim, servers) = start().await;
    let folder = rim.send(&format!("GET {PODS}/a/proxy?q=1")).await;
    assert_eq!((folder.code, folder.header("location")), (301, &*format!("{PODS}/a/proxy/?q=1")));
    assert!(servers.0.lock().is_empty());
    let place = async |to: &str| {
        let said = rim.send(&format!("GET {PODS}/a/proxy/elsewhere?{to}")).await;
        (said.code, said.header("location").to_owned())
    };
    assert_eq!(place("/b/?c=d").await, (302, format!("{PODS}/a/proxy/b/?c=d")));
    assert_eq!(place("http://10.0.0.1:8080/b").await, (302, format!("{PODS}/a/proxy/b")));
    assert_eq!(place("http://example.com/b").await, (302, "http://example.com/b".into()));
    assert_eq!(place("b").await, (302, "b".into()));
    let page = rim.send(&format!("GET {PODS}/a/proxy/page")).await;
    assert_eq!(String::from_utf8_lossy(&page.body), format!("<a href=\"{PODS}/a/proxy/rewriteme\">test</a>"));
}

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways() {
    let (rim, _) = start().await;
    let mut sender = rim.http1(true).await;
    let request = parse(&format!("GET {PODS}/a/proxy/\nconnection: Upgrade\nupgrade: echo"));
    let mut said = sender.send_request(request).await.unwrap();
    assert_eq!((said.status(), &said.headers()["upgrade"]), (101.try_into().unwrap(), &"echo".parse().unwrap()));
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut said).await.unwrap());
    stream.write_all(b"hello").await.unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "hello");
}

#[tokio::test]
async fn a_node_is_reached_at_its_agents_port_or_another() {
    let (rim, servers) = start().await;
    for (name, port) in [("n1", 10_250), ("n1:9100", 9100)] {
        let said = read(
            rim.http1(true)
                .await
                .send_request(parse(&format!("GET /api/v1/nodes/{name}/proxy/healthz")))
                .await
                .unwrap(),
        )
        .await;
        assert_eq!(said.json()["headers"]["host"], format!("10.1.0.1:{port}"));
        assert_eq!(servers.0.lock().pop(), Some(Target::Node { name: "n1".into(), port }));
    }
}
