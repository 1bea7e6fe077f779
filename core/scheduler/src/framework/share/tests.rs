//! Classes choose as a search of all nodes does, whatever happened before.

use serde_json::{Value, json};
use windlass_api::selector::Labels;
use windlass_kernel::{
    EntropyExt, Scheduler,
    scheduler::{Cycle, Decision, NamespaceLabels, Nowhere, PodView, Siblings},
};
use windlass_testkit::SeededEntropy;

use super::*;
use crate::{
    plugins::{
        Crashes, FitScoring, InterPodAffinity, NodeAffinity, NodeResourcesBalancedAllocation, Packing, Spreading,
        fixture::{asking, labelled, named, node, pod},
    },
    snapshot::Snapshot,
};

/// A cluster that changes at random, and two frameworks that are asked the same.
struct History {
    chance: SeededEntropy,
    snapshot: Snapshot,
    pods: Vec<PodView>,
    shared: Framework,
    searching: Framework,
    namespaces: NamespaceLabels,
    made: usize,
}

fn term(topology: &str, app: &str) -> Value {
    json!({"topologyKey": topology, "labelSelector": {"matchLabels": {"app": app}}})
}

/// What pods ask for, beside an amount of CPU.
fn specs() -> Vec<Value> {
    let zone = "topology.kubernetes.io/zone";
    let host = "kubernetes.io/hostname";
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    let spread = |topology: &str, skew: i32, when: &str| {
        json!({"maxSkew": skew, "topologyKey": topology, "whenUnsatisfiable": when,
               "labelSelector": {"matchLabels": {"app": "a"}}})
    };
    let mut domains = spread(zone, 1, "DoNotSchedule");
    domains["minDomains"] = json!(3);
    domains["nodeTaintsPolicy"] = json!("Honor");
    let other_namespaces = {
        let mut term = term(zone, "b");
        term["namespaceSelector"] = json!({"matchLabels": {"team": "x"}});
        term
    };
    vec![
        json!({}),
        json!({"nodeSelector": {"disk": "ssd"}}),
        json!({"tolerations": [{"key": "k", "operator": "Exists"}]}),
        json!({"containers": [{"name": "c", "image": "app", "ports": [{"containerPort": 80, "hostPort": 80}]}]}),
        json!({"affinity": {"nodeAffinity": {(preferred): [
            {"weight": 7, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}},
        ]}}}),
        json!({"topologySpreadConstraints": [spread(zone, 1, "DoNotSchedule"), spread(host, 2, "DoNotSchedule")]}),
        json!({"topologySpreadConstraints": [spread(zone, 2, "ScheduleAnyway"), spread(host, 1, "ScheduleAnyway")]}),
        json!({"topologySpreadConstraints": [domains]}),
        json!({"topologySpreadConstraints": [spread("rack", 1, "ScheduleAnyway"), spread("rack", 3, "DoNotSchedule")]}),
        json!({"affinity": {"podAntiAffinity": {(required): [term(host, "a")]}}}),
        json!({"affinity": {"podAffinity": {(required): [term(zone, "a")]}}}),
        json!({"affinity": {"podAffinity": {(required): [term(zone, "a"), term("rack", "b")]}}}),
        json!({"affinity": {"podAffinity": {(preferred): [{"weight": 9, "podAffinityTerm": term(zone, "b")}]},
                            "podAntiAffinity": {(preferred): [{"weight": 5, "podAffinityTerm": term(host, "a")}]}}}),
        json!({"affinity": {"podAntiAffinity": {(required): [term("rack", "b"), other_namespaces]}}}),
    ]
}

impl History {
    fn new(seed: u64, framework: Framework) -> Self {
        let mut history = Self {
            chance: SeededEntropy::new(seed),
            snapshot: Snapshot::default(),
            pods: Vec::new(),
            shared: framework.clone().sample(100),
            searching: framework.sample(100).without_classes(),
            namespaces: NamespaceLabels(Arc::new([("ns".into(), [("team".into(), "x".into())].into())].into())),
            made: 0,
        };
        for _ in 0..3 + history.below(20) {
            history.change_node();
        }
        history
    }

    fn below(&self, limit: usize) -> usize {
        usize::try_from(self.chance.below(u64::try_from(limit).unwrap())).unwrap()
    }

    fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A node comes, goes or is another one.
    fn change_node(&mut self) {
        let name = format!("n{}", self.below(24));
        if self.below(8) == 0 {
            self.snapshot.set_node(&name, None);
            return;
        }
        let zone = format!("z{}", self.below(4));
        let rack = format!("r{}", self.below(9));
        let mut labels = vec![("kubernetes.io/hostname", name.as_str())];
        if self.below(6) > 0 {
            labels.push(("topology.kubernetes.io/zone", &zone));
        }
        if self.below(4) > 0 {
            labels.push(("rack", &rack));
        }
        if self.below(2) == 0 {
            labels.push(("disk", "ssd"));
        }
        let effect = *self.pick(&["NoSchedule", "PreferNoSchedule", "PreferNoSchedule"]);
        let taints = if self.below(3) == 0 { json!([{"key": "k", "value": "v", "effect": effect}]) } else { json!([]) };
        let mut view = node(&name, &labels, json!({"taints": taints, "unschedulable": self.below(10) == 0}));
        view.allocatable.cpu = *self.pick(&[2000, 4000, 8000]);
        if self.below(3) == 0 {
            view.images.insert("app:latest".into(), 400 << 20);
        }
        self.snapshot.set_node(&name, Some(&view));
    }

    /// A pod that has a node goes, is told to go, or changes its labels.
    fn change_pod(&mut self) {
        if self.pods.is_empty() {
            return;
        }
        let at = self.below(self.pods.len());
        let app = *self.pick(&["a", "b"]);
        match self.below(4) {
            0 => self.pods[at].terminating = true,
            1 => drop(self.pods[at].labels.insert("app".into(), app.into())),
            _ => {
                let gone = self.pods.swap_remove(at);
                self.snapshot.set_pod(&gone.key, None);
                return;
            }
        }
        let pod = Arc::new(self.pods[at].clone());
        self.snapshot.set_pod(&pod.key, Some(&pod));
    }

    fn pod(&mut self, specs: &[Value]) -> PodView {
        self.made += 1;
        let mut pod = labelled(&[("app", *self.pick(&["a", "b"]))], self.pick(specs).clone());
        pod.requests.cpu = *self.pick(&[0, 100, 1500]);
        pod.estimated.cpu = pod.requests.cpu.max(100);
        pod.priority = *self.pick(&[0, 0, 10]);
        pod.key.namespace = (*self.pick(&["ns", "ns", "other"])).into();
        named(&format!("p{}", self.made), pod)
    }

    /// What a framework decides, in words.
    fn ask(&self, framework: &Framework, pod: &Arc<PodView>, facts: &Cycle, seed: u64) -> (Option<String>, String) {
        let (mut cycle, entropy) = (facts.clone(), SeededEntropy::new(seed));
        let turn = Turn { pod, nodes: self.snapshot.nodes(), cycle: &mut cycle, entropy: &entropy };
        let decided = futures::executor::block_on(framework.schedule(turn)).unwrap();
        // The same chance was used, and as often.
        let after = entropy.u64();
        match decided {
            Decision::Place(placement) => {
                let node = placement.node.to_string();
                let told = format!("{node}, one of {} ({after})", placement.feasible);
                (Some(node), told)
            }
            Decision::Nowhere(nowhere) => {
                let Nowhere { explanation, preemption } = *nowhere;
                let order: Vec<_> = explanation.refusals.iter().map(|refusal| refusal.place).collect();
                let room = preemption.map(|room| {
                    let victims: Vec<_> = room.victims.iter().map(|victim| victim.uid.clone()).collect();
                    format!("{} without {}", room.node, victims.join(", "))
                });
                (None, format!("{explanation} {order:?} {room:?} ({after})"))
            }
        }
    }

    /// A pod has its turn, from both.
    #[track_caller]
    fn turn(&mut self, mut pod: PodView, nominated: &Nominated) {
        if self.below(8) == 0 {
            pod.nominated = Some(format!("n{}", self.below(24)));
        }
        let pod = Arc::new(pod);
        let mut facts = Cycle::new();
        facts.set(self.namespaces.clone());
        if pod.spread.is_empty() && pod.priority == 0 {
            facts.set(Siblings(Labels::equal_to([("app", pod.labels["app"].as_str())])));
        }
        if pod.requests.cpu == 100 {
            let crashes = (0..24).map(|at| (format!("n{at}"), at % 4)).collect();
            facts.set(Crashes(Arc::new(crashes)));
        }
        if !nominated.0.is_empty() {
            facts.set(nominated.clone());
        }
        let seed = self.chance.u64();
        let (node, told) = self.ask(&self.shared, &pod, &facts, seed);
        let (_, expect) = self.ask(&self.searching, &pod, &facts, seed);
        assert_eq!(told, expect, "{pod:#?}");
        if let Some(node) = node {
            if self.below(5) > 0 {
                self.snapshot.assume(&pod, &node);
            }
            let bound = PodView { node: Some(node), ..PodView::clone(&pod) };
            self.snapshot.set_pod(&bound.key, Some(&Arc::new(bound.clone())));
            self.pods.push(bound);
        }
    }

    fn play(&mut self, specs: &[Value]) {
        let mut nominated = Nominated::default();
        for _ in 0..12 {
            match self.below(12) {
                0 => self.change_node(),
                1 => {
                    let name = self.snapshot.nodes().iter().next().map(|node| node.name.to_string());
                    let mut other = self.pod(specs);
                    other.requests.cpu = 1500;
                    let of = name.map(|name| (name, vec![Arc::new(other)]));
                    nominated = Nominated(Arc::new(of.into_iter().collect()));
                }
                2 => nominated = Nominated::default(),
                3 | 4 => self.change_pod(),
                _ => {}
            }
            let pod = self.pod(specs);
            for copy in 0..1 + self.below(4) {
                self.turn(named(&format!("{}-{copy}", pod.uid), pod.clone()), &nominated);
            }
        }
    }
}

/// A framework whose plugins are told something else than usual.
fn told() -> Framework {
    let wish = json!({"weight": 3, "preference": {"matchExpressions": [{"key": "rack", "operator": "Exists"}]}});
    let term = json!({"matchExpressions": [{"key": "disk", "operator": "NotIn", "values": ["tape"]}]});
    let affinity = NodeAffinity::adding(
        &serde_json::from_value(json!({
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]},
            "preferredDuringSchedulingIgnoredDuringExecution": [wish],
        }))
        .unwrap(),
    );
    let near = InterPodAffinity { needed: 40, own_wishes_only: true };
    let balance = NodeResourcesBalancedAllocation::of(&["cpu", "ephemeral-storage"]);
    let spread = pod(json!({"topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "ScheduleAnyway"},
        {"maxSkew": 3, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"},
    ]}));
    ["NodeAffinity", "InterPodAffinity", "NodeResourcesBalancedAllocation"]
        .into_iter()
        .fold(Framework::default(), |framework, name| framework.without(name))
        .pre_filter(affinity.clone())
        .filter(affinity.clone())
        .score(2, affinity.clone())
        .gauge(affinity)
        .pre_filter(near)
        .filter(near)
        .score(2, near)
        .gauge(near)
        .score(1, balance)
        .fit_scoring(FitScoring::most_allocated())
        .default_constraints(&spread.spread)
}

#[test]
fn classes_choose_as_a_search_of_all_nodes_does() {
    let specs = specs();
    let mut savings = crate::Savings::default();
    for seed in 0..1000 {
        let framework = match seed % 5 {
            0 => Framework::default().failure_domains(&["topology.kubernetes.io/zone", "rack"], 2, Spreading::Must),
            1 => Framework::default().failure_domains(&["rack"], 1, Spreading::Should).packing(Packing::Hybrid),
            2 => Framework::default().avoiding_crashes(2),
            3 => told(),
            _ => Framework::default(),
        };
        let mut history = History::new(seed, framework);
        history.play(&specs);
        let own = history.shared.savings();
        savings.shared += own.shared;
        savings.searched += own.searched;
    }
    // Otherwise it would be a comparison of a search with itself.
    assert!(savings.shared > 5000, "{savings:?}");
}

/// Who leaves which node for a pod that takes half of one.
fn room(framework: &Framework, snapshot: &Snapshot, at: usize, nominated: &Nominated) -> String {
    let half = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]});
    let pod = Arc::new(PodView { priority: 10, ..named(&format!("p{at}"), pod(half)) });
    let (mut cycle, entropy) = (Cycle::new(), SeededEntropy::new(1));
    cycle.set(nominated.clone());
    let turn = Turn { pod: &pod, nodes: snapshot.nodes(), cycle: &mut cycle, entropy: &entropy };
    match futures::executor::block_on(framework.schedule(turn)).unwrap() {
        Decision::Nowhere(nowhere) => nowhere.preemption.map_or("nowhere".into(), |room| {
            format!("{}: {}", room.node, room.victims.iter().map(|victim| &*victim.uid).collect::<Vec<_>>().join(" "))
        }),
        Decision::Place(placement) => format!("to {}", placement.node),
    }
}

#[test]
fn what_is_known_of_room_ends_with_what_it_depends_on() {
    let (framework, mut snapshot) = (Framework::default(), cluster(2));
    let place = |snapshot: &mut Snapshot, name: &str, node: &str, cpu: i64, priority: i32| {
        let mut pod = named(name, pod(json!({})));
        (pod.node, pod.priority, pod.requests.cpu) = (Some(node.into()), priority, cpu);
        snapshot.set_pod(&pod.key.clone(), Some(&Arc::new(pod)));
    };
    place(&mut snapshot, "low", "n0", 4000, 1);
    place(&mut snapshot, "lower", "n1", 4000, 0);
    let nobody = Nominated::default();
    let other = PodView { priority: 10, ..named("other", asking(3000, 1)) };
    let taken = Nominated(Arc::new([("n1".to_owned(), vec![Arc::new(other)])].into()));
    let told: Vec<_> = [&nobody, &nobody, &nobody, &taken, &nobody]
        .into_iter()
        .enumerate()
        .map(|(at, nominated)| room(&framework, &snapshot, at, nominated))
        .collect();
    assert_eq!(told, ["n1: lower", "n1: lower", "n1: lower", "n0: low", "n1: lower"]);
    assert_eq!(framework.savings().searched, 1, "the others know what the first found out");
    place(&mut snapshot, "lower", "n1", 4000, 2);
    assert_eq!(room(&framework, &snapshot, 5, &nobody), "n0: low");
    snapshot.set_pod(&named("lower", pod(json!({}))).key, None);
    assert_eq!(room(&framework, &snapshot, 6, &taken), "n0: low");
    assert_eq!(room(&framework, &snapshot, 7, &nobody), "to n1");
}

#[test]
fn losing_a_failure_domain_takes_no_more_than_its_share() {
    let labels = ["topology.kubernetes.io/zone", "rack"];
    let framework = Framework::default().failure_domains(&labels, 1, Spreading::Must);
    for pods in [1, 4, 7, 12, 20] {
        let mut snapshot = Snapshot::default();
        for at in 0..24 {
            // Domains of unequal size, some of whose nodes are far larger: without constraints they would fill up.
            let zone = at.min(9) % 3;
            let (name, rack) = (format!("n{at}"), format!("r{}", zone * 2 + at / 3 % 2));
            let zone = format!("z{zone}");
            let mut view =
                node(&name, &[("kubernetes.io/hostname", &*name), (labels[0], &zone), (labels[1], &rack)], json!({}));
            view.allocatable.cpu = if at > 10 { 64_000 } else { 4000 };
            view.max_pods = 110;
            snapshot.set_node(&name, Some(&view));
        }
        let entropy = SeededEntropy::new(1);
        for at in 0..pods {
            let pod = Arc::new(named(&format!("p{at}"), labelled(&[("app", "a")], json!({}))));
            let mut cycle = Cycle::new();
            cycle.set(Siblings(Labels::equal_to([("app", "a")])));
            let turn = Turn { pod: &pod, nodes: snapshot.nodes(), cycle: &mut cycle, entropy: &entropy };
            match futures::executor::block_on(framework.schedule(turn)).unwrap() {
                Decision::Place(placement) => snapshot.assume(&pod, &placement.node),
                Decision::Nowhere(nowhere) => panic!("{}", nowhere.explanation),
            }
        }
        for label in labels {
            let mut lost = BTreeMap::<_, usize>::new();
            for node in snapshot.nodes().iter() {
                *lost.entry(node.labels[label].clone()).or_default() += node.pods().len();
            }
            let share = usize::div_ceil(pods, lost.len()) + 1;
            assert!(lost.values().all(|lost| *lost <= share), "{pods} pods, {label}: {lost:?}");
        }
    }
}

/// A cluster of so many nodes in three zones.
fn cluster(nodes: usize) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for at in 0..nodes {
        let (name, zone) = (format!("n{at}"), format!("z{}", at % 3));
        let labels = [("kubernetes.io/hostname", name.as_str()), ("topology.kubernetes.io/zone", zone.as_str())];
        snapshot.set_node(&name, Some(&node(&name, &labels, json!({}))));
    }
    snapshot
}

/// Gives pods like this their turns; how many nodes were looked at in the last.
fn place(framework: &Framework, snapshot: &mut Snapshot, pods: impl IntoIterator<Item = PodView>) -> usize {
    let entropy = SeededEntropy::new(1);
    let mut looked = 0;
    for pod in pods {
        let pod = Arc::new(pod);
        let turn = Turn { pod: &pod, nodes: snapshot.nodes(), cycle: &mut Cycle::new(), entropy: &entropy };
        let Decision::Place(placement) = futures::executor::block_on(framework.schedule(turn)).unwrap() else {
            panic!("there is room")
        };
        looked = placement.evaluated;
        snapshot.assume(&pod, &placement.node);
    }
    looked
}

#[test]
fn the_next_alike_pod_looks_only_at_nodes_that_changed() {
    for spec in specs() {
        let (framework, mut snapshot) = (Framework::default(), cluster(500));
        let pod = labelled(&[("app", "a")], spec);
        let racks = pod.spread.iter().any(|spread| spread.topology == "rack");
        if racks || !pod.node_selector.is_empty() || pod.affinity.as_ref().is_some_and(|a| a.required.len() > 1) {
            continue;
        }
        let looked = place(&framework, &mut snapshot, (0..50).map(|at| named(&format!("p{at}"), pod.clone())));
        assert_eq!(looked, 1, "{pod:?}");
        let savings = framework.savings();
        assert_eq!((savings.built, savings.shared, savings.searched), (1, 49, 1), "{pod:?}");
        // Each node once when the class was made, and one for each pod since.
        assert_eq!(savings.refreshed, 500 + 48, "{pod:?}");
    }
}

#[test]
fn a_difference_that_matters_is_another_class() {
    let (framework, mut snapshot) = (Framework::default(), cluster(10));
    let of = |spec: Value| (0..3).map(move |at| named(&format!("{spec}{at}"), labelled(&[("app", "a")], spec.clone())));
    place(&framework, &mut snapshot, of(json!({})));
    place(&framework, &mut snapshot, of(json!({"tolerations": [{"operator": "Exists"}]})));
    assert_eq!(framework.savings().built, 2);
    place(&framework, &mut snapshot, of(json!({})));
    assert_eq!(framework.savings().built, 2);
    snapshot.set_node("new", Some(&node("new", &[], json!({}))));
    place(&framework, &mut snapshot, of(json!({})));
    assert_eq!(framework.savings().built, 3);
}

#[derive(Debug)]
struct Counting;

impl windlass_kernel::scheduler::Filter for Counting {
    fn name(&self) -> &'static str {
        "Counting"
    }

    fn filter(&self, _: &Cycle, _: &PodView, _: &windlass_kernel::scheduler::NodeView) -> Fit {
        Fit::Yes
    }
}

#[test]
fn pods_with_claims_are_searched_for() {
    let (framework, mut snapshot) = (Framework::default().without("VolumeBinding"), cluster(10));
    let claiming = json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]});
    let pods = (0..5).map(|at| named(&format!("p{at}"), labelled(&[], claiming.clone())));
    place(&framework, &mut snapshot, pods);
    assert_eq!((framework.savings().shared, framework.savings().searched), (0, 5));
}

#[test]
fn what_may_depend_on_more_than_the_node_is_asked_each_time() {
    let (framework, mut snapshot) = (Framework::default().filter(Counting), cluster(10));
    let pods = || (0..5).map(|at| named(&format!("p{at}"), labelled(&[], json!({}))));
    place(&framework, &mut snapshot, pods());
    assert_eq!((framework.savings().shared, framework.savings().searched), (0, 5));
}
