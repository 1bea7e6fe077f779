use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::selector::Labels;
use windlass_kernel::scheduler::{NodeIndex, Siblings};

use super::{usual::ZONE, *};
use crate::plugins::fixture::{labelled, node, prepared, scored, with};

const WEB: &[(&str, &str)] = &[("app", "web")];

/// A node in a zone with so many web pods.
fn at(name: &str, zone: &str, pods: usize) -> NodeView {
    let labels = [("kubernetes.io/hostname", name), ("topology.kubernetes.io/zone", zone)];
    let labels: &[_] = if zone.is_empty() { &labels[..1] } else { &labels };
    with(node(name, labels, json!({})), (0..pods).map(|_| labelled(WEB, json!({}))))
}

fn spreading(constraints: &[(&str, i32, &str)], more: &Value) -> PodView {
    let constraints: Vec<_> = constraints
        .iter()
        .map(|(topology, skew, when)| {
            let mut constraint = json!({
                "topologyKey": topology, "maxSkew": skew, "whenUnsatisfiable": when,
                "labelSelector": {"matchLabels": {"app": "web"}},
            });
            constraint.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
            constraint
        })
        .collect();
    labelled(WEB, json!({"topologySpreadConstraints": constraints}))
}

/// Which nodes are possible; a `!` marks those that never are.
#[track_caller]
fn check(pod: &PodView, nodes: &[NodeView], expect: &str) {
    let said = prepared(&PodTopologySpread, pod, nodes);
    let told = nodes.iter().zip(&said).filter_map(|(node, said)| match said.split(':').next() {
        Some("yes") => Some(node.name.to_string()),
        Some("never") => Some(format!("!{}", node.name)),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>().join(" "), expect, "{said:?}");
}

#[test]
fn places_may_differ_by_the_skew_and_no_more() {
    let nodes = [at("a", "x", 2), at("b", "x", 0), at("c", "y", 1), at("d", "", 0)];
    check(&spreading(&[(ZONE, 1, "DoNotSchedule")], &json!({})), &nodes, "c !d");
    check(&spreading(&[(ZONE, 2, "DoNotSchedule")], &json!({})), &nodes, "a b c !d");
    check(&spreading(&[(HOSTNAME, 1, "DoNotSchedule")], &json!({})), &nodes, "b d");
    check(&spreading(&[(ZONE, 2, "DoNotSchedule"), (HOSTNAME, 1, "DoNotSchedule")], &json!({})), &nodes, "b !d");
    check(&spreading(&[(ZONE, 1, "ScheduleAnyway")], &json!({})), &nodes, "");
}

#[test]
fn with_too_few_places_the_emptiest_counts_as_empty() {
    let nodes = [at("a", "x", 1), at("b", "y", 1)];
    let pod = |domains| spreading(&[(ZONE, 1, "DoNotSchedule")], &json!({"minDomains": domains}));
    check(&pod(2), &nodes, "a b");
    check(&pod(3), &nodes, "");
}

#[test]
fn nodes_where_the_pod_cannot_run_count_only_if_asked_for() {
    let mut closed = at("b", "y", 0);
    closed.labels.insert("closed".into(), String::new());
    let nodes = [at("a", "x", 1), closed];
    let pod = |policy: &str| {
        let mut pod = spreading(&[(ZONE, 1, "DoNotSchedule")], &json!({"nodeAffinityPolicy": policy}));
        let terms = json!([{"matchExpressions": [{"key": "closed", "operator": "DoesNotExist"}]}]);
        let terms = serde_json::from_value(json!({"nodeSelectorTerms": terms})).unwrap();
        pod.node_terms = Some(windlass_kernel::scheduler::NodeTerms::of(&terms));
        pod
    };
    check(&pod("Honor"), &nodes, "a b");
    check(&pod("Ignore"), &nodes, "b");
}

#[test]
fn what_if_answers_follow_pods_that_come_and_go() {
    let nodes = [at("a", "x", 1), at("b", "y", 0)];
    let (mut cycle, index) = (Cycle::new(), NodeIndex::of(&nodes));
    let pod = spreading(&[(ZONE, 1, "DoNotSchedule")], &json!({}));
    PodTopologySpread.pre_filter(&mut cycle, &pod, &Nodes::new(&nodes, &index));
    assert!(!PodTopologySpread.filter(&cycle, &pod, &nodes[0]).fits());
    let victim = Arc::clone(&nodes[0].pods()[0]);
    PodTopologySpread.removed(&mut cycle, &pod, &victim, &nodes[0]);
    assert!(PodTopologySpread.filter(&cycle, &pod, &nodes[0]).fits());
    PodTopologySpread.added(&mut cycle, &pod, &victim, &nodes[0]);
    assert!(!PodTopologySpread.filter(&cycle, &pod, &nodes[0]).fits());
}

#[test]
fn the_least_crowded_place_is_preferred() {
    let nodes = [at("a", "x", 3), at("b", "x", 0), at("c", "y", 1)];
    let pod = spreading(&[(ZONE, 1, "ScheduleAnyway")], &json!({}));
    assert_eq!(scored(&PodTopologySpread, Cycle::new(), &pod, &nodes), [25, 25, 100]);
}

#[test]
fn pods_of_a_service_are_spread_without_being_asked() {
    let nodes = [at("a", "", 2), at("b", "", 0)];
    let pod = labelled(WEB, json!({}));
    let mut cycle = Cycle::new();
    assert_eq!(scored(&PodTopologySpread, cycle.clone(), &pod, &nodes), Vec::<i64>::new());
    cycle.set(Siblings(Labels::equal_to(WEB.iter().copied())));
    assert_eq!(scored(&PodTopologySpread, cycle, &pod, &nodes), [40, 100]);
}

#[test]
fn a_profile_says_how_kin_is_spread_that_does_not_say_so_itself() {
    let nodes = [at("a", "x", 1), at("b", "y", 0), at("c", "", 0)];
    let kin = Siblings(Labels::equal_to(WEB.iter().copied()));
    let ask = |spreads: &[Spread], pod: &PodView| {
        let mut cycle = Cycle::new();
        cycle.set(kin.clone());
        cycle.set(Usual { spreads: spreads.into(), all_labels: true });
        let index = NodeIndex::of(&nodes);
        let told = PodTopologySpread.pre_filter(&mut cycle, pod, &Nodes::new(&nodes, &index));
        let fits = nodes.iter().filter(|node| PodTopologySpread.filter(&cycle, pod, node).fits());
        let fits = if told == Prepared::Skip { "any".into() } else { fits.map(|node| &*node.name).collect::<String>() };
        (fits, scored(&PodTopologySpread, cycle, pod, &nodes))
    };
    let constraints = |when| spreading(&[(ZONE, 1, when)], &json!({})).spread;
    let plain = labelled(WEB, json!({}));
    assert_eq!(ask(&constraints("DoNotSchedule"), &plain), ("b".into(), vec![]));
    assert_eq!(ask(&constraints("ScheduleAnyway"), &plain), ("any".into(), vec![0, 100, 0]));
    assert_eq!(ask(&[], &plain), ("any".into(), vec![]));
    let own = spreading(&[(HOSTNAME, 5, "DoNotSchedule")], &json!({}));
    assert_eq!(ask(&constraints("DoNotSchedule"), &own), ("abc".into(), vec![]));
}
