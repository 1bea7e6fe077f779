//! The webhooks of the API suite: this program listens for the server under test, and the checks say what to answer.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_rustls::TlsAcceptor;
use windlass::{
    apiserver::http::tls::{Authority, server_config},
    kernel::{Clock, Error, ErrorKind, Spawn, SpawnExt},
};
use windlass_conformance::api::{Called, Hooks};

/// No review is larger: the objects of Kubernetes are at most 3 MiB, and there are two in one.
const LIMIT: usize = 16 << 20;

/// Listens until this program ends. `address` is the host and port that the server reaches this machine at; port 0 takes
/// any that is free.
pub(super) async fn listen(address: &str, clock: &dyn Clock, spawn: &Arc<dyn Spawn>) -> Result<Arc<Hooks>> {
    let (host, port) = parts(address)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let listener = tokio::net::TcpListener::bind(SocketAddr::new(interface(bare), port)).await;
    let listener = listener.with_context(|| format!("cannot listen for webhooks on port {port}"))?;
    let port = listener.local_addr().context("cannot tell the port of the webhooks")?.port();
    let authority = Authority::generate("windlass-conform", clock.now())?;
    let own = authority.server("windlass-conform", &[bare], clock.now())?;
    let certificate = &authority.pem().certificate;
    let acceptor = TlsAcceptor::from(server_config(&own, certificate)?);
    let hooks = Arc::new(Hooks::new(format!("{host}:{port}"), certificate));
    let (told, connections) = (Arc::clone(&hooks), Arc::clone(spawn));
    let serving = async move {
        // A listener that fails has failed for good: the checks then say that nobody called.
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, hooks) = (acceptor.clone(), Arc::clone(&told));
            let serve = async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(move |request| answer(request, Arc::clone(&hooks)));
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                // Whoever breaks a connection off is answered by what the server under test then says.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            };
            connections.spawn("conform.webhook", serve).detach();
        }
    };
    spawn.spawn("conform.webhooks", serving).detach();
    Ok(hooks)
}

fn parts(address: &str) -> Result<(&str, u16)> {
    let parts = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let parts = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let wrong = || Error::new(ErrorKind::Invalid, format!("--webhook-address {address}: expected HOST:PORT"));
    Ok(parts.ok_or_else(wrong)?)
}

/// Where to listen for calls to a host: on all of this machine, unless it is the loopback address.
fn interface(host: &str) -> IpAddr {
    match host.parse::<IpAddr>() {
        Ok(address) if address.is_loopback() => address,
        Ok(IpAddr::V6(_)) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        _ if host == "localhost" => Ipv4Addr::LOCALHOST.into(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    }
}

async fn answer(request: Request<Incoming>, hooks: Arc<Hooks>) -> Result<Response<Full<hyper::body::Bytes>>, String> {
    let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let body = Limited::new(request.into_body(), LIMIT).collect().await.map_err(|error| error.to_string())?;
    let mut response = Response::new(Full::default());
    match hooks.call(&target, &body.to_bytes()) {
        Called::Answer(said) => {
            let json = hyper::header::HeaderValue::from_static("application/json");
            response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
            *response.body_mut() = Full::new(said);
        }
        Called::Hang => std::future::pending().await,
        Called::Nobody => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let check = |text: &str, expect: Option<(&str, u16)>| assert_eq!(parts(text).ok(), expect, "{text}");
        check("127.0.0.1:0", Some(("127.0.0.1", 0)));
        check("[fd00::1]:8443", Some(("[fd00::1]", 8443)));
        check("host.example.com:1", Some(("host.example.com", 1)));
        check("host", None);
        check(":80", None);
        check("host:eighty", None);
    }
}
