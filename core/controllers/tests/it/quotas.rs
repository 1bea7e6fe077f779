//! Quotas hold under a crowd, and what is gone is given back.

use std::sync::Arc;

use futures::future::join_all;
use serde_json::{Value, json};
use windlass_api::core::v1::{Pod, ResourceQuota, Secret};
use windlass_client::{Cache, Select};
use windlass_kernel::{
    ErrorKind,
    api::{GroupVersionResource, PatchType},
    controller::ObjectKey,
};

use crate::{cluster::Cluster, jobs::job, laws};

fn quota(spec: &Value) -> Value {
    let metadata = json!({"name": "q", "namespace": "default"});
    json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec})
}

fn quotas(cluster: &Cluster) -> Cache<Arc<ResourceQuota>> {
    cluster.informers.typed(Select::all())
}

/// Whether so much of a resource is used.
fn used(name: &'static str, amount: &'static str) -> impl Fn(&Cache<Arc<ResourceQuota>>) -> bool {
    move |quotas| {
        let quota = quotas.get(&ObjectKey::new("default", "q"));
        quota.is_some_and(|quota| quota.status.used.get(name) == Some(&amount.into()))
    }
}

fn secret(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}})
}

fn pod(name: &str, cpu: &str) -> Value {
    let resources = json!({"requests": {"cpu": cpu}});
    let containers = json!([{"name": "c", "image": "web:1", "resources": resources}]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": {"containers": containers}})
}

fn refused(cluster: &Cluster, plural: &'static str, object: Value) -> String {
    let resource = GroupVersionResource::of("", "v1", plural);
    let error = cluster.executor.run_until(cluster.admin.dynamic(resource).create(object)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    error.message().to_owned()
}

#[test]
fn a_crowd_gets_what_there_is_and_no_more() {
    let cluster = Cluster::new(1);
    let quotas = quotas(&cluster);
    cluster.create("resourcequotas", quota(&json!({"hard": {"secrets": "20"}})));
    cluster.until(&quotas, used("secrets", "0"));
    let names: Vec<String> = (0..50).map(|at| format!("s{at}")).collect();
    let secrets = cluster.admin.dynamic(GroupVersionResource::of("", "v1", "secrets"));
    let done = cluster.executor.run_until(join_all(names.iter().map(|name| secrets.create(secret(name)))));
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 20);
    let expect = "is forbidden: exceeded quota: q, requested: secrets=1, used: secrets=20, limited: secrets=20";
    assert!(done.iter().filter_map(|done| done.as_ref().err()).all(|error| error.message().ends_with(expect)));
    cluster.until(&quotas, used("secrets", "20"));
    cluster.settle();
    assert!(used("secrets", "20")(&quotas));
    for name in names
        .iter()
        .filter(|name| cluster.executor.run_until(cluster.admin.get_opt::<Secret>("default", name)).unwrap().is_some())
        .take(5)
    {
        cluster.executor.run_until(cluster.admin.delete::<Secret>("default", name)).unwrap();
    }
    cluster.until(&quotas, used("secrets", "15"));
}

#[test]
fn a_pod_counts_until_it_ends() {
    let cluster = Cluster::new(2);
    let quotas = quotas(&cluster);
    cluster.create("resourcequotas", quota(&json!({"hard": {"pods": "2", "requests.cpu": "1", "count/pods": "9"}})));
    cluster.until(&quotas, used("requests.cpu", "0"));
    let mut brief = pod("brief", "600m");
    brief["spec"]["restartPolicy"] = "Never".into();
    brief["metadata"]["annotations"] = json!({"fake.windlass.dev/lifetime": "60s"});
    cluster.create("pods", brief);
    cluster.until(&quotas, used("requests.cpu", "600m"));
    let why = refused(&cluster, "pods", pod("b", "500m"));
    let expect = "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1";
    assert_eq!(why, expect);
    let open = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "open", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "web:1"}]}});
    let expect = "pods \"open\" is forbidden: failed quota: q: must specify requests.cpu for: c";
    assert_eq!(refused(&cluster, "pods", open), expect);
    cluster
        .until(&quotas, |all| used("pods", "0")(all) && used("requests.cpu", "0")(all) && used("count/pods", "1")(all));
    cluster.create("pods", pod("b", "1"));
    cluster.until(&quotas, used("requests.cpu", "1"));
}

#[test]
fn scopes_choose_which_pods_count() {
    let cluster = Cluster::new(3);
    let quotas = quotas(&cluster);
    cluster.create("resourcequotas", quota(&json!({"hard": {"pods": "1"}, "scopes": ["BestEffort"]})));
    cluster.until(&quotas, used("pods", "0"));
    cluster.create("pods", pod("burstable", "1"));
    let idle = |name: &str| {
        let mut pod = pod(name, "1");
        pod["spec"]["containers"][0]["resources"] = json!({});
        pod
    };
    cluster.create("pods", idle("a"));
    assert!(refused(&cluster, "pods", idle("b")).ends_with("requested: pods=1, used: pods=1, limited: pods=1"));
    cluster.settle();
    assert!(used("pods", "1")(&quotas));
}

#[test]
fn a_change_that_uses_more_is_charged_too() {
    let cluster = Cluster::new(4);
    let quotas = quotas(&cluster);
    cluster.create("resourcequotas", quota(&json!({"hard": {"services.nodeports": "1", "services": "5"}})));
    // The service of the API itself counts too.
    cluster.until(&quotas, used("services", "1"));
    let service = |name: &str| {
        let spec = json!({"ports": [{"port": 80}], "selector": {"app": "web"}});
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec})
    };
    for name in ["a", "b"] {
        cluster.create("services", service(name));
    }
    let open = |name: &'static str| {
        let patch = json!({"spec": {"type": "NodePort"}});
        let patched = cluster.admin.patch::<windlass_api::core::v1::Service>("default", name, PatchType::Merge, patch);
        cluster.executor.run_until(patched)
    };
    open("a").unwrap();
    let error = open("b").unwrap_err();
    let expect =
        "exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1";
    assert!(error.message().ends_with(expect), "{error}");
    cluster.until(&quotas, used("services", "3"));
}

#[test]
fn a_job_waits_for_its_quota() {
    let cluster = Cluster::new(5);
    let (quotas, pods) = (quotas(&cluster), cluster.informers.typed::<Pod>(Select::all()));
    cluster.create("resourcequotas", quota(&json!({"hard": {"pods": "2", "count/jobs.batch": "1"}})));
    cluster.until(&quotas, used("pods", "0"));
    cluster.create("jobs", job(&json!({"completions": 6, "parallelism": 6}), "0"));
    let jobs = cluster.informers.typed::<windlass_api::batch::v1::Job>(Select::all());
    cluster.until(&jobs, |jobs| jobs.values().iter().any(|job| job.status.completion_time.is_some()));
    cluster.until(&pods, |pods| pods.len() == 6);
    cluster.until(&quotas, |all| used("pods", "0")(all) && used("count/jobs.batch", "1")(all));
}

#[test]
fn a_quota_that_is_changed_is_counted_anew() {
    let cluster = Cluster::new(6);
    let quotas = quotas(&cluster);
    cluster.create("secrets", secret("s"));
    cluster.create("resourcequotas", quota(&json!({"hard": {"pods": "2"}})));
    cluster.until(&quotas, used("pods", "0"));
    let patch = json!({"spec": {"hard": {"pods": null, "secrets": "7"}}});
    let patched = cluster.admin.patch::<ResourceQuota>("default", "q", PatchType::Merge, patch);
    cluster.executor.run_until(patched).unwrap();
    cluster.until(&quotas, used("secrets", "1"));
    assert_eq!(quotas.values()[0].status.used.len(), 1);
}

#[test]
fn a_quota_keeps_the_law_of_controllers() {
    laws::hold("resourcequota-controller", |cluster| {
        let quotas = quotas(cluster);
        cluster.create("secrets", secret("a"));
        cluster.create("resourcequotas", quota(&json!({"hard": {"secrets": "2"}})));
        cluster.until(&quotas, used("secrets", "1"));
        cluster.create("secrets", secret("b"));
        cluster.executor.run_until(cluster.admin.delete::<Secret>("default", "a")).unwrap();
        cluster.until(&quotas, used("secrets", "1"));
        cluster.settle();
        quotas.values()[0].status.used.clone()
    });
}
