//! How full volumes are.

use futures::FutureExt;
use windlass_kernel::{ErrorKind, volume::UsageQuery};

use super::{Check, Fixture, refused, uses_folders};

pub(super) const CHECKS: &[Check] = &[Check {
    name: "the_usage_of_a_volume_is_told_where_it_is",
    clause: "NodeGetVolumeStats: usage in bytes and inodes; 5 NOT_FOUND where the volume is not at volume_path",
    needs: |f| {
        let tells = f.driver.node().is_some_and(|node| node.usage().is_some());
        uses_folders(f).or((!tells).then_some("the driver does not tell usage (GET_VOLUME_STATS)"))
    },
    run: |f| told(f).boxed(),
}];

/// Contract 5, 16: its files count, and elsewhere it is not found.
async fn told(fixture: Fixture) {
    let before = fixture.inventory();
    let volume = fixture.made("a").await;
    let mut used = fixture.used(&volume, fixture.capability(), "a");
    used.up(false).await;
    let usage = fixture.node().usage().expect("the check needs it");
    let query = UsageQuery {
        volume: volume.id.clone(),
        path: used.target.clone(),
        staging: fixture.node().staging().map(|_| used.staging.clone()),
    };
    let empty = usage.usage_of(&query).await.expect("usage is told");
    let bytes = empty.bytes.expect("usage has bytes");
    assert!(bytes.total > 0, "the volume has no bytes");
    std::fs::write(used.target.join("large"), vec![7; 1 << 20]).expect("a volume can be written to");
    std::fs::File::open(used.target.join("large")).and_then(|file| file.sync_all()).expect("it is on the disk");
    let full = usage.usage_of(&query).await.expect("usage is told");
    let more = full.bytes.expect("usage has bytes").used.saturating_sub(bytes.used);
    assert!(more >= 1 << 20, "a file of 1 MiB made {more} bytes of usage");
    if let (Some(empty), Some(full)) = (empty.inodes, full.inodes) {
        assert!(full.used > empty.used, "a file is no inode: {empty:?} and {full:?}");
    }
    if fixture.node().features().conditions {
        assert!(!full.condition.expect("a condition is told").abnormal, "the volume is not well");
    }
    let not_found = &[ErrorKind::NotFound];
    let elsewhere = UsageQuery { path: fixture.folder.join("elsewhere"), ..query.clone() };
    refused(usage.usage_of(&elsewhere).await, not_found, "usage at a path without the volume");
    let other = UsageQuery { volume: "never-was".into(), ..query.clone() };
    refused(usage.usage_of(&other).await, not_found, "usage of a volume that never was");
    used.unpublish().await.expect("a volume is unpublished");
    refused(usage.usage_of(&query).await, not_found, "usage after the volume was unpublished");
    used.down().await;
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}
