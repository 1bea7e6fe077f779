//! Finalizers, annotations and parameters of snapshots, as clients and drivers know them.

/// Holds a snapshot while claims are made from it.
pub(super) const AS_SOURCE: &str = "snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection";
/// Holds a snapshot until its content is dealt with.
pub(super) const BOUND: &str = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection";
/// Holds a content until its driver's snapshot is dealt with.
pub(super) const CONTENT: &str = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";
/// Holds a claim while a snapshot is cut of it.
pub(super) const CLAIM: &str = "snapshot.storage.kubernetes.io/pvc-as-source-protection";

/// On a content whose snapshot is being deleted.
pub(super) const BEING_DELETED: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";
/// On a content whose driver was asked for a snapshot, with an outcome that is not known yet.
pub(super) const BEING_CREATED: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-created";
/// What the two are set to.
pub(super) const YES: &str = "yes";

/// The secret that deleting needs, on a content.
pub(super) const SECRET_NAME: &str = "snapshot.storage.kubernetes.io/deletion-secret-name";
/// Its namespace.
pub(super) const SECRET_NAMESPACE: &str = "snapshot.storage.kubernetes.io/deletion-secret-namespace";

/// On the class that is taken where a snapshot names none.
pub(super) const DEFAULT: &str = "snapshot.storage.kubernetes.io/is-default-class";
