//! Debian's plugins under the suite. What they fail is written down here and in `docs/status.md`; a change of theirs fails
//! this test until it is written down anew.

use std::{collections::BTreeMap, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use serde_json::json;
use windlass_conformance::{
    network::{Fixture, Hurry, Offers, cases},
    report::{self, Case, Outcome, Trace, Verdict},
};

use crate::kit::{DEBIAN, Kit};

/// What containernetworking-plugins 1.1.1 fail each time, and why: `bridge` with `host-local` and `portmap`.
const FAILS: &[(&str, &str)] = &[
    ("a_check_sees_that_the_interface_is_gone", "it does; but DEL then leaves masquerade rules, as next"),
    ("a_pod_is_detached_after_its_namespace_is_gone", "bridge keeps its masquerade rules if DEL finds no namespace"),
    (
        "a_port_of_the_node_leads_to_the_pod",
        "the port works; CHECK of portmap wants IPv6 chains in a network without IPv6",
    ),
    ("a_port_that_is_taken_is_refused", "portmap maps one port of the node to two pods, and the first stops answering"),
    ("what_lost_its_namespace_is_collected", "there is no GC before 1.1.0, and DEL leaves the same rules"),
];

/// What they fail at some moments, as they fall: a killed ADD or DEL.
const AT_TIMES: &[(&str, &str)] = &[
    ("a_killed_attach_is_removed_by_detach", "DEL of bridge fails for ever if a chain of its own was not made yet"),
    ("a_killed_attach_is_collected", "masquerade rules, as above"),
    ("a_killed_detach_is_finished_by_another", "masquerade rules: the second DEL finds no interface and so no address"),
];

/// With `bandwidth` in the chain as well.
const BANDWIDTH_FAILS: &[(&str, &str)] = &[(
    "a_check_sees_that_the_interface_is_gone",
    "CHECK of bandwidth crashes (nil pointer) for a pod without a limit",
)];

pub(crate) fn missing() -> Option<String> {
    let absent = ["bridge", "host-local", "portmap", "bandwidth", "static"]
        .into_iter()
        .find(|plugin| !Path::new(DEBIAN).join(plugin).exists());
    absent.map(|plugin| format!("Debian's CNI plugin {plugin} is not there: install containernetworking-plugins"))
}

fn fixture(kit: &Kit, prefix: String, bandwidth: bool) -> Fixture {
    let bridge = json!({
        "type": "bridge", "bridge": "deb0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": {"type": "host-local", "subnet": "10.89.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]},
    });
    let mut plugins = vec![bridge.clone(), json!({"type": "portmap", "capabilities": {"portMappings": true}})];
    if bandwidth {
        plugins.push(json!({"type": "bandwidth", "capabilities": {"bandwidth": true}}));
    }
    let list = json!({"cniVersion": "1.0.0", "name": "debian", "plugins": plugins});
    let (own, hurried) = (kit.clone(), list.clone());
    let hurry: Hurry = Arc::new(move |span| Arc::new(own.host("debian", &hurried, span)));
    Fixture {
        network: Arc::new(kit.host("debian", &list, Duration::from_secs(60))),
        surroundings: Arc::new(kit.clone()),
        clock: kit.machine.clone(),
        prefix,
        offers: Offers { ports: Some(Ipv4Addr::new(10, 89, 0, 1).into()), bandwidth, check: true },
        hurry: Some(hurry),
        raw: Some(Kit::raw(&Path::new(DEBIAN).join("bridge"), "debian", &bridge)),
    }
}

pub(crate) fn suite(kit: &Kit) {
    let failed = failed(kit, cases(|prefix| fixture(kit, format!("d{prefix}"), false)));
    let known = |table: &[(&str, &str)], name: &str| table.iter().any(|(known, _)| *known == name);
    for (name, why) in &failed {
        assert!(known(FAILS, name) || known(AT_TIMES, name), "{name} is not written down: {why}");
    }
    for (name, why) in FAILS {
        assert!(failed.contains_key(name), "{name} is written down as failed ({why}) and is not");
    }
    let mut cases = cases(|prefix| fixture(kit, format!("b{prefix}"), true));
    cases.retain(|case| case.name.contains("bandwidth") || known(BANDWIDTH_FAILS, case.name));
    let names: Vec<_> = self::failed(kit, cases).into_keys().collect();
    assert_eq!(names, BANDWIDTH_FAILS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}

/// The checks that fail, and how.
fn failed(kit: &Kit, cases: Vec<Case>) -> BTreeMap<&'static str, String> {
    let clock = Arc::clone(&kit.machine);
    let show = |outcome: &Outcome| println!("{}: {:?}", outcome.name, outcome.verdict);
    let report = kit.machine.block_on(report::run("Debian's plugins", cases, &*clock, &Trace::default(), show));
    let failed = report.outcomes.into_iter().filter_map(|outcome| match outcome.verdict {
        Verdict::Failed(why) => Some((outcome.name, why)),
        _ => None,
    });
    failed.collect()
}
