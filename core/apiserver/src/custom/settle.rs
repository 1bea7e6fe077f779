//! Making what is served follow the definitions in the store: their statuses, then the registry.
//!
//! It runs in the request that changed a definition, so that the next request finds the change. It can run any number
//! of times, at the same time too: what it writes depends on what it read, and the newest state wins.

use windlass_kernel::{
    Document, Identity,
    api::{Body, GroupVersionResource, Request, Verb},
    error::{ErrorKind, Result},
    store::{KeyRange, ListSpec, Listing, ReadAt},
};

use super::{accept, clean, version::Served};
use crate::{
    object,
    registry::Served as Resource,
    rules::Part,
    server::ApiServer,
    write::{self, Change, Owners, Proposal},
};

/// The resource of definitions.
pub(super) const DEFINITIONS: GroupVersionResource =
    GroupVersionResource::of("apiextensions.k8s.io", "v1", "customresourcedefinitions");
/// How often the statuses are worked out anew when definitions change meanwhile.
const ATTEMPTS: usize = 20;

/// Brings the statuses of all definitions and what is served up to date.
pub(crate) async fn settle(server: &ApiServer) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let (listing, documents) = read(server).await?;
        let values = documents.iter().map(Document::value).collect::<Result<Vec<_>>>()?;
        let planned = accept::plan(&values, &object::time(server.parts.clock.now()));
        if planned.is_empty() {
            let registry = &server.parts.registry;
            registry.serve(Served::of(&documents, listing.revision, &registry.custom())?);
            return Ok(());
        }
        for (at, status) in planned {
            write_status(server, &values[at], status).await?;
        }
    }
    tracing::warn!("definitions changed faster than their statuses could be written");
    Ok(())
}

/// What follows from a write to a definition, or to an object whose definition is being deleted.
pub(crate) async fn after_write(server: &ApiServer) -> Result<()> {
    settle(server).await?;
    clean::begin(server).await
}

/// Brings what is served up to date where the store has other definitions; says whether it had.
pub(crate) async fn refresh(server: &ApiServer) -> Result<bool> {
    let listing = list(server).await?;
    if server.parts.registry.custom().is_of(&listing.entries) {
        return Ok(false);
    }
    after_write(server).await?;
    Ok(true)
}

async fn list(server: &ApiServer) -> Result<Listing> {
    let range = KeyRange::prefix(&resource(server)?.collection(""));
    server.parts.store.list(&ListSpec { range, at: ReadAt::Latest, limit: None }).await
}

/// The definitions in the store.
pub(super) async fn read(server: &ApiServer) -> Result<(Listing, Vec<Document>)> {
    let listing = list(server).await?;
    let documents = listing.entries.iter().cloned().map(Document::stored).collect::<Result<_>>()?;
    Ok((listing, documents))
}

/// The resource of definitions, as it is served.
pub(super) fn resource(server: &ApiServer) -> Result<&Resource> {
    let GroupVersionResource { group, version, resource } = &DEFINITIONS;
    server.parts.registry.known(group, version, resource).map(|served| &**served)
}

/// A request that the server makes of itself.
pub(crate) fn own_request(verb: Verb, resource: GroupVersionResource) -> Request {
    let identity = Identity::new("system:apiserver", &["system:masters"]);
    let mut request = Request::new(identity.into(), verb, resource);
    request.user_agent = "kube-apiserver".into();
    request.body = Body::None;
    request
}

/// Writes the status of a definition, unless it has changed since it was read.
pub(super) async fn write_status(
    server: &ApiServer,
    definition: &serde_json::Value,
    status: serde_json::Value,
) -> Result<()> {
    let mut object = definition.clone();
    object::as_map(&mut object).insert("status".into(), status);
    let request = own_request(Verb::Update, DEFINITIONS).named(object::name(definition)).subresource("status");
    let change = Change { server, served: resource(server)?, request: &request, part: Part::Status };
    let proposal = Proposal { object, owners: Owners::Record, warnings: Vec::new() };
    match write::edit(change, |_| Ok(proposal.clone())).await {
        Err(error) if !error.is(ErrorKind::Conflict) => Err(error),
        _ => Ok(()),
    }
}
