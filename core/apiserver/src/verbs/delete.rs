//! Deleting an object: at once, gracefully, or when its finalizers are gone.

use std::mem;

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_api::{resources::GroupVersionKind, schema::Message};
use windlass_kernel::{
    Document,
    api::{Answer, Body, FieldValidation, Options, Propagation, Request, Response},
    error::{Error, ErrorKind, Result},
    store::{Condition, Op, Txn, TxnOutcome},
};

use crate::{
    alloc,
    body::{self, Wanted},
    convert, custom, errors, index, object,
    registry::Served,
    server::ApiServer,
    write::{Gate, Whom, may_go},
};

const ATTEMPTS: usize = 20;
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// The core resources whose deletion is answered with the object instead of a Status.
const ANSWERED: [&str; 6] =
    ["pods", "podtemplates", "persistentvolumeclaims", "persistentvolumes", "resourcequotas", "serviceaccounts"];

/// What became of a deletion.
#[derive(Debug)]
pub(crate) enum Gone {
    /// The object is no more; its last state.
    Now(Document),
    /// It waits for its grace period or its finalizers.
    Pending(Document),
}

/// Deletes the object that the request names.
pub(crate) async fn delete(server: &ApiServer, served: &Served, mut request: Request) -> Result<Response> {
    read_options(&mut request)?;
    let mut warnings = Vec::new();
    let answer = match remove(server, served, &request, Whom::All, &mut warnings).await? {
        Gone::Pending(document) => Answer::Object(convert::stored_to_client(server, served, document).await?),
        Gone::Now(document) if served.storage.group.is_empty() && ANSWERED.contains(&&*served.storage.plural) => {
            Answer::Object(convert::to_client(served, document)?)
        }
        Gone::Now(document) => Answer::Value(success(served, &request.name, document.uid())),
    };
    Ok(Response { code: 200, warnings, answer })
}

/// The Status that a deletion is answered with.
fn success(served: &Served, name: &str, uid: &str) -> Value {
    let mut details = json!({"name": name, "kind": &*served.info.plural, "uid": uid});
    if !served.info.group.is_empty() {
        details["group"] = (*served.info.group).into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// Reads the options in a request's body over those of its query.
pub(crate) fn read_options(request: &mut Request) -> Result<()> {
    let body = mem::take(&mut request.body);
    let empty = match &body {
        Body::None => true,
        Body::Value(value) => value.is_null(),
        Body::Bytes { bytes, .. } => bytes.is_empty(),
    };
    if !empty {
        let decoded = body::tree(body).map_err(|refused| match refused {
            body::Refused::Said(error) => error,
            body::Refused::Syntax(why) => errors::bad_request(why),
        })?;
        let kind = GroupVersionKind { group: "meta.k8s.io", version: "v1", kind: "DeleteOptions" };
        let message = Message::named("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
        let message = message.ok_or_else(|| Error::new(ErrorKind::Internal, "DeleteOptions has no schema"))?;
        let mut decoded = decoded;
        if !decoded.value.is_object() {
            return Err(errors::bad_request("the body of a deletion is no DeleteOptions: it is not an object"));
        }
        // Every group has its own name for these options.
        object::as_map(&mut decoded.value).retain(|field, _| field != "apiVersion" && field != "kind");
        let read = body::checked(decoded, Wanted::kind(kind, message), FieldValidation::Ignore, "")?;
        apply(&read.object, &mut request.options)?;
    }
    if request.options.grace_period.is_some_and(|seconds| seconds < 0) {
        request.options.grace_period = Some(1);
    }
    Ok(())
}

fn apply(given: &Value, options: &mut Options) -> Result<()> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    options.grace_period = given["gracePeriodSeconds"].as_i64().or(options.grace_period);
    options.preconditions.uid = text(&given["preconditions"]["uid"]).or(options.preconditions.uid.take());
    let version = text(&given["preconditions"]["resourceVersion"]);
    options.preconditions.resource_version = version.or(options.preconditions.resource_version.take());
    let invalid = |cause| errors::invalid("meta.k8s.io", "DeleteOptions", "", vec![cause]);
    for word in given["dryRun"].as_array().into_iter().flatten().map(|word| word.as_str().unwrap_or_default()) {
        if word != "All" {
            return Err(invalid(errors::unsupported("dryRun", word, &["All"])));
        }
        options.dry_run = true;
    }
    if given["orphanDependents"].is_boolean() && given["propagationPolicy"].is_string() {
        let why = "orphanDependents and deletionPropagation cannot be both set";
        let policy = given["propagationPolicy"].clone();
        return Err(invalid(errors::bad_value("propagationPolicy", policy, why)));
    }
    if let Some(orphan) = given["orphanDependents"].as_bool() {
        options.propagation = Some(if orphan { Propagation::Orphan } else { Propagation::Background });
    }
    match given["propagationPolicy"].as_str() {
        None => {}
        Some("Orphan") => options.propagation = Some(Propagation::Orphan),
        Some("Background") => options.propagation = Some(Propagation::Background),
        Some("Foreground") => options.propagation = Some(Propagation::Foreground),
        Some(other) => {
            let known = ["Foreground", "Background", "Orphan", "nil"];
            return Err(invalid(errors::unsupported("propagationPolicy", other, &known)));
        }
    }
    Ok(())
}

/// Deletes the object that the request names, whose options are read.
pub(crate) async fn remove(
    server: &ApiServer,
    served: &Served,
    request: &Request,
    whom: Whom,
    warnings: &mut Vec<String>,
) -> Result<Gone> {
    let key = served.key(&request.namespace, &request.name);
    for _ in 0..ATTEMPTS {
        let current = server.read(&key).await?;
        let current = current.ok_or_else(|| errors::not_found(&served.info, &request.name))?;
        let old = current.value()?;
        agree(served, &request.options, &old, &request.name)?;
        let opened = match served.definition() {
            Some(_) => Some(custom::open(server, served, &current).await?),
            None => None,
        };
        let shown = Some(opened.as_ref().unwrap_or(&old));
        let gate = Gate::open(server, served, request, whom).await?;
        gate.admit(shown, None, warnings).await?;
        gate.judge(shown, None, warnings).await?;
        let plan = plan(served, &old, &request.options, server.parts.clock.now())?;
        let unchanged = Condition::Unchanged(key.clone(), current.entry().modified);
        let mut txn = Txn { conditions: vec![unchanged], ..Txn::default() };
        match plan {
            Plan::Wait => return Ok(Gone::Pending(current)),
            Plan::Delete => {
                if request.options.dry_run {
                    return Ok(Gone::Now(current));
                }
                txn.ops.push(Op::Delete { key: key.clone() });
                alloc::release(server, served, &old, &mut txn).await?;
                if let TxnOutcome::Applied { revision, .. } = server.parts.store.txn(txn).await? {
                    return Document::deleted(current.entry().clone(), revision).map(Gone::Now);
                }
            }
            Plan::Mark(mut marked) => {
                if request.options.dry_run {
                    return index::unwritten(served, marked).map(Gone::Pending);
                }
                object::set_meta(&mut marked, "resourceVersion", None);
                let value = custom::encode_as(served, &current, &marked)?;
                txn.ops.push(Op::Put { key: key.clone(), value, lease: current.entry().lease });
                if let TxnOutcome::Applied { written, .. } = server.parts.store.txn(txn).await? {
                    let entry = written.into_iter().next();
                    let entry = entry.ok_or_else(|| Error::new(ErrorKind::Internal, "a store lost what it wrote"))?;
                    return Document::stored(entry).map(Gone::Pending);
                }
            }
        }
    }
    Err(errors::modified(&served.info, &request.name))
}

/// Refuses a deletion whose preconditions do not hold.
fn agree(served: &Served, options: &Options, old: &Value, name: &str) -> Result<()> {
    let found = object::meta_text(old, "uid");
    if let Some(uid) = options.preconditions.uid.as_deref().filter(|uid| *uid != found) {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({found}). \
             The object might have been deleted and then recreated"
        );
        return Err(errors::conflict(&served.info, name, &why));
    }
    let found = object::meta_text(old, "resourceVersion");
    if let Some(version) = options.preconditions.resource_version.as_deref().filter(|version| *version != found) {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({found}). \
             The object might have been modified"
        );
        return Err(errors::conflict(&served.info, name, &why));
    }
    Ok(())
}

/// What a deletion does to an object.
#[derive(Debug, PartialEq)]
enum Plan {
    Delete,
    Mark(Value),
    /// It is being deleted already.
    Wait,
}

fn plan(served: &Served, old: &Value, options: &Options, now: Timestamp) -> Result<Plan> {
    let deleting = !object::is_empty(object::meta(old, "deletionTimestamp"));
    let grace = object::meta(old, "deletionGracePeriodSeconds").as_i64().unwrap_or_default();
    if served.is("", "namespaces") && deleting && !may_go(served, old) {
        let why = "The system is ensuring all content is removed from this namespace.  Upon completion, this namespace \
                   will automatically be purged by the system.";
        return Err(errors::conflict(&served.info, object::name(old), why));
    }
    if deleting && grace > 0 {
        let Some(shorter) = options.grace_period.filter(|wanted| *wanted < grace) else { return Ok(Plan::Wait) };
        let mut marked = old.clone();
        shorten(&mut marked, grace, shorter);
        return Ok(if may_go(served, &marked) { Plan::Delete } else { Plan::Mark(marked) });
    }
    let mut marked = old.clone();
    let kept = finalizers_after(old, options.propagation);
    let value = (!kept.is_empty()).then(|| kept.into_iter().map(Value::from).collect());
    object::set_meta(&mut marked, "finalizers", value);
    if served.is("", "namespaces") {
        object::child_mut(&mut marked, "status").insert("phase".into(), "Terminating".into());
    }
    if served.is_definitions() && !deleting {
        custom::terminate(&mut marked, &object::time(now));
    }
    if !deleting {
        let grace = if served.rules.graceful { grace_of(old, options) } else { 0 };
        let end = Timestamp::from_second(now.as_second().saturating_add(grace)).unwrap_or(now);
        let meta = object::meta_mut(&mut marked);
        meta.insert("deletionTimestamp".into(), object::time(end).into());
        meta.insert("deletionGracePeriodSeconds".into(), grace.into());
        if served.is("", "namespaces") {
            // The namespace's end has no fixed time: upstream writes no period for it.
            meta.remove("deletionGracePeriodSeconds");
        }
        if let Some(generation) = meta.get("generation").and_then(Value::as_i64).filter(|count| *count > 0) {
            meta.insert("generation".into(), (generation + 1).into());
        }
    }
    Ok(match () {
        () if may_go(served, &marked) => Plan::Delete,
        () if marked == *old => Plan::Wait,
        () => Plan::Mark(marked),
    })
}

/// How many seconds a pod gets to end.
fn grace_of(pod: &Value, options: &Options) -> i64 {
    let wanted = options.grace_period.or_else(|| pod["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(0);
    let unscheduled = object::is_empty(&pod["spec"]["nodeName"]);
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
    if unscheduled || ended {
        0
    } else if wanted < 0 {
        1
    } else {
        wanted
    }
}

fn shorten(object: &mut Value, from: i64, to: i64) {
    let end = object::meta_text(object, "deletionTimestamp").parse::<Timestamp>();
    let meta = object::meta_mut(object);
    if let Ok(end) = end
        && let Ok(end) = Timestamp::from_second(end.as_second() - from + to)
    {
        meta.insert("deletionTimestamp".into(), object::time(end).into());
    }
    meta.insert("deletionGracePeriodSeconds".into(), to.into());
}

/// The finalizers, with those of the garbage collector as the propagation wants them.
fn finalizers_after(old: &Value, propagation: Option<Propagation>) -> Vec<String> {
    let had = |name: &str| object::finalizers(old).any(|own| own == name);
    let orphan = propagation.map_or(had(ORPHAN), |wanted| wanted == Propagation::Orphan);
    let foreground = propagation.map_or(had(FOREGROUND), |wanted| wanted == Propagation::Foreground);
    let keeps = |name: &&str| (*name != ORPHAN || orphan) && (*name != FOREGROUND || foreground);
    let mut after: Vec<String> = object::finalizers(old).filter(keeps).map(str::to_owned).collect();
    for (name, wanted) in [(ORPHAN, orphan), (FOREGROUND, foreground)] {
        if wanted && !had(name) {
            after.push(name.to_owned());
        }
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    fn check(plural: &str, old: &Value, options: &Options, expect: &str) {
        let registry = Registry::built_in();
        let served = registry.find("", "v1", plural).unwrap();
        let said = match plan(&served, old, options, Timestamp::from_second(100).unwrap()) {
            Ok(Plan::Delete) => "delete".to_owned(),
            Ok(Plan::Wait) => "wait".to_owned(),
            Ok(Plan::Mark(marked)) => format!(
                "{} {} {:?}",
                object::meta_text(&marked, "deletionTimestamp"),
                object::meta(&marked, "deletionGracePeriodSeconds"),
                object::finalizers(&marked).collect::<Vec<_>>()
            ),
            Err(error) => error.kind().http().1.to_owned(),
        };
        assert_eq!(said, expect);
    }

    #[test]
    fn finalizers_and_propagation_decide_whether_an_object_waits() {
        let plain = json!({"metadata": {"name": "x"}});
        let held = json!({"metadata": {"name": "x", "finalizers": ["a/b"]}});
        let with = |propagation| Options { propagation: Some(propagation), ..Options::default() };
        check("configmaps", &plain, &Options::default(), "delete");
        check("configmaps", &held, &Options::default(), r#"1970-01-01T00:01:40Z 0 ["a/b"]"#);
        check("configmaps", &plain, &with(Propagation::Orphan), r#"1970-01-01T00:01:40Z 0 ["orphan"]"#);
        check("configmaps", &plain, &with(Propagation::Foreground), r#"1970-01-01T00:01:40Z 0 ["foregroundDeletion"]"#);
    }
}
