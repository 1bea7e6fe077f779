use serde_json::{Value, json};

use super::*;
use crate::file::known::Point;

fn file(more: &str) -> String {
    format!("apiVersion: {VERSION}\nkind: {KIND}\n{more}")
}

/// What is wrong with a file that goes on like this.
#[track_caller]
fn check(more: &str, expect: &str) {
    let error = Config::read(&file(more)).unwrap_err();
    let kind = if error.is(ErrorKind::NotSupported) { "unsupported: " } else { "" };
    assert!(error.is(ErrorKind::NotSupported) || error.is(ErrorKind::Invalid), "{error:?}");
    assert_eq!(format!("{kind}{}", error.message()), expect, "{more}");
}

#[test]
fn a_file_that_says_nothing_is_the_default() {
    let read = Config::read(&file("")).unwrap();
    assert_eq!(format!("{:?}", read.profiles), format!("{:?}", Config::default().profiles));
    assert_eq!((read.patience, read.limit), (Config::default().patience, Config::default().limit));
    let null = Config::read(&file("profiles:\nextenders: null\n")).unwrap();
    assert_eq!(null.profiles.len(), 1);
}

#[test]
fn what_is_no_such_file_is_refused() {
    let said = |text: &str| Config::read(text).unwrap_err().message().to_owned();
    assert_eq!(said(""), "it has to hold one document, a KubeSchedulerConfiguration");
    assert_eq!(said("a: b"), "apiVersion: it is nothing, and has to be \"kubescheduler.config.k8s.io/v1\"");
    let old = "apiVersion: kubescheduler.config.k8s.io/v1beta3\nkind: KubeSchedulerConfiguration";
    let expect =
        "apiVersion: it is \"kubescheduler.config.k8s.io/v1beta3\", and has to be \"kubescheduler.config.k8s.io/v1\"";
    assert_eq!(said(old), expect);
    assert!(said("a: [").starts_with("it is not YAML: "));
    assert_eq!(said("---\na: b\n---\nc: d\n"), "it has to hold one document, a KubeSchedulerConfiguration");
}

#[test]
fn wrong_values_are_named_with_their_place() {
    check(
        "extenders: [{urlPrefix: 'http://x'}]",
        "unsupported: extenders: extenders over HTTP are not supported: leave them out, or write the plugin in Rust",
    );
    check("parallelism: 0", "parallelism: 0 is not at least 1");
    check("percentageOfNodesToScore: 101", "percentageOfNodesToScore: 101 is not from 0 to 100");
    check("podInitialBackoffSeconds: 0", "podInitialBackoffSeconds: 0 is not at least 1");
    check("podMaxBackoffSeconds: half", "podMaxBackoffSeconds: invalid type: string \"half\", expected i64");
    check("podInitialBackoffSeconds: 20", "podMaxBackoffSeconds: 10 is less than podInitialBackoffSeconds (20)");
    check(
        "leaderElection: {leaderElekt: true}",
        "leaderElection.leaderElekt: unknown field `leaderElekt`, expected one of `leaderElect`, `leaseDuration`, \
         `renewDeadline`, `retryPeriod`, `resourceLock`, `resourceName`, `resourceNamespace`",
    );
    check(
        "profiles: [{schedulerName: a}, {plugins: {}}]",
        "profiles[1].schedulerName: a profile needs a name that pods ask for",
    );
    check(
        "profiles: [{schedulerName: a}, {schedulerName: a}]",
        "profiles[1].schedulerName: two profiles are named \"a\": name one otherwise",
    );
    check(
        "profiles: [{percentageOfNodesToScore: -1}]",
        "profiles[0].percentageOfNodesToScore: -1 is not from 0 to 100",
    );
    check(
        "profiles: [{plugin: {}}]",
        "profiles[0].plugin: unknown field `plugin`, expected one of `schedulerName`, `percentageOfNodesToScore`, \
         `plugins`, `pluginConfig`",
    );
}

/// What is wrong with what is said of plugins.
#[track_caller]
fn check_plugins(plugins: Value, expect: &str) {
    let mut profiles = json!([{}]);
    profiles[0]["plugins"] = plugins;
    check(&format!("profiles: {profiles}"), &format!("profiles[0].plugins.{expect}"));
}

#[test]
fn plugins_have_to_be_there_and_have_a_say() {
    let known = "SchedulingGates, PrioritySort, NodeUnschedulable, NodeName, TaintToleration, NodeAffinity, NodePorts, \
                 NodeResourcesFit, VolumeRestrictions, NodeVolumeLimits, VolumeBinding, VolumeZone, PodTopologySpread, InterPodAffinity, \
                 DefaultPreemption, NodeResourcesBalancedAllocation, ImageLocality, DefaultBinder";
    let none = format!("score.enabled[1].name: there is no plugin \"Mine\"; there are {known}");
    check_plugins(json!({"score": {"enabled": [{"name": "ImageLocality"}, {"name": "Mine"}]}}), &none);
    let none = format!("multiPoint.disabled[0].name: there is no plugin \"Mine\"; there are {known}");
    check_plugins(json!({"multiPoint": {"disabled": [{"name": "Mine"}]}}), &none);
    check_plugins(
        json!({"filter": {"enabled": [{"name": "ImageLocality"}]}}),
        "filter.enabled[0].name: ImageLocality has no say at filter, but at score",
    );
    check_plugins(
        json!({"score": {"enabled": [{"name": "ImageLocality", "weight": -1}]}}),
        "score.enabled[0].weight: -1 is not from 0 to 2147483647",
    );
    check_plugins(
        json!({"score": {"enabled": [{"name": "ImageLocality"}, {"name": "ImageLocality"}]}}),
        "score.enabled[1].name: ImageLocality is enabled twice: say it once",
    );
    check_plugins(
        json!({"queueSort": {"disabled": [{"name": "*"}]}}),
        "queueSort: a profile cannot do without PrioritySort: enable it",
    );
    check_plugins(
        json!({"multiPoint": {"disabled": [{"name": "DefaultBinder"}]}}),
        "bind: a profile cannot do without DefaultBinder: enable it",
    );
    check_plugins(
        json!({"preScore": {"disabled": [{"name": "*"}]}}),
        "preScore: TaintToleration is disabled here and enabled at score: do the same at both",
    );
    let missing = Config::read(&file("profiles: [{plugins: {multiPoint: {enabled: [{name: DynamicResources}]}}}]"));
    assert!(missing.unwrap_err().is(ErrorKind::NotSupported));
    Config::read(&file("profiles: [{plugins: {multiPoint: {disabled: [{name: DynamicResources}]}}}]")).unwrap();
    check(
        "profiles: [{plugins: {preEnqueue: {disabled: [{name: SchedulingGates}]}}}]",
        "unsupported: profiles[0].plugins.preEnqueue: scheduling gates always hold pods back: do not disable \
         SchedulingGates",
    );
}

/// Filters, and scores with their weights, as some text about plugins has them.
fn resolved(plugins: Value) -> (String, String) {
    let resolved = Resolved::of(&read(plugins, "").unwrap(), "plugins").unwrap();
    let filters: Vec<_> = resolved.names(Point::Filter).collect();
    let scores: Vec<_> = resolved.scores().map(|(weight, name)| format!("{name}={weight}")).collect();
    (filters.join(" "), scores.join(" "))
}

#[test]
fn plugins_are_enabled_and_disabled_as_upstream_does() {
    let (filters, scores) = resolved(json!({}));
    let usual = "TaintToleration=3 NodeAffinity=2 NodeResourcesFit=1 PodTopologySpread=2 InterPodAffinity=2 \
                 NodeResourcesBalancedAllocation=1 ImageLocality=1";
    assert_eq!(scores, usual);
    assert!(filters.starts_with("NodeUnschedulable NodeName TaintToleration NodeAffinity NodePorts"), "{filters}");

    let all = json!([{"name": "*"}]);
    assert_eq!(resolved(json!({"preScore": {"disabled": all}, "score": {"disabled": all}})).1, "");
    // A point's own plugins come first; their weight is the point's, else that of all points.
    let heavy = json!({"score": {"enabled": [{"name": "ImageLocality", "weight": 9}, {"name": "NodeAffinity"}]}});
    let expect = "ImageLocality=9 NodeAffinity=2 TaintToleration=3 NodeResourcesFit=1 PodTopologySpread=2 \
                  InterPodAffinity=2 NodeResourcesBalancedAllocation=1";
    assert_eq!(resolved(heavy).1, expect);
    let only = json!({"score": {"disabled": all, "enabled": [{"name": "NodeResourcesFit", "weight": 5}]}});
    assert_eq!(resolved(only).1, "NodeResourcesFit=5");
    // In place for all points, or last where it was disabled before.
    let heavy = json!({"multiPoint": {"enabled": [{"name": "NodeAffinity", "weight": 7}]}});
    assert_eq!(resolved(heavy).1, usual.replace("NodeAffinity=2", "NodeAffinity=7"));
    let last = json!({"multiPoint": {"disabled": [{"name": "NodeAffinity"}], "enabled": [{"name": "NodeAffinity"}]}});
    assert_eq!(resolved(last).1, format!("{} NodeAffinity=1", usual.replace(" NodeAffinity=2", "")));
    let few = ["PrioritySort", "SchedulingGates", "DefaultBinder", "NodeResourcesFit", "NodeName"];
    let few: Vec<_> = few.iter().map(|name| json!({"name": name})).collect();
    let few = json!({"multiPoint": {"disabled": all, "enabled": few}});
    assert_eq!(resolved(few), ("NodeResourcesFit NodeName".into(), "NodeResourcesFit=1".into()));
}

/// What is wrong with the arguments of a plugin.
#[track_caller]
fn check_args(name: &str, args: Value, expect: &str) {
    let mut profiles = json!([{"pluginConfig": [{"name": name}]}]);
    profiles[0]["pluginConfig"][0]["args"] = args;
    check(&format!("profiles: {profiles}"), &format!("profiles[0].pluginConfig[0].{expect}"));
}

#[test]
fn wrong_arguments_are_named_with_their_place() {
    let takers = "DefaultPreemption, InterPodAffinity, NodeAffinity, NodeResourcesBalancedAllocation, \
                  NodeResourcesFit, PodTopologySpread, VolumeBinding";
    check_args("NodeName", json!({}), &format!("name: NodeName takes no arguments; those that do are {takers}"));
    check_args("Mine", json!({}), &format!("name: there is no plugin \"Mine\"; those with arguments are {takers}"));
    check_args(
        "NodeAffinity",
        json!({"kind": "InterPodAffinityArgs"}),
        "args.kind: it is \"InterPodAffinityArgs\", and has to be \"NodeAffinityArgs\"",
    );
    check_args(
        "InterPodAffinity",
        json!({"hardPodAffinityWeight": 101}),
        "args.hardPodAffinityWeight: 101 is not from 0 to 100",
    );
    check_args(
        "DefaultPreemption",
        json!({"minCandidateNodesPercentage": 0, "minCandidateNodesAbsolute": 0}),
        "args.minCandidateNodesAbsolute: no node could be chosen: let this or minCandidateNodesPercentage be more than 0",
    );
    let scoring = |strategy: Value| json!({"scoringStrategy": strategy});
    check_args(
        "NodeResourcesFit",
        scoring(json!({"type": "Most"})),
        "args.scoringStrategy.type: unknown variant `Most`, expected one of `LeastAllocated`, `MostAllocated`, \
         `RequestedToCapacityRatio`",
    );
    check_args(
        "NodeResourcesFit",
        scoring(json!({"resources": [{"name": "cpu", "weight": 101}]})),
        "args.scoringStrategy.resources[0].weight: 101 is not from 1 to 100",
    );
    let ratio = |shape: Value| scoring(json!({"type": "RequestedToCapacityRatio", "requestedToCapacityRatio": shape}));
    check_args(
        "NodeResourcesFit",
        ratio(json!({})),
        "args.scoringStrategy.requestedToCapacityRatio.shape: it needs at least one point, such as {utilization: 0, \
         score: 0}",
    );
    check_args(
        "NodeResourcesFit",
        ratio(json!({"shape": [{"utilization": 5, "score": 1}, {"utilization": 5, "score": 2}]})),
        "args.scoringStrategy.requestedToCapacityRatio.shape[1].utilization: 5 is not more than that of the point before",
    );
    check_args(
        "NodeResourcesFit",
        json!({"ignoredResources": ["cpu"]}),
        "args.ignoredResources[0]: only extended resources, such as example.com/device, can be ignored",
    );
    check_args(
        "NodeResourcesBalancedAllocation",
        json!({"resources": [{"name": "cpu", "weight": 2}]}),
        "args.resources[0].weight: 2 is not from 1 to 1",
    );
    check_args("VolumeBinding", json!({"bindTimeoutSeconds": -1}), "args.bindTimeoutSeconds: -1 is not at least 0");
}

#[test]
fn wrong_constraints_and_affinities_are_named_with_their_place() {
    let zone = |more: Value| {
        let mut constraint = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"});
        constraint.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        constraint
    };
    let list = |constraints: Value| json!({"defaultingType": "List", "defaultConstraints": constraints});
    check_args(
        "PodTopologySpread",
        json!({"defaultConstraints": [zone(json!({}))]}),
        "args.defaultConstraints: they would not be used: set defaultingType to List, or leave them out",
    );
    check_args(
        "PodTopologySpread",
        list(json!([zone(json!({"labelSelector": {}}))])),
        "args.defaultConstraints[0].labelSelector: whom it selects comes of the pod's services and controller: leave it \
         out",
    );
    check_args(
        "PodTopologySpread",
        list(json!([zone(json!({})), zone(json!({"maxSkew": 2}))])),
        "args.defaultConstraints[1]: another one has this topologyKey and whenUnsatisfiable: state it once",
    );
    check_args(
        "PodTopologySpread",
        list(json!([{"maxSkew": 1, "topologyKey": "zone"}])),
        "args.defaultConstraints[0]: missing field `whenUnsatisfiable`",
    );
    let required = |terms: Value| json!({"addedAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}});
    let place = "args.addedAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    check_args("NodeAffinity", required(json!([])), &format!("{place}: no term matches no node: state one"));
    check_args(
        "NodeAffinity",
        required(json!([{"matchExpressions": [{"key": "a", "operator": "Like", "values": ["b"]}]}])),
        &format!(
            "{place}[0].matchExpressions[0].operator: \"Like\" is none of In, NotIn, Exists, DoesNotExist, Gt, Lt"
        ),
    );
    check_args(
        "NodeAffinity",
        required(json!([{"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["b"]}]}])),
        &format!("{place}[0].matchExpressions[0].values: Gt wants one value, a whole number"),
    );
}

#[test]
fn arguments_reach_the_plugins() {
    let text = file(
        "
percentageOfNodesToScore: 30
podInitialBackoffSeconds: 2
podMaxBackoffSeconds: 4
leaderElection: {leaderElect: true}
clientConnection: {kubeconfig: /etc/kubernetes/scheduler.conf, qps: 50, burst: 100}
enableProfiling: false
profiles:
- schedulerName: default-scheduler
- schedulerName: packed
  percentageOfNodesToScore: 0
  plugins:
    multiPoint: {disabled: [{name: VolumeBinding}]}
  pluginConfig:
  - name: NodeResourcesFit
    args:
      apiVersion: kubescheduler.config.k8s.io/v1
      kind: NodeResourcesFitArgs
      ignoredResourceGroups: [example.com]
      scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 3}]}
  - name: DefaultPreemption
    args: {minCandidateNodesAbsolute: 7}
- schedulerName: patient
  pluginConfig: [{name: VolumeBinding, args: {bindTimeoutSeconds: 5}}]
",
    );
    let config = Config::read(&text).unwrap();
    assert_eq!((config.patience.first, config.patience.last), (Duration::from_secs(2), Duration::from_secs(4)));
    let [usual, packed, patient] = &config.profiles[..] else { panic!("three profiles") };
    let said = |profile: &Profile, text: &str| format!("{:?}", profile.scheduler).contains(text);
    assert!(said(usual, "sample: Some(30)") && said(packed, "sample: None"));
    assert!(said(packed, "absolute: 7") && said(packed, "strategy: Most") && said(packed, "(\"cpu\", 3)"));
    assert!(said(packed, "FitIgnoring") && !said(packed, "VolumeBinding") && said(usual, "VolumeBinding"));
    assert_eq!((packed.volumes_within, patient.volumes_within), (None, Some(Duration::from_secs(5))));
}

#[test]
fn the_file_of_the_guide_is_one() {
    let guide = include_str!("../../../../docs/guide/scheduler-configuration.md");
    let file = guide.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let config = Config::read(file).unwrap();
    let names: Vec<_> = config.profiles.iter().map(|profile| &*profile.name).collect();
    assert_eq!(names, ["default-scheduler", "batch"]);
}
