//! Certificate signing requests; who asks is filled in by the server.

use serde_json::Value;

use crate::kinds::edit::copy;
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, text};
use crate::kinds::{BASE, Kind, prepare};

const SHORTEST: i64 = 600;

pub(in crate::kinds) static SIGNING: Kind = Kind {
    prepare_create: prepare::clear_status,
    prepare_update: |new, old| {
        copy(new, old, "spec");
        copy(new, old, "status");
    },
    validate,
    fields: |request| vec![("spec.signerName", text(request, &["spec", "signerName"]).to_owned())],
    field_names: &["spec.signerName"],
    has_status: true,
    ..BASE
};

fn validate(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    if old.is_some() {
        return;
    }
    let spec = Field::top(new, "spec");
    let (request, usages, signer) = (spec.get("request"), spec.get("usages"), spec.get("signerName"));
    errors.require(&request, "");
    if usages.is_empty() {
        errors.required(&usages, "usages must be provided");
    }
    if signer.is_empty() {
        errors.required(&signer, "");
    } else if !signer.text().contains('/') {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.invalid(&signer, detail);
    }
    let seconds = spec.get("expirationSeconds");
    if seconds.int().is_some_and(|seconds| seconds < SHORTEST) {
        errors.invalid(&seconds, "may not specify a duration less than 600 seconds (10 minutes)");
    }
}
