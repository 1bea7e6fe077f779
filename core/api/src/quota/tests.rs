use serde_json::json;

use super::*;

#[track_caller]
fn check(group: &str, plural: &str, object: &Value, expect: &str) {
    assert_eq!(usage(group, plural, object).to_string(), expect);
}

#[test]
fn objects_are_counted_by_resource() {
    check("apps", "deployments", &json!({}), "count/deployments.apps=1");
    check("", "secrets", &json!({}), "count/secrets=1,secrets=1");
    check("", "nodes", &json!({}), "count/nodes=1");
}

#[test]
fn a_pod_uses_what_its_containers_ask_for() {
    let pod = json!({"spec": {"containers": [
        {"resources": {"requests": {"cpu": "500m", "memory": "1Gi", "example.com/gpu": "2"}, "limits": {"cpu": "1"}}},
        {"resources": {"requests": {"cpu": "250m"}}},
    ]}});
    check(
        "",
        "pods",
        &pod,
        "count/pods=1,cpu=750m,limits.cpu=1,memory=1Gi,pods=1,requests.cpu=750m,requests.example.com/gpu=2,requests.memory=1Gi",
    );
    let mut ended = pod;
    ended["status"]["phase"] = "Failed".into();
    check("", "pods", &ended, "count/pods=1");
}

#[test]
fn containers_that_initialize_count_where_they_need_more() {
    let cpu = |cpu: &str| json!({"requests": {"cpu": cpu}});
    let pod = json!({"spec": {
        "initContainers": [
            {"resources": cpu("1")}, {"restartPolicy": "Always", "resources": cpu("2")}, {"resources": cpu("4")},
        ],
        "containers": [{"resources": cpu("3")}],
        "overhead": {"cpu": "100m"},
    }});
    // The sidecar and the last one to initialize, four and two, need more than the sidecar and the rest, three and two.
    check("", "pods", &pod, "count/pods=1,cpu=6100m,pods=1,requests.cpu=6100m");
}

#[test]
fn services_use_ports_and_balancers() {
    let service = |type_: &str| json!({"spec": {"type": type_, "ports": [{"nodePort": 1}, {}]}});
    check("", "services", &service("ClusterIP"), "count/services=1,services=1");
    check("", "services", &service("NodePort"), "count/services=1,services=1,services.nodeports=2");
    let mut balanced = service("LoadBalancer");
    check("", "services", &balanced, "count/services=1,services=1,services.loadbalancers=1,services.nodeports=2");
    balanced["spec"]["allocateLoadBalancerNodePorts"] = false.into();
    check("", "services", &balanced, "count/services=1,services=1,services.loadbalancers=1,services.nodeports=1");
}

#[test]
fn claims_use_storage_of_their_class() {
    let claim = json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "2Gi"}}}});
    let class = "gold.storageclass.storage.k8s.io";
    check(
        "",
        "persistentvolumeclaims",
        &claim,
        &format!(
            "count/persistentvolumeclaims=1,{class}/persistentvolumeclaims=1,{class}/requests.storage=2Gi,persistentvolumeclaims=1,requests.storage=2Gi"
        ),
    );
}

#[track_caller]
fn check_scope(spec: &Value, pod: &Value, expect: bool) {
    let quota = json!({"spec": spec});
    let hard = Usage::read(&json!({"pods": "1"}));
    assert_eq!(concerns(&quota, &hard, "", "pods", pod), expect, "{spec} {pod}");
}

#[test]
fn scopes_say_which_pods_count() {
    let pod =
        json!({"spec": {"activeDeadlineSeconds": 1, "priorityClassName": "high"}, "status": {"qosClass": "Burstable"}});
    check_scope(&json!({}), &pod, true);
    check_scope(&json!({"scopes": ["Terminating", "NotBestEffort"]}), &pod, true);
    check_scope(&json!({"scopes": ["NotTerminating"]}), &pod, false);
    check_scope(&json!({"scopes": ["BestEffort"]}), &pod, false);
    check_scope(&json!({"scopes": ["PriorityClass"]}), &pod, true);
    check_scope(&json!({"scopes": ["CrossNamespacePodAffinity"]}), &pod, false);
    let select = |operator: &str, values: &[&str]| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": values}]}});
    check_scope(&select("In", &["high"]), &pod, true);
    check_scope(&select("NotIn", &["high"]), &pod, false);
    check_scope(&select("DoesNotExist", &[]), &pod, false);
    check_scope(&select("Exists", &[]), &json!({"spec": {}}), false);
}

#[test]
fn a_quota_concerns_only_what_it_limits() {
    let quota = json!({"spec": {}});
    let concerned = |name: &str, group: &str, plural: &str| {
        concerns(&quota, &Usage::read(&json!({name: "1"})), group, plural, &json!({}))
    };
    assert!(concerned("limits.cpu", "", "pods") && concerned("requests.example.com/gpu", "", "pods"));
    assert!(concerned("requests.storage", "", "persistentvolumeclaims") && !concerned("requests.storage", "", "pods"));
    assert!(concerned("count/jobs.batch", "batch", "jobs") && !concerned("count/jobs.batch", "", "jobs"));
}

#[test]
fn what_is_limited_must_be_specified() {
    let pod = json!({"spec": {"containers": [
        {"name": "b", "resources": {"requests": {"cpu": "1"}}}, {"name": "a", "resources": {"limits": {"memory": "1"}}},
    ]}});
    let limited = Usage::read(&json!({"cpu": "1", "limits.memory": "1", "pods": "1"}));
    let why = unspecified("", "pods", &pod, &limited);
    assert_eq!(why.as_deref(), Some("must specify cpu for: a; limits.memory for: b"));
    assert_eq!(unspecified("", "pods", &pod, &Usage::read(&json!({"pods": "1"}))), None);
}

#[test]
fn amounts_are_compared_by_name() {
    let read = |amounts: Value| Usage::read(&amounts);
    let mut used = read(json!({"pods": "2", "cpu": "1"}));
    used.add(&read(json!({"pods": "1"})));
    assert_eq!(used.beyond(&read(json!({"pods": "2", "cpu": "1"}))).to_string(), "pods=3");
    assert_eq!(read(json!({"a": "3", "b": "1"})).above(&read(json!({"a": "1", "b": "2"}))).to_string(), "a=2");
    assert_eq!(used.masked(&read(json!({"cpu": "0"}))).to_json(), json!({"cpu": "1"}));
}
