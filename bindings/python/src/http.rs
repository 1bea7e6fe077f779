//! HTTP/1.1 over streams into pods: what functions serve there, and what is asked of any port of a pod.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::{Either, select};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, client, header::HeaderMap, server, service::service_fn};
use hyper_util::rt::TokioIo;
use pyo3::{prelude::*, types::PyBytes};
use tokio_util::compat::FuturesAsyncReadCompatExt;
use windlass::kernel::{Error, ErrorKind, Result, dial::ByteStream};

use crate::engine::Within;

/// Headers as Python has them.
pub(crate) type Headers = Vec<(String, String)>;

/// Answers the requests of a connection with what `handler` returns: a status, headers and a body.
pub(crate) async fn serve(stream: ByteStream, handler: Arc<Py<PyAny>>) {
    let service = service_fn(|request| answer(request, Arc::clone(&handler)));
    let mut builder = server::conn::http1::Builder::new();
    // The date would be the machine's.
    builder.auto_date_header(false);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream.compat()), service).await {
        tracing::debug!(%error, "a connection to a function ended early");
    }
}

async fn answer(request: Request<Incoming>, handler: Arc<Py<PyAny>>) -> hyper::Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let said = Python::attach(|py| {
        let _within = Within::enter();
        let (method, path) = (parts.method.as_str(), parts.uri.to_string());
        let said = handler.call1(py, (method, path, headers(&parts.headers), PyBytes::new(py, &body)))?;
        said.extract::<(u16, Headers, Vec<u8>)>(py)
    });
    let (status, headers, body) = said.unwrap_or_else(|error| (500, vec![], format!("{error}\n").into_bytes()));
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    Ok(response.body(body.into()).unwrap_or_else(|error| {
        let mut broken = Response::new(Full::from(format!("{error}\n")));
        *broken.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        broken
    }))
}

/// What is asked of a port.
#[derive(Debug)]
pub(crate) struct Asks {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

/// Asks over a connection, and says what was answered: status, headers, body.
pub(crate) async fn ask(stream: ByteStream, asks: Asks) -> Result<(u16, Headers, Bytes)> {
    let broken = |error: hyper::Error| {
        Error::new(ErrorKind::Unavailable, "the pod's port does not answer").with_source(error).maybe_applied()
    };
    let mut request = Request::builder().method(asks.method.as_str()).uri(asks.path);
    for (name, value) in asks.headers {
        request = request.header(name, value);
    }
    let unreadable =
        |error: hyper::http::Error| Error::new(ErrorKind::BadRequest, "that is no HTTP request").with_source(error);
    let request = request.body(Full::<Bytes>::from(asks.body)).map_err(unreadable)?;
    let (mut sender, connection) =
        client::conn::http1::handshake(TokioIo::new(stream.compat())).await.map_err(broken)?;
    let exchange = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok::<_, hyper::Error>((parts.status.as_u16(), headers(&parts.headers), body))
    };
    let driven = select(Box::pin(exchange), Box::pin(connection)).await;
    match driven {
        Either::Left((answered, _)) => answered.map_err(broken),
        // The connection may end with the last byte of the answer.
        Either::Right((_, exchange)) => exchange.await.map_err(broken),
    }
}

/// The headers for Python.
pub(crate) fn headers(map: &HeaderMap) -> Headers {
    map.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}
