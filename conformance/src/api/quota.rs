//! Limits of namespaces: quotas with their scopes, limit ranges, priority and runtime classes.

use futures::{FutureExt, future::join_all};
use serde_json::{Value, json};

use super::{
    Check,
    answer::says,
    objects::map,
    world::{MERGE, World, template},
};

const AREA: &str = "limits";
const QUOTA: &str = "https://kubernetes.io/docs/concepts/policy/resource-quotas/";
const RANGES: &str = "Conformance: LimitRange, resources";

pub(super) const CHECKS: &[Check] = &[
    Check::new(
        AREA,
        "a_quota_counts_what_is_there",
        "Conformance: ResourceQuota, object count quota, configmap",
        |w| counted(w).boxed(),
    ),
    Check::new(AREA, "what_exceeds_a_quota_is_forbidden", QUOTA, |w| exceeded(w).boxed()),
    Check::new(AREA, "a_crowd_does_not_exceed_a_quota", QUOTA, |w| crowd(w).boxed()),
    Check::new(
        AREA,
        "pods_are_charged_by_what_they_ask_for",
        "Conformance: ResourceQuota, object count quota, pod",
        |w| pods(w).boxed(),
    ),
    Check::new(
        AREA,
        "scopes_choose_which_pods_are_charged",
        "Conformance: ResourceQuota, quota scope, BestEffort and NotBestEffort scope; Terminating and NotTerminating scope",
        |w| scopes(w).boxed(),
    ),
    Check::new(
        AREA,
        "services_are_charged_by_their_type",
        "Conformance: ResourceQuota, object count quota, service",
        |w| services(w).boxed(),
    ),
    Check::new(AREA, "a_limit_range_gives_defaults_and_bounds", RANGES, |w| ranges(w).boxed()),
    Check::new(
        AREA,
        "a_priority_class_is_resolved_in_a_pod",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/#pod-priority",
        |w| priority(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_runtime_class_gives_its_overhead",
        "Conformance: RuntimeClass Overhead field must be respected.; Pod with the non-existing RuntimeClass is rejected.",
        |w| runtime(w).boxed(),
    ),
    Check::new(
        AREA,
        "every_pod_tolerates_its_nodes_troubles_for_a_while",
        "https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#defaulttolerationseconds",
        |w| tolerations(w).boxed(),
    ),
    Check::new(
        AREA,
        "what_is_immutable_stays",
        "Conformance: ConfigMap Volume, immutability; Secrets Volume, immutability",
        |w| immutable(w).boxed(),
    ),
];

async fn quota(w: &World, name: &str, spec: Value) -> String {
    w.create(&w.path("resourcequotas"), &json!({"metadata": {"name": name}, "spec": spec})).await.with(201);
    let target = w.at("resourcequotas", name);
    w.until("the quota is counted", &target, |answer| answer.json()["status"]["used"].is_object()).await;
    target
}

async fn used(w: &World, target: &str, resource: &str, amount: &str) {
    let what = format!("{amount} of {resource} are used");
    w.until(&what, target, |answer| answer.json()["status"]["used"][resource] == amount).await;
}

async fn counted(w: World) {
    w.until("the authority is in the namespace", &w.at("configmaps", "kube-root-ca.crt"), |answer| answer.code == 200)
        .await;
    let hard = json!({"configmaps": "10", "secrets": "5", "count/podtemplates": "3", "resourcequotas": "1", "count/replicasets.apps": "2"});
    let target = quota(&w, "q", json!({"hard": hard})).await;
    assert_eq!(w.get(&target).await.ok()["status"]["hard"], hard);
    used(&w, &target, "configmaps", "1").await;
    used(&w, &target, "resourcequotas", "1").await;
    w.create(&w.path("configmaps"), &map("a")).await.with(201);
    used(&w, &target, "configmaps", "2").await;
    w.create(&w.path("podtemplates"), &template("t")).await.with(201);
    used(&w, &target, "count/podtemplates", "1").await;
    w.create(&w.path("secrets"), &json!({"metadata": {"name": "s"}})).await.with(201);
    used(&w, &target, "secrets", "1").await;
    let set = json!({"metadata": {"name": "r"}, "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    w.create(&w.path("apps/v1/replicasets"), &set).await.with(201);
    used(&w, &target, "count/replicasets.apps", "1").await;
    w.delete(&w.at("configmaps", "a")).await.coded(200);
    used(&w, &target, "configmaps", "1").await;
    w.delete(&w.at("secrets", "s")).await.coded(200);
    used(&w, &target, "secrets", "0").await;
}

async fn exceeded(w: World) {
    let target = quota(&w, "q", json!({"hard": {"secrets": "1"}})).await;
    let secret = |name: &str| json!({"metadata": {"name": name}});
    w.create(&w.path("secrets"), &secret("a")).await.with(201);
    let status = w.create(&w.path("secrets"), &secret("b")).await.refused(403, "Forbidden");
    let text =
        "secrets \"b\" is forbidden: exceeded quota: q, requested: secrets=1, used: secrets=1, limited: secrets=1";
    assert_eq!(status["message"], text);
    w.patch(&target, MERGE, &json!({"spec": {"hard": {"secrets": "2"}}})).await.ok();
    w.until("the quota is raised", &target, |answer| answer.json()["status"]["hard"]["secrets"] == "2").await;
    w.create(&w.path("secrets"), &secret("b")).await.with(201);
    let dry = w.create(&format!("{}?dryRun=All", w.path("secrets")), &secret("c")).await;
    dry.refused(403, "Forbidden");
    w.create(&w.path("resourcequotas"), &json!({"metadata": {"name": "odd"}, "spec": {"hard": {"secrets": "-1"}}}))
        .await
        .invalid(&["spec.hard[secrets]"]);
}

async fn crowd(w: World) {
    let target = quota(&w, "q", json!({"hard": {"secrets": "5"}})).await;
    let creations = (0..25).map(|number| {
        let w = w.clone();
        async move { w.create(&w.path("secrets"), &json!({"metadata": {"name": format!("s{number}")}})).await.code }
    });
    let codes = join_all(creations).await;
    let made = codes.iter().filter(|code| **code == 201).count();
    assert!(made <= 5, "{made} of 5 were made: {codes:?}");
    let list = w.get(&w.path("secrets")).await.ok();
    assert_eq!(super::answer::names(&list).len(), made);
    used(&w, &target, "secrets", &made.to_string()).await;
}

fn pod(name: &str, spec: &Value) -> Value {
    let mut pod = json!({"metadata": {"name": name}, "spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": "i"}]}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        if field == "resources" {
            pod["spec"]["containers"][0][field] = value.clone();
        } else {
            pod["spec"][field] = value.clone();
        }
    }
    pod
}

async fn pods(w: World) {
    w.account().await;
    let hard = json!({"pods": "3", "requests.cpu": "1", "limits.memory": "1Gi", "requests.example.com/gpu": "2"});
    let target = quota(&w, "q", json!({"hard": hard})).await;
    let status = w.create(&w.path("pods"), &pod("none", &json!({}))).await.refused(403, "Forbidden");
    says(&status, &["failed quota: q: must specify", "requests.cpu for: c", "limits.memory for: c"]);
    let ask = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu, "example.com/gpu": "1"}, "limits": {"cpu": "2", "memory": "256Mi", "example.com/gpu": "1"}}});
    w.create(&w.path("pods"), &pod("a", &ask("600m"))).await.with(201);
    used(&w, &target, "requests.cpu", "600m").await;
    used(&w, &target, "limits.memory", "256Mi").await;
    used(&w, &target, "requests.example.com/gpu", "1").await;
    let status = w.create(&w.path("pods"), &pod("b", &ask("500m"))).await.refused(403, "Forbidden");
    says(
        &status,
        &["exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1"],
    );
    w.create(&w.path("pods"), &pod("b", &ask("400m"))).await.with(201);
    used(&w, &target, "pods", "2").await;
    used(&w, &target, "requests.cpu", "1").await;
    w.delete_with(&w.at("pods", "a"), &json!({"gracePeriodSeconds": 0})).await.coded(200);
    used(&w, &target, "requests.cpu", "400m").await;
}

async fn scopes(w: World) {
    w.account().await;
    let scoped = |scope: &str| json!({"hard": {"pods": "5"}, "scopes": [scope]});
    let mut targets = std::collections::BTreeMap::new();
    for scope in ["BestEffort", "NotBestEffort", "Terminating", "NotTerminating"] {
        targets.insert(scope, quota(&w, &scope.to_lowercase(), scoped(scope)).await);
    }
    let resources = json!({"resources": {"requests": {"cpu": "1m"}}, "activeDeadlineSeconds": 3600});
    w.create(&w.path("pods"), &pod("best", &json!({}))).await.with(201);
    used(&w, &targets["BestEffort"], "pods", "1").await;
    used(&w, &targets["NotTerminating"], "pods", "1").await;
    w.create(&w.path("pods"), &pod("burst", &resources)).await.with(201);
    used(&w, &targets["NotBestEffort"], "pods", "1").await;
    used(&w, &targets["Terminating"], "pods", "1").await;
    used(&w, &targets["BestEffort"], "pods", "1").await;
    used(&w, &targets["NotTerminating"], "pods", "1").await;
    let odd = json!({"metadata": {"name": "odd"}, "spec": {"hard": {"pods": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}});
    w.create(&w.path("resourcequotas"), &odd).await.invalid(&["spec.scopes"]);
}

async fn services(w: World) {
    let target =
        quota(&w, "q", json!({"hard": {"services": "3", "services.nodeports": "1", "services.loadbalancers": "1"}}))
            .await;
    let service =
        |name: &str, kind: &str| json!({"metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80}]}});
    w.create(&w.path("services"), &service("a", "ClusterIP")).await.with(201);
    w.create(&w.path("services"), &service("b", "NodePort")).await.with(201);
    used(&w, &target, "services", "2").await;
    used(&w, &target, "services.nodeports", "1").await;
    let status = w.create(&w.path("services"), &service("c", "LoadBalancer")).await.refused(403, "Forbidden");
    says(&status, &["exceeded quota: q", "services.nodeports=1"]);
    w.delete(&w.at("services", "b")).await.coded(200);
    used(&w, &target, "services.nodeports", "0").await;
    w.create(&w.path("services"), &service("c", "LoadBalancer")).await.with(201);
    used(&w, &target, "services.loadbalancers", "1").await;
}

async fn ranges(w: World) {
    w.account().await;
    let limits = json!([{"type": "Container", "min": {"cpu": "50m"}, "max": {"cpu": "500m"}, "default": {"cpu": "400m"},
        "defaultRequest": {"cpu": "100m", "memory": "10Mi"}, "maxLimitRequestRatio": {"cpu": "8"}}]);
    w.create(&w.path("limitranges"), &json!({"metadata": {"name": "l"}, "spec": {"limits": limits}})).await.with(201);
    let made = w.create(&w.path("pods"), &pod("a", &json!({}))).await.with(201);
    let resources = &made["spec"]["containers"][0]["resources"];
    assert_eq!(resources["limits"], json!({"cpu": "400m"}));
    assert_eq!(resources["requests"], json!({"cpu": "100m", "memory": "10Mi"}));
    assert!(made["metadata"]["annotations"]["kubernetes.io/limit-ranger"].is_string(), "{}", made["metadata"]);
    let with = |request: &str, limit: &str| {
        pod("b", &json!({"resources": {"requests": {"cpu": request}, "limits": {"cpu": limit}}}))
    };
    let merged = w.create(&w.path("pods"), &with("300m", "300m")).await.with(201);
    assert_eq!(merged["spec"]["containers"][0]["resources"]["requests"], json!({"cpu": "300m", "memory": "10Mi"}));
    for (request, limit, says_) in [
        ("10m", "50m", "minimum cpu usage per Container is 50m, but request is 10m"),
        ("300m", "600m", "maximum cpu usage per Container is 500m, but limit is 600m"),
        ("50m", "500m", "cpu max limit to request ratio per Container is 8, but provided ratio is 10"),
    ] {
        let mut object = with(request, limit);
        object["metadata"]["name"] = "c".into();
        says(&w.create(&w.path("pods"), &object).await.refused(403, "Forbidden"), &[says_]);
    }
    let odd = json!({"metadata": {"name": "odd"}, "spec": {"limits": [{"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]}});
    w.create(&w.path("limitranges"), &odd).await.invalid(&["spec.limits[0].min[cpu]"]);
}

async fn priority(w: World) {
    w.account().await;
    let class = w.name("high");
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    w.later(format!("{classes}/{class}"));
    w.create(classes, &json!({"metadata": {"name": class}, "value": 1000, "preemptionPolicy": "Never"}))
        .await
        .with(201);
    let made = w.create(&w.path("pods"), &pod("a", &json!({"priorityClassName": class}))).await.with(201);
    assert_eq!((&made["spec"]["priority"], &made["spec"]["preemptionPolicy"]), (&json!(1000), &json!("Never")));
    let plain = w.create(&w.path("pods"), &pod("b", &json!({}))).await.with(201);
    assert!(plain["spec"]["priority"].is_number(), "{}", plain["spec"]);
    let absent = pod("c", &json!({"priorityClassName": w.name("absent")}));
    says(
        &w.create(&w.path("pods"), &absent).await.refused(403, "Forbidden"),
        &["no PriorityClass with name", "was found"],
    );
    let own = pod("d", &json!({"priorityClassName": class, "priority": 7}));
    w.create(&w.path("pods"), &own).await.refused(403, "Forbidden");
    let status = w.patch(&format!("{classes}/{class}"), MERGE, &json!({"value": 5})).await;
    assert!(matches!(status.code, 403 | 422), "the value of a class was changed: {}", status.text());
    let high = json!({"metadata": {"name": w.name("higher")}, "value": 1_000_000_001});
    w.create(classes, &high).await.refused(422, "Invalid");
    for (name, value) in [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)] {
        assert_eq!(w.get(&format!("{classes}/{name}")).await.ok()["value"], value);
    }
}

async fn runtime(w: World) {
    w.account().await;
    let class = w.name("heavy");
    let classes = "/apis/node.k8s.io/v1/runtimeclasses";
    w.later(format!("{classes}/{class}"));
    let object = json!({"metadata": {"name": class}, "handler": "heavy", "overhead": {"podFixed": {"cpu": "10m", "memory": "1Mi"}},
        "scheduling": {"nodeSelector": {"heavy": "yes"}, "tolerations": [{"key": "heavy", "operator": "Exists"}]}});
    w.create(classes, &object).await.with(201);
    for turn in 0.. {
        let answer = w.create(&w.path("pods"), &pod("a", &json!({"runtimeClassName": class}))).await;
        // Servers may learn of a class a moment later.
        if answer.code == 403 && turn < 100 {
            w.pause(std::time::Duration::from_millis(25)).await;
            continue;
        }
        let made = answer.with(201);
        assert_eq!(made["spec"]["overhead"], json!({"cpu": "10m", "memory": "1Mi"}));
        assert_eq!(made["spec"]["nodeSelector"], json!({"heavy": "yes"}));
        assert!(
            made["spec"]["tolerations"].as_array().into_iter().flatten().any(|toleration| toleration["key"] == "heavy")
        );
        break;
    }
    let own = pod("b", &json!({"runtimeClassName": class, "overhead": {"cpu": "5m"}}));
    w.create(&w.path("pods"), &own).await.refused(403, "Forbidden");
    let absent = w.name("absent");
    let status =
        w.create(&w.path("pods"), &pod("c", &json!({"runtimeClassName": absent}))).await.refused(403, "Forbidden");
    says(&status, &[&format!("RuntimeClass \"{absent}\" not found")]);
}

async fn tolerations(w: World) {
    w.account().await;
    let made = w.create(&w.path("pods"), &pod("a", &json!({}))).await.with(201);
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let wanted = json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
        let there =
            made["spec"]["tolerations"].as_array().into_iter().flatten().any(|toleration| *toleration == wanted);
        assert!(there, "{wanted} is not in {}", made["spec"]["tolerations"]);
    }
}

async fn immutable(w: World) {
    for (resource, data) in [("configmaps", "data"), ("secrets", "stringData")] {
        let target = w.at(resource, "a");
        w.create(&w.path(resource), &json!({"metadata": {"name": "a"}, data: {"k": "v"}})).await.with(201);
        let patch = async |patch: Value| w.patch(&target, MERGE, &patch).await;
        patch(json!({data: {"k": "w"}})).await.ok();
        patch(json!({"immutable": true})).await.ok();
        patch(json!({data: {"k": "x"}})).await.invalid(&["data"]);
        patch(json!({"immutable": false})).await.invalid(&["immutable"]);
        patch(json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
        w.delete(&target).await.coded(200);
    }
    let mut changed =
        w.create(&w.path("secrets"), &json!({"metadata": {"name": "t"}, "type": "Opaque"})).await.with(201);
    changed["type"] = "example.com/other".into();
    w.replace(&w.at("secrets", "t"), &changed).await.invalid(&["type"]);
    for (resource, name) in [("configmaps", "e"), ("secrets", "e")] {
        let object = json!({"metadata": {"name": name}, "data": {"": "dg=="}});
        w.create(&w.path(resource), &object).await.invalid(&["data[]"]);
    }
}
