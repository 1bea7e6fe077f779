//! From a proposed object to one that exists.

use std::mem;

use serde_json::{Value, json};
use windlass_api::{apply, names};
use windlass_kernel::{
    Api, Document, Entropy, EntropyExt,
    api::{Answer, Body, GroupVersionResource, Request, Response, Verb},
    error::{Error, ErrorKind, Result},
    store::{Condition, Durability, Key, Op, Txn, TxnOutcome},
};

use super::{Gate, Owners, Proposal, Whom};
use crate::{
    alloc, convert, custom, errors, index, object,
    owners::Owner,
    quota::{self, Charges},
    registered,
    registry::Served,
    rules,
    server::ApiServer,
};

/// How often a generated name is drawn.
const DRAWS: usize = 8;

/// Creates the object, or says why not.
pub(crate) async fn insert(
    server: &ApiServer,
    served: &Served,
    request: &mut Request,
    proposal: Proposal,
) -> Result<Response> {
    let Proposal { mut object, owners, mut warnings } = proposal;
    if served.definition().is_some_and(|version| version.definition.terminating) {
        return Err(errors::defined_no_more(&served.info));
    }
    let base = place(server, served, request, &mut object)?;
    stamp(server, &mut object);
    rules::default(served, &mut object);
    (served.rules.prepare_create)(&mut object);
    provide_namespace(server, served, request).await?;
    let gate = Gate::open(server, served, request, Whom::All).await?;
    // Owners are many small trees: where nobody looks at them, they are not made.
    let mut apart = Vec::new();
    if owners == Owners::Record {
        let now = object::time(server.parts.clock.now());
        apart = Owner::of(served, request, now).managers(None, &object);
        let seen = request.options.dry_run || gate.sees_owners();
        let shown = if seen { mem::take(&mut apart) } else { Vec::new() };
        apply::write_managers(&mut object, &shown);
    }
    if gate.admit(None, Some(&mut object), &mut warnings).await? {
        rules::default(served, &mut object);
    }
    let mut claims = alloc::claim(server, served, &mut object, None).await?;
    rules::check_new(served, &object)?;
    registered::reserved(server, served, &object, &mut warnings)?;
    gate.judge(None, Some(&mut object), &mut warnings).await?;
    warnings.extend(rules::warnings(served, &object, None));
    let mut charges = quota::charge(server, served, request, None, &object).await?;
    let (mut draws, mut changes) = (0, 0);
    while draws < DRAWS {
        let key = served.key(&request.namespace, object::name(&object));
        if request.options.dry_run {
            if server.read(&key).await?.is_none() {
                let document = index::unwritten(served, object)?;
                return answer(served, document, warnings);
            }
        } else {
            let value = custom::encode(server, served, &object, &apart).await?;
            match put(server, served, &key, (value, &object), (&claims, &charges)).await? {
                Put::Done(document) => return answer(served, document, warnings),
                Put::Exists => {}
                Put::Claimed => {
                    changes += 1;
                    if changes == quota::ATTEMPTS {
                        return Err(quota::contended());
                    }
                    claims = alloc::claim_again(server, served, &mut object, claims).await?;
                    charges = quota::charge(server, served, request, None, &object).await?;
                    continue;
                }
            }
        }
        draws += 1;
        let Some(base) = &base else { return Err(errors::already_exists(&served.info, object::name(&object))) };
        request.name = draw(&*server.parts.entropy, base);
        object::set_meta(&mut object, "name", Some(request.name.as_str().into()));
    }
    Err(errors::names_taken(&served.info, object::name(&object), DRAWS))
}

/// Creates the namespace that something is created in, where that is asked for and there is none
/// (`NamespaceAutoProvision`).
async fn provide_namespace(server: &ApiServer, served: &Served, request: &Request) -> Result<()> {
    let asked = server.parts.plugins.run("NamespaceAutoProvision") && !request.options.dry_run;
    if !asked || !served.info.namespaced || request.namespace.is_empty() {
        return Ok(());
    }
    let namespaces = server.parts.registry.known("", "v1", "namespaces")?;
    if server.read(&namespaces.key("", &request.namespace)).await?.is_some() {
        return Ok(());
    }
    let name = GroupVersionResource { group: "".into(), version: "v1".into(), resource: "namespaces".into() };
    let mut own = custom::own_request(Verb::Create, name);
    own.body = Body::Value(json!({"metadata": {"name": request.namespace}}));
    match server.call(own).await {
        Err(error) if !error.is(ErrorKind::AlreadyExists) => {
            Err(errors::forbidden(&served.info, &request.name, error.message()))
        }
        _ => Ok(()),
    }
}

fn answer(served: &Served, document: Document, warnings: Vec<String>) -> Result<Response> {
    Ok(Response { code: 201, warnings, answer: Answer::Object(convert::to_client(served, document)?) })
}

enum Put {
    Done(Document),
    Exists,
    /// Somebody else claimed what this object wants, or changed a quota that it is charged to.
    Claimed,
}

async fn put(
    server: &ApiServer,
    served: &Served,
    key: &Key,
    (value, object): (bytes::Bytes, &Value),
    (claims, charges): (&alloc::Claims, &Charges),
) -> Result<Put> {
    let lease = if served.is("", "events") { Some(server.parts.events.lease().await?) } else { None };
    let mut txn = Txn {
        conditions: vec![Condition::Absent(key.clone())],
        ops: vec![Op::Put { key: key.clone(), value, lease }],
        durability: Durability::Durable,
    };
    claims.add_to(server, object, &mut txn)?;
    charges.add_to(&mut txn);
    match server.parts.store.txn(txn).await? {
        TxnOutcome::Applied { written, .. } => {
            let entry = written.into_iter().next();
            let entry = entry.ok_or_else(|| Error::new(ErrorKind::Internal, "a store lost what it wrote"))?;
            custom::written(served, object, Document::stored(entry)?).map(Put::Done)
        }
        TxnOutcome::Refused(entries) if entries.first().is_some_and(Option::is_some) => Ok(Put::Exists),
        TxnOutcome::Refused(_) => Ok(Put::Claimed),
    }
}

/// Settles name and namespace; answers the base of a generated name.
fn place(server: &ApiServer, served: &Served, request: &mut Request, object: &mut Value) -> Result<Option<String>> {
    let namespace = object::meta_text(object, "namespace");
    if served.info.namespaced {
        if !namespace.is_empty() && namespace != request.namespace {
            return Err(errors::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        if request.namespace.is_empty() {
            return Err(errors::bad_request("an empty namespace may not be set during creation"));
        }
        let namespace = request.namespace.as_str().into();
        object::set_meta(object, "namespace", Some(namespace));
    } else if namespace.is_empty() {
        object::set_meta(object, "namespace", None);
    }
    if !object::meta_text(object, "resourceVersion").is_empty() {
        let message = "resourceVersion should not be set on objects to be created";
        return Err(Error::new(ErrorKind::Internal, message));
    }
    object::set_meta(object, "resourceVersion", None);
    let base = object::meta_text(object, "generateName").to_owned();
    if object::name(object).is_empty() && !base.is_empty() {
        let name = draw(&*server.parts.entropy, &base);
        object::set_meta(object, "name", Some(name.as_str().into()));
        request.name = name;
        return Ok(Some(base));
    }
    request.name = object::name(object).to_owned();
    Ok(None)
}

/// Sets what only the server sets.
fn stamp(server: &ApiServer, object: &mut Value) {
    let meta = object::meta_mut(object);
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
        meta.remove(field);
    }
    meta.insert("uid".into(), server.parts.entropy.uuid().into());
    meta.insert("creationTimestamp".into(), object::time(server.parts.clock.now()).into());
}

fn draw(entropy: &dyn Entropy, base: &str) -> String {
    let mut random = [0; names::SUFFIX_LENGTH];
    entropy.fill(&mut random);
    names::generate_name(base, random)
}
