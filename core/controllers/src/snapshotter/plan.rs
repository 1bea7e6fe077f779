//! What is to be done about a snapshot next. Decides; asks and writes nothing.

use std::sync::Arc;

use jiff::Timestamp;
use windlass_api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    meta::v1::ObjectMeta,
    quantity::{Amount, Format},
    types::{Quantity, Resource, Time},
};

use super::{
    kinds::{
        Content, ContentSource, ContentSpec, GROUP, SnapshotReference, SnapshotStatus, VolumeSnapshot,
        VolumeSnapshotClass, VolumeSnapshotContent,
    },
    names::{AS_SOURCE, BEING_DELETED, BOUND, CLAIM, DEFAULT, SECRET_NAME, SECRET_NAMESPACE},
    secrets,
};

/// A snapshot and what there is around it.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) snapshot: Arc<VolumeSnapshot>,
    /// The content of the name that the snapshot has or would have.
    pub(super) content: Option<Arc<VolumeSnapshotContent>>,
    /// The claim that it is of.
    pub(super) claim: Option<Arc<PersistentVolumeClaim>>,
    /// That claim's volume.
    pub(super) volume: Option<Arc<PersistentVolume>>,
    pub(super) classes: Vec<Arc<VolumeSnapshotClass>>,
    /// Whether a claim is being made from it.
    pub(super) restoring: bool,
}

/// What is done next: one write at most.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Rest,
    /// The snapshot gets its finalizers.
    Hold,
    /// The snapshot gets this class.
    Choose(String),
    /// The claim is held, then the content made.
    Make(Box<VolumeSnapshotContent>),
    /// The content, which was there before, becomes the snapshot's.
    Bind,
    /// The snapshot's status becomes this.
    Tell(Box<SnapshotStatus>),
    /// Claims are being made from it: it stays.
    Wait,
    /// The content is told that its snapshot goes.
    Mark,
    /// The content goes with its snapshot.
    DeleteContent,
    /// The snapshot may go.
    LetGo,
    /// Nothing can be done as things are.
    Fail(Failure),
}

/// Why not, for an event and the status.
#[derive(Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

fn fail(reason: &'static str, message: impl Into<String>) -> Step {
    Step::Fail(Failure { reason, message: message.into() })
}

/// The name of the content of a snapshot.
pub(super) fn content_name(snapshot: &VolumeSnapshot) -> String {
    let source = &snapshot.body.spec.source;
    let own = || format!("snapcontent-{}", snapshot.metadata.uid.as_deref().unwrap_or_default());
    let bound = || snapshot.status().bound_volume_snapshot_content_name.filter(|name| !name.is_empty());
    source.volume_snapshot_content_name.clone().or_else(bound).unwrap_or_else(own)
}

/// What to do about a snapshot.
pub(super) fn next(look: &Look) -> Step {
    let snapshot = &*look.snapshot;
    if snapshot.metadata.deletion_timestamp.is_some() {
        return ending(look);
    }
    if [AS_SOURCE, BOUND].iter().any(|own| !holds(&snapshot.metadata, own)) {
        return Step::Hold;
    }
    match (&look.content, &snapshot.body.spec.source.volume_snapshot_content_name) {
        (Some(content), Some(_)) if !content.is_of(snapshot) => bind(content, snapshot),
        (Some(content), None) if !content.is_of(snapshot) => misbound(content),
        (Some(content), _) => told(look, content),
        (None, Some(name)) => fail("SnapshotContentMissing", format!("VolumeSnapshotContent {name} is missing")),
        (None, None) if snapshot.status().bound_volume_snapshot_content_name.is_some() => {
            fail("SnapshotContentMissing", "VolumeSnapshotContent is missing")
        }
        (None, None) => make(look).unwrap_or_else(|step| step),
    }
}

fn holds(meta: &ObjectMeta, finalizer: &str) -> bool {
    meta.finalizers.iter().any(|own| own == finalizer)
}

fn misbound(content: &VolumeSnapshotContent) -> Step {
    let name = content.metadata.name.as_deref().unwrap_or_default();
    fail("SnapshotContentMisbound", format!("VolumeSnapshotContent {name} is bound to a different snapshot"))
}

/// A content that was there before its snapshot.
fn bind(content: &VolumeSnapshotContent, snapshot: &VolumeSnapshot) -> Step {
    let (own, meta) = (&content.body.spec.volume_snapshot_ref, &snapshot.metadata);
    if content.body.spec.source.snapshot_handle.is_none() {
        let message = "VolumeSnapshotContent is dynamically provisioned while expecting a pre-provisioned one";
        return fail("SnapshotContentMismatch", message);
    }
    if own.uid.as_ref().is_some_and(|uid| !uid.is_empty()) || own.name != meta.name || own.namespace != meta.namespace {
        return misbound(content);
    }
    Step::Bind
}

/// What the snapshot says of its content.
fn told(look: &Look, content: &VolumeSnapshotContent) -> Step {
    let (was, is) = (look.snapshot.status(), content.status());
    let time = |nanos: i64| Timestamp::from_nanosecond(nanos.into()).ok().map(Time);
    let size = |bytes: i64| Quantity(Amount::units(bytes, Format::Binary).to_string());
    let mut wanted = SnapshotStatus {
        bound_volume_snapshot_content_name: content.metadata.name.clone(),
        // The time has seconds here.
        creation_time: is.creation_time.and_then(|nanos| time(nanos - nanos.rem_euclid(1_000_000_000))),
        ready_to_use: Some(is.ready_to_use.unwrap_or_default()),
        restore_size: is.restore_size.map(size),
        error: is.error.clone(),
    };
    // What was once said stays where the content says nothing.
    wanted.creation_time = wanted.creation_time.or(was.creation_time);
    wanted.restore_size = wanted.restore_size.or_else(|| was.restore_size.clone());
    if wanted == was { Step::Rest } else { Step::Tell(Box::new(wanted)) }
}

/// A content for a snapshot that is to be cut, or what has to be done before.
fn make(look: &Look) -> Result<Step, Step> {
    let creating = |message: String| fail("SnapshotContentCreationFailed", message);
    let spec = &look.snapshot.body.spec;
    let name = spec.source.persistent_volume_claim_name.as_deref().unwrap_or_default();
    let claim = look.claim.as_ref().ok_or_else(|| creating(format!("persistentvolumeclaim {name:?} not found")))?;
    if claim.metadata.deletion_timestamp.is_some() {
        return Err(creating(format!("persistentvolumeclaim {name:?} is being deleted")));
    }
    if claim.status.phase.as_deref() != Some("Bound") {
        let message = format!("the PVC {name} is not yet bound to a PV, will not attempt to take a snapshot");
        return Err(creating(message));
    }
    let volume = look.volume.as_ref().ok_or_else(|| creating(format!("the volume of PVC {name} is not there")))?;
    let csi = volume.spec.csi.as_ref();
    let csi = csi.ok_or_else(|| creating(format!("the volume of PVC {name} is not of a CSI driver")))?;
    let Some(class) = &spec.volume_snapshot_class_name else {
        return default_class(look, &csi.driver).map(Step::Choose);
    };
    let named = |own: &&Arc<VolumeSnapshotClass>| own.metadata.name.as_deref() == Some(class);
    let missing = || creating(format!("volumesnapshotclass {class:?} not found"));
    let class = look.classes.iter().find(named).ok_or_else(missing)?;
    if class.body.driver != csi.driver {
        let message = format!(
            "the class is of driver {:?} and the volume of PVC {name} of driver {:?}",
            class.body.driver, csi.driver
        );
        return Err(creating(message));
    }
    content(&look.snapshot, class, volume, &csi.volume_handle).map(|own| Step::Make(Box::new(own))).map_err(creating)
}

/// The class of a driver for snapshots that name none.
fn default_class(look: &Look, driver: &str) -> Result<String, Step> {
    let marked = |own: &&Arc<VolumeSnapshotClass>| {
        own.body.driver == driver && own.metadata.annotations.get(DEFAULT).is_some_and(|word| word == "true")
    };
    let found: Vec<_> = look.classes.iter().filter(marked).collect();
    let why = match found.as_slice() {
        [class] => return Ok(class.metadata.name.clone().unwrap_or_default()),
        [] => "cannot find default snapshot class".to_owned(),
        many => format!("{} default snapshot classes were found", many.len()),
    };
    let message = format!("Failed to set default snapshot class with error {why}");
    Err(fail("SetDefaultSnapshotClassFailed", message))
}

/// The content that a driver is asked to have.
fn content(
    snapshot: &VolumeSnapshot,
    class: &VolumeSnapshotClass,
    volume: &PersistentVolume,
    handle: &str,
) -> Result<VolumeSnapshotContent, String> {
    let (meta, name) = (&snapshot.metadata, content_name(snapshot));
    let secret = secrets::for_changes(&class.body.parameters, &name, meta)?;
    let annotations = secret.into_iter().flat_map(|own| {
        let pair = |key: &str, word: Option<String>| Some((key.to_owned(), word?));
        [pair(SECRET_NAME, own.name), pair(SECRET_NAMESPACE, own.namespace)].into_iter().flatten()
    });
    let spec = ContentSpec {
        deletion_policy: class.body.deletion_policy.clone(),
        driver: class.body.driver.clone(),
        source: ContentSource { volume_handle: Some(handle.into()), ..ContentSource::default() },
        source_volume_mode: volume.spec.volume_mode.clone(),
        volume_snapshot_class_name: class.metadata.name.clone(),
        volume_snapshot_ref: SnapshotReference {
            api_version: Some(VolumeSnapshot::api_version()),
            kind: Some(VolumeSnapshot::KIND.into()),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
        },
    };
    Ok(VolumeSnapshotContent {
        metadata: ObjectMeta {
            name: Some(name),
            annotations: annotations.collect(),
            finalizers: vec![super::names::CONTENT.to_owned()],
            ..ObjectMeta::default()
        },
        body: Content { spec, status: None },
    })
}

/// Whether a claim is held, and by none of the snapshots.
pub(super) fn releases<'a>(
    claim: &PersistentVolumeClaim,
    snapshots: impl IntoIterator<Item = &'a Arc<VolumeSnapshot>>,
) -> bool {
    let cutting = |own: &Arc<VolumeSnapshot>| {
        own.body.spec.source.persistent_volume_claim_name == claim.metadata.name && !own.is_ready()
    };
    holds(&claim.metadata, CLAIM) && !snapshots.into_iter().any(cutting)
}

/// Whether a claim is being made from a snapshot of its namespace.
pub(super) fn restores(claim: &PersistentVolumeClaim, snapshot: &VolumeSnapshot) -> bool {
    let from = |group: Option<&String>, kind: &str, name: &str| {
        group.is_some_and(|group| group == GROUP)
            && kind == VolumeSnapshot::KIND
            && Some(name) == snapshot.metadata.name.as_deref()
    };
    let spec = &claim.spec;
    let old = spec.data_source.as_ref().is_some_and(|own| from(own.api_group.as_ref(), &own.kind, &own.name));
    let new = spec.data_source_ref.as_ref();
    let new = new.is_some_and(|own| own.namespace.is_none() && from(own.api_group.as_ref(), &own.kind, &own.name));
    let waits = claim.status.phase.as_deref() == Some("Pending") && claim.metadata.deletion_timestamp.is_none();
    claim.metadata.namespace == snapshot.metadata.namespace && waits && (old || new)
}

/// What to do about a snapshot that is being deleted. Its content is dealt with before it may go.
fn ending(look: &Look) -> Step {
    let snapshot = &*look.snapshot;
    if ![AS_SOURCE, BOUND].iter().any(|own| holds(&snapshot.metadata, own)) {
        return Step::Rest;
    }
    if let Some(content) = look.content.as_ref().filter(|content| content.is_of(snapshot)) {
        if look.restoring {
            return Step::Wait;
        }
        if !content.metadata.annotations.contains_key(BEING_DELETED) {
            return Step::Mark;
        }
        if content.body.spec.deletion_policy == "Delete" {
            let going = content.metadata.deletion_timestamp.is_some();
            return if going { Step::Rest } else { Step::DeleteContent };
        }
    }
    Step::LetGo
}

#[cfg(test)]
mod tests;
