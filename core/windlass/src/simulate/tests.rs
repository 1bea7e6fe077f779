use std::{sync::Arc, time::Duration};

use serde_json::json;
use windlass_api::core::v1::Pod;
use windlass_kernel::{ClockExt, NodeAgent, node::Amounts};
use windlass_testkit::{
    FakeAgent, FakeNode,
    agent::{Behaviour, End},
    sim::{Executor, Handle},
};

use super::*;
use crate::Cluster;

fn read(text: &str) -> Result<Simulation> {
    let mut simulation = Simulation::default();
    simulation.read(text).map(|()| simulation)
}

/// The nodes' names, zones and CPUs, or what is wrong.
#[track_caller]
fn check(text: &str, wanted: Option<u16>, expect: &str) {
    let nodes = read(text).and_then(|simulation| simulation.nodes(wanted));
    let told = match nodes {
        Ok(nodes) => {
            let zone = |node: &FakeNode| node.labels.get("topology.kubernetes.io/zone").cloned().unwrap_or_default();
            let told = nodes.iter().map(|node| format!("{} {} {}", node.name, zone(node), node.capacity["cpu"]));
            told.collect::<Vec<_>>().join(", ")
        }
        Err(error) => error.message().to_owned(),
    };
    assert_eq!(told, expect);
}

#[test]
fn groups_say_how_many_nodes_there_are_and_where() {
    check("", Some(2), "node-1  32, node-2  32");
    check(
        "nodes: [{name: a, count: 3, zones: [x, y], capacity: {cpu: 4}}, {name: b}]",
        Some(5),
        "a-1 x 4, a-2 y 4, a-3 x 4, b-1  32, b-2  32",
    );
    check("nodes: [{name: a}, {name: b}]", Some(3), "a-1  32, b-1  32, b-2  32");
    check("nodes: [{name: a, count: 1}]", None, "a-1  32");
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    check("nodes: [{count: 3}]", Some(2), "the groups count 3 nodes together, which is more than the 2 wanted");
    check("nodes: [{count: 1}]", Some(2), "the groups count 1 nodes; leave out a count for the 1 more wanted");
    check("nodes: [{count: 1}, {count: 1}]", None, "two nodes would be named node-1: give the groups other names");
    check(
        "pods: []\n---\nnodes: [{capacity: {cpu: much}}]",
        None,
        "document 2: nodes node: capacity.cpu: \"much\" is no amount, such as 4 or 32Gi",
    );
    check(
        "nodes: [{taints: [{key: k, effect: Never}]}]",
        None,
        "document 1: nodes node: taint k: \"Never\" is none of NoSchedule, PreferNoSchedule, NoExecute",
    );
    let told = read("pods: [{lifetime: soon}]").unwrap_err();
    assert!(told.message().contains("\"soon\" is no span of time"), "{told}");
    let told = read("pods: [{usage: {memory: -1}}]").unwrap_err();
    assert!(told.message().contains("usage: memory: \"-1\" is no amount that can be used"), "{told}");
    let told = read("pods: [{usage: {gpu: 1}}]").unwrap_err();
    assert!(told.message().contains("usage: \"gpu\" is neither cpu nor memory"), "{told}");
    let told = read("nodes: [{colour: red}]").unwrap_err();
    assert!(told.message().contains("unknown field `colour`"), "{told}");
    let told = read("{apiVersion: v1, kind: Pod}").unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Invalid);
}

fn pod(value: Value) -> Pod {
    serde_json::from_value(value).unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_first_rule_that_means_a_pod_says_how_it_behaves() {
    let simulation = read(
        "pods: [
           {match: {labels: {app: batch}}, startDelay: 2s, lifetime: 1m, exitCode: 3, logs: \"one\\ntwo\"},
           {match: {image: never}, readiness: never, usage: {cpu: 1.5, memory: 64Mi}},
           {readiness: {after: 5s}, stopDelay: 1s}]",
    )
    .unwrap();
    let of = |value| simulation.scripts().of(&pod(value));
    let batch = of(json!({"metadata": {"labels": {"app": "batch"}}}));
    let end = Some(End { after: seconds(60), code: 3 });
    assert_eq!(batch.behaviour, Behaviour { start: seconds(2), end, ..Behaviour::default() });
    assert_eq!(batch.log, "one\ntwo");
    assert_eq!(batch.usage, Amounts::default());
    let never = of(json!({"spec": {"containers": [{"name": "c", "image": "never"}]}}));
    assert!(never.behaviour.ready > seconds(3600 * 24 * 365));
    assert_eq!(never.usage, Amounts { nanocores: 1_500_000_000, memory: 64 << 20, cpu: None });
    let own = json!({"metadata": {"annotations": {"fake.windlass.dev/ready-delay": "1s"}}});
    assert_eq!(of(own).behaviour, Behaviour { ready: seconds(1), stop: seconds(1), ..Behaviour::default() });
}

#[test]
fn containers_use_what_a_file_or_their_annotations_say() {
    let simulation = read("pods: [{usage: {cpu: 100m, memory: 1Mi}}]").unwrap();
    let executor = Executor::new(1);
    let node = FakeNode { scripts: Some(simulation.scripts()), ..FakeNode::new("n", 1) };
    let agent = FakeAgent::new(node, executor.clock(), executor.spawn());
    let of = |name: &str, annotations: Value| {
        let meta = json!({"namespace": "ns", "name": name, "uid": name, "annotations": annotations});
        Arc::new(pod(json!({"metadata": meta, "spec": {"containers": [{"name": "c"}]}})))
    };
    let pods = vec![of("usual", json!({})), of("own", json!({"fake.windlass.dev/cpu": "2"}))];
    executor.run_until(agent.sync(pods)).unwrap();
    executor.run_for(seconds(1));
    let usage = executor.run_until(agent.metering().unwrap().usage()).unwrap();
    let each = usage.pods.iter().map(|own| (own.pod.name.as_str(), own.containers.amounts[0].1));
    let expect = |nanocores| Amounts { nanocores, memory: 1 << 20, cpu: None };
    assert_eq!(each.collect::<Vec<_>>(), [("own", expect(2_000_000_000)), ("usual", expect(100_000_000))]);
    assert_eq!(usage.node.unwrap().amounts, Amounts { nanocores: 2_100_000_000, memory: 2 << 20, cpu: None });
}

/// A stage in KWOK's words, with what it is about, whom it selects and what it says.
fn stage(name: &str, delay: &str, select: &str, next: &str) -> String {
    format!(
        "apiVersion: kwok.x-k8s.io/v1alpha1\nkind: Stage\nmetadata: {{name: {name}}}\nspec:\n  resourceRef: \
         {{apiGroup: v1, kind: Pod}}\n  selector: {{matchExpressions: [{select}]}}\n  delay: {delay}\n  {next}\n---\n"
    )
}

const ALIVE: &str = "{key: .metadata.deletionTimestamp, operator: DoesNotExist}";

fn stages() -> String {
    let template = |text: &str| format!("next:\n    statusTemplate: |\n      {}", text.replace('\n', "\n      "));
    let fails = "{{ $usual := 9 }}\n{{ $annotations := or .metadata.annotations dict }}\n\
                 {{ $code := or ( index $annotations \"x/code\" ) $usual }}\ncontainerStatuses:\n\
                 - state:\n    terminated:\n      exitCode: {{ $code }}\nphase: Failed\n";
    [
        stage("create", "{durationMilliseconds: 1000}", ALIVE, &template("startTime: {{ Now }}\n")),
        stage(
            "init",
            "{durationMilliseconds: 500}",
            "{key: '.status.initContainerStatuses.[].state.waiting.reason', operator: Exists}",
            &template("initContainerStatuses: []\n"),
        ),
        stage("ready", "{durationMilliseconds: 2000}", ALIVE, &template("{{ $now := Now }}\nphase: Running\n")),
        stage(
            "complete",
            "{durationMilliseconds: 3000, durationFrom: {expressionFrom: '.metadata.annotations[\"x/delay\"]'}}",
            &format!("{ALIVE}, {{key: '.metadata.ownerReferences.[].kind', operator: In, values: [Job]}}"),
            &template("phase: Succeeded\n"),
        ),
        stage("fail", "{}", "{key: '.metadata.labels[\"fails\"]', operator: In, values: ['true']}", &template(fails)),
        stage(
            "delete",
            "{durationMilliseconds: 4000}",
            "{jq: {key: .metadata.deletionTimestamp, operator: Exists}}",
            "steps: [{event: {reason: Killing}}, {delete: true}]",
        ),
    ]
    .concat()
}

#[test]
fn kwoks_stages_say_when_pods_start_end_and_go() {
    let simulation = read(&stages()).unwrap();
    let of = |value| simulation.scripts().of(&pod(value)).behaviour;
    let plain = Behaviour { start: seconds(3), stop: seconds(4), ..Behaviour::default() };
    assert_eq!(of(json!({})), plain);
    let init = json!({"spec": {"initContainers": [{"name": "i"}]}});
    assert_eq!(of(init), Behaviour { start: Duration::from_millis(3500), ..plain });
    let job = json!({"metadata": {"ownerReferences": [{"kind": "Job", "name": "j"}]}});
    assert_eq!(of(job.clone()), Behaviour { end: Some(End { after: seconds(3), code: 0 }), ..plain });
    let mut late = job;
    late["metadata"]["annotations"] = json!({"x/delay": "7s"});
    assert_eq!(of(late), Behaviour { end: Some(End { after: seconds(7), code: 0 }), ..plain });
    let fails = json!({"metadata": {"labels": {"fails": "true"}}});
    assert_eq!(of(fails.clone()), Behaviour { end: Some(End { after: seconds(0), code: 9 }), ..plain });
    let mut fails = fails;
    fails["metadata"]["annotations"] = json!({"x/code": "42"});
    assert_eq!(of(fails).end, Some(End { after: seconds(0), code: 42 }));
}

#[test]
fn jitter_is_a_pods_own_and_between_its_bounds() {
    let delay = "{durationMilliseconds: 1000, jitterDurationMilliseconds: 5000}";
    let next = "next: {statusTemplate: 'phase: Running'}";
    let simulation = read(&stage("ready", delay, ALIVE, next)).unwrap();
    let start =
        |uid: usize| simulation.scripts().of(&pod(json!({"metadata": {"uid": uid.to_string()}}))).behaviour.start;
    let starts: std::collections::BTreeSet<_> = (0..50).map(start).collect();
    assert!(starts.len() > 20 && starts.iter().all(|at| (seconds(1)..seconds(5)).contains(at)), "{starts:?}");
    assert_eq!(start(7), start(7));
}

#[test]
fn stages_that_cannot_be_played_are_refused_by_name() {
    let refused = |text: &str| read(text).unwrap_err();
    let next = "next: {statusTemplate: 'phase: Running'}";
    let error = refused(&stage("odd", "{}", "{key: .spec.priority, operator: Exists}", next));
    assert_eq!(error.kind(), ErrorKind::NotSupported);
    assert_eq!(error.message(), "document 1: the stage odd cannot be played: pods are not selected by .spec.priority");
    let error = refused(&stage("s", "{}", ALIVE, "next: {delete: true}"));
    assert!(error.message().ends_with("it deletes pods that nobody deleted"), "{error}");
    let error = refused(&stage("s", "{}", ALIVE, "next: {patches: []}"));
    assert!(error.message().contains("unknown field `patches`"), "{error}");
    let error = refused(&stage("s", "{durationFrom: {expressionFrom: .spec.x}}", ALIVE, next));
    assert!(error.message().ends_with("a delay is read from annotations, not from .spec.x"), "{error}");
    let node = "{apiVersion: kwok.x-k8s.io/v1alpha1, kind: Stage, metadata: {name: n}, spec: {resourceRef: \
                {apiGroup: v1, kind: Node}, next: {statusTemplate: TEMPLATE}}}";
    assert!(read(&node.replace("TEMPLATE", "'{{ range NodeConditions }}'")).is_ok());
    let error = refused(&node.replace("TEMPLATE", "'conditions: []'"));
    assert!(error.message().ends_with("nodes fail as `fail` of a Simulation says, not by a stage"), "{error}");
    let error = refused("{apiVersion: kwok.x-k8s.io/v1alpha1, kind: Logs, metadata: {name: l}}");
    assert_eq!(error.message(), "document 1: KWOK's Logs l cannot be played: only Stage can");
}

/// Whether something becomes so within some seconds of virtual time.
async fn becomes(handle: &Handle, within: u32, so: impl Fn() -> bool) -> bool {
    for _ in 0..within {
        if so() {
            return true;
        }
        handle.sleep(seconds(1)).await;
    }
    so()
}

#[test]
fn nodes_start_in_their_time_and_return_after_they_failed() {
    let executor = Executor::new(5);
    let handle = executor.handle();
    executor.run_until(async {
        let builder = Cluster::builder().without_controllers().clock(handle.clone()).spawn(handle.clone());
        let cluster = builder.entropy(handle.clone()).start().await.unwrap();
        let text = "nodes: [{name: late, count: 2, start: {after: 10s, every: 5s}, fail: {every: 30s, for: 2m}}]";
        let _nodes = read(text).unwrap().start(&cluster, None).await.unwrap();
        let up = || cluster.agents().names().collect::<Vec<_>>();
        handle.sleep(seconds(9)).await;
        assert_eq!(up(), Vec::<String>::new());
        assert!(becomes(&handle, 10, || up().contains(&"late-1".to_owned())).await);
        assert!(becomes(&handle, 10, || up().contains(&"late-2".to_owned())).await);
        let client = cluster.client();
        assert!(client.get::<windlass_api::core::v1::Node>("", "late-1").await.is_ok());
        // Up for at most a minute, then away for two.
        assert!(becomes(&handle, 70, || !up().contains(&"late-1".to_owned())).await);
        assert!(becomes(&handle, 130, || up().contains(&"late-1".to_owned())).await);
        cluster.shut_down().await;
    });
    assert_eq!(executor.panics(), []);
}

#[test]
fn the_simulation_of_the_guide_can_be_read() {
    let guide = include_str!("../../../../docs/guide/simulation.md");
    let text = guide.split("```").find_map(|block| block.strip_prefix("yaml\n")).unwrap();
    let nodes = read(text).unwrap().nodes(Some(5000)).unwrap();
    assert_eq!((nodes.len(), nodes[4999].name.as_str()), (5000, "flaky-1000"));
    assert_eq!(nodes[0].allocatable["cpu"], "3900m");
}
