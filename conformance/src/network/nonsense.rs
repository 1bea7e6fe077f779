//! Requests that nobody should make.

use std::path::PathBuf;

use futures::FutureExt;
use windlass_kernel::network::{Attachment, AttachmentKey};

use super::{Check, Fixture, INTERFACE, always};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "names_that_can_be_none_are_refused",
        clause: "CNI_CONTAINERID and CNI_IFNAME: what they must not be",
        needs: always,
        run: |f| names(f).boxed(),
    },
    Check {
        name: "a_namespace_that_is_none_is_refused",
        clause: "CNI_NETNS: a reference to the container's isolation domain; error code 4 or 3 where it is none",
        needs: always,
        run: |f| namespaces(f).boxed(),
    },
];

/// Contract 11: names.
async fn names(fixture: Fixture) {
    let before = fixture.before().await;
    let pod = fixture.pod("a");
    let sandbox = pod.wanted.key.sandbox.as_str();
    let keys = [
        ("", INTERFACE),
        ("-x", INTERFACE),
        ("../../x", INTERFACE),
        ("a b", INTERFACE),
        (sandbox, ""),
        (sandbox, ".."),
        (sandbox, "a/b"),
        (sandbox, "a:b"),
        (sandbox, "longer-than-fifteen"),
    ];
    for (sandbox, interface) in keys {
        let key = AttachmentKey::new(sandbox, interface);
        let wanted = Attachment { key, ..pod.wanted.clone() };
        let refused = fixture.network.attach(&wanted).await;
        assert!(refused.is_err(), "{sandbox:?} and {interface:?} were taken for names");
    }
    fixture.end(&before, &[&pod]);
}

/// Contract 11: namespaces. The same key works afterwards.
async fn namespaces(fixture: Fixture) {
    let before = fixture.before().await;
    let mut pod = fixture.pod("a");
    let nonsense = [Some(PathBuf::from("/does/not/exist")), Some(PathBuf::from("/dev/null")), None];
    for namespace in nonsense {
        pod.wanted.namespace.clone_from(&namespace);
        let refused = fixture.network.attach(&pod.wanted).await;
        assert!(refused.is_err(), "{namespace:?} was taken for a network namespace");
        assert_eq!(fixture.beyond(&before), Vec::<String>::new(), "what the refused attach left on the node");
    }
    pod.wanted.namespace = Some(pod.namespace.clone());
    let attached = pod.attach().await;
    assert!(pod.reached(None, &attached), "the node does not reach the pod");
    pod.detach().await;
    fixture.end(&before, &[&pod]);
}
