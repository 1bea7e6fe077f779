//! The front end of the guestbook: serves a page with a form and the entries, which it keeps in redis.
//!
//! An ordinary program that runs in a pod and knows nothing of Windlass. Configured by the environment: `LISTEN`,
//! `REDIS` (a host and a port), and `VERSION`, where the first argument does not state the version.
#![allow(clippy::disallowed_methods, reason = "an ordinary program on an ordinary runtime, no part of a cluster")]

mod page;
mod redis;

use std::{convert::Infallible, env, rc::Rc, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::future::{Either, select};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, LOCATION},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::LocalSet,
};

/// So many bytes an entry may have.
const LARGEST: usize = 4096;
/// So long requests are still served after the word to end: news of it travels slower than the word itself.
const DRAIN: Duration = Duration::from_secs(3);

struct Guestbook {
    version: String,
    redis: String,
}

fn main() -> Result<()> {
    let variable = |name: &str, usual: &str| env::var(name).unwrap_or_else(|_| usual.into());
    let version = env::args().nth(1).unwrap_or_else(|| variable("VERSION", "unnamed"));
    let book = Rc::new(Guestbook { version, redis: variable("REDIS", "redis:6379") });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(LocalSet::new().run_until(serve(book, variable("LISTEN", "0.0.0.0:8080"))))
}

async fn serve(book: Rc<Guestbook>, address: String) -> Result<()> {
    let listener = TcpListener::bind(&address).await.with_context(|| format!("cannot listen on {address}"))?;
    println!("guestbook {} listens on {address}, entries are in {}", book.version, book.redis);
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut told = std::pin::pin!(async move { terminate.recv().await });
    loop {
        match select(&mut told, Box::pin(listener.accept())).await {
            Either::Left(_) => break,
            Either::Right((accepted, _)) => connection(&book, accepted),
        }
    }
    println!("guestbook {} ends in {DRAIN:?}", book.version);
    let mut over = std::pin::pin!(tokio::time::sleep(DRAIN));
    loop {
        match select(&mut over, Box::pin(listener.accept())).await {
            Either::Left(_) => return Ok(()),
            Either::Right((accepted, _)) => connection(&book, accepted),
        }
    }
}

fn connection(book: &Rc<Guestbook>, accepted: std::io::Result<(tokio::net::TcpStream, std::net::SocketAddr)>) {
    let Ok((stream, _)) = accepted else { return };
    let book = Rc::clone(book);
    tokio::task::spawn_local(async move {
        let service = service_fn(move |request| answer(Rc::clone(&book), request));
        // A client that goes away in the middle is its own affair.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    });
}

async fn answer(book: Rc<Guestbook>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let answer = route(&book, request).await.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        reply(StatusCode::BAD_GATEWAY, "text/plain", format!("{error:#}\n"))
    });
    Ok(answer)
}

async fn route(book: &Guestbook, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    Ok(match (&method, path.as_str()) {
        (&Method::GET, "/") => {
            let html = page::html(&book.version, &redis::entries(&book.redis).await?);
            reply(StatusCode::OK, "text/html; charset=utf-8", html)
        }
        (&Method::GET, "/entries") => {
            let body = serde_json::json!({"version": book.version, "entries": redis::entries(&book.redis).await?});
            reply(StatusCode::OK, "application/json", format!("{body}\n"))
        }
        (&Method::POST, "/entries") => post(book, request).await?,
        (&Method::GET, "/healthz") => reply(StatusCode::OK, "text/plain", "ok\n"),
        (&Method::GET, "/version") => reply(StatusCode::OK, "text/plain", format!("{}\n", book.version)),
        _ => reply(StatusCode::NOT_FOUND, "text/plain", "there is no such page\n"),
    })
}

/// Enters what a form or a plain text says.
async fn post(book: &Guestbook, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    let form = request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(page::FORM));
    let Ok(body) = Limited::new(request.into_body(), LARGEST).collect().await else {
        return Ok(reply(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", format!("at most {LARGEST} bytes\n")));
    };
    let body = body.to_bytes();
    let text = if form { page::entry(&body) } else { String::from_utf8_lossy(&body).trim().to_owned() };
    if text.is_empty() {
        return Ok(reply(StatusCode::BAD_REQUEST, "text/plain", "an entry has a text\n"));
    }
    redis::add(&book.redis, &text).await?;
    if !form {
        return Ok(reply(StatusCode::CREATED, "text/plain", "entered\n"));
    }
    let mut back = reply(StatusCode::SEE_OTHER, "text/plain", "entered\n");
    back.headers_mut().insert(LOCATION, hyper::header::HeaderValue::from_static("/"));
    Ok(back)
}

fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    reply
}
