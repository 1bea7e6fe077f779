//! `windlass apply`: server-side apply of what files state. One object that is refused does not keep the others.

use std::process::ExitCode;

use anyhow::Result;
use windlass::kernel::{
    Error,
    api::{FieldValidation, PatchType, Verb},
};

use super::{
    connect::{Connected, within},
    manifests::{self, Manifest},
    print,
};
use crate::args::Apply;

pub(crate) fn run(apply: &Apply) -> Result<ExitCode> {
    let manifests = manifests::read(&apply.filename)?;
    let total = manifests.len();
    within(&apply.scope, async |connected| {
        let mut failures = Vec::new();
        for manifest in manifests {
            let place = manifest.place.clone();
            match one(&connected, apply, manifest).await {
                Ok(line) => print(line)?,
                Err(error) => failures.push((place, error)),
            }
        }
        outcome(failures, total, "applied")
    })
}

/// Success, or an error that says what was refused; all but the last are printed.
pub(super) fn outcome(mut failures: Vec<(String, Error)>, total: usize, what: &str) -> Result<ExitCode> {
    let failed = failures.len();
    let Some((place, last)) = failures.pop() else { return Ok(ExitCode::SUCCESS) };
    for (place, error) in failures {
        eprintln!("windlass: {:#}", anyhow::Error::new(error).context(place));
    }
    let last = anyhow::Error::new(last).context(place);
    Err(if total == 1 { last } else { last.context(format!("{failed} of {total} objects were not {what}; the last")) })
}

async fn one(connected: &Connected, apply: &Apply, mut manifest: Manifest) -> Result<String, Error> {
    let resource = manifest.resource(connected).await?;
    let namespace = manifest.place_in(&resource, apply.scope.namespace.as_deref(), &connected.namespace)?;
    let line = format!("{}/{}", resource.shown(), manifest.name());
    let mut request = connected.client.request(Verb::Patch(PatchType::Apply), resource.gvr());
    request = request.in_namespace(namespace).named(manifest.name()).body(manifest.object);
    request.options.field_manager.clone_from(&apply.field_manager);
    request.options.field_validation = FieldValidation::Strict;
    request.options.force = apply.force_conflicts;
    request.options.dry_run = apply.dry_run;
    let response = connected.client.call(request).await?;
    for warning in &response.warnings {
        eprintln!("Warning: {warning}");
    }
    let done = if response.code == 201 { "created" } else { "applied" };
    Ok(format!("{line} {done}{}\n", if apply.dry_run { " (dry run)" } else { "" }))
}
