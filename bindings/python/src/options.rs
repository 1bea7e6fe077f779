//! Options of a call, from a dict with Python's names.

use std::time::Duration;

use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::PyDict,
};
use windlass::kernel::api::{FieldValidation, Options, PatchType, Preconditions, Propagation, Verb};

/// A span of time from Python's seconds.
pub(crate) fn seconds(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds.max(0.0))
        .map_err(|_| PyValueError::new_err(format!("{seconds} seconds are no span of time")))
}

/// The verb of that name; patches are named for how they are read.
pub(crate) fn verb(name: &str) -> PyResult<Verb> {
    Ok(match name {
        "get" => Verb::Get,
        "list" => Verb::List,
        "create" => Verb::Create,
        "update" => Verb::Update,
        "delete" => Verb::Delete,
        "deletecollection" => Verb::DeleteCollection,
        "json" => Verb::Patch(PatchType::Json),
        "merge" => Verb::Patch(PatchType::Merge),
        "strategic" => Verb::Patch(PatchType::Strategic),
        "apply" => Verb::Patch(PatchType::Apply),
        other => return Err(PyValueError::new_err(format!("no verb is called {other:?}"))),
    })
}

/// The options that the dict states.
pub(crate) fn options(stated: Option<&Bound<'_, PyDict>>) -> PyResult<Options> {
    let mut options = Options { field_validation: FieldValidation::Strict, ..Options::default() };
    let Some(stated) = stated else { return Ok(options) };
    for (name, value) in stated {
        let name: String = name.extract()?;
        match name.as_str() {
            "label_selector" => options.label_selector = value.extract()?,
            "field_selector" => options.field_selector = value.extract()?,
            "resource_version" => options.resource_version = value.extract()?,
            "limit" => options.limit = value.extract()?,
            "continue_token" => options.continue_token = value.extract()?,
            "bookmarks" => options.bookmarks = value.extract()?,
            "dry_run" => options.dry_run = value.extract()?,
            "field_manager" => options.field_manager = value.extract()?,
            "field_validation" => options.field_validation = validation(value.extract()?)?,
            "force" => options.force = value.extract()?,
            "grace_period" => options.grace_period = value.extract()?,
            "propagation" => options.propagation = Some(propagation(value.extract()?)?),
            "uid" => options.preconditions = Preconditions { uid: value.extract()?, ..options.preconditions },
            "query" => options.query = value.extract()?,
            other => return Err(PyTypeError::new_err(format!("no option is called {other:?}"))),
        }
    }
    Ok(options)
}

fn validation(name: &str) -> PyResult<FieldValidation> {
    match name {
        "Strict" => Ok(FieldValidation::Strict),
        "Warn" => Ok(FieldValidation::Warn),
        "Ignore" => Ok(FieldValidation::Ignore),
        other => Err(PyValueError::new_err(format!("{other:?} is none of Strict, Warn and Ignore"))),
    }
}

fn propagation(name: &str) -> PyResult<Propagation> {
    match name {
        "Orphan" => Ok(Propagation::Orphan),
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        other => Err(PyValueError::new_err(format!("{other:?} is none of Orphan, Background and Foreground"))),
    }
}
