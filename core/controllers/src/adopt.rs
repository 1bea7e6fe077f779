//! Carries claims out: controllers adopt what they select and let go of what they select no more.

use std::sync::Arc;

use serde_json::Value;
use windlass_api::{
    meta::v1::{LabelSelector, ObjectMeta},
    types::Resource,
};
use windlass_client::Client;
use windlass_kernel::{Result, api::PatchType};

use crate::{
    claim::{self, Claim, Claimer},
    owned::{Claimed, Owned},
};

/// Claims what an owner of kind `O` selects; answers what it controls after that.
pub(crate) async fn claim<O: Resource, P: Claimed>(
    client: &Client,
    owner: (&ObjectMeta, &LabelSelector),
    objects: &Owned<P>,
) -> Result<Vec<Arc<P>>> {
    claim_where::<O, P>(client, owner, objects, |_| true).await
}

/// As [`claim`], but only objects that can be the owner's.
pub(crate) async fn claim_where<O: Resource, P: Claimed>(
    client: &Client,
    (owner, selector): (&ObjectMeta, &LabelSelector),
    objects: &Owned<P>,
    member: impl Fn(&P) -> bool,
) -> Result<Vec<Arc<P>>> {
    let claimer = Claimer::new(owner, selector)?;
    let namespace = owner.namespace.as_deref().unwrap_or_default();
    let (mut own, mut orphans) = (Vec::new(), Vec::new());
    for object in objects.controlled_by(&claimer.uid).into_iter().chain(objects.orphans(namespace, selector)) {
        match object.claim(&claimer, member(&object)) {
            Claim::Keep => own.push(object),
            Claim::Adopt => orphans.push(object),
            Claim::Release => {
                let release = claim::release(&claimer.uid, object.facts().uid);
                patch(client, &*object, release).await.map(drop)?;
            }
            Claim::Leave => {}
        }
    }
    if !orphans.is_empty() && lives::<O>(client, owner).await? {
        for orphan in orphans {
            let adoption = claim::adoption(&claim::reference_to::<O>(owner), orphan.facts().uid);
            own.extend(patch(client, &*orphan, adoption).await?);
        }
    }
    Ok(own)
}

/// Whether an owner is there and not being deleted, by the latest state: what such a one lets go must not come back to it.
async fn lives<O: Resource>(client: &Client, owner: &ObjectMeta) -> Result<bool> {
    let key = claim::key(owner);
    let fresh = client.get_opt::<O>(&key.namespace, &key.name).await?;
    let fresh = fresh.filter(|fresh| fresh.metadata().uid == owner.uid);
    Ok(fresh.is_some_and(|fresh| fresh.metadata().deletion_timestamp.is_none()))
}

/// What a patch made of an object, unless that is gone.
async fn patch<P: Claimed>(client: &Client, object: &P, patch: Value) -> Result<Option<Arc<P>>> {
    let key = object.key();
    match client.patch::<P::Object>(&key.namespace, &key.name, PatchType::Strategic, patch).await {
        Err(error) if claim::moot(&error) => Ok(None),
        patched => patched.map(|object| Some(P::view(object))),
    }
}
