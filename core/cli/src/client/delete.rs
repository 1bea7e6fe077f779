//! `windlass delete`: deletes objects and waits until they are gone.

use std::process::ExitCode;

use anyhow::Result;
use futures::StreamExt;
use windlass::kernel::{
    Error, ErrorKind,
    api::{Options, Propagation, Verb, WatchEvent},
};

use super::{
    apply::outcome,
    connect::{Connected, within},
    manifests, print,
    resources::{Resource, needs_asking, targets},
};
use crate::args::Delete;

/// An object to delete.
struct Doomed {
    resource: Resource,
    namespace: String,
    name: String,
}

pub(crate) fn run(delete: &Delete) -> Result<ExitCode> {
    let manifests = manifests::read(&delete.filename)?;
    within(&delete.scope, async |connected| {
        let defined = if needs_asking(&delete.what) { connected.defined().await? } else { vec![] };
        let targets = if delete.what.is_empty() { vec![] } else { targets(&delete.what, &defined)? };
        if targets.iter().any(|target| target.names.is_empty()) {
            return Err(Error::new(ErrorKind::Invalid, "name what is to be deleted").into());
        }
        let mut doomed = Vec::new();
        for mut manifest in manifests {
            let resource = match manifest.resource(&connected).await {
                // Its definition may be gone, and what it defined with it.
                Err(_) if delete.ignore_not_found && manifest.built_in.is_none() => continue,
                resource => resource?,
            };
            let namespace = manifest.place_in(&resource, delete.scope.namespace.as_deref(), &connected.namespace)?;
            doomed.push(Doomed { resource, namespace, name: manifest.name().into() });
        }
        // What came last leans on what came first, not the other way round.
        doomed.reverse();
        for target in &targets {
            let namespace = if target.resource.namespaced { connected.namespace.as_str() } else { "" };
            doomed.extend(target.names.iter().map(|name| Doomed {
                resource: target.resource.clone(),
                namespace: namespace.into(),
                name: name.into(),
            }));
        }
        let mut failures = Vec::new();
        let mut gone = Vec::new();
        for doomed in &doomed {
            let shown = format!("{}/{}", doomed.resource.shown(), doomed.name);
            match one(&connected, delete, doomed).await {
                Ok(uid) => {
                    print(format!("{shown} deleted\n"))?;
                    gone.push((doomed, uid));
                }
                Err(error) if delete.ignore_not_found && error.is(ErrorKind::NotFound) => {}
                Err(error) => failures.push((shown, error)),
            }
        }
        if !delete.no_wait {
            for (doomed, uid) in gone {
                wait(&connected, doomed, &uid).await?;
            }
        }
        outcome(failures, doomed.len(), "deleted")
    })
}

/// Deletes an object and returns its uid.
async fn one(connected: &Connected, delete: &Delete, doomed: &Doomed) -> Result<String, Error> {
    let dynamic = connected.client.dynamic(doomed.resource.gvr());
    let object = dynamic.get(&doomed.namespace, &doomed.name).await?;
    let options = Options {
        grace_period: delete.grace_period.map(i64::from),
        propagation: Some(Propagation::Background),
        ..Options::default()
    };
    dynamic.delete(&doomed.namespace, &doomed.name, options).await?;
    Ok(object["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
}

/// Follows the object until it, or its namesake's predecessor, is gone.
async fn wait(connected: &Connected, doomed: &Doomed, uid: &str) -> Result<(), Error> {
    let dynamic = connected.client.dynamic(doomed.resource.gvr());
    while let Some(left) = dynamic.get_opt(&doomed.namespace, &doomed.name).await? {
        if left["metadata"]["uid"].as_str() != Some(uid) {
            return Ok(());
        }
        let mut request = connected.client.request(Verb::Watch, doomed.resource.gvr()).in_namespace(&doomed.namespace);
        request.options.field_selector = format!("metadata.name={}", doomed.name);
        request.options.resource_version = left["metadata"]["resourceVersion"].as_str().unwrap_or_default().into();
        let mut events = connected.client.api().watch(request).await?;
        while let Some(event) = events.next().await {
            match event {
                Ok(WatchEvent::Deleted(_)) => return Ok(()),
                Ok(_) => {}
                // It is looked at again above.
                Err(_) => break,
            }
        }
    }
    Ok(())
}
