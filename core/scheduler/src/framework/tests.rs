use serde_json::json;
use windlass_kernel::scheduler::{Cycle, Fit, NodeIndex, NodeView, Nominated, Score};
use windlass_testkit::SeededEntropy;

use super::*;
use crate::plugins::fixture::{asking, node, pod, with};

fn decide(framework: &Framework, pod: PodView, nodes: &[NodeView]) -> Result<Decision> {
    decide_with(framework, pod, nodes, Cycle::new())
}

fn decide_with(framework: &Framework, pod: PodView, nodes: &[NodeView], mut cycle: Cycle) -> Result<Decision> {
    let (pod, index, entropy) = (Arc::new(pod), NodeIndex::of(nodes), SeededEntropy::new(1));
    let turn = Turn {
        pod: &pod,
        nodes: windlass_kernel::scheduler::Nodes::new(nodes, &index),
        cycle: &mut cycle,
        entropy: &entropy,
    };
    futures::executor::block_on(framework.schedule(turn))
}

/// Where the default framework places a pod, or why nowhere.
#[track_caller]
fn check(pod: PodView, nodes: &[NodeView], expect: &str) {
    let told = match decide(&Framework::default(), pod, nodes).unwrap() {
        Decision::Place(placement) => format!("to {}", placement.node),
        Decision::Nowhere(nowhere) => nowhere.explanation.to_string(),
    };
    assert_eq!(told, expect);
}

fn empty(name: &str) -> NodeView {
    node(name, &[("kubernetes.io/hostname", name)], json!({}))
}

#[test]
fn the_node_with_most_room_wins() {
    check(asking(100, 100), &[with(empty("a"), [asking(2000, 4096)]), empty("b")], "to b");
}

#[test]
fn refusals_are_explained_in_upstreams_words() {
    let closed = node("a", &[], json!({"unschedulable": true}));
    let tainted = node("b", &[], json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}));
    check(
        asking(9000, 1),
        &[closed, tainted, empty("c")],
        "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {k: v}, \
         1 node(s) were unschedulable. preemption: 0/3 nodes are available: \
         3 Preemption is not helpful for scheduling.",
    );
    check(asking(1, 1), &[], "no nodes available to schedule pods");
}

#[test]
fn a_pod_for_one_node_looks_at_no_other() {
    let field = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]});
    let required = json!({"nodeSelectorTerms": [field]});
    let bound = |cpus: &str| {
        let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
        let containers = json!([{"name": "c", "resources": {"requests": {"cpu": cpus}}}]);
        pod(json!({"affinity": affinity, "containers": containers}))
    };
    let nodes = [empty("a"), empty("b"), empty("c")];
    check(bound("1"), &nodes, "to b");
    check(
        bound("5"),
        &nodes,
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. \
         preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
    );
}

#[test]
fn room_that_was_made_for_an_important_pod_is_not_taken_by_others() {
    let nodes = [empty("a"), empty("b")];
    let mut important = asking(4000, 1);
    (important.uid, important.priority) = ("important".into(), 10);
    let nominated = [("a".to_owned(), vec![Arc::new(important)])].into();
    let mut cycle = Cycle::new();
    cycle.set(Nominated(Arc::new(nominated)));
    let Decision::Place(placement) = decide_with(&Framework::default(), asking(1000, 1), &nodes, cycle).unwrap() else {
        panic!("there is room on b");
    };
    assert_eq!((&*placement.node, placement.feasible), ("b", 1));
}

#[derive(Debug)]
struct Clumsy;

impl Filter for Clumsy {
    fn name(&self) -> &'static str {
        "Clumsy"
    }

    fn filter(&self, _: &Cycle, _: &PodView, _: &NodeView) -> Fit {
        panic!("dropped it")
    }
}

impl ScorePlugin for Clumsy {
    fn name(&self) -> &'static str {
        "Clumsy"
    }

    fn score(&self, _: &Cycle, _: &PodView, _: &NodeView) -> Score {
        panic!("dropped it, too")
    }
}

#[test]
fn a_filter_that_panics_is_named() {
    let nodes = [empty("a"), empty("b")];
    let framework = Framework::default().filter(Clumsy);
    let said = decide(&framework, asking(1, 1), &nodes).unwrap_err().to_string();
    assert!(said.contains("plugin Clumsy panicked: dropped it"), "{said}");
    assert!(decide(&framework.without("Clumsy"), asking(1, 1), &nodes).is_ok());
}

/// Scores what cannot be.
#[derive(Debug)]
struct Eager;

impl ScorePlugin for Eager {
    fn name(&self) -> &'static str {
        "Eager"
    }

    fn score(&self, _: &Cycle, _: &PodView, _: &NodeView) -> Score {
        Score::exact(140)
    }
}

#[test]
fn scores_that_fail_are_named_and_the_others_decide() {
    let nodes = [with(empty("a"), [asking(2000, 4096)]), empty("b")];
    let framework = Framework::default().score(100, Clumsy).score(100, Eager);
    let (pod, index, entropy) = (Arc::new(asking(100, 100)), NodeIndex::of(&nodes), SeededEntropy::new(1));
    let (mut cycle, nodes) = (Cycle::new(), windlass_kernel::scheduler::Nodes::new(&nodes, &index));
    let turn = Turn { pod: &pod, nodes, cycle: &mut cycle, entropy: &entropy };
    let Decision::Place(placement) = futures::executor::block_on(framework.schedule(turn)).unwrap() else {
        panic!("there is room");
    };
    assert_eq!(&*placement.node, "b");
    let Faults(faults) = cycle.get().unwrap();
    assert_eq!(
        faults[..],
        ["plugin Clumsy panicked: dropped it, too", "plugin Eager scored 140, which is not from 0 to 100"]
    );
}

/// Answers for one node only.
#[derive(Debug)]
struct Short;

#[async_trait]
impl Extender for Short {
    fn name(&self) -> &'static str {
        "Short"
    }

    fn interested(&self, _: &PodView) -> bool {
        true
    }

    async fn filter(&self, _: &PodView, _: &windlass_kernel::scheduler::Nodes<'_>) -> Result<Vec<Fit>> {
        Ok(vec![Fit::Yes])
    }

    async fn score(&self, _: &PodView, _: &windlass_kernel::scheduler::Nodes<'_>) -> Result<Vec<Score>> {
        Ok(vec![Score::MAX])
    }
}

#[test]
fn an_extender_that_does_not_answer_for_every_node_is_named() {
    let nodes = [empty("a"), empty("b")];
    let said = decide(&Framework::default().extender(1, Short), asking(1, 1), &nodes).unwrap_err().to_string();
    assert!(said.contains("extender Short gave 1 answers for 2 nodes"), "{said}");
}

#[test]
fn thousands_of_nodes_are_sampled() {
    let nodes: Vec<_> = (0..1000).map(|at| empty(&format!("n{at}"))).collect();
    let Decision::Place(placement) = decide(&Framework::default(), asking(1, 1), &nodes).unwrap() else {
        panic!("there is room");
    };
    assert_eq!((placement.evaluated, placement.feasible), (420, 420));
}

#[test]
fn a_sample_starves_no_node_over_time() {
    let nodes: Vec<_> = (0..200).map(|at| empty(&format!("n{at}"))).collect();
    let (framework, index, entropy) = (Framework::empty().sample(1), NodeIndex::of(&nodes), SeededEntropy::new(1));
    let (pod, mut chosen) = (Arc::new(asking(1, 1)), vec![0; nodes.len()]);
    for _ in 0..4000 {
        let nodes = windlass_kernel::scheduler::Nodes::new(&nodes, &index);
        let turn = Turn { pod: &pod, nodes, cycle: &mut Cycle::new(), entropy: &entropy };
        let Decision::Place(placement) = futures::executor::block_on(framework.schedule(turn)).unwrap() else {
            panic!("there is room");
        };
        assert_eq!(placement.evaluated, 100);
        chosen[placement.place] += 1;
    }
    // Twenty each, but for chance.
    assert!(chosen.iter().all(|count| (5..=40).contains(count)), "{chosen:?}");
}
