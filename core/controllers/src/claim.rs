//! Whose is an object: controller references, and when a controller adopts or lets go. Decides; writes nothing.

use serde_json::{Value, json};
use windlass_api::{
    core::v1::Pod,
    meta::v1::{LabelSelector, ObjectMeta, OwnerReference},
    selector::Labels,
    types::Resource,
};
use windlass_kernel::{Document, Error, ErrorKind, Result, controller::ObjectKey, document::Index};

/// The name of the key that stands for the objects of a namespace that nobody controls.
pub(crate) const ORPHANS: &str = "";

/// The names of the PersistentVolumeClaims that a pod uses.
pub(crate) fn claims_of(pod: &Pod) -> impl Iterator<Item = String> {
    let own = pod.metadata.name.clone().unwrap_or_default();
    pod.spec.volumes.iter().filter_map(move |volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{own}-{}", volume.name)),
        (None, None) => None,
    })
}

/// Who claims objects.
#[derive(Clone, Debug)]
pub(crate) struct Claimer {
    pub(crate) uid: String,
    pub(crate) selector: Labels,
    pub(crate) deleting: bool,
}

/// What may be claimed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    /// The uid of its controller.
    pub(crate) controller: Option<&'a str>,
    pub(crate) matches: bool,
    pub(crate) deleting: bool,
}

/// What a claimer does about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is the claimer's.
    Keep,
    /// It becomes the claimer's.
    Adopt,
    /// It is the claimer's, and is let go.
    Release,
    /// It is somebody else's.
    Leave,
}

impl Claimer {
    /// A claimer with the selector of its spec. One that selects everything or nothing claims nothing.
    pub(crate) fn new(meta: &ObjectMeta, selector: &LabelSelector) -> Result<Self> {
        let read = labels(selector)?;
        let selector = if read.is_everything() { Labels::nothing() } else { read };
        Ok(Self { uid: meta.uid.clone().unwrap_or_default(), selector, deleting: meta.deletion_timestamp.is_some() })
    }

    pub(crate) fn decide(&self, candidate: Candidate<'_>) -> Claim {
        match candidate.controller {
            Some(uid) if uid != self.uid => Claim::Leave,
            Some(_) if candidate.matches => Claim::Keep,
            Some(_) if self.deleting => Claim::Leave,
            Some(_) => Claim::Release,
            None if self.deleting || candidate.deleting || !candidate.matches => Claim::Leave,
            None => Claim::Adopt,
        }
    }
}

/// A selector as it is matched.
pub(crate) fn labels(selector: &LabelSelector) -> Result<Labels> {
    let json = serde_json::to_value(selector)
        .map_err(|error| Error::new(ErrorKind::Internal, "cannot write a selector as JSON").with_source(error))?;
    Labels::from_json(Some(&json))
        .map_err(|error| Error::new(ErrorKind::Invalid, "cannot read a selector").with_source(error))
}

/// The reference to the object that controls another.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().find(|owner| owner.controller == Some(true))
}

/// A controller's reference to itself.
pub(crate) fn reference<T: Resource>(owner: &T) -> OwnerReference {
    reference_to::<T>(owner.metadata())
}

/// The reference to a controller of a kind, by its metadata.
pub(crate) fn reference_to<T: Resource>(meta: &ObjectMeta) -> OwnerReference {
    OwnerReference {
        api_version: T::api_version(),
        kind: T::KIND.into(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The strategic merge patch that makes an object the owner's. It fails where the object is another of the same name.
pub(crate) fn adoption(owner: &OwnerReference, uid: &str) -> Value {
    json!({"metadata": {"uid": uid, "ownerReferences": [owner]}})
}

/// The strategic merge patch that lets an object go.
pub(crate) fn release(owner: &str, uid: &str) -> Value {
    json!({"metadata": {"uid": uid, "ownerReferences": [{"$patch": "delete", "uid": owner}]}})
}

/// Whether a patch of [`adoption`] or [`release`] failed because its object is gone, or is another one now.
pub(crate) fn moot(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Invalid)
}

/// Whether a creation was refused because its namespace is going away.
pub(crate) fn terminating(error: &Error) -> bool {
    let is = |reason: &str| reason == "NamespaceTerminating";
    error.details().is_some_and(|details| is(&details.reason) || details.causes.iter().any(|cause| is(&cause.reason)))
}

/// A write that somebody else has made already, or whose object is gone: the next look decides anew.
pub(crate) fn settled(done: Result<()>) -> Result<()> {
    match done {
        Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) || terminating(&error) => {
            Ok(())
        }
        other => other,
    }
}

/// The key of the controller of that kind; the namespace's [`ORPHANS`] where nobody controls the object.
pub(crate) fn controller_key<T: Resource>(document: &Document) -> Vec<ObjectKey> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Meta {
        owner_references: Vec<OwnerReference>,
    }
    let Ok(own) = document.object_key() else { return Vec::new() };
    if document.find(Index::Owner, "controller").is_none() {
        return vec![ObjectKey::new(own.namespace, ORPHANS)];
    }
    let Ok(meta) = document.metadata::<Meta>() else { return Vec::new() };
    let controller = meta.owner_references.into_iter().find(|owner| owner.controller == Some(true));
    let controller = controller.filter(|owner| owner.kind == T::KIND && group(&owner.api_version) == T::GROUP);
    controller.map(|owner| ObjectKey::new(own.namespace, owner.name)).into_iter().collect()
}

/// The value under which indexes by controller hold what nobody controls in a namespace; no uid has a slash.
pub(crate) fn orphans_of(namespace: &str) -> String {
    format!("{namespace}/")
}

/// The value under which indexes hold what has a label in a namespace; no other value of theirs has a slash and more.
pub(crate) fn labelled(namespace: &str, label: &str, value: &str) -> String {
    format!("{namespace}/{label}={value}")
}

/// An object's own key.
pub(crate) fn own_key(document: &Document) -> Vec<ObjectKey> {
    document.object_key().into_iter().collect()
}

/// The key that metadata names.
pub(crate) fn key(meta: &ObjectMeta) -> ObjectKey {
    ObjectKey::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// The group of an `apiVersion`.
pub(crate) fn group(api_version: &str) -> &str {
    api_version.rsplit_once('/').map_or("", |(group, _)| group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(claimer: &str, object: &str, expect: Claim) {
        let labels = Labels::equal_to([("app", "web")]);
        let claimer = Claimer { uid: "me".into(), selector: labels, deleting: claimer == "deleting" };
        let controller = object.split(' ').find_map(|word| word.strip_prefix("of="));
        let has = |word: &str| object.split(' ').any(|own| own == word);
        let candidate = Candidate { controller, matches: has("matching"), deleting: has("deleting") };
        assert_eq!(claimer.decide(candidate), expect, "{object}");
    }

    #[test]
    fn matching_orphans_are_adopted_and_strays_released() {
        check("", "matching", Claim::Adopt);
        check("", "matching deleting", Claim::Leave);
        check("", "", Claim::Leave);
        check("", "of=me matching", Claim::Keep);
        check("", "of=me matching deleting", Claim::Keep);
        check("", "of=me", Claim::Release);
        check("", "of=other matching", Claim::Leave);
    }

    #[test]
    fn a_claimer_that_is_being_deleted_neither_adopts_nor_releases() {
        check("deleting", "matching", Claim::Leave);
        check("deleting", "of=me", Claim::Leave);
        check("deleting", "of=me matching", Claim::Keep);
    }
}
