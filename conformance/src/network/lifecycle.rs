//! One attachment from its beginning to its end.

use futures::FutureExt;

use super::{Check, Fixture, INTERFACE, always, ips};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "an_attached_pod_is_reached_by_the_node_and_by_other_pods",
        clause: "ADD: create the interface defined by CNI_IFNAME inside the container; Success: interfaces, ips",
        needs: always,
        run: |f| connected(f).boxed(),
    },
    Check {
        name: "a_pod_is_attached_once",
        clause: "ADD: if an interface of the requested name already exists, the plugin must return with an error",
        needs: always,
        run: |f| once(f).boxed(),
    },
    Check {
        name: "detaching_again_or_what_never_was_succeeds",
        clause: "DEL: plugins should generally complete without error even if some resources are missing",
        needs: always,
        run: |f| gone(f).boxed(),
    },
    Check {
        name: "a_pod_is_detached_after_its_namespace_is_gone",
        clause: "DEL: CNI_NETNS may be empty or name a namespace that no longer exists; resources are released all the same",
        needs: always,
        run: |f| reboot(f).boxed(),
    },
    Check {
        name: "nothing_is_left_of_a_detached_pod",
        clause: "DEL: delete the interface, or undo any modifications applied in ADD",
        needs: always,
        run: |f| nothing_left(f).boxed(),
    },
    Check {
        name: "a_check_sees_that_the_interface_is_gone",
        clause: "CHECK: must return an error if a resource of the result was created by it and is missing",
        needs: |f| (!f.offers.check).then_some("the network cannot check"),
        run: |f| check(f).boxed(),
    },
    Check {
        name: "a_network_that_attaches_is_ready",
        clause: "STATUS: a plugin must exit with zero when it is ready to service ADD requests",
        needs: always,
        run: |f| ready(f).boxed(),
    },
];

/// Contract 1: the interface is there as the answer says, and connected.
async fn connected(fixture: Fixture) {
    let before = fixture.before().await;
    let (a, b) = (fixture.pod("a"), fixture.pod("b"));
    let attached = a.attach().await;
    let addresses = ips(&attached);
    let named = attached.interfaces.iter().find(|interface| interface.sandbox.is_some());
    let named = named.expect("the answer has the pod's interface");
    assert_eq!((named.name.as_str(), named.sandbox.as_ref()), (INTERFACE, Some(&a.namespace)));
    let seen = a.interface().expect("the interface is in the namespace");
    assert!(seen.up, "the interface is down");
    for ip in addresses {
        assert!(seen.addresses.iter().any(|net| net.addr() == ip), "{ip} is not among {:?}", seen.addresses);
    }
    b.attach().await;
    assert!(a.reached(None, &attached), "the node does not reach the pod at {:?}", ips(&attached));
    assert!(a.reached(Some(&b), &attached), "another pod does not reach it at {:?}", ips(&attached));
    a.detach().await;
    b.detach().await;
    fixture.end(&before, &[&a, &b]);
}

/// Contract 2: the second attach is refused, and the first is as good as before.
async fn once(fixture: Fixture) {
    let before = fixture.before().await;
    let pod = fixture.pod("a");
    let attached = pod.attach().await;
    let held = fixture.surroundings.inventory();
    let second = fixture.network.attach(&pod.wanted).await;
    second.expect_err("a second attach of the same key is refused");
    assert_eq!(fixture.beyond(&held), Vec::<String>::new(), "the refused attach left something");
    assert!(pod.interface().is_some_and(|seen| seen.up), "the refused attach took the interface away");
    assert!(pod.reached(None, &attached), "the refused attach cut the connection");
    pod.detach().await;
    fixture.end(&before, &[&pod]);
}

/// Contract 4: gone is success, and nobody else notices.
async fn gone(fixture: Fixture) {
    let before = fixture.before().await;
    let (never, pod, other) = (fixture.pod("never"), fixture.pod("a"), fixture.pod("b"));
    let attached = other.attach().await;
    for _ in 0..2 {
        never.detach().await;
    }
    pod.attach().await;
    for _ in 0..3 {
        pod.detach().await;
    }
    assert!(other.reached(None, &attached), "another pod lost its connection");
    other.detach().await;
    fixture.end(&before, &[&never, &pod, &other]);
}

/// Contract 5: with the path of a namespace that is gone, and with none.
async fn reboot(fixture: Fixture) {
    let before = fixture.before().await;
    for named in [true, false] {
        let mut pod = fixture.pod(if named { "a" } else { "b" });
        pod.attach().await;
        fixture.surroundings.remove_pod(&pod.namespace);
        if !named {
            pod.wanted.namespace = None;
        }
        pod.detach().await;
        pod.detach().await;
        assert_eq!(fixture.beyond(&before), Vec::<String>::new(), "what is left on the node");
        // The key can be used again.
        let again = fixture.surroundings.pod(pod.wanted.key.sandbox.as_str());
        pod.wanted.namespace = Some(again);
        let attached = pod.attach().await;
        assert!(pod.reached(None, &attached), "the node does not reach the pod");
        pod.detach().await;
        fixture.end(&before, &[&pod]);
    }
}

/// Contract 6: links, addresses, rules and reservations go, over and over.
async fn nothing_left(fixture: Fixture) {
    let before = fixture.before().await;
    let pod = fixture.pod("a");
    for _ in 0..5 {
        pod.attach().await;
        assert_ne!(fixture.beyond(&before), Vec::<String>::new(), "an attached pod has something on the node");
        pod.detach().await;
        let left = fixture.beyond(&before);
        assert!(left.is_empty(), "what is left on the node: {}", left.join("; "));
    }
    fixture.end(&before, &[&pod]);
}

/// Contract 8: well at first, however often it is asked; then not.
async fn check(fixture: Fixture) {
    let before = fixture.before().await;
    let pod = fixture.pod("a");
    fixture.network.check(&pod.wanted).await.expect_err("what is not attached is not well");
    pod.attach().await;
    for _ in 0..2 {
        fixture.network.check(&pod.wanted).await.expect("what was just attached is well");
    }
    fixture.surroundings.cut(&pod.namespace, INTERFACE);
    fixture.network.check(&pod.wanted).await.expect_err("the interface is gone");
    pod.detach().await;
    fixture.end(&before, &[&pod]);
}

/// Contract 12: it is ready, and asking changes nothing.
async fn ready(fixture: Fixture) {
    let before = fixture.before().await;
    for _ in 0..2 {
        fixture.network.ready().await.expect("a network that attaches is ready");
    }
    fixture.end(&before, &[]);
}
