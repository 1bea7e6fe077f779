//! What is to be done about a content next: its driver's part. Decides; asks and writes nothing.

use jiff::Timestamp;
use windlass_api::types::Time;
use windlass_kernel::{Error, ErrorKind, error::Certainty, volume::Snapshot};

use super::{
    kinds::{ContentStatus, SnapshotError, VolumeSnapshotContent},
    names::{BEING_CREATED, BEING_DELETED, CONTENT},
};

/// What is done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Rest,
    /// The content gets its finalizer.
    Hold,
    /// The content is marked, since its driver is about to be asked for a snapshot.
    Begin,
    /// The driver is asked for the snapshot, once more where it was before.
    Cut,
    /// The driver is asked how a snapshot is that was there before.
    Find,
    /// What the driver was asked for is known: the mark goes.
    Known,
    /// The driver is asked whether it cut a snapshot that is to be deleted.
    Settle,
    /// The driver deletes the snapshot, then the content may go.
    Delete,
    /// The content may go, and what it stood for stays.
    LetGo,
}

/// What to do about a content. Of contents of drivers elsewhere only the finalizer is ours.
pub(super) fn next(content: &VolumeSnapshotContent, ours: bool) -> Step {
    let (meta, spec) = (&content.metadata, &content.body.spec);
    let marked = meta.annotations.contains_key(BEING_CREATED);
    let held = meta.finalizers.iter().any(|own| own == CONTENT);
    let bound = spec.volume_snapshot_ref.uid.as_ref().is_some_and(|uid| !uid.is_empty());
    if meta.deletion_timestamp.is_some() {
        // While its snapshot is there and stays, so does the content.
        let free = !bound || meta.annotations.contains_key(BEING_DELETED);
        return match content.handle() {
            _ if !(ours && held && free) => Step::Rest,
            _ if spec.deletion_policy != "Delete" => Step::LetGo,
            Some(_) => Step::Delete,
            None if marked => Step::Settle,
            None => Step::LetGo,
        };
    }
    if !held {
        return Step::Hold;
    }
    if !ours {
        return Step::Rest;
    }
    let ready = content.body.status.as_ref().is_some_and(|status| status.ready_to_use == Some(true));
    let cut = content.body.status.as_ref().is_some_and(|status| status.snapshot_handle.is_some());
    match &spec.source.volume_handle {
        Some(_) if cut && marked => Step::Known,
        _ if ready => Step::Rest,
        Some(_) if cut || marked => Step::Cut,
        Some(_) => Step::Begin,
        None => Step::Find,
    }
}

/// A content's status from what its driver says.
pub(super) fn told(snapshot: &Snapshot) -> ContentStatus {
    ContentStatus {
        snapshot_handle: Some(snapshot.id.to_string()),
        creation_time: i64::try_from(snapshot.created.as_nanosecond()).ok(),
        ready_to_use: Some(snapshot.ready),
        restore_size: snapshot.size.and_then(|bytes| i64::try_from(bytes).ok()),
        error: None,
    }
}

/// The status of one that failed; `None` where that is said already.
pub(super) fn failed(was: &ContentStatus, message: &str, now: Timestamp) -> Option<ContentStatus> {
    if was.error.as_ref().is_some_and(|error| error.message.as_deref() == Some(message)) {
        return None;
    }
    let error = SnapshotError { time: Some(Time(now)), message: Some(message.to_owned()) };
    Some(ContentStatus { ready_to_use: Some(false), error: Some(error), ..was.clone() })
}

/// Whether a driver's refusal says that it has nothing, and will not.
pub(super) fn is_final(error: &Error) -> bool {
    let refused = matches!(
        error.kind(),
        ErrorKind::Invalid
            | ErrorKind::BadRequest
            | ErrorKind::NotFound
            | ErrorKind::NotSupported
            | ErrorKind::AlreadyExists
            | ErrorKind::Forbidden
    );
    refused && error.certainty() == Certainty::NotApplied
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(meta: &Value, spec: &Value, status: &Value, expect: Step) {
        let held = json!({"name": "c", "finalizers": [CONTENT]});
        let mut whole = json!({
            "metadata": held,
            "spec": {"deletionPolicy": "Delete", "driver": "d", "source": {"volumeHandle": "v"},
                "volumeSnapshotRef": {"name": "s", "namespace": "n", "uid": "u"}},
            "status": status,
        });
        for (part, more) in [("metadata", meta), ("spec", spec)] {
            for (key, value) in more.as_object().into_iter().flatten() {
                whole[part][key] = value.clone();
            }
        }
        let content = serde_json::from_value(whole).unwrap();
        assert_eq!(next(&content, true), expect);
    }

    #[test]
    fn a_snapshot_is_cut_after_it_was_said_that_it_will_be() {
        let marked = json!({"annotations": {BEING_CREATED: "yes"}});
        let none = json!({});
        check(&json!({"finalizers": []}), &none, &Value::Null, Step::Hold);
        check(&none, &none, &Value::Null, Step::Begin);
        check(&marked, &none, &Value::Null, Step::Cut);
        check(&marked, &none, &json!({"error": {"message": "no"}, "readyToUse": false}), Step::Cut);
        check(&marked, &none, &json!({"snapshotHandle": "h", "readyToUse": true}), Step::Known);
        check(&none, &none, &json!({"snapshotHandle": "h", "readyToUse": false}), Step::Cut);
        check(&none, &none, &json!({"snapshotHandle": "h", "readyToUse": true}), Step::Rest);
    }

    #[test]
    fn a_snapshot_that_was_there_is_found() {
        let there = json!({"source": {"snapshotHandle": "h"}});
        check(&json!({}), &there, &Value::Null, Step::Find);
        check(&json!({}), &there, &json!({"snapshotHandle": "h", "readyToUse": true}), Step::Rest);
    }

    #[test]
    fn a_content_goes_with_its_snapshot_alone() {
        let going = |more: &Value| {
            let mut meta = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "annotations": more});
            meta["finalizers"] = json!([CONTENT]);
            meta
        };
        let cut = json!({"snapshotHandle": "h", "readyToUse": true});
        let (none, freed) = (json!({}), json!({BEING_DELETED: "yes"}));
        check(&going(&none), &none, &cut, Step::Rest);
        check(&going(&freed), &none, &cut, Step::Delete);
        check(&going(&freed), &json!({"deletionPolicy": "Retain"}), &cut, Step::LetGo);
        check(&going(&freed), &none, &Value::Null, Step::LetGo);
        check(&going(&json!({BEING_DELETED: "yes", BEING_CREATED: "yes"})), &none, &Value::Null, Step::Settle);
        let unbound = json!({"volumeSnapshotRef": {"name": "s", "namespace": "n"},
            "source": {"snapshotHandle": "h"}});
        check(&going(&none), &unbound, &Value::Null, Step::Delete);
    }
}
