//! What a snapshotter's calls have beside the driver's own parameters: secrets, as classes and contents name them, and which
//! snapshot they are for.

use std::collections::BTreeMap;

use windlass_api::{core::v1::SecretReference, meta::v1::ObjectMeta};

use super::{
    kinds::VolumeSnapshotContent,
    names::{SECRET_NAME, SECRET_NAMESPACE},
};
use crate::driver_secrets::{OWN, Words, named};

/// The secret for cutting and deleting a snapshot, by the parameters of its class.
pub(super) fn for_changes(
    parameters: &BTreeMap<String, String>,
    content: &str,
    snapshot: &ObjectMeta,
) -> Result<Option<SecretReference>, String> {
    named(parameters, "snapshotter", &words(content, Some(snapshot)))
}

/// The secret for listing snapshots.
pub(super) fn for_lists(
    parameters: &BTreeMap<String, String>,
    content: &str,
) -> Result<Option<SecretReference>, String> {
    named(parameters, "snapshotter-list", &words(content, None))
}

/// The secret that a content was marked with when it was made.
pub(super) fn noted(content: &VolumeSnapshotContent) -> Option<SecretReference> {
    let word = |key: &str| content.metadata.annotations.get(key).cloned();
    Some(SecretReference { name: Some(word(SECRET_NAME)?), namespace: Some(word(SECRET_NAMESPACE)?) })
}

/// The parameters that say which snapshot a call is for.
pub(super) fn told(content: &VolumeSnapshotContent) -> [(String, String); 3] {
    let reference = &content.body.spec.volume_snapshot_ref;
    let word = |name: &str, value: Option<&String>| (format!("{OWN}{name}"), value.cloned().unwrap_or_default());
    [
        word("volumesnapshot/name", reference.name.as_ref()),
        word("volumesnapshot/namespace", reference.namespace.as_ref()),
        word("volumesnapshotcontent/name", content.metadata.name.as_ref()),
    ]
}

fn words(content: &str, snapshot: Option<&ObjectMeta>) -> Words {
    let word = |key: &str, value: Option<&String>| Some((key.to_owned(), value?.clone()));
    let mut own = Words::default();
    own.both.insert("volumesnapshotcontent.name".into(), content.to_owned());
    if let Some(meta) = snapshot {
        own.both.extend(word("volumesnapshot.namespace", meta.namespace.as_ref()));
        own.name.extend(word("volumesnapshot.name", meta.name.as_ref()));
    }
    own
}
