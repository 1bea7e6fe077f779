//! The flow schemas and priority levels that every cluster has come back when somebody deletes them, and follow upstream's
//! unless somebody took them over (`apf.kubernetes.io/autoupdate-spec`).

use std::{collections::BTreeSet, pin::pin, time::Duration};

use futures::StreamExt;
use serde_json::Value;
use windlass_kernel::{
    Api, ClockExt, Document,
    api::{Body, GroupVersionResource, Verb},
    error::{Error, ErrorKind, Result},
    store::{KeyRange, ListSpec, ReadAt, Txn},
};

use super::{PREFIX, defaults};
use crate::{bootstrap, custom, kinds, object, registry::Served, server::ApiServer};

/// How long is waited after a failure.
const PAUSE: Duration = Duration::from_secs(10);
/// Whether the server may write an object's spec.
const OURS: &str = "apf.kubernetes.io/autoupdate-spec";

/// Keeps the objects, for as long as the future is polled.
pub(crate) async fn keep(server: &ApiServer) {
    loop {
        if let Err(error) = kept(server).await {
            tracing::warn!(%error, "cannot keep the objects of priority and fairness");
            server.parts.clock.sleep(PAUSE).await;
        }
    }
}

/// Mends what there is to mend, and waits for the next change.
async fn kept(server: &ApiServer) -> Result<()> {
    let store = &server.parts.store;
    let before = store.latest().await?;
    let mut changes = pin!(store.watch(KeyRange::prefix(PREFIX), before).await?);
    let mut wanted = BTreeSet::new();
    for object in defaults::objects() {
        wanted.insert(place(&object));
        ensure(server, object).await?;
    }
    let range = KeyRange::prefix(PREFIX);
    for entry in store.list(&ListSpec { range, at: ReadAt::Latest, limit: None }).await?.entries {
        let object = Document::stored(entry)?.value()?;
        if says(&object) == Some(true) && !wanted.contains(&place(&object)) {
            change(server, Verb::Delete, object).await?;
        }
    }
    match changes.next().await {
        Some(Err(error)) if !matches!(error.kind(), ErrorKind::Compacted) => Err(error),
        Some(_) => Ok(()),
        None => Err(Error::new(ErrorKind::Unavailable, "the store's watch ended")),
    }
}

fn place(object: &Value) -> (String, String) {
    (object["kind"].as_str().unwrap_or_default().to_owned(), object::name(object).to_owned())
}

/// What an object says about who writes its spec.
fn says(object: &Value) -> Option<bool> {
    object::meta(object, "annotations")[OURS].as_str()?.parse().ok()
}

/// Creates an object, or brings it to what upstream's is.
async fn ensure(server: &ApiServer, object: Value) -> Result<()> {
    let served = bootstrap::served(server, &object)?;
    let key = served.key("", object::name(&object));
    let Some(found) = server.read(&key).await? else {
        let mut txn = Txn::default();
        bootstrap::add(server, served, key, object, &mut txn).await?;
        server.parts.store.txn(txn).await?;
        return Ok(());
    };
    match revised(served, &found.value()?, object)? {
        Some(new) => change(server, Verb::Update, new).await,
        None => Ok(()),
    }
}

/// The object as it has to be, where it is not.
fn revised(served: &Served, found: &Value, wanted: Value) -> Result<Option<Value>> {
    let kind = wanted["kind"].as_str().unwrap_or_default().to_owned();
    let mandatory = defaults::mandatory(&kind, object::name(&wanted)).is_some();
    let untouched = object::meta(found, "generation").as_i64() == Some(1);
    let ours = mandatory || says(found).unwrap_or(untouched);
    let mut new = found.clone();
    if ours {
        let mut spec = bootstrap::formed(served, wanted)?["spec"].take();
        // What exempt requests are lent and lend is the operator's to say.
        if !found["spec"]["exempt"].is_null() && !spec["exempt"].is_null() {
            spec["exempt"] = found["spec"]["exempt"].clone();
        }
        new["spec"] = spec;
    }
    let meta = object::meta_mut(&mut new);
    let annotations = object::as_map(meta.entry("annotations").or_insert(Value::Null));
    annotations.insert(OURS.into(), ours.to_string().into());
    Ok((!kinds::same(&new, found)).then_some(new))
}

/// Changes or deletes an object, unless somebody else did meanwhile.
async fn change(server: &ApiServer, verb: Verb, object: Value) -> Result<()> {
    let served = bootstrap::served(server, &object)?;
    let info = &served.info;
    let resource = GroupVersionResource {
        group: info.group.clone(),
        version: info.version.clone(),
        resource: info.plural.clone(),
    };
    let mut request = custom::own_request(verb, resource).named(object::name(&object));
    if verb == Verb::Delete {
        request.options.preconditions.uid = Some(object::meta_text(&object, "uid").into());
    } else {
        request.body = Body::Value(object);
    }
    match server.call(request).await {
        Err(error) if !matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => Err(error),
        _ => Ok(()),
    }
}
