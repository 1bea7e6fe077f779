//! Charging ResourceQuotas: the last gate of a write, and part of its transaction.
//!
//! What an object uses is added to `status.used` of each quota that it concerns in the transaction that writes the
//! object, so that no crowd of creators gets more than the quota has, and nothing that is not created is charged.
//! Giving back is the quota controller's business, which counts anew.

use serde_json::Value;
use windlass_api::quota::{Usage, concerns, tracks, unspecified, usage};
use windlass_kernel::{
    Document,
    api::Request,
    error::{Error, ErrorKind, Result},
    store::{Condition, Key, KeyRange, ListSpec, Op, ReadAt, Revision, Txn},
};

use crate::{
    errors,
    figures::{Own, Step, Who},
    index, object,
    registered::Operation,
    registry::Served,
    server::ApiServer,
};

/// What a write charges.
#[derive(Debug, Default)]
pub(crate) struct Charges(Vec<Charge>);

#[derive(Debug)]
struct Charge {
    key: Key,
    /// The revision of the quota that was read.
    read: Revision,
    value: bytes::Bytes,
}

impl Charges {
    /// Makes the charges part of a transaction, which is refused where a quota changed meanwhile.
    pub(crate) fn add_to(&self, txn: &mut Txn) {
        for charge in &self.0 {
            txn.conditions.push(Condition::Unchanged(charge.key.clone(), charge.read));
            txn.ops.push(Op::Put { key: charge.key.clone(), value: charge.value.clone(), lease: None });
        }
    }
}

/// Charges a new object, or what a changed one uses more than before.
///
/// # Errors
///
/// [`Forbidden`](ErrorKind::Forbidden) where a quota has not that much left.
pub(crate) async fn charge(
    server: &ApiServer,
    served: &Served,
    request: &Request,
    old: Option<&Value>,
    new: &Value,
) -> Result<Charges> {
    let (group, plural) = (&*served.storage.group, &*served.storage.plural);
    let off = !server.parts.plugins.run("ResourceQuota");
    let exempt = off || !served.info.namespaced || plural == "events" || request.subresource == "status";
    // Whatever else grows is not counted by size.
    let grows = group.is_empty() && matches!(plural, "pods" | "services" | "persistentvolumeclaims");
    if exempt || old.is_some() && !grows {
        return Ok(Charges::default());
    }
    let operation = if old.is_some() { Operation::Update } else { Operation::Create };
    let what = (Who::Own(Own::Quota), Step::Validate, operation);
    server.admitting(what, charges(server, served, request, old, new)).await
}

async fn charges(
    server: &ApiServer,
    served: &Served,
    request: &Request,
    old: Option<&Value>,
    new: &Value,
) -> Result<Charges> {
    let (group, plural) = (&*served.storage.group, &*served.storage.plural);
    let quotas = server.parts.registry.known("", "v1", "resourcequotas")?;
    let range = KeyRange::prefix(&quotas.collection(&request.namespace));
    let listing = server.parts.store.list(&ListSpec { range, at: ReadAt::Latest, limit: None }).await?;
    let mut charges = Charges::default();
    for entry in listing.entries {
        let document = Document::stored(entry)?;
        let quota = document.value()?;
        let refuse = |why: String| errors::forbidden(&served.info, object::name(new), &why);
        if let Some(charged) = charged((group, plural), &quota, old, new).map_err(refuse)? {
            charges.0.push(Charge {
                key: document.entry().key.clone(),
                read: document.entry().modified,
                value: index::encode(quotas, &charged)?,
            });
        }
    }
    Ok(charges)
}

/// How often a write is tried whose quotas others change all the time.
pub(crate) const ATTEMPTS: usize = 1000;

/// The error of a write whose quotas changed each time.
pub(crate) fn contended() -> Error {
    Error::new(ErrorKind::Conflict, "the quotas of the namespace were changed by others again and again, try again")
}

/// The quota with what an object uses charged; `None` where it is not concerned. The error says why not.
fn charged(
    (group, plural): (&str, &str),
    quota: &Value,
    old: Option<&Value>,
    new: &Value,
) -> Result<Option<Value>, String> {
    let hard = Usage::read(&quota["status"]["hard"]);
    if !concerns(quota, &hard, group, plural, new) {
        return Ok(None);
    }
    let name = object::name(quota);
    if let (None, Some(why)) = (old, unspecified(group, plural, new, &hard)) {
        return Err(format!("failed quota: {name}: {why}"));
    }
    let mut used = Usage::read(&quota["status"]["used"]);
    let unknown: Vec<&str> =
        hard.names().filter(|name| tracks(group, plural, name) && used.get(name).is_none()).collect();
    if !unknown.is_empty() {
        return Err(format!("status unknown for quota: {name}, resources: {}", unknown.join(",")));
    }
    let whole = usage(group, plural, new);
    let negative = whole.negative();
    if !negative.is_empty() {
        return Err(format!("quota usage is negative for resource(s): {}", negative.join(",")));
    }
    // What concerned this quota before is charged already.
    let before = old.filter(|old| concerns(quota, &hard, group, plural, old));
    let before = before.map(|old| usage(group, plural, old)).unwrap_or_default();
    let requested = whole.above(&before).masked(&hard);
    if requested.is_empty() {
        return Ok(None);
    }
    let used_before = used.clone();
    used.add(&requested);
    let beyond = used.masked(&requested).beyond(&hard);
    if !beyond.is_empty() {
        let (requested, used, limited) = (requested.masked(&beyond), used_before.masked(&beyond), hard.masked(&beyond));
        return Err(format!("exceeded quota: {name}, requested: {requested}, used: {used}, limited: {limited}"));
    }
    let mut charged = quota.clone();
    object::child_mut(&mut charged, "status").insert("used".into(), used.to_json());
    object::set_meta(&mut charged, "resourceVersion", None);
    Ok(Some(charged))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(cpu: &str) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}})
    }

    #[track_caller]
    fn check(old: Option<&Value>, new: &Value, expect: &str) {
        let quota = json!({
            "metadata": {"name": "q"},
            "status": {"hard": {"cpu": "2", "pods": "3", "secrets": "1"}, "used": {"cpu": "1500m", "pods": "3", "secrets": "0"}},
        });
        let said = match charged(("", "pods"), &quota, old, new) {
            Ok(None) => "nothing".to_owned(),
            Ok(Some(quota)) => Usage::read(&quota["status"]["used"]).to_string(),
            Err(why) => why,
        };
        assert_eq!(said, expect);
    }

    #[test]
    fn a_new_pod_is_charged_whole() {
        check(
            None,
            &pod("1"),
            "exceeded quota: q, requested: cpu=1,pods=1, used: cpu=1500m,pods=3, limited: cpu=2,pods=3",
        );
        check(None, &pod("100m"), "exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3");
        let open = json!({"spec": {"containers": [{"name": "c"}]}});
        check(None, &open, "failed quota: q: must specify cpu for: c");
    }

    #[test]
    fn a_changed_pod_is_charged_what_it_uses_more() {
        check(Some(&pod("1")), &pod("1500m"), "cpu=2,pods=3,secrets=0");
        check(Some(&pod("1")), &pod("500m"), "nothing");
        check(Some(&pod("1")), &pod("2"), "exceeded quota: q, requested: cpu=1, used: cpu=1500m, limited: cpu=2");
    }

    #[test]
    fn what_is_not_counted_yet_is_not_known_to_be_left() {
        let quota = json!({"metadata": {"name": "q"}, "status": {"hard": {"pods": "3"}}});
        let why = charged(("", "pods"), &quota, None, &pod("1")).unwrap_err();
        assert_eq!(why, "status unknown for quota: q, resources: pods");
        let unseen = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "3"}}});
        assert_eq!(charged(("", "pods"), &unseen, None, &pod("1")), Ok(None));
    }
}
