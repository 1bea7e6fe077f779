//! What the plugins for pods share: recognising a new pod, and refusing it.

use serde_json::Value;
use windlass_api::resources::{self, ResourceInfo};
use windlass_kernel::{
    access::Admitting,
    error::{Error, ErrorKind, Result},
};

use crate::{errors, object};

/// The pod that is being created, if one is.
pub(super) fn created<'a>(admitting: &'a mut Admitting<'_>) -> Option<&'a mut Value> {
    if admitting.old.is_some() { None } else { admitting.new.as_deref_mut() }
}

/// Refuses a pod.
pub(super) fn refuse(pod: &Value, why: &str) -> Error {
    match info() {
        Ok(info) => errors::forbidden(info, object::name(pod), why),
        Err(error) => error,
    }
}

fn info() -> Result<&'static ResourceInfo> {
    resources::find("", "v1", "pods").ok_or_else(|| Error::new(ErrorKind::Internal, "pods are not a resource"))
}
