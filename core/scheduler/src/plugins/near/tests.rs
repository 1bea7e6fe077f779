use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::plugins::fixture::{labelled, node, prepared, scored, with};

fn at(name: &str, zone: &str, pods: Vec<PodView>) -> NodeView {
    with(node(name, &[("host", name), ("zone", zone)], json!({})), pods)
}

fn db() -> PodView {
    labelled(&[("app", "db")], json!({}))
}

fn term(app: &str, topology: &str) -> Value {
    json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": topology})
}

fn caring(app: &str, kind: &str, field: &str, terms: &Value) -> PodView {
    let field = format!("{field}DuringSchedulingIgnoredDuringExecution");
    labelled(&[("app", app)], json!({"affinity": {kind: {field: terms}}}))
}

/// What is said of each node.
#[track_caller]
fn check(pod: &PodView, nodes: &[NodeView], expect: &[&str]) {
    assert_eq!(prepared(&InterPodAffinity::default(), pod, nodes), expect);
}

const FAR: &str = "never: node(s) didn't match pod affinity rules";
const ANTI: &str = "no: node(s) didn't match pod anti-affinity rules";
const UNWELCOME: &str = "no: node(s) didn't satisfy existing pods anti-affinity rules";

#[test]
fn a_pod_goes_where_those_it_needs_are() {
    let nodes = [at("a", "x", vec![db()]), at("b", "x", vec![]), at("c", "y", vec![])];
    check(&db(), &nodes, &["skip"]);
    check(&caring("web", "podAffinity", "required", &json!([term("db", "zone")])), &nodes, &["yes", "yes", FAR]);
    check(&caring("web", "podAffinity", "required", &json!([term("db", "host")])), &nodes, &["yes", FAR, FAR]);
    check(&caring("web", "podAffinity", "required", &json!([term("db", "rack")])), &nodes, &[FAR, FAR, FAR]);
}

#[test]
fn the_first_of_a_group_goes_anywhere_with_the_label() {
    let nodes = [at("a", "x", vec![]), at("b", "y", vec![])];
    check(&caring("db", "podAffinity", "required", &json!([term("db", "zone")])), &nodes, &["yes", "yes"]);
    check(&caring("db", "podAffinity", "required", &json!([term("db", "rack")])), &nodes, &[FAR, FAR]);
    check(&caring("web", "podAffinity", "required", &json!([term("db", "zone")])), &nodes, &[FAR, FAR]);
}

#[test]
fn aversion_holds_both_ways() {
    let averse = |app| caring(app, "podAntiAffinity", "required", &json!([term("db", "zone")]));
    let nodes = [at("a", "x", vec![db()]), at("b", "x", vec![]), at("c", "y", vec![])];
    check(&averse("web"), &nodes, &[ANTI, ANTI, "yes"]);
    let nodes = [at("a", "x", vec![averse("web")]), at("b", "x", vec![]), at("c", "y", vec![])];
    check(&db(), &nodes, &[UNWELCOME, UNWELCOME, "yes"]);
}

#[test]
fn terms_look_in_their_namespaces_only() {
    let mut elsewhere = db();
    elsewhere.key.namespace = "other".into();
    let nodes = [at("a", "x", vec![elsewhere])];
    let with_namespaces = |more: Value| {
        let mut term = term("db", "zone");
        term.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        caring("web", "podAffinity", "required", &json!([term]))
    };
    check(&with_namespaces(json!({})), &nodes, &[FAR]);
    check(&with_namespaces(json!({"namespaces": ["other"]})), &nodes, &["yes"]);
    check(&with_namespaces(json!({"namespaceSelector": {}})), &nodes, &["yes"]);
    check(&with_namespaces(json!({"namespaceSelector": {"matchLabels": {"team": "a"}}})), &nodes, &[FAR]);
}

#[test]
fn what_if_answers_follow_pods_that_come_and_go() {
    let nodes = [at("a", "x", vec![db()])];
    let index = windlass_kernel::scheduler::NodeIndex::of(&nodes);
    let (mut cycle, pod) = (Cycle::new(), caring("web", "podAntiAffinity", "required", &json!([term("db", "zone")])));
    let plugin = InterPodAffinity::default();
    plugin.pre_filter(&mut cycle, &pod, &Nodes::new(&nodes, &index));
    assert!(!plugin.filter(&cycle, &pod, &nodes[0]).fits());
    let other = Arc::clone(&nodes[0].pods()[0]);
    plugin.removed(&mut cycle, &pod, &other, &nodes[0]);
    assert!(plugin.filter(&cycle, &pod, &nodes[0]).fits());
}

#[test]
fn wishes_of_both_sides_add_up() {
    let wish = |app: &str, weight: i32| json!([{"weight": weight, "podAffinityTerm": term(app, "zone")}]);
    let fond = caring("fan", "podAffinity", "preferred", &wish("web", 30));
    let nodes = [at("a", "x", vec![db()]), at("b", "y", vec![fond]), at("c", "z", vec![])];
    let pod = caring("web", "podAffinity", "preferred", &wish("db", 60));
    assert_eq!(scored(&InterPodAffinity::default(), Cycle::new(), &pod, &nodes), [100, 50, 0]);
    let shy = caring("web", "podAntiAffinity", "preferred", &wish("db", 60));
    assert_eq!(scored(&InterPodAffinity::default(), Cycle::new(), &shy, &nodes), [0, 100, 66]);
}

#[test]
fn a_profile_says_what_needs_and_wishes_of_others_count() {
    let wish = json!([{"weight": 30, "podAffinityTerm": term("web", "zone")}]);
    let fond = caring("fan", "podAffinity", "preferred", &wish);
    let needing = caring("fan", "podAffinity", "required", &json!([term("web", "zone")]));
    let nodes = [at("a", "x", vec![fond]), at("b", "y", vec![needing]), at("c", "z", vec![])];
    let pod = labelled(&[("app", "web")], json!({}));
    let scores =
        |needed, own_wishes_only| scored(&InterPodAffinity { needed, own_wishes_only }, Cycle::new(), &pod, &nodes);
    assert_eq!(scores(1, false), [100, 3, 0]);
    assert_eq!(scores(60, false), [50, 100, 0]);
    assert_eq!(scores(0, false), [100, 0, 0]);
    assert_eq!(scores(60, true), Vec::<i64>::new());
}
