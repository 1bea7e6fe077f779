//! Drivers that are killed, and calls that nobody waits for.

use std::time::Duration;

use futures::{
    FutureExt,
    future::{BoxFuture, Either, select},
};
use windlass_kernel::{
    Clock, ClockExt, ErrorKind, Result,
    volume::{CreateSnapshot, Source, Volume},
};

use super::{Check, Fixture, Restart, used::Used, uses};

/// At how many moments a call is killed, and how far they are apart.
const MOMENTS: u32 = 8;
const STEP: Duration = Duration::from_micros(900);

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a_killed_driver_finishes_what_it_began_to_make",
        clause: "Timeouts: a retried call with the same fields continues where it left off",
        needs: |f| uses(f).or(without_restart(f)),
        run: |f| killed_making(f).boxed(),
    },
    Check {
        name: "a_killed_driver_finishes_what_it_began_to_publish",
        clause: "NodePublishVolume: the CO may call it again where it does not know whether it failed",
        needs: |f| uses(f).or(without_restart(f)),
        run: |f| killed_publishing(f).boxed(),
    },
    Check {
        name: "a_killed_driver_knows_what_it_had",
        clause: "Volume Lifecycle: a volume stays published until it is unpublished",
        needs: |f| uses(f).or(without_restart(f)),
        run: |f| remembers(f).boxed(),
    },
    Check {
        name: "a_call_that_nobody_waits_for_is_undone_by_its_opposite",
        clause: "Timeouts: the only way to cancel a call is to issue a negation call",
        needs: uses,
        run: |f| dropped(f).boxed(),
    },
];

fn without_restart(fixture: &Fixture) -> Option<&'static str> {
    fixture.restart.is_none().then_some("the driver cannot be killed: whoever runs the checks did not start it")
}

/// Begins a call, and kills the driver so long after. Whether it was in time is not known, and does not matter.
async fn kill<T>(clock: &dyn Clock, restart: &Restart, after: Duration, call: BoxFuture<'_, Result<T>>) {
    let kill = async {
        clock.sleep(after).await;
        restart().await;
    };
    let _ = futures::future::join(call, kill).await;
}

/// Contract 15: volumes, snapshots and copies; made again or deleted.
async fn killed_making(fixture: Fixture) {
    let before = fixture.inventory();
    let (clock, restart) = (&*fixture.clock, fixture.restart.clone().expect("the check needs it"));
    let source = fixture.made("source").await;
    for moment in 0..MOMENTS {
        let (after, wanted) = (STEP * moment, fixture.wanted("a"));
        kill(clock, &restart, after, fixture.provisioning().create(&wanted)).await;
        let volume = fixture.made("a").await;
        kill(clock, &restart, after, fixture.provisioning().delete(&volume.id, &fixture.secrets)).await;
        fixture.delete(&volume.id).await;
        if let Some(snapshotting) = fixture.controller().snapshotting() {
            let name = format!("{}-s", fixture.prefix);
            let secrets = fixture.secrets.clone();
            let request = CreateSnapshot { source: source.id.clone(), name, secrets, ..CreateSnapshot::default() };
            kill(clock, &restart, after, snapshotting.snapshot(&request)).await;
            let snapshot = snapshotting.snapshot(&request).await.expect("a snapshot is made after all");
            let mut copy = fixture.wanted("copy");
            copy.source = Some(Source::Snapshot(snapshot.id.clone()));
            kill(clock, &restart, after, fixture.provisioning().create(&copy)).await;
            let copy = fixture.provisioning().create(&copy).await.expect("a copy is made after all");
            fixture.delete(&copy.id).await;
            kill(clock, &restart, after, snapshotting.delete_snapshot(&snapshot.id, &fixture.secrets)).await;
            let gone = snapshotting.delete_snapshot(&snapshot.id, &fixture.secrets).await;
            gone.expect("a snapshot is deleted after all");
        }
    }
    fixture.delete(&source.id).await;
    fixture.end(&before);
}

/// Contract 7, 10, 15: to the target and back, each step killed; for reading only, too.
async fn killed_publishing(fixture: Fixture) {
    let before = fixture.inventory();
    let (clock, restart) = (&*fixture.clock, fixture.restart.clone().expect("the check needs it"));
    let volume = fixture.made("a").await;
    let mut used = fixture.used(&volume, fixture.capability(), "a");
    used.up(false).await;
    used.write("kept").expect("a volume can be written to");
    used.down().await;
    for moment in 0..MOMENTS {
        let after = STEP * moment;
        let read_only = moment % 2 == 1 && fixture.offers.folders;
        let _ = std::fs::create_dir(&used.staging);
        used.attach().await.expect("a volume is attached");
        kill(clock, &restart, after, used.stage().boxed()).await;
        used.stage().await.expect("a volume is staged after all");
        kill(clock, &restart, after, used.publish(read_only).boxed()).await;
        used.publish(read_only).await.expect("a volume is published after all");
        used.is_there();
        assert_eq!(used.read(), "kept", "killed after {after:?}: what was in the volume is gone");
        assert_eq!(
            used.write("kept").is_err(),
            read_only,
            "killed after {after:?}: read-only is not what was asked for"
        );
        kill(clock, &restart, after, used.unpublish().boxed()).await;
        used.unpublish().await.expect("a volume is unpublished after all");
        kill(clock, &restart, after, used.unstage().boxed()).await;
        used.down().await;
    }
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}

/// Contract 7, 15: what is published stays so while the driver is away, and can be taken away by the next.
async fn remembers(fixture: Fixture) {
    let before = fixture.inventory();
    let restart = fixture.restart.clone().expect("the check needs it");
    let volume = fixture.made("a").await;
    let mut used = fixture.used(&volume, fixture.capability(), "a");
    used.up(false).await;
    used.write("before").expect("a volume can be written to");
    restart().await;
    used.is_there();
    assert_eq!(used.read(), "before", "the volume went with the driver");
    used.up(false).await;
    used.is_there();
    restart().await;
    used.down().await;
    assert_eq!(fixture.made("a").await.id, volume.id, "the name is another volume now");
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}

/// Contract 14, 15: dropping does not take a call back, and the opposite finds everything.
async fn dropped(fixture: Fixture) {
    let before = fixture.inventory();
    let volume: Volume = fixture.made("a").await;
    let mut used = fixture.used(&volume, fixture.capability(), "a");
    used.attach().await.expect("a volume is attached");
    for moment in 0..MOMENTS {
        begin(&fixture, STEP * moment, used.stage().boxed()).await;
        settled(&fixture, || used.stage().boxed()).await;
        begin(&fixture, STEP * moment, used.publish(false).boxed()).await;
        undone(&fixture, &used).await;
    }
    used.down().await;
    fixture.delete(&volume.id).await;
    fixture.end(&before);
}

/// Waits so long for a call, and no longer.
async fn begin<T>(fixture: &Fixture, span: Duration, call: BoxFuture<'_, Result<T>>) {
    if let Either::Right((_, call)) = select(call, fixture.clock.sleep(span)).await {
        drop(call);
    }
}

/// Makes a call until no other is in its way.
async fn settled<'a>(fixture: &Fixture, call: impl Fn() -> BoxFuture<'a, Result<()>>) {
    loop {
        match call().await {
            Err(error) if error.is(ErrorKind::Conflict) => fixture.clock.sleep(Duration::from_millis(2)).await,
            other => return other.expect("a call is made again when the others have ended"),
        }
    }
}

async fn undone(fixture: &Fixture, used: &Used<'_>) {
    settled(fixture, || used.unpublish().boxed()).await;
    settled(fixture, || used.unstage().boxed()).await;
}
