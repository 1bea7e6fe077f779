//! The collection of what nobody wants any more.

use futures::FutureExt;

use super::{Check, Fixture, always};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "what_is_not_named_is_collected_and_what_is_named_stays",
        clause: "GC: remove any resources not part of the valid attachments; cni.dev/valid-attachments",
        needs: always,
        run: |f| collect(f).boxed(),
    },
    Check {
        name: "what_lost_its_namespace_is_collected",
        clause: "GC: resources of attachments that were not deleted, such as after a reboot",
        needs: always,
        run: |f| after_reboot(f).boxed(),
    },
];

/// Contract 9: twice in a row, and the named one does not notice.
async fn collect(fixture: Fixture) {
    let before = fixture.before().await;
    let pods = ["a", "b", "c"].map(|name| fixture.pod(name));
    let [a, b, c] = &pods;
    a.attach().await;
    let attached = b.attach().await;
    c.attach().await;
    for _ in 0..2 {
        fixture.network.collect(std::slice::from_ref(&b.wanted.key)).await.expect("the rest is collected");
        assert!(b.reached(None, &attached), "the pod that was named lost its connection");
    }
    if fixture.offers.check {
        fixture.network.check(&b.wanted).await.expect("the pod that was named is well");
    }
    // What was collected is gone, so its keys are free.
    let again = a.attach().await;
    assert!(a.reached(Some(b), &again), "a pod that was collected cannot be attached again");
    for pod in &pods {
        pod.detach().await;
    }
    fixture.end(&before, &[a, b, c]);
}

/// Contract 9: nothing of it is left.
async fn after_reboot(fixture: Fixture) {
    let before = fixture.before().await;
    for name in ["a", "b"] {
        let pod = fixture.pod(name);
        pod.attach().await;
        fixture.surroundings.remove_pod(&pod.namespace);
    }
    fixture.network.collect(&[]).await.expect("all is collected");
    fixture.end(&before, &[]);
}
