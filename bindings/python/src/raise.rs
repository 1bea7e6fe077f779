//! Errors as the exceptions of `windlass.errors`, which alone knows which kind is which class.

use std::error::Error as _;

use pyo3::{prelude::*, types::PyBytes};
use windlass::kernel::{Certainty, Error, ErrorKind};

/// The exception for an error.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    let kind = format!("{:?}", error.kind());
    let status = PyBytes::new(py, error.to_status().to_string().as_bytes());
    let unknown = error.certainty() == Certainty::Unknown;
    made(py, "_from_native", (kind, status, causes.join(": "), unknown, error.kind().retryable()))
}

/// The exception for whoever uses what is closed.
pub(crate) fn closed(py: Python<'_>) -> PyErr {
    made(py, "_closed", ())
}

/// The exception for whoever uses a parent's cluster in its child.
pub(crate) fn forked(py: Python<'_>) -> PyErr {
    made(py, "_forked", ())
}

/// The error of a call whose task ended without an answer.
pub(crate) fn lost() -> Error {
    Error::new(ErrorKind::Internal, "a call ended without an answer").maybe_applied()
}

fn made<'py>(py: Python<'py>, by: &str, arguments: impl pyo3::call::PyCallArgs<'py>) -> PyErr {
    let exception = py.import("windlass.errors").and_then(|module| module.getattr(by)?.call1(arguments));
    exception.map_or_else(|error| error, PyErr::from_value)
}
