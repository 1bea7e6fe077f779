//! Snapshots and clones.

use futures::FutureExt;
use windlass_kernel::{
    ErrorKind,
    volume::{CapacityRange, CreateSnapshot, CreateVolume, Snapshot, SnapshotFilter, Snapshotting, Source, Volume},
};

use super::{Check, Fixture, makes, refused, uses};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a_snapshot_is_of_its_moment",
        clause: "CreateSnapshot: cut; CreateVolume from a SnapshotSource: the content of the snapshot",
        needs: |f| uses(f).or(no_snapshots(f)),
        run: |f| of_its_moment(f).boxed(),
    },
    Check {
        name: "a_name_is_one_snapshot",
        clause: "CreateSnapshot: must be idempotent; 6 ALREADY_EXISTS for a name of another source",
        needs: |f| makes(f).or(no_snapshots(f)),
        run: |f| by_name(f).boxed(),
    },
    Check {
        name: "a_snapshot_outlives_its_volume_or_holds_it",
        clause: "DeleteVolume: snapshots stay fully operational, or 9 FAILED_PRECONDITION",
        needs: |f| uses(f).or(no_snapshots(f)),
        run: |f| outlives(f).boxed(),
    },
    Check {
        name: "a_clone_is_its_own_volume",
        clause: "CreateVolume from a VolumeSource (CLONE_VOLUME)",
        needs: |f| {
            let clones = f.driver.controller().is_some_and(|controller| controller.features().clones);
            uses(f).or((!clones).then_some("the driver does not clone (CLONE_VOLUME)"))
        },
        run: |f| clone(f).boxed(),
    },
];

fn no_snapshots(fixture: &Fixture) -> Option<&'static str> {
    let can = fixture.driver.controller().is_some_and(|controller| controller.snapshotting().is_some());
    (!can).then_some("the driver makes no snapshots (CREATE_DELETE_SNAPSHOT)")
}

impl Fixture {
    fn snapshotting(&self) -> &dyn Snapshotting {
        self.controller().snapshotting().expect("the check needs snapshots")
    }

    fn snapshot_of(&self, volume: &Volume, name: &str) -> CreateSnapshot {
        CreateSnapshot {
            source: volume.id.clone(),
            name: format!("{}-{name}", self.prefix),
            secrets: self.secrets.clone(),
            ..CreateSnapshot::default()
        }
    }

    /// A snapshot that can be used.
    async fn cut(&self, volume: &Volume, name: &str) -> Snapshot {
        let request = self.snapshot_of(volume, name);
        let mut snapshot = self.snapshotting().snapshot(&request).await.expect("a snapshot is made");
        while !snapshot.ready {
            // Asking again tells how it goes.
            snapshot = self.snapshotting().snapshot(&request).await.expect("a snapshot is asked for again");
        }
        snapshot
    }

    async fn drop_snapshot(&self, snapshot: &Snapshot) {
        for _ in 0..2 {
            let gone = self.snapshotting().delete_snapshot(&snapshot.id, &self.secrets).await;
            gone.expect("a snapshot is deleted");
        }
    }

    /// A volume with words in it, not in use.
    async fn filled(&self, name: &str, words: &str) -> Volume {
        let volume = self.made(name).await;
        let mut used = self.used(&volume, self.capability(), name);
        used.up(false).await;
        used.write(words).expect("a volume can be written to");
        used.down().await;
        volume
    }

    /// A volume that is a copy has the words, and can be written to.
    async fn copied(&self, source: Source, name: &str, words: &str) -> Volume {
        let wanted = CreateVolume { source: Some(source.clone()), ..self.wanted(name) };
        let copy = self.provisioning().create(&wanted).await.expect("a copy is made");
        assert_eq!(copy.source, Some(source), "the copy does not say what it is a copy of");
        assert_eq!(self.provisioning().create(&wanted).await.expect("again").id, copy.id, "again is another volume");
        let mut used = self.used(&copy, self.capability(), name);
        used.up(false).await;
        assert_eq!(used.read(), words, "the copy has something else in it");
        used.write("the copy's own").expect("a copy can be written to");
        used.down().await;
        copy
    }
}

/// Contract 12: what is written later is not in it, and what happens to a copy does not touch it.
async fn of_its_moment(fixture: Fixture) {
    let before = fixture.inventory();
    let volume = fixture.filled("a", "before").await;
    let snapshot = fixture.cut(&volume, "s").await;
    assert_eq!(snapshot.source, volume.id, "the snapshot is of another volume");
    let mut used = fixture.used(&volume, fixture.capability(), "a");
    used.up(false).await;
    used.write("after").expect("a volume can be written to");
    used.down().await;
    let source = Source::Snapshot(snapshot.id.clone());
    let one = fixture.copied(source.clone(), "one", "before").await;
    let two = fixture.copied(source.clone(), "two", "before").await;
    if let Some(size) = snapshot.size.filter(|size| *size > 1) {
        let small = CapacityRange { required: None, limit: Some(size / 2) };
        let wanted = CreateVolume { source: Some(source), capacity: small, ..fixture.wanted("small") };
        let kinds = [ErrorKind::Invalid, ErrorKind::Full];
        refused(fixture.provisioning().create(&wanted).await, &kinds, "a copy smaller than its snapshot");
    }
    used.up(false).await;
    assert_eq!(used.read(), "after", "the volume has what its copies or its snapshot have");
    used.down().await;
    for copy in [one, two] {
        fixture.delete(&copy.id).await;
    }
    fixture.drop_snapshot(&snapshot).await;
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}

/// Contract 2, 4: of snapshots.
async fn by_name(fixture: Fixture) {
    let before = fixture.inventory();
    let (a, b) = (fixture.made("a").await, fixture.made("b").await);
    let first = fixture.cut(&a, "s").await;
    let again = fixture.cut(&a, "s").await;
    assert_eq!((&again.id, again.created), (&first.id, first.created), "the same request answers another snapshot");
    let other = fixture.snapshotting().snapshot(&fixture.snapshot_of(&b, "s")).await;
    refused(other, &[ErrorKind::AlreadyExists], "a snapshot of another volume by the same name");
    fixture.drop_snapshot(&first).await;
    let never = fixture.snapshotting().delete_snapshot(&"never-was".into(), &fixture.secrets).await;
    never.expect("deleting a snapshot that never was");
    if let Some(listing) = fixture.controller().snapshot_listing() {
        let filter = SnapshotFilter { snapshot: Some(first.id), ..SnapshotFilter::default() };
        let page = listing.list_snapshots(&filter).await.expect("a snapshot that is gone is looked for");
        assert_eq!(page.entries, [], "a snapshot that is gone is listed");
    }
    for volume in [a, b] {
        fixture.delete(&volume.id).await;
    }
    fixture.end(&before);
}

/// Contract 12: whichever of the two the driver does.
async fn outlives(fixture: Fixture) {
    let before = fixture.inventory();
    let volume = fixture.filled("a", "kept").await;
    let snapshot = fixture.cut(&volume, "s").await;
    let held = fixture.provisioning().delete(&volume.id, &fixture.secrets).await;
    if let Err(error) = &held {
        assert!(error.is(ErrorKind::Conflict), "deleting a volume with snapshots failed: {error}");
    }
    let copy = fixture.copied(Source::Snapshot(snapshot.id.clone()), "copy", "kept").await;
    fixture.delete(&copy.id).await;
    fixture.drop_snapshot(&snapshot).await;
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}

/// Contract 12: it has what was there, and each goes its own way.
async fn clone(fixture: Fixture) {
    let before = fixture.inventory();
    let volume = fixture.filled("a", "original").await;
    let copy = fixture.copied(Source::Volume(volume.id.clone()), "copy", "original").await;
    let mut used = fixture.used(&volume, fixture.capability(), "a");
    used.up(false).await;
    assert_eq!(used.read(), "original", "what was written to the clone is in the volume");
    used.down().await;
    fixture.delete(&volume.id).await;
    let mut used = fixture.used(&copy, fixture.capability(), "copy");
    used.up(false).await;
    assert_eq!(used.read(), "the copy's own", "the clone went with the volume");
    used.down().await;
    fixture.delete(&copy.id).await;
    fixture.end(&before);
}
