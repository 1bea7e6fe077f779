//! Answers as Python values. Objects cross as the bytes of their JSON: Python decodes them when, and where, it likes.

use std::sync::Arc;

use pyo3::{
    IntoPyObjectExt,
    prelude::*,
    types::{PyBytes, PyList},
};
use serde_json::json;
use windlass::kernel::{
    Error, ErrorKind, Result,
    api::{Answer, Chunks as Stream, Events as Watch, List, WatchEvent},
};

use crate::{
    engine::Engine,
    http::Headers,
    raise::raise,
    streams::{Chunks, Events},
    tree::Listed,
};

/// What a call is answered with.
pub(crate) enum Reply {
    Nothing,
    Json(Vec<u8>),
    List(List),
    Event(&'static str, Vec<u8>),
    Chunk(bytes::Bytes),
    Stream(Stream),
    Watch(Watch),
    Ran(Ran),
    Text(String),
    Answered((u16, Headers, bytes::Bytes)),
    Many(Vec<Result<Self>>),
    Made(Make),
}

/// Makes a Python value of something that has no other form.
pub(crate) type Make = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

/// How a command in a container ended, and what it wrote.
pub(crate) struct Ran {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) code: i32,
}

impl Reply {
    pub(crate) fn of(answer: Answer) -> Result<Self> {
        match answer {
            Answer::Object(document) => {
                let mut json = Vec::with_capacity(document.len());
                document.write_to(&mut json);
                Ok(Self::Json(json))
            }
            Answer::Value(value) => Ok(Self::Json(value.to_string().into_bytes())),
            Answer::List(list) => Ok(Self::List(list)),
            Answer::Stream(stream) => Ok(Self::Stream(stream)),
            Answer::Session(_) | Answer::Destination(_) => {
                Err(Error::new(ErrorKind::Internal, "a session was opened that nobody asked for"))
            }
        }
    }

    pub(crate) fn event(event: WatchEvent) -> Self {
        let (what, document) = match event {
            WatchEvent::Added(document) => ("ADDED", document),
            WatchEvent::Modified(document) => ("MODIFIED", document),
            WatchEvent::Deleted(document) => ("DELETED", document),
            WatchEvent::Bookmark { revision, .. } => {
                let mark = json!({"metadata": {"resourceVersion": revision.to_string()}});
                return Self::Event("BOOKMARK", mark.to_string().into_bytes());
            }
        };
        let mut json = Vec::with_capacity(document.len());
        document.write_to(&mut json);
        Self::Event(what, json)
    }

    pub(crate) fn into_python(self, py: Python<'_>, engine: &Arc<Engine>) -> PyResult<Py<PyAny>> {
        match self {
            Self::Nothing => Ok(py.None()),
            Self::Json(json) => PyBytes::new(py, &json).into_py_any(py),
            Self::List(list) => Listed::new(list).into_py_any(py),
            Self::Event(what, json) => (what, PyBytes::new(py, &json)).into_py_any(py),
            Self::Chunk(chunk) => PyBytes::new(py, &chunk).into_py_any(py),
            Self::Stream(stream) => Chunks::new(engine, stream).into_py_any(py),
            Self::Watch(events) => Events::new(engine, events).into_py_any(py),
            Self::Ran(ran) => (PyBytes::new(py, &ran.stdout), PyBytes::new(py, &ran.stderr), ran.code).into_py_any(py),
            Self::Text(text) => text.into_py_any(py),
            Self::Answered((status, headers, body)) => (status, headers, PyBytes::new(py, &body)).into_py_any(py),
            Self::Made(make) => make(py),
            Self::Many(replies) => {
                let list = PyList::empty(py);
                for reply in replies {
                    match reply {
                        Ok(reply) => list.append(reply.into_python(py, engine)?)?,
                        Err(error) => list.append(raise(py, &error).into_value(py))?,
                    }
                }
                list.into_py_any(py)
            }
        }
    }
}
