//! Ending a namespace: whoever emptied it takes its finalizer away, and with the last one it is gone.

use serde_json::Value;
use windlass_kernel::{
    api::{Request, Response},
    error::Result,
};

use crate::{
    errors, object,
    registry::Served,
    rules::{Part, metadata},
    server::ApiServer,
    verbs,
};

/// Writes the finalizers of a namespace's spec.
pub(super) async fn finalize(server: &ApiServer, served: &Served, mut request: Request) -> Result<Response> {
    let mut given = Some(verbs::proposal(served, &mut request)?);
    let response = verbs::replace(server, served, &request, Part::Special(keep, metadata), &mut given).await?;
    response.ok_or_else(|| errors::not_found(&served.info, &request.name))
}

fn keep(new: &mut Value, old: &Value) {
    let finalizers = new["spec"]["finalizers"].clone();
    let mut spec = old["spec"].clone();
    match object::is_empty(&finalizers) {
        true => object::as_map(&mut spec).remove("finalizers"),
        false => object::as_map(&mut spec).insert("finalizers".into(), finalizers),
    };
    let fields = object::as_map(new);
    fields.insert("spec".into(), spec);
    fields.insert("status".into(), old["status"].clone());
}
