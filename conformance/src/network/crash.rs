//! Calls that are interrupted.

use std::time::Duration;

use futures::{FutureExt, future::Either, future::select};
use windlass_kernel::{ClockExt, network::Attachment};

use super::{Check, Fixture, always};

/// At how many moments a call is killed, and how far they are apart: together about what an attach takes.
const MOMENTS: u32 = 24;
const STEP: Duration = Duration::from_micros(700);

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a_killed_attach_is_removed_by_detach",
        clause: "ADD and DEL: an ADD that failed is followed by DEL, which releases all resources",
        needs: without_hurry,
        run: |f| killed(f).boxed(),
    },
    Check {
        name: "a_killed_attach_is_collected",
        clause: "GC: clean up resources that a DEL did not",
        needs: without_hurry,
        run: |f| killed_and_collected(f).boxed(),
    },
    Check {
        name: "a_killed_detach_is_finished_by_another",
        clause: "DEL may be followed by additional DELs",
        needs: without_hurry,
        run: |f| killed_detach(f).boxed(),
    },
    Check {
        name: "an_attach_that_nobody_waits_for_is_removed_by_detach",
        clause: "ADD is always eventually followed by a corresponding DEL",
        needs: always,
        run: |f| dropped(f).boxed(),
    },
];

fn without_hurry(fixture: &Fixture) -> Option<&'static str> {
    fixture.hurry.is_none().then_some("calls of this network cannot be killed")
}

/// Contract 7: at many moments.
async fn killed(fixture: Fixture) {
    let before = fixture.before().await;
    let hurry = fixture.hurry.clone().expect("the check needs it");
    let pod = fixture.pod("a");
    for moment in 0..MOMENTS {
        let span = STEP * moment;
        // Whether it was in time is not known, and does not matter.
        let _ = hurry(span).attach(&pod.wanted).await;
        pod.detach().await;
        let left = fixture.beyond(&before);
        assert!(left.is_empty(), "left by an attach that was killed after {span:?}: {}", left.join("; "));
    }
    let attached = pod.attach().await;
    assert!(pod.reached(None, &attached), "the node does not reach the pod after all that");
    pod.detach().await;
    fixture.end(&before, &[&pod]);
}

/// Contract 7, 9: nobody detaches, and the namespaces are gone.
async fn killed_and_collected(fixture: Fixture) {
    let before = fixture.before().await;
    let hurry = fixture.hurry.clone().expect("the check needs it");
    for moment in (0..MOMENTS).step_by(3) {
        let pod = fixture.pod(&format!("p{moment}"));
        let _ = hurry(STEP * moment).attach(&pod.wanted).await;
        fixture.surroundings.remove_pod(&pod.namespace);
    }
    fixture.network.collect(&[]).await.expect("all is collected");
    fixture.end(&before, &[]);
}

/// Contract 4, 7: at many moments.
async fn killed_detach(fixture: Fixture) {
    let before = fixture.before().await;
    let hurry = fixture.hurry.clone().expect("the check needs it");
    let pod = fixture.pod("a");
    for moment in (0..MOMENTS).step_by(3) {
        pod.attach().await;
        let span = STEP * moment;
        let _ = hurry(span).detach(&pod.wanted).await;
        pod.detach().await;
        let left = fixture.beyond(&before);
        assert!(left.is_empty(), "left by a detach that was killed after {span:?}: {}", left.join("; "));
    }
    fixture.end(&before, &[&pod]);
}

/// Contract 7: dropping the call's future does not take it back, and the detach that follows finds everything.
async fn dropped(fixture: Fixture) {
    let before = fixture.before().await;
    let pod = fixture.pod("a");
    for moment in 0..8 {
        let begun = begin(&fixture, &pod.wanted, STEP * moment * 3);
        begun.await;
        pod.detach().await;
        let left = fixture.beyond(&before);
        assert!(left.is_empty(), "left by an attach that was dropped: {}", left.join("; "));
    }
    let attached = pod.attach().await;
    assert!(pod.reached(None, &attached), "the node does not reach the pod after all that");
    pod.detach().await;
    fixture.end(&before, &[&pod]);
}

/// Waits so long for an attach, and no longer.
async fn begin(fixture: &Fixture, wanted: &Attachment, span: Duration) {
    let attach = fixture.network.attach(wanted);
    if let Either::Right((_, attach)) = select(attach, fixture.clock.sleep(span)).await {
        drop(attach);
    }
}
