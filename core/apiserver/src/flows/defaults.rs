//! The flow schemas and priority levels that upstream gives every cluster, as objects to create.

use serde_json::{Value, json};

/// Name, shares, lendable percent, the number of queues, and how many of them a flow uses; none where requests are refused
/// at once.
const LEVELS: [(&str, i64, i64, i64, i64); 7] = [
    ("catch-all", 5, 0, 0, 0),
    ("global-default", 20, 50, 128, 6),
    ("leader-election", 10, 0, 16, 4),
    ("node-high", 40, 25, 64, 6),
    ("system", 30, 33, 64, 6),
    ("workload-high", 40, 50, 128, 6),
    ("workload-low", 100, 90, 128, 6),
];

/// Name, level, precedence, what tells flows apart, whom and what. The words are those of [`subject`] and [`what`].
const SCHEMAS: [(&str, &str, i64, &str, &str, &str); 13] = [
    ("exempt", "exempt", 1, "", "group:system:masters", "everything"),
    ("probes", "exempt", 2, "", "group:system:unauthenticated group:system:authenticated", "probes"),
    (
        "system-leader-election",
        "leader-election",
        100,
        "ByUser",
        "user:system:kube-controller-manager user:system:kube-scheduler account:kube-system/*",
        "elections",
    ),
    (
        "endpoint-controller",
        "workload-high",
        150,
        "ByUser",
        "user:system:kube-controller-manager account:kube-system/endpoint-controller",
        "endpoints",
    ),
    ("workload-leader-election", "leader-election", 200, "ByUser", "account:kube-system/*", "elections"),
    ("system-node-high", "node-high", 400, "ByUser", "group:system:nodes", "nodes"),
    ("system-nodes", "system", 500, "ByUser", "group:system:nodes", "everything"),
    (
        "kube-controller-manager",
        "workload-high",
        800,
        "ByNamespace",
        "user:system:kube-controller-manager",
        "everything",
    ),
    ("kube-scheduler", "workload-high", 800, "ByNamespace", "user:system:kube-scheduler", "everything"),
    ("kube-system-service-accounts", "workload-high", 900, "ByNamespace", "account:kube-system/*", "everything"),
    ("service-accounts", "workload-low", 9000, "ByUser", "group:system:serviceaccounts", "everything"),
    (
        "global-default",
        "global-default",
        9900,
        "ByUser",
        "group:system:unauthenticated group:system:authenticated",
        "everything",
    ),
    (
        "catch-all",
        "catch-all",
        10_000,
        "ByUser",
        "group:system:unauthenticated group:system:authenticated",
        "everything",
    ),
];

/// Every default `PriorityLevelConfiguration` and `FlowSchema`.
pub(crate) fn objects() -> Vec<Value> {
    let exempt = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}});
    let mut objects = vec![object("PriorityLevelConfiguration", "exempt", &exempt)];
    for (name, shares, lendable, queues, hand) in LEVELS {
        let response = if queues == 0 {
            json!({"type": "Reject"})
        } else {
            json!({"type": "Queue", "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 50}})
        };
        let limited =
            json!({"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response});
        objects.push(object("PriorityLevelConfiguration", name, &json!({"type": "Limited", "limited": limited})));
    }
    for (name, level, precedence, distinguisher, whom, did) in SCHEMAS {
        let mut rule = what(did);
        rule["subjects"] = whom.split(' ').map(subject).collect();
        let mut spec = json!({"matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": level},
            "rules": [rule]});
        if !distinguisher.is_empty() {
            spec["distinguisherMethod"] = json!({"type": distinguisher});
        }
        objects.push(object("FlowSchema", name, &spec));
    }
    objects
}

/// The object of this kind and name, where nothing would be served without it.
pub(crate) fn mandatory(kind: &str, name: &str) -> Option<Value> {
    let is = |object: &Value| object["kind"] == kind && object["metadata"]["name"] == name;
    matches!(name, "exempt" | "catch-all").then(|| objects().into_iter().find(is)).flatten()
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    let annotations = json!({"apf.kubernetes.io/autoupdate-spec": "true"});
    json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": kind,
        "metadata": {"name": name, "annotations": annotations}, "spec": spec})
}

fn subject(word: &str) -> Value {
    let (kind, name) = word.split_once(':').unwrap_or((word, ""));
    match kind {
        "user" => json!({"kind": "User", "user": {"name": name}}),
        "group" => json!({"kind": "Group", "group": {"name": name}}),
        _ => {
            let (namespace, name) = name.split_once('/').unwrap_or((name, "*"));
            json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": name}})
        }
    }
}

fn what(word: &str) -> Value {
    let resources = |verbs: &[&str], group: &str, names: &[&str], cluster: bool| json!({"verbs": verbs, "apiGroups": [group], "resources": names, "clusterScope": cluster, "namespaces": ["*"]});
    let write = ["get", "create", "update"];
    match word {
        "probes" => json!({"nonResourceRules":
            [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]}),
        "elections" => json!({"resourceRules": [resources(&write, "coordination.k8s.io", &["leases"], false)]}),
        "endpoints" => json!({"resourceRules": [resources(&write, "", &["endpoints"], false)]}),
        "nodes" => json!({"resourceRules": [
            resources(&["*"], "", &["nodes", "nodes/status"], true),
            resources(&["*"], "coordination.k8s.io", &["leases"], false)]}),
        _ => json!({"resourceRules": [resources(&["*"], "*", &["*"], true)],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}),
    }
}
