//! Deleting the objects of a definition that is being deleted, then letting the definition go.
//!
//! Objects with finalizers of their own hold it up; whenever one of them goes this begins anew.

use serde_json::Value;
use windlass_kernel::{
    Document,
    api::{GroupVersionResource, Propagation, Verb},
    error::{ErrorKind, Result},
    store::{KeyRange, ListSpec, ReadAt},
};

use super::{
    settle::{self, DEFINITIONS, own_request},
    version,
};
use crate::{
    object,
    rules::Part,
    server::ApiServer,
    verbs,
    write::{self, Change, Owners, Proposal},
};

/// What keeps a definition until its objects are gone.
pub(super) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Cleans up after definitions that are being deleted, in a task where there is someone to run it.
pub(super) async fn begin(server: &ApiServer) -> Result<()> {
    let waits = settle::read(server).await?.1.iter().any(|document| waits(document).is_some());
    if !waits || server.cleaning.ask() {
        return Ok(());
    }
    match (server.parts.spawn.as_ref(), server.own()) {
        (Some(spawn), Some(server)) => {
            spawn.start("definitions.clean", Box::pin(async move { run(&server).await }));
        }
        _ => Box::pin(run(server)).await,
    }
    Ok(())
}

/// One cleaning at a time, and one more where somebody asked meanwhile.
async fn run(server: &ApiServer) {
    let _ended = server.cleaning.working();
    loop {
        if let Err(error) = all(server).await {
            tracing::warn!(%error, "cannot delete what belongs to a definition that is being deleted");
        }
        if !server.cleaning.again() {
            return;
        }
    }
}

async fn all(server: &ApiServer) -> Result<()> {
    for document in settle::read(server).await?.1 {
        if let Some(definition) = waits(&document) {
            one(server, &definition).await?;
        }
    }
    Ok(())
}

/// The definition, if it is being deleted and waits for its objects.
fn waits(document: &Document) -> Option<Value> {
    let definition = document.value().ok()?;
    let deleting = !object::is_empty(object::meta(&definition, "deletionTimestamp"));
    (deleting && object::finalizers(&definition).any(|own| own == FINALIZER)).then_some(definition)
}

async fn one(server: &ApiServer, definition: &Value) -> Result<()> {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
    if let Some(served) = version::stored(definition) {
        let resource = GroupVersionResource {
            group: group.clone().into(),
            version: served.info.version.clone(),
            resource: plural.clone().into(),
        };
        let mut request = own_request(Verb::DeleteCollection, resource);
        request.options.propagation = Some(Propagation::Background);
        verbs::delete_collection(server, &served, request).await?;
    }
    let range = KeyRange::prefix(&format!("/registry/{group}/{plural}/"));
    let left = server.parts.store.list(&ListSpec { range, at: ReadAt::Latest, limit: Some(1) }).await?;
    let mut status = definition["status"].clone();
    let now = object::time(server.parts.clock.now());
    if !left.entries.is_empty() {
        let why = "CustomResource deletion is in progress";
        super::accept::set(&mut status, "Terminating", "True", "InstanceDeletionInProgress", why, &now);
        if status != definition["status"] {
            settle::write_status(server, definition, status).await?;
        }
        return Ok(());
    }
    release(server, definition).await?;
    settle::settle(server).await
}

/// Takes the finalizer away; with the last one the definition is gone.
async fn release(server: &ApiServer, definition: &Value) -> Result<()> {
    let request = own_request(Verb::Update, DEFINITIONS).named(object::name(definition));
    let change = Change { server, served: settle::resource(server)?, request: &request, part: Part::CHOSEN };
    let uid = object::meta(definition, "uid").clone();
    let released = |old: &Value| {
        let mut object = old.clone();
        if object["metadata"]["uid"] == uid {
            let kept: Vec<Value> = object::finalizers(old).filter(|own| *own != FINALIZER).map(Value::from).collect();
            object::set_meta(&mut object, "finalizers", (!kept.is_empty()).then(|| kept.into()));
        }
        Ok(Proposal { object, owners: Owners::Settled, warnings: Vec::new() })
    };
    match write::edit(change, released).await {
        Err(error) if !error.is(ErrorKind::Conflict) => Err(error),
        _ => Ok(()),
    }
}

/// Whether somebody cleans, and whether it is to be done once more.
#[derive(Debug, Default)]
pub(crate) struct Cleaning(parking_lot::Mutex<State>);

#[derive(Debug, Default)]
struct State {
    running: bool,
    again: bool,
}

/// Somebody cleans for as long as this lives.
struct Working<'c>(&'c Cleaning);

impl Cleaning {
    /// Asks for a cleaning; says whether somebody is at it already, who will do it once more.
    fn ask(&self) -> bool {
        let mut state = self.0.lock();
        state.again = state.running;
        std::mem::replace(&mut state.running, true)
    }

    fn again(&self) -> bool {
        let mut state = self.0.lock();
        state.running = std::mem::take(&mut state.again);
        state.running
    }

    fn working(&self) -> Working<'_> {
        Working(self)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.0.lock().running = false;
    }
}
