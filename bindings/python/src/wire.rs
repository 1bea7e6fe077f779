//! HTTP without a connection, for clients that speak nothing else: a request in, a status, headers and a body out.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use hyper::{
    Request,
    body::Body as _,
    header::{self, HeaderName},
};
use pyo3::{IntoPyObjectExt, prelude::*, types::PyBytes};
use windlass::{
    apiserver::http::{Asked, Server, asked},
    kernel::{Error, ErrorKind, Identity, Result, api},
};

use crate::{
    engine::Engine,
    http::{self, Headers},
    op::Op,
    pipe::Pipe,
    reply::Reply,
    streams::Chunks,
};

/// The API as HTTP, as an administrator.
#[pyclass(frozen, module = "windlass._native")]
pub(crate) struct Http {
    engine: Arc<Engine>,
    server: Arc<Server>,
}

impl Http {
    pub(crate) fn new(engine: Arc<Engine>, server: Arc<Server>) -> Self {
        Self { engine, server }
    }
}

#[pymethods]
impl Http {
    /// A call that is answered with a status, headers and the body: bytes where it is whole, or chunks as they come.
    fn send(&self, py: Python<'_>, method: &str, target: &str, headers: Headers, body: Vec<u8>) -> PyResult<Op> {
        self.engine.check(py)?;
        let request = request(method, target, headers, body);
        let (engine, server) = (Arc::clone(&self.engine), Arc::clone(&self.server));
        Ok(Op::new(&self.engine, async move {
            let (parts, body) = server.answer_in_process(admin(), request?).await.into_parts();
            let (status, headers) = (parts.status.as_u16(), http::headers(&parts.headers));
            if body.size_hint().exact().is_some() {
                let whole = body.collect().await.map_err(broken)?.to_bytes();
                return Ok(Reply::Made(Box::new(move |py| {
                    (status, headers, PyBytes::new(py, &whole)).into_py_any(py)
                })));
            }
            let chunks = api::Chunks(body.into_data_stream().map_err(broken).boxed());
            Ok(Reply::Made(Box::new(move |py| (status, headers, Chunks::new(&engine, chunks)).into_py_any(py))))
        }))
    }

    /// A connection, for clients that speak HTTP themselves and for sessions.
    fn connect(&self, py: Python<'_>) -> PyResult<Pipe> {
        self.engine.check(py)?;
        Ok(Pipe::connect(&self.engine, &self.server, admin()))
    }
}

/// Whoever asks without a token of its own.
fn admin() -> Identity {
    Identity::new("kubernetes-admin", &["system:masters", "system:authenticated"])
}

fn request(method: &str, target: &str, headers: Headers, body: Vec<u8>) -> Result<Request<Asked>> {
    let wrong = |error: hyper::http::Error| {
        Error::new(ErrorKind::BadRequest, format!("{method} {target} is no HTTP request")).with_source(error)
    };
    let mut built = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        // Nothing is saved by packing what stays in memory.
        if !name.eq_ignore_ascii_case(header::ACCEPT_ENCODING.as_str()) {
            built = built.header(HeaderName::from_bytes(name.as_bytes()).map_err(|e| wrong(e.into()))?, value);
        }
    }
    built.body(asked(body)).map_err(wrong)
}

fn broken(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => *own,
        Err(other) => Error::new(ErrorKind::Unavailable, "an answer broke off").with_source(other),
    }
}
