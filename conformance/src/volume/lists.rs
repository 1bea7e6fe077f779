//! What is listed.

use std::collections::BTreeSet;

use futures::FutureExt;
use windlass_kernel::{
    ErrorKind,
    volume::{CreateSnapshot, SnapshotFilter, SnapshotId, VolumeId},
};

use super::{Check, Fixture, makes, refused};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "pages_have_every_volume_once",
        clause: "ListVolumes: max_entries, next_token; 10 ABORTED where starting_token is not valid",
        needs: |f| {
            let lists = f.driver.controller().is_some_and(|controller| controller.listing().is_some());
            makes(f).or((!lists).then_some("the driver does not list volumes (LIST_VOLUMES)"))
        },
        run: |f| volumes(f).boxed(),
    },
    Check {
        name: "pages_have_every_snapshot_once",
        clause: "ListSnapshots: filters, max_entries, next_token; 10 ABORTED where starting_token is not valid",
        needs: |f| {
            let lists = f.driver.controller().is_some_and(|c| c.snapshotting().and(c.snapshot_listing()).is_some());
            makes(f).or((!lists).then_some("the driver does not list snapshots (LIST_SNAPSHOTS)"))
        },
        run: |f| snapshots(f).boxed(),
    },
    Check {
        name: "a_volume_is_looked_at_by_itself",
        clause: "ControllerGetVolume: the volume, where it is published, its condition",
        needs: |f| {
            let looks = f.driver.controller().is_some_and(|controller| controller.inspecting().is_some());
            makes(f).or((!looks).then_some("the driver does not look at single volumes (GET_VOLUME)"))
        },
        run: |f| alone(f).boxed(),
    },
];

impl Fixture {
    /// All volumes, by pages of so many.
    async fn listed(&self, limit: Option<u32>) -> Vec<VolumeId> {
        let listing = self.controller().listing().expect("the check needs it");
        let (mut ids, mut token) = (Vec::new(), None::<String>);
        loop {
            let page = listing.list(limit, token.as_deref()).await.expect("volumes are listed");
            let most = limit.map_or(usize::MAX, |limit| limit as usize);
            assert!(page.entries.len() <= most, "a page of {limit:?} has {}", page.entries.len());
            ids.extend(page.entries.into_iter().map(|entry| entry.volume.id));
            token = page.next;
            if token.is_none() {
                return ids;
            }
        }
    }
}

/// Contract 13: of volumes. Others may come and go meanwhile.
async fn volumes(fixture: Fixture) {
    let before = fixture.inventory();
    let mut made = BTreeSet::new();
    for n in 0..5 {
        made.insert(fixture.made(&n.to_string()).await.id);
    }
    for limit in [None, Some(1), Some(2), Some(100)] {
        let all = fixture.listed(limit).await;
        let different: BTreeSet<_> = all.iter().cloned().collect();
        assert_eq!(different.len(), all.len(), "pages of {limit:?} have a volume twice");
        assert!(made.is_subset(&different), "pages of {limit:?} leave out a volume");
    }
    let listing = fixture.controller().listing().expect("the check needs it");
    let kinds = [ErrorKind::Conflict];
    refused(listing.list(Some(2), Some("no such token")).await, &kinds, "a token that was never given");
    let gone = made.pop_first().expect("one was made");
    fixture.delete(&gone).await;
    assert!(!fixture.listed(Some(2)).await.contains(&gone), "a deleted volume is listed");
    for id in &made {
        fixture.delete(id).await;
    }
    fixture.end(&before);
}

/// Contract 13: of snapshots, all and some.
async fn snapshots(fixture: Fixture) {
    let before = fixture.inventory();
    let snapshotting = fixture.controller().snapshotting().expect("the check needs it");
    let listing = fixture.controller().snapshot_listing().expect("the check needs it");
    let volumes = [fixture.made("a").await, fixture.made("b").await];
    let mut made: Vec<(VolumeId, SnapshotId)> = Vec::new();
    for n in 0..4 {
        let source = volumes[n % 2].id.clone();
        let name = format!("{}-{n}", fixture.prefix);
        let secrets = fixture.secrets.clone();
        let request = CreateSnapshot { source: source.clone(), name, secrets, ..CreateSnapshot::default() };
        made.push((source, snapshotting.snapshot(&request).await.expect("a snapshot is made").id));
    }
    let filtered = |source: Option<VolumeId>, snapshot: Option<SnapshotId>| SnapshotFilter {
        source,
        snapshot,
        limit: Some(1),
        ..SnapshotFilter::default()
    };
    let cases = [
        (filtered(None, None), made.iter().map(|(_, id)| id.clone()).collect::<BTreeSet<_>>(), false),
        (filtered(Some(volumes[0].id.clone()), None), [0, 2].map(|n: usize| made[n].1.clone()).into(), true),
        (filtered(None, Some(made[1].1.clone())), [made[1].1.clone()].into(), true),
        (filtered(Some("never-was".into()), None), BTreeSet::new(), true),
    ];
    for (mut filter, expect, exactly) in cases {
        let mut all = Vec::new();
        loop {
            let page = listing.list_snapshots(&filter).await.expect("snapshots are listed");
            all.extend(page.entries.into_iter().map(|snapshot| snapshot.id));
            filter.token = page.next;
            if filter.token.is_none() {
                break;
            }
        }
        let different: BTreeSet<_> = all.iter().cloned().collect();
        assert_eq!(different.len(), all.len(), "a snapshot is there twice: {all:?}");
        assert!(expect.is_subset(&different), "snapshots are left out of {filter:?}");
        assert!(!exactly || different == expect, "{filter:?} lets others through: {different:?}");
    }
    let wrong = SnapshotFilter { token: Some("no such token".into()), ..SnapshotFilter::default() };
    refused(listing.list_snapshots(&wrong).await, &[ErrorKind::Conflict], "a token that was never given");
    for (_, id) in &made {
        snapshotting.delete_snapshot(id, &fixture.secrets).await.expect("a snapshot is deleted");
    }
    for volume in &volumes {
        fixture.delete(&volume.id).await;
    }
    fixture.end(&before);
}

/// Contract 5, 13: as in the list, and well.
async fn alone(fixture: Fixture) {
    let before = fixture.inventory();
    let volume = fixture.made("a").await;
    let inspecting = fixture.controller().inspecting().expect("the check needs it");
    let state = inspecting.inspect(&volume.id).await.expect("a volume is looked at");
    assert_eq!(state.volume.id, volume.id);
    assert_eq!(state.nodes, [], "a volume that was never attached is attached");
    if fixture.controller().features().conditions {
        let condition = state.condition.expect("a driver that tells conditions tells one");
        assert!(!condition.abnormal, "a new volume is not well: {}", condition.message);
        assert_ne!(condition.message, "", "the condition has no message");
    }
    fixture.delete(&volume.id).await;
    refused(inspecting.inspect(&volume.id).await, &[ErrorKind::NotFound], "looking at a volume that is gone");
    fixture.end(&before);
}
