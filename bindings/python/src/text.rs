//! Pure functions that Python borrows: names of resources, manifests, tables, and the kinds of errors.

use jiff::Timestamp;
use pyo3::{prelude::*, types::PyBytes};
use serde_json::Value;
use windlass::{
    api::{manifests, resources, resources::ResourceInfo},
    apiserver::table::{cells, columns},
    kernel::{Error, ErrorKind},
};

use crate::raise::raise;

/// A resource: group, version, plural, kind, singular, and whether its objects live in namespaces.
type Known = (&'static str, &'static str, &'static str, &'static str, &'static str, bool);

fn known(info: &'static ResourceInfo) -> Known {
    (info.group, info.version, info.plural, info.kind, info.singular, info.namespaced)
}

/// The version of Windlass.
#[pyfunction]
pub(crate) fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The built-in resource that is called so.
#[pyfunction]
pub(crate) fn called(name: &str) -> Option<Known> {
    resources::called(name).map(known)
}

/// The built-in resource whose objects are of that kind.
#[pyfunction]
pub(crate) fn of_kind(api_version: &str, kind: &str) -> Option<Known> {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    resources::of_kind(group, version, kind).map(known)
}

/// The documents of a manifest, each with its number and its JSON; or what is wrong: document, line, column, message.
#[pyfunction]
#[allow(clippy::type_complexity, reason = "it is read in one place, in Python")]
pub(crate) fn documents<'py>(
    py: Python<'py>,
    text: &str,
) -> (Vec<(usize, Bound<'py, PyBytes>)>, Option<(usize, usize, usize, String)>) {
    match py.detach(|| manifests::documents(text)) {
        Ok(found) => {
            let json = |one: &manifests::Document| PyBytes::new(py, one.value.to_string().as_bytes());
            (found.iter().map(|one| (one.number, json(one))).collect(), None)
        }
        Err(error) => {
            let (line, column) = error.place.unwrap_or_default();
            (Vec::new(), Some((error.document, line, column, error.message)))
        }
    }
}

/// An object's JSON as YAML.
#[pyfunction]
pub(crate) fn to_yaml(py: Python<'_>, json: &[u8]) -> PyResult<String> {
    Ok(manifests::to_yaml(&tree(py, json)?))
}

/// The columns of a kind (name, priority) and the cells of its objects, as the server shows them at a time.
#[pyfunction]
#[allow(clippy::type_complexity, reason = "it is read in one place, in Python")]
pub(crate) fn table(
    py: Python<'_>,
    group: &str,
    kind: &str,
    objects: &[u8],
    now: &str,
) -> PyResult<(Vec<(&'static str, i32)>, Vec<Vec<String>>)> {
    let objects = tree(py, objects)?;
    let now = now.parse().unwrap_or(Timestamp::UNIX_EPOCH);
    let heads = columns(group, kind).iter().map(|column| (column.name, column.priority)).collect();
    let shown = |cell: &Value| match cell {
        Value::String(text) => text.clone(),
        Value::Null => "<none>".into(),
        other => other.to_string(),
    };
    let row = |object| cells(group, kind, object, now).iter().map(shown).collect();
    Ok((heads, objects.as_array().into_iter().flatten().map(row).collect()))
}

/// Every kind of error, with the HTTP status and the reason.
#[pyfunction]
pub(crate) fn kinds() -> Vec<(String, u16, &'static str)> {
    let row = |kind: &ErrorKind| (format!("{kind:?}"), kind.http().0, kind.http().1);
    ErrorKind::ALL.iter().map(row).collect()
}

fn tree(py: Python<'_>, json: &[u8]) -> PyResult<Value> {
    serde_json::from_slice(json)
        .map_err(|error| raise(py, &Error::new(ErrorKind::BadRequest, "cannot read JSON").with_source(error)))
}
