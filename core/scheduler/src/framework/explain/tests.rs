use serde_json::{Value, json};
use windlass_api::selector::Labels;
use windlass_kernel::{
    EntropyExt, Scheduler,
    scheduler::{Decision, Filter, Fit, NodeIndex, Siblings},
};
use windlass_testkit::SeededEntropy;

use super::*;
use crate::plugins::{
    Crashes, Packing, Spreading,
    fixture::{asking, labelled, named, node, pod, with},
};

fn turn<T>(pod: &PodView, nodes: &[NodeView], take: impl FnOnce(Turn<'_>) -> T) -> T {
    let (pod, index, entropy) = (Arc::new(pod.clone()), NodeIndex::of(nodes), SeededEntropy::new(1));
    take(Turn { pod: &pod, nodes: Nodes::new(nodes, &index), cycle: &mut facts(&pod), entropy: &entropy })
}

/// What a host would tell of the pod: its kin, where it states no constraints, and where they crashed.
fn facts(pod: &PodView) -> Cycle {
    let mut facts = Cycle::new();
    if let Some(app) = pod.labels.get("app").filter(|_| pod.spread.is_empty()) {
        facts.set(Siblings(Labels::equal_to([("app", app.as_str())])));
        facts.set(Crashes(Arc::new([("n1".into(), 3)].into())));
    }
    facts
}

fn diagnose(pod: &PodView, nodes: &[NodeView]) -> Diagnosis {
    diagnose_by(&Framework::default(), pod, nodes)
}

fn diagnose_by(framework: &Framework, pod: &PodView, nodes: &[NodeView]) -> Diagnosis {
    turn(pod, nodes, |turn| framework.diagnose(turn)).unwrap()
}

fn decide_by(framework: &Framework, pod: &PodView, nodes: &[NodeView]) -> Decision {
    turn(pod, nodes, |turn| futures::executor::block_on(framework.schedule(turn))).unwrap()
}

/// With everything that a profile can choose.
fn switched() -> Framework {
    let zones = ["topology.kubernetes.io/zone", "rack"];
    let framework = Framework::default().packing(Packing::Hybrid).band(1).avoiding_crashes(2);
    framework.failure_domains(&zones, 1, Spreading::Must)
}

/// The sentence about a pod.
#[track_caller]
fn check(pod: &PodView, nodes: &[NodeView], expect: &str) {
    assert_eq!(diagnose(pod, nodes).to_string(), expect);
}

fn host(name: &str, labels: &[(&str, &str)], spec: Value) -> NodeView {
    let labels: Vec<_> = labels.iter().copied().chain([("kubernetes.io/hostname", name)]).collect();
    node(name, &labels, spec)
}

#[test]
fn the_smallest_change_is_named() {
    let full = |name: &str, cpu| with(host(name, &[], json!({})), [asking(cpu, 10)]);
    let nowhere = "pod ns/p fits on none of 2 nodes; it would fit with the smallest change: ";
    let taint = json!({"taints": [{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]});
    check(
        &asking(2000, 10),
        &[full("a", 2500), full("b", 3000)],
        &format!("{nowhere}request cpu 1500m instead of 2 (node a)"),
    );
    check(
        &asking(2000, 10),
        &[full("a", 3500), host("b", &[], taint.clone())],
        &format!("{nowhere}tolerate the taint {{dedicated: db}} (NoSchedule) (node b)"),
    );
    check(
        &pod(json!({"nodeSelector": {"disk": "ssd"}})),
        &[host("a", &[], json!({})), host("b", &[], taint.clone())],
        &format!("{nowhere}label node a with disk=ssd"),
    );
    check(
        &asking(4000, 10),
        &[full("a", 3500), with(host("b", &[], taint), [asking(3000, 10)])],
        &format!("{nowhere}add one more node like a (new-node)"),
    );
    check(
        &pod(json!({"nodeSelector": {"topology.kubernetes.io/zone": "z"}})),
        &[host("a", &[], json!({})), host("b", &[], json!({"unschedulable": true}))],
        &format!("{nowhere}do without topology.kubernetes.io/zone in the node selector (node a)"),
    );
    check(
        &asking(100, 10),
        &[],
        "pod ns/p fits on none of 0 nodes; it would fit with the smallest change: add a node (new-node), give node \
         new-node cpu 100m and give node new-node memory 10Mi",
    );
}

#[test]
fn a_closed_node_is_opened_and_an_ill_one_left_alone() {
    let taint = |key: &str| json!([{"key": format!("node.kubernetes.io/{key}"), "effect": "NoSchedule"}]);
    let closed = host("a", &[], json!({"unschedulable": true, "taints": taint("unschedulable")}));
    let nowhere = "pod ns/p fits on none of 1 nodes; it would fit with the smallest change: ";
    check(&asking(1, 1), &[closed], &format!("{nowhere}uncordon node a"));
    let ill = host("a", &[], json!({"taints": taint("not-ready")}));
    check(&asking(1, 1), &[ill], &format!("{nowhere}add one more node like a (new-node)"));
}

#[test]
fn every_refusal_has_its_numbers_and_every_score_its_parts() {
    let nodes = [with(host("a", &[], json!({})), [asking(3000, 10)]), host("b", &[], json!({}))];
    let told = diagnose(&asking(2000, 10), &nodes).to_json();
    assert_eq!(
        (&told["verdict"], &told["best"]["nodes"], &told["best"]["decidedBy"]),
        (&json!("Fits"), &json!(["b"]), &json!("score"))
    );
    let [a, b] = [&told["nodes"][0], &told["nodes"][1]];
    assert_eq!((&a["refusedBy"], &a["reasons"]), (&json!("NodeResourcesFit"), &json!(["Insufficient cpu"])));
    let lack =
        json!({"type": "Lacks", "resource": "cpu", "requested": "2", "used": "3", "allocatable": "4", "free": "1"});
    assert_eq!(a["details"], json!([lack]));
    let scores = b["scores"].as_array().unwrap();
    let fit = scores.iter().find(|score| score["plugin"] == "NodeResourcesFit").unwrap();
    assert_eq!((&fit["raw"], &fit["normalized"], &fit["weight"]), (&json!(74), &json!(74), &json!(1)));
    let total: i64 = scores.iter().map(|score| score["weighted"].as_i64().unwrap()).sum();
    assert_eq!(b["total"], json!(total));
}

#[test]
fn victims_are_considered_node_by_node() {
    let small = |name: &str, priority| {
        let mut pod = named(name, asking(4000, 10));
        pod.priority = priority;
        pod
    };
    let nodes = [with(host("a", &[], json!({})), [small("p1", 5)]), with(host("b", &[], json!({})), [small("p2", 1)])];
    let mut important = named("vip", asking(1000, 10));
    (important.priority, important.preempts) = (10, true);
    let told = diagnose(&important, &nodes);
    assert_eq!(told.verdict, Verdict::Preempts("b".into()));
    let room = told.room.unwrap();
    let considered: Vec<_> = room.candidates.iter().map(|own| (&*own.node, &*own.pods[0].key.name)).collect();
    assert_eq!(considered, [("a", "p1"), ("b", "p2")]);
}

#[test]
fn pods_of_a_band_are_not_considered_as_victims() {
    let of = |name: &str, priority| {
        let mut pod = named(name, asking(4000, 10));
        (pod.priority, pod.preempts) = (priority, true);
        pod
    };
    let nodes = [with(host("a", &[], json!({})), [of("p1", 5)]), with(host("b", &[], json!({})), [of("p2", 1)])];
    let told = diagnose_by(&Framework::default().band(5), &of("vip", 10), &nodes);
    let considered: Vec<_> = told.room.unwrap().candidates.iter().map(|own| own.node.to_string()).collect();
    assert_eq!((told.verdict, considered), (Verdict::Preempts("b".into()), vec!["b".into()]));
}

#[test]
fn what_a_profile_chooses_stands_in_its_explanations() {
    let zone = |name: &'static str, zone: &str, others: usize| {
        let others = (0..others).map(|at| named(&format!("{name}{at}"), labelled(&[("app", "web")], json!({}))));
        with(host(name, &[("topology.kubernetes.io/zone", zone), ("rack", "r")], json!({})), others)
    };
    let own = labelled(&[("app", "web")], json!({}));
    let nodes = [zone("n1", "a", 0), zone("n2", "a", 0), zone("n3", "b", 0)];
    let told = diagnose_by(&switched(), &own, &nodes);
    let crashed = told.nodes[0].scores.iter().find(|score| score.plugin == "CrashedBefore").unwrap();
    assert_eq!((crashed.raw, crashed.normalized), (3, 0));
    assert!(told.nodes[0].scores.iter().any(|score| score.plugin == "Packing"));
    // The domain that has room for one more is closed.
    let mut nodes = [zone("n1", "a", 1), zone("n3", "b", 0)];
    nodes[1].unschedulable = true;
    let told = diagnose_by(&switched(), &own, &nodes).to_json();
    let skew = json!({"type": "Skew", "topologyKey": "topology.kubernetes.io/zone", "place": "a", "matchingPods": 1,
                      "leastMatchingPods": 0, "maxSkew": 1});
    assert_eq!(
        (&told["nodes"][0]["refusedBy"], &told["nodes"][0]["details"]),
        (&json!("PodTopologySpread"), &json!([skew]))
    );
    assert_eq!(told["smallestChange"]["message"], "uncordon node n3");
    nodes[1] = zone("n3", "b", 0);
    nodes[1].allocatable = nodes[1].used.clone();
    nodes[1].max_pods = 0;
    let told = diagnose_by(&switched(), &own, &nodes).to_json();
    let said = "state a spread over topology.kubernetes.io/zone as a preference (whenUnsatisfiable: ScheduleAnyway) \
                (node n1)";
    assert_eq!(told["smallestChange"]["message"], said);
}

#[derive(Debug)]
struct Stubborn;

impl Filter for Stubborn {
    fn name(&self) -> &'static str {
        "Stubborn"
    }

    fn filter(&self, _: &Cycle, _: &PodView, _: &NodeView) -> Fit {
        Fit::Never("never".into())
    }
}

#[test]
fn nothing_is_suggested_against_a_plugin_that_knows_no_cure() {
    let nodes = [host("a", &[], json!({}))];
    let told = turn(&asking(1, 1), &nodes, |turn| Framework::default().filter(Stubborn).diagnose(turn)).unwrap();
    assert_eq!((told.nodes[0].refused.as_ref().unwrap().plugin, told.remedy), ("Stubborn", None));
}

/// Draws clusters and pods.
struct Draw(SeededEntropy);

impl Draw {
    fn below(&self, limit: u64) -> u64 {
        self.0.below(limit)
    }

    fn once_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn one<'a>(&self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    fn labels(&self) -> Vec<(&'static str, &'static str)> {
        let drawn = [("app", self.one(&["web", "db"])), ("tier", self.one(&["front", "back"]))];
        drawn.into_iter().filter(|_| !self.once_in(3)).collect()
    }

    fn topology(&self) -> &'static str {
        self.one(&["kubernetes.io/hostname", "topology.kubernetes.io/zone", "rack"])
    }

    fn pod_term(&self) -> Value {
        let selector = json!({"matchLabels": {"app": self.one(&["web", "db"])}});
        json!({"labelSelector": selector, "topologyKey": self.topology()})
    }

    fn affinity(&self) -> Value {
        let required = |terms: Vec<Value>| json!({"requiredDuringSchedulingIgnoredDuringExecution": terms});
        let mut affinity = json!({});
        if self.once_in(6) {
            affinity["podAffinity"] = required(vec![self.pod_term()]);
        }
        if self.once_in(4) {
            affinity["podAntiAffinity"] = required(vec![self.pod_term()]);
        }
        if self.once_in(4) {
            let operator = self.one(&["In", "NotIn", "Exists", "DoesNotExist", "Gt"]);
            let key = self.one(&["disk", "size", "topology.kubernetes.io/zone"]);
            let values = match operator {
                "In" | "NotIn" => json!(["1", "a"]),
                "Gt" => json!(["3"]),
                _ => json!([]),
            };
            let mut term = json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
            if self.once_in(3) {
                let names = json!([self.one(&["n0", "n1", "gone"])]);
                term["matchFields"] = json!([{"key": "metadata.name", "operator": "In", "values": names}]);
            }
            affinity["nodeAffinity"] =
                json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}});
        }
        affinity
    }

    fn pod(&self, name: &str, cpus: u64) -> PodView {
        let mut requests =
            json!({"cpu": format!("{}m", self.below(cpus * 1000)), "memory": format!("{}Mi", self.below(5000))});
        if self.once_in(8) {
            requests["acme.io/gpu"] = json!(self.below(3).to_string());
        }
        let mut container = json!({"name": "c", "image": "app", "resources": {"requests": requests}});
        if self.once_in(4) {
            container["ports"] = json!([{"containerPort": 80, "hostPort": 80 + self.below(2)}]);
        }
        let mut spec = json!({"containers": [container], "affinity": self.affinity()});
        if self.once_in(4) {
            spec["nodeSelector"] = json!({self.one(&["disk", "topology.kubernetes.io/zone"]): "a"});
        }
        if self.once_in(3) {
            spec["tolerations"] = json!([{"key": self.one(&["dedicated", "other"]), "operator": "Exists"}]);
        }
        if self.once_in(3) {
            let selector = json!({"matchLabels": {"app": self.one(&["web", "db"])}});
            spec["topologySpreadConstraints"] = json!([{
                "maxSkew": 1, "topologyKey": self.topology(), "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": selector,
            }]);
        }
        if self.once_in(10) {
            spec["schedulingGates"] = json!([{"name": "wait"}]);
        }
        let mut pod = named(name, labelled(&self.labels(), spec));
        pod.priority = i32::try_from(self.below(3)).unwrap();
        pod
    }

    fn node(&self, name: &str) -> NodeView {
        let mut labels = vec![("kubernetes.io/hostname", name)];
        for (key, values) in [
            ("topology.kubernetes.io/zone", ["a", "b"]),
            ("rack", ["1", "2"]),
            ("disk", ["a", "b"]),
            ("size", ["1", "5"]),
        ] {
            if !self.once_in(4) {
                labels.push((key, self.one(&values)));
            }
        }
        let mut taints = Vec::new();
        for key in ["dedicated", "other", "node.kubernetes.io/not-ready"] {
            if self.once_in(5) {
                taints.push(json!({"key": key, "value": "x", "effect": self.one(&["NoSchedule", "NoExecute"])}));
            }
        }
        let mut node = node(name, &labels, json!({"taints": taints, "unschedulable": self.once_in(6)}));
        node.max_pods = i64::try_from(1 + self.below(4)).unwrap();
        let pods: Vec<_> = (0..self.below(4)).map(|at| self.pod(&format!("{name}-{at}"), 3)).collect();
        with(node, pods)
    }
}

/// What is explained must be what is decided, and what is suggested must do.
#[test]
fn the_suggested_change_makes_the_pod_schedule() {
    let mut suggested = 0;
    for seed in 0..2000 {
        let draw = Draw(SeededEntropy::new(seed));
        let mut nodes: Vec<_> = (0..draw.below(6)).map(|at| draw.node(&format!("n{at}"))).collect();
        let pod = draw.pod("p", 6);
        let framework = if seed % 3 == 0 { switched() } else { Framework::default() };
        let told = diagnose_by(&framework, &pod, &nodes);
        match decide_by(&framework, &pod, &nodes) {
            Decision::Place(placement) => {
                assert!(told.best.contains(&placement.node), "seed {seed}: {told}");
                assert_eq!(told.remedy.is_none(), pod.gates.is_empty(), "seed {seed}: {told}");
            }
            Decision::Nowhere(nowhere) => {
                assert_eq!(told.feasible(), 0, "seed {seed}");
                for refusal in &nowhere.explanation.refusals {
                    let refused = told.nodes[refusal.place].refused.as_ref().unwrap();
                    assert_eq!((refused.plugin, &refused.reasons[..]), (refusal.plugin, refusal.reasons.as_slice()));
                }
                let remedy =
                    told.remedy.as_ref().unwrap_or_else(|| panic!("seed {seed}: nothing is suggested: {told}"));
                let changed = remedy.pod(&pod);
                remedy.change_nodes(&mut nodes);
                assert!(changed.gates.is_empty());
                let Decision::Place(_) = decide_by(&framework, &changed, &nodes) else {
                    panic!("seed {seed}: {told} does not do")
                };
                suggested += 1;
            }
        }
    }
    assert!(suggested > 500, "only {suggested} of the pods fitted nowhere");
}

/// Refuses everything, and notes who a watch says is at work meanwhile.
#[derive(Clone, Debug, Default)]
struct Looks {
    watch: Watch,
    seen: Arc<parking_lot::Mutex<Vec<&'static str>>>,
}

impl Filter for Looks {
    fn name(&self) -> &'static str {
        "Looks"
    }

    fn filter(&self, _: &Cycle, _: &PodView, _: &NodeView) -> Fit {
        self.seen.lock().push(self.watch.at());
        Fit::No(windlass_kernel::scheduler::Reasons::One(windlass_kernel::scheduler::Reason::Told("no".into())))
    }
}

#[test]
fn a_plugin_is_known_to_be_at_work_when_it_is_asked_what_would_help() {
    let looks = Looks::default();
    let framework = Framework::default().filter(looks.clone());
    let (pod, nodes) = (Arc::new(pod(json!({}))), [node("n1", &[], json!({}))]);
    let (index, entropy, mut cycle) = (NodeIndex::of(&nodes), SeededEntropy::new(1), Cycle::new());
    cycle.set(looks.watch.clone());
    let turn = Turn { pod: &pod, nodes: Nodes::new(&nodes, &index), cycle: &mut cycle, entropy: &entropy };
    framework.remedy(turn).unwrap();
    let seen = looks.seen.lock();
    assert!(!seen.is_empty() && seen.iter().all(|at| *at == "Looks"), "{seen:?}");
}
