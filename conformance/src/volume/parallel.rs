//! Calls that run at once.

use std::collections::BTreeSet;

use futures::{FutureExt, future::join_all};
use windlass_kernel::{Error, ErrorKind, Result};

use super::{Check, Fixture, makes, uses};

const CALLS: usize = 8;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "one_name_asked_for_at_once_is_one_volume",
        clause: "Concurrency: the plugin should handle this as gracefully as possible; 10 ABORTED",
        needs: makes,
        run: |f| one_name(f).boxed(),
    },
    Check {
        name: "calls_on_one_volume_at_once_do_no_harm",
        clause: "Operation pending for volume: 10 ABORTED may be returned to reject secondary calls",
        needs: uses,
        run: |f| one_volume(f).boxed(),
    },
    Check {
        name: "calls_on_many_volumes_do_not_disturb_each_other",
        clause: "Concurrency: one call in flight per volume; of many volumes there may be many",
        needs: uses,
        run: |f| many(f).boxed(),
    },
];

/// Those that were refused were refused since another went on.
fn pending<T>(answers: Vec<Result<T>>) -> Vec<T> {
    let pending = |error: &Error| error.is(ErrorKind::Conflict);
    answers
        .into_iter()
        .filter_map(|answer| match answer {
            Ok(done) => Some(done),
            Err(error) => {
                assert!(pending(&error), "a call beside others was refused with {:?}: {error}", error.kind());
                None
            }
        })
        .collect()
}

/// Contract 2, 14: of the calls that make and delete.
async fn one_name(fixture: Fixture) {
    let before = fixture.inventory();
    let wanted = fixture.wanted("a");
    let made = pending(join_all((0..CALLS).map(|_| fixture.provisioning().create(&wanted))).await);
    let volume = fixture.made("a").await;
    let ids: BTreeSet<_> = made.iter().map(|made| made.id.clone()).chain([volume.id.clone()]).collect();
    assert_eq!(ids.len(), 1, "one name is several volumes: {ids:?}");
    let deleting = (0..CALLS).map(|_| fixture.provisioning().delete(&volume.id, &fixture.secrets));
    pending(join_all(deleting).await);
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}

/// Contract 8, 14: of the calls on the node.
async fn one_volume(fixture: Fixture) {
    let before = fixture.inventory();
    let volume = fixture.made("a").await;
    let mut used = fixture.used(&volume, fixture.capability(), "a");
    used.attach().await.expect("a volume is attached");
    for round in 0..3 {
        pending(join_all((0..CALLS).map(|_| used.stage())).await);
        used.stage().await.expect("alone, it is staged");
        pending(join_all((0..CALLS).map(|_| used.publish(false))).await);
        used.publish(false).await.expect("alone, it is published");
        used.is_there();
        if round > 0 {
            assert_eq!(used.read(), format!("{}", round - 1));
        }
        used.write(&round.to_string()).expect("a volume can be written to");
        pending(join_all((0..CALLS).map(|_| used.unpublish())).await);
        used.unpublish().await.expect("alone, it is unpublished");
        pending(join_all((0..CALLS).map(|_| used.unstage())).await);
        used.unstage().await.expect("alone, it is unstaged");
    }
    used.down().await;
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}

/// Contract 14: each goes its way through everything.
async fn many(fixture: Fixture) {
    let before = fixture.inventory();
    let fixture = &fixture;
    join_all((0..CALLS).map(|n| async move {
        let name = n.to_string();
        let volume = fixture.made(&name).await;
        let mut used = fixture.used(&volume, fixture.capability(), &name);
        for _ in 0..2 {
            used.up(false).await;
            used.write(&name).expect("a volume can be written to");
            assert_eq!(used.read(), name, "another volume's words");
            used.down().await;
        }
        fixture.delete(&volume.id).await;
    }))
    .await;
    fixture.end(&before);
}
