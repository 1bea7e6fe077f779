//! From a proposed object to one that takes the place of what is stored.

use serde_json::Value;
use windlass_kernel::{
    Document,
    api::{Answer, Request, Response},
    error::{Error, ErrorKind, Result},
    store::{Condition, Durability, Op, Txn, TxnOutcome},
};

use super::{Gate, Owners, Proposal, Whom};
use crate::{
    alloc, convert, custom, errors, index, object,
    owners::Owner,
    quota,
    registry::Served,
    rules::{self, Part},
    server::ApiServer,
};

/// How often a change is made anew when the object changed underneath. Someone else got through each time, so a limit
/// this high is met only by a client that fights a crowd.
const ATTEMPTS: usize = 20;

/// A change of an object that is stored.
#[derive(Clone, Copy)]
pub(crate) struct Change<'a> {
    pub(crate) server: &'a ApiServer,
    pub(crate) served: &'a Served,
    pub(crate) request: &'a Request,
    pub(crate) part: Part,
}

/// Changes the object that the request names: reads it, asks for a proposal, writes; again where it changed meanwhile.
///
/// `None` where there is no such object.
pub(crate) async fn edit(
    change: Change<'_>,
    mut propose: impl FnMut(&Value) -> Result<Proposal> + Send,
) -> Result<Option<Response>> {
    let Change { server, served, request, .. } = change;
    let key = served.key(&request.namespace, &request.name);
    for _ in 0..ATTEMPTS {
        let Some(current) = server.read(&key).await? else { return Ok(None) };
        let old = custom::open(server, served, &current).await?;
        let proposal = propose(&old)?;
        if let Some(response) = change.replace(&current, &old, proposal).await? {
            return Ok(Some(response));
        }
    }
    Err(errors::modified(&served.info, &request.name))
}

impl Change<'_> {
    /// Writes the proposal; `None` where the object was changed meanwhile.
    async fn replace(&self, current: &Document, old: &Value, proposal: Proposal) -> Result<Option<Response>> {
        let Self { server, served, request, part } = *self;
        let Proposal { object: mut new, owners, mut warnings } = proposal;
        self.agree(current, old, &mut new)?;
        keep(&mut new, old);
        rules::default(served, &mut new);
        rules::prepare(served, part, &mut new, old);
        rules::date(served, part, &mut new, old, server.parts.clock.now());
        if owners == Owners::Record {
            Owner::of(served, request, object::time(server.parts.clock.now())).record(Some(old), &mut new);
        }
        let gate = Gate::open(server, served, request, Whom::All).await?;
        if gate.admit(Some(old), Some(&mut new), &mut warnings).await? {
            rules::default(served, &mut new);
        }
        let claims = alloc::claim(server, served, &mut new, Some(old)).await?;
        rules::check_update(served, part, &new, old)?;
        gate.judge(Some(old), Some(&mut new), &mut warnings).await?;
        if matches!(part, Part::Main) {
            warnings.extend(rules::warnings(served, &new, Some(old)));
        }
        let charges = quota::charge(server, served, request, Some(old), &new).await?;

        let version = object::meta_mut(&mut new).remove("resourceVersion");
        let goes = may_go(served, &new);
        let value = custom::encode(server, served, &new, &[]).await?;
        if !goes && custom::unchanged(served, &value, current) {
            return self.answer(custom::written(served, &new, current.clone())?, warnings);
        }
        if request.options.dry_run {
            object::set_meta(&mut new, "resourceVersion", version);
            return self.answer(index::unwritten(served, new)?, warnings);
        }
        let key = current.entry().key.clone();
        let lease = if served.is("", "events") { Some(server.parts.events.lease().await?) } else { None };
        let mut txn = Txn {
            conditions: vec![Condition::Unchanged(key.clone(), current.entry().modified)],
            durability: if leases_only_renewed(served, old, &new) { Durability::Relaxed } else { Durability::Durable },
            ops: vec![if goes { Op::Delete { key } } else { Op::Put { key, value, lease } }],
        };
        if goes {
            alloc::release(server, served, old, &mut txn).await?;
        } else {
            claims.add_to(server, &new, &mut txn)?;
            charges.add_to(&mut txn);
        }
        match server.parts.store.txn(txn).await? {
            TxnOutcome::Applied { revision, .. } if goes => {
                object::set_meta(&mut new, "resourceVersion", Some(revision.to_string().into()));
                self.answer(index::unwritten(served, new)?, warnings)
            }
            TxnOutcome::Applied { written, .. } => {
                let entry = written.into_iter().next();
                let entry = entry.ok_or_else(|| Error::new(ErrorKind::Internal, "a store lost what it wrote"))?;
                self.answer(custom::written(served, &new, Document::stored(entry)?)?, warnings)
            }
            TxnOutcome::Refused(_) => Ok(None),
        }
    }

    fn answer(&self, document: Document, warnings: Vec<String>) -> Result<Option<Response>> {
        let document = convert::to_client(self.served, document)?;
        Ok(Some(Response { code: 200, warnings, answer: Answer::Object(document) }))
    }

    /// Refuses a proposal that speaks of another object or another state of it.
    fn agree(&self, current: &Document, old: &Value, new: &mut Value) -> Result<()> {
        let Self { served, request, .. } = *self;
        let (info, name) = (&served.info, request.name.as_str());
        let said = object::name(new);
        if said.is_empty() {
            let message =
                format!("the name of the object ({name} based on URL) was undeterminable: name must be provided");
            return Err(errors::bad_request(message));
        }
        if said != name {
            let message = format!("the name of the object ({said}) does not match the name on the URL ({name})");
            return Err(errors::bad_request(message));
        }
        let namespace = object::meta_text(new, "namespace");
        if served.info.namespaced && !namespace.is_empty() && namespace != request.namespace {
            let wanted = &request.namespace;
            return Err(errors::bad_request(format!(
                "the namespace of the object ({namespace}) does not match the namespace on the request ({wanted})"
            )));
        }
        let version = object::meta_text(new, "resourceVersion");
        let now = current.revision().to_string();
        if version.is_empty() {
            if !served.rules.unconditional_update {
                let cause = errors::bad_value("metadata.resourceVersion", "0", "must be specified for an update");
                return Err(errors::invalid(&info.group, &info.kind, name, vec![cause]));
            }
            object::set_meta(new, "resourceVersion", Some(now.into()));
        } else if version != now {
            return Err(errors::modified(info, name));
        }
        let uid = object::meta_text(new, "uid");
        let found = object::meta_text(old, "uid");
        if !uid.is_empty() && uid != found {
            return Err(errors::other_uid(info, name, current.entry().key.as_str(), uid, found));
        }
        Ok(())
    }
}

/// Carries over what only the server sets.
fn keep(new: &mut Value, old: &Value) {
    let meta = object::meta_mut(new);
    for field in
        ["uid", "namespace", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"]
    {
        match object::meta(old, field) {
            Value::Null => meta.remove(field),
            value => meta.insert(field.into(), value.clone()),
        };
    }
    meta.remove("selfLink");
}

/// Whether an object that is being deleted has nothing left to wait for.
pub(crate) fn may_go(served: &Served, object: &Value) -> bool {
    !object::is_empty(object::meta(object, "deletionTimestamp"))
        && object::meta(object, "deletionGracePeriodSeconds").as_i64().unwrap_or_default() <= 0
        && object::finalizers(object).next().is_none()
        && (!served.is("", "namespaces") || object::is_empty(&object["spec"]["finalizers"]))
}

/// Whether all that changes is when a lease was renewed.
fn leases_only_renewed(served: &Served, old: &Value, new: &Value) -> bool {
    if !served.is("coordination.k8s.io", "leases") {
        return false;
    }
    let rest = |lease: &Value| {
        let mut lease = lease.clone();
        object::child_mut(&mut lease, "spec").remove("renewTime");
        let meta = object::meta_mut(&mut lease);
        meta.remove("resourceVersion");
        meta.remove("managedFields");
        lease
    };
    rest(old) == rest(new)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::Registry;

    fn check(new: &Value, expect: bool) {
        let registry = Registry::built_in();
        let served = registry.find("coordination.k8s.io", "v1", "leases").unwrap();
        let old = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "a", "renewTime": "1"}});
        assert_eq!(leases_only_renewed(&served, &old, new), expect);
    }

    #[test]
    fn a_renewal_changes_the_time_and_nothing_else() {
        check(&json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "a", "renewTime": "2"}}), true);
        check(&json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "b", "renewTime": "2"}}), false);
    }
}
