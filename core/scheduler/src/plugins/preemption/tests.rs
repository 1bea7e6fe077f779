use serde_json::json;
use windlass_api::selector::Labels;
use windlass_kernel::{
    Scheduler,
    scheduler::{Budget, Decision, NodeIndex, Turn},
};
use windlass_testkit::SeededEntropy;

use super::*;
use crate::{
    framework::Framework,
    plugins::{
        NodeResourcesFit,
        fixture::{asking, named, node, with},
    },
};

/// A pod of a priority that asks for so many CPUs.
fn pod(name: &str, priority: i32, cpus: i64) -> PodView {
    let mut pod = named(name, asking(cpus * 1000, 1));
    pod.priority = priority;
    pod.preempts = true;
    pod
}

fn decide(pod: PodView, nodes: &[NodeView], cycle: &mut Cycle) -> String {
    decide_with(
        &Framework::empty().filter(NodeResourcesFit).post_filter(DefaultPreemption::default()),
        pod,
        nodes,
        cycle,
    )
}

fn decide_with(framework: &Framework, pod: PodView, nodes: &[NodeView], cycle: &mut Cycle) -> String {
    let (pod, index, entropy) = (Arc::new(pod), NodeIndex::of(nodes), SeededEntropy::new(1));
    let turn = Turn { pod: &pod, nodes: Nodes::new(nodes, &index), cycle, entropy: &entropy };
    match futures::executor::block_on(framework.schedule(turn)).unwrap() {
        Decision::Place(placement) => format!("to {}", placement.node),
        Decision::Nowhere(nowhere) => match nowhere.preemption {
            Some(Preemption { node, victims }) => {
                let names: Vec<_> = victims.iter().map(|victim| victim.key.name.as_str()).collect();
                format!("{node}: {}", names.join(" "))
            }
            None => nowhere.explanation.to_string(),
        },
    }
}

/// The name, priority and CPUs of each pod of a node.
type Pods<'a> = &'a [(&'a str, i32, i64)];

/// Who leaves which node for a pod of priority 10 that asks for two CPUs, of nodes with four.
#[track_caller]
fn check(nodes: &[(&str, Pods)], expect: &str) {
    let views: Vec<_> = nodes
        .iter()
        .map(|(name, pods)| with(node(name, &[], json!({})), pods.iter().map(|(n, p, c)| pod(n, *p, *c))))
        .collect();
    assert_eq!(decide(pod("new", 10, 2), &views, &mut Cycle::new()), expect, "{nodes:?}");
}

#[test]
fn pods_of_a_band_never_evict_each_other() {
    let nodes = [
        with(node("a", &[], json!({})), [pod("prod", 100, 4)]),
        with(node("b", &[], json!({})), [pod("other", 150, 4)]),
    ];
    let ask = |framework: Framework, nodes: &[NodeView]| {
        decide_with(&framework, pod("new", 200, 2), nodes, &mut Cycle::new())
    };
    let plain = Framework::empty().filter(NodeResourcesFit).post_filter(DefaultPreemption::default());
    assert_eq!(ask(plain.clone(), &nodes), "a: prod");
    let banded = plain.band(100);
    let said = ask(banded.clone(), &nodes);
    assert!(said.ends_with("2 No preemption victims found for incoming pod."), "{said}");
    let [a, b] = nodes;
    assert_eq!(ask(banded, &[a, with(node("c", &[], json!({})), [pod("batch", 99, 4)]), b]), "c: batch");
}

#[test]
fn room_that_was_made_for_another_pod_is_not_made_again() {
    let nodes = ["a", "b"].map(|name| with(node(name, &[], json!({})), [pod(&format!("{name}-low"), 1, 4)]));
    let mut cycle = Cycle::new();
    let other = Arc::new(pod("other", 10, 3));
    cycle.set(Nominated(Arc::new([("a".to_owned(), vec![other])].into())));
    assert_eq!(decide(pod("new", 10, 2), &nodes, &mut cycle), "b: b-low");
    assert_eq!(decide(pod("new", 11, 2), &nodes, &mut cycle), "a: a-low");
}

#[test]
fn as_few_and_as_unimportant_pods_as_will_do_leave() {
    check(&[("a", &[("p", 1, 2)])], "to a");
    check(&[("a", &[("p", 1, 2), ("q", 2, 2)])], "a: p");
    check(&[("a", &[("p", 1, 1), ("q", 2, 1), ("r", 3, 2)])], "a: q p");
    check(&[("a", &[("p", 5, 4)]), ("b", &[("q", 4, 4)])], "b: q");
    check(&[("a", &[("p", 1, 1), ("q", 1, 3)]), ("b", &[("r", 1, 2), ("s", 1, 2)])], "a: q");
    check(&[("a", &[("p", 1, 2), ("q", 10, 2)]), ("b", &[("r", 0, 4)])], "b: r");
}

#[test]
fn where_nobody_can_leave_that_is_said() {
    check(
        &[("a", &[("p", 10, 4)]), ("b", &[("q", 11, 4)])],
        "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: \
         2 No preemption victims found for incoming pod.",
    );
    let nodes = [node("a", &[], json!({}))];
    assert_eq!(
        decide(pod("new", 10, 5), &nodes, &mut Cycle::new()),
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: \
         1 Preemption is not helpful for scheduling."
    );
    let mut modest = pod("new", 10, 4);
    modest.preempts = false;
    let nodes = [with(node("a", &[], json!({})), [pod("p", 1, 4)])];
    assert_eq!(
        decide(modest, &nodes, &mut Cycle::new()),
        "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."
    );
}

#[test]
fn budgets_are_respected_where_there_is_a_choice() {
    let guarded = |name: &str| {
        let mut pod = pod(name, 1, 4);
        pod.labels.insert("guarded".into(), "yes".into());
        pod
    };
    let nodes = [with(node("a", &[], json!({})), [guarded("p")]), with(node("b", &[], json!({})), [pod("q", 5, 4)])];
    let mut cycle = Cycle::new();
    assert_eq!(decide(pod("new", 10, 2), &nodes, &mut cycle), "a: p");
    let selector = Labels::equal_to([("guarded", "yes")]);
    cycle.set(Budgets(Arc::new(vec![Budget { namespace: "ns".into(), selector, allowed: 0 }])));
    assert_eq!(decide(pod("new", 10, 2), &nodes, &mut cycle), "b: q");
}

#[test]
fn while_victims_leave_no_more_are_chosen() {
    let mut going = pod("p", 1, 4);
    going.terminating = true;
    let nodes = [with(node("a", &[], json!({})), [going]), with(node("b", &[], json!({})), [pod("q", 1, 4)])];
    let mut waiting = pod("new", 10, 2);
    waiting.nominated = Some("a".into());
    assert_eq!(
        decide(waiting, &nodes, &mut Cycle::new()),
        "0/2 nodes are available: 2 Insufficient cpu. \
         preemption: not eligible due to a terminating pod on the nominated node."
    );
}

#[test]
fn so_many_nodes_are_enough_to_choose_from() {
    let nodes: Vec<_> = (0..10_i32)
        .map(|at| with(node(&format!("n{at}"), &[], json!({})), [pod(&format!("p{at}"), 9 - at, 4)]))
        .collect();
    let ask = |percentage, absolute| {
        let enough = Enough { percentage, absolute };
        assert_eq!(enough.of(1000), (percentage * 10).max(absolute));
        let framework = Framework::empty().filter(NodeResourcesFit).post_filter(DefaultPreemption { enough });
        decide_with(&framework.sample(100), pod("new", 10, 2), &nodes, &mut Cycle::new())
    };
    // The last node has the least important pod.
    assert_eq!(ask(10, 100), "n9: p9");
    assert_eq!(ask(100, 0), "n9: p9");
    assert_eq!(ask(0, 1), "n0: p0");
    assert_eq!(ask(30, 0), "n2: p2");
}
