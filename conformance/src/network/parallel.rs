//! Calls that run at once.

use std::collections::BTreeSet;

use futures::{FutureExt, future::join_all};

use super::{Check, Fixture, always, ips};

const PODS: usize = 8;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "pods_that_are_attached_at_once_have_addresses_of_their_own",
        clause: "The runtime may invoke operations in parallel for different containers; IPAM: unique addresses",
        needs: always,
        run: |f| unique(f).boxed(),
    },
    Check {
        name: "calls_on_many_pods_do_not_disturb_each_other",
        clause: "The container runtime must not invoke parallel operations for the same container, but may for others",
        needs: always,
        run: |f| disturb(f).boxed(),
    },
];

/// Contract 3: all differ.
async fn unique(fixture: Fixture) {
    let before = fixture.before().await;
    let pods: Vec<_> = (0..PODS).map(|n| fixture.pod(&format!("p{n}"))).collect();
    let all = join_all(pods.iter().map(|pod| pod.attach())).await;
    let addresses: Vec<_> = all.iter().flat_map(ips).collect();
    let different: BTreeSet<_> = addresses.iter().collect();
    assert_eq!(different.len(), addresses.len(), "addresses were given twice: {addresses:?}");
    join_all(pods.iter().map(|pod| pod.detach())).await;
    fixture.end(&before, &pods.iter().collect::<Vec<_>>());
}

/// Contract 13: each goes its way through all verbs, and one that stays is reached throughout.
async fn disturb(fixture: Fixture) {
    let before = fixture.before().await;
    let staying = fixture.pod("stays");
    let attached = staying.attach().await;
    let pods: Vec<_> = (0..PODS).map(|n| fixture.pod(&format!("p{n}"))).collect();
    join_all(pods.iter().map(|pod| async {
        for _ in 0..3 {
            pod.attach().await;
            if fixture.offers.check {
                fixture.network.check(&pod.wanted).await.expect("what was just attached is well");
            }
            pod.detach().await;
        }
    }))
    .await;
    assert!(staying.reached(None, &attached), "the pod that stayed lost its connection");
    staying.detach().await;
    let mut all: Vec<_> = pods.iter().collect();
    all.push(&staying);
    fixture.end(&before, &all);
}
