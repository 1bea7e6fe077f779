//! Workloads get as many replicas as what their pods use asks for, no faster and no sooner than is said.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use windlass_api::{
    apps::v1::ReplicaSet,
    autoscaling::v2::{CrossVersionObjectReference, HorizontalPodAutoscaler, MetricIdentifier},
    core::v1::{Event, Pod},
};
use windlass_client::{Cache, Select};
use windlass_controllers::{Config, autoscaler::MetricSource};
use windlass_kernel::{Result, api::PatchType, controller::ObjectKey};

use crate::{
    cluster::{Cluster, Reconciles, Watches},
    laws,
};

const CPU: &str = "fake.windlass.dev/cpu";

/// A set whose pods request a tenth of a core and use as much as is said.
fn set(replicas: i32, cpu: &str) -> Value {
    let container = json!({"name": "c", "image": "web:1", "resources": {"requests": {"cpu": "100m"}}});
    let metadata = json!({"labels": {"app": "web"}, "annotations": {CPU: cpu}});
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": metadata, "spec": {"containers": [container]}},
        },
    })
}

fn scaler(name: &str, (least, most): (i32, i32), spec: &Value) -> Value {
    let target = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web"});
    let mut whole = json!({"scaleTargetRef": target, "minReplicas": least, "maxReplicas": most});
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": "default"}, "spec": whole})
}

/// The usual metric: CPU, as a percentage of what is requested.
fn utilization(percent: i32) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": percent});
    json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]})
}

struct Seen {
    sets: Cache<Arc<ReplicaSet>>,
    scalers: Cache<Arc<HorizontalPodAutoscaler>>,
    events: Cache<Arc<Event>>,
}

impl Seen {
    fn of(cluster: &Cluster) -> Self {
        let informers = &cluster.informers;
        Self {
            sets: informers.typed(Select::all()),
            scalers: informers.typed(Select::all()),
            events: informers.typed(Select::all()),
        }
    }
}

/// A set with so many replicas, all of them ready.
fn sized(replicas: i32) -> impl Fn(&Cache<Arc<ReplicaSet>>) -> bool {
    move |sets| {
        let Some(set) = sets.get(&ObjectKey::new("default", "web")) else { return false };
        set.spec.replicas == Some(replicas) && set.status.ready_replicas.unwrap_or(0) == replicas
    }
}

/// A condition as its status and reason.
fn says(scalers: &Cache<Arc<HorizontalPodAutoscaler>>, name: &str, of: &str) -> String {
    let scaler = scalers.get(&ObjectKey::new("default", name));
    let conditions = scaler.map(|own| own.status.conditions.clone()).unwrap_or_default();
    let found = conditions.iter().find(|own| own.type_ == of);
    found.map(|own| format!("{} {}", own.status, own.reason.as_deref().unwrap_or_default())).unwrap_or_default()
}

/// Whether an event of that reason says this.
fn told(reason: &'static str, message: &'static str) -> impl Fn(&Cache<Arc<Event>>) -> bool {
    move |events| {
        let is = |event: &Arc<Event>| {
            event.reason.as_deref() == Some(reason) && event.message.as_deref().is_some_and(|own| own.contains(message))
        };
        events.values().iter().any(is)
    }
}

/// Changes what every pod uses.
fn use_of_all(cluster: &Cluster, cpu: &str) {
    let pods: Vec<Arc<Pod>> = cluster.executor.run_until(cluster.admin.list(&Select::namespace("default"))).unwrap();
    let patch = json!({"metadata": {"annotations": {CPU: cpu}}});
    for pod in pods {
        let name = pod.metadata.name.as_deref().unwrap();
        cluster
            .executor
            .run_until(cluster.admin.patch::<Pod>("default", name, PatchType::Merge, patch.clone()))
            .unwrap();
    }
}

#[test]
fn a_workload_grows_with_what_it_uses_and_shrinks_after_a_while() {
    let cluster = Cluster::new(1);
    let seen = Seen::of(&cluster);
    cluster.create("replicasets", set(2, "200m"));
    cluster.until(&seen.sets, sized(2));
    cluster.create("horizontalpodautoscalers", scaler("web", (1, 5), &utilization(100)));
    cluster.until(&seen.sets, sized(5));
    cluster.until(&seen.events, told("SuccessfulRescale", "New size: 4; reason: cpu resource utilization"));
    cluster.until(&seen.scalers, |all| {
        let whole = all.values()[0].status.current_replicas == Some(5);
        whole && says(all, "web", "ScalingLimited") == "True TooManyReplicas"
    });
    assert_eq!(says(&seen.scalers, "web", "ScalingActive"), "True ValidMetricFound");
    let status = seen.scalers.values()[0].status.clone();
    let current = status.current_metrics[0].resource.as_ref().unwrap();
    assert_eq!(current.current.average_utilization, Some(200));
    assert_eq!(current.current.average_value.as_ref().unwrap().0, "200m");

    let clock = cluster.executor.clock();
    let lower = clock.uptime();
    use_of_all(&cluster, "10m");
    cluster.until(&seen.scalers, |all| says(all, "web", "AbleToScale") == "True ScaleDownStabilized");
    cluster.until(&seen.sets, sized(1));
    let waited = clock.uptime() - lower;
    assert!(waited >= Duration::from_secs(270), "it shrank after {waited:?}");
    cluster.until(&seen.events, told("SuccessfulRescale", "New size: 1; reason: All metrics below target"));
    cluster.until(&seen.scalers, |all| all.values()[0].status.last_scale_time.is_some());
}

#[test]
fn a_behaviour_says_how_fast_and_how_soon() {
    let cluster = Cluster::new(2);
    let seen = Seen::of(&cluster);
    let mut spec = utilization(50);
    let policy = |kind: &str, value: i32| json!([{"type": kind, "value": value, "periodSeconds": 60}]);
    spec["behavior"] = json!({
        "scaleUp": {"policies": policy("Pods", 1)},
        "scaleDown": {"stabilizationWindowSeconds": 0, "policies": policy("Percent", 50)},
    });
    cluster.create("replicasets", set(1, "100m"));
    cluster.until(&seen.sets, sized(1));
    cluster.create("horizontalpodautoscalers", scaler("web", (1, 4), &spec));
    let clock = cluster.executor.clock();
    cluster.until(&seen.sets, sized(2));
    let begun = clock.uptime();
    cluster.until(&seen.scalers, |all| says(all, "web", "ScalingLimited") == "True ScaleUpLimit");
    cluster.until(&seen.sets, sized(4));
    let waited = clock.uptime() - begun;
    assert!(waited >= Duration::from_secs(110), "it grew by two in {waited:?}");
    // What was added lately does not count as what there was.
    cluster.executor.run_for(Duration::from_secs(90));
    let lower = clock.uptime();
    use_of_all(&cluster, "1m");
    cluster.until(&seen.sets, sized(2));
    assert!(clock.uptime() - lower < Duration::from_secs(60));
}

#[test]
fn what_cannot_be_told_is_said() {
    let cluster = Cluster::new(3);
    let seen = Seen::of(&cluster);
    cluster.create("horizontalpodautoscalers", scaler("web", (1, 5), &utilization(50)));
    cluster.until(&seen.scalers, |all| says(all, "web", "AbleToScale") == "False FailedGetScale");
    cluster.until(&seen.events, told("FailedGetScale", "not found"));
    cluster.create("replicasets", set(1, "unknown"));
    cluster.until(&seen.scalers, |all| says(all, "web", "ScalingActive") == "False FailedGetResourceMetric");
    let message = "failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from \
                   resource metrics API";
    cluster.until(&seen.events, told("FailedGetResourceMetric", message));
    let message = "invalid metrics (1 invalid out of 1), first error is: failed to get cpu utilization";
    cluster.until(&seen.events, told("FailedComputeMetricsReplicas", message));
    use_of_all(&cluster, "50m");
    cluster.until(&seen.scalers, |all| says(all, "web", "ScalingActive") == "True ValidMetricFound");
    // Two that look after the same pods would pull at them from two sides.
    cluster.create("horizontalpodautoscalers", scaler("other", (1, 5), &utilization(50)));
    cluster.until(&seen.scalers, |all| says(all, "other", "ScalingActive") == "False AmbiguousSelector");
    let zero = json!({"spec": {"replicas": 0}});
    cluster.executor.run_until(cluster.admin.patch::<ReplicaSet>("default", "web", PatchType::Merge, zero)).unwrap();
    cluster.until(&seen.scalers, |all| says(all, "web", "ScalingActive") == "False ScalingDisabled");
}

/// Each pod has two requests a second, the queue has thirty messages.
#[derive(Debug)]
struct Source;

#[async_trait]
impl MetricSource for Source {
    async fn pods(&self, _: &str, _: &str, _: &MetricIdentifier) -> Result<BTreeMap<String, i64>> {
        Ok(BTreeMap::new())
    }

    async fn object(&self, _: &str, _: &CrossVersionObjectReference, _: &MetricIdentifier) -> Result<i64> {
        Ok(2000)
    }

    async fn external(&self, _: &str, _: &MetricIdentifier) -> Result<Vec<i64>> {
        Ok(vec![10_000, 20_000])
    }
}

fn external() -> Value {
    let target = json!({"type": "AverageValue", "averageValue": "10"});
    json!({"metrics": [{"type": "External", "external": {"metric": {"name": "queue"}, "target": target}}]})
}

#[test]
fn other_metrics_need_a_source() {
    let cluster = Cluster::new(4);
    let seen = Seen::of(&cluster);
    cluster.create("replicasets", set(1, "50m"));
    cluster.create("horizontalpodautoscalers", scaler("web", (1, 5), &external()));
    cluster.until(&seen.scalers, |all| says(all, "web", "ScalingActive") == "False FailedGetExternalMetric");
    cluster.until(&seen.events, told("FailedGetExternalMetric", "unable to fetch metrics from external metrics API"));

    let mut cluster = Cluster::without_controllers(5);
    cluster.config = Config { metrics: Some(Arc::new(Source)), ..Config::default() };
    cluster.run_controllers(Watches::Prompt, Reconciles::Once);
    let seen = Seen::of(&cluster);
    cluster.create("replicasets", set(1, "50m"));
    cluster.create("horizontalpodautoscalers", scaler("web", (1, 5), &external()));
    cluster.until(&seen.sets, sized(3));
    cluster.until(&seen.scalers, |all| says(all, "web", "ScalingActive") == "True ValidMetricFound");
}

#[test]
fn an_autoscaler_comes_out_the_same_whatever_happens() {
    laws::hold("horizontal-pod-autoscaler", |cluster| {
        let seen = Seen::of(cluster);
        cluster.create("replicasets", set(1, "200m"));
        cluster.until(&seen.sets, sized(1));
        cluster.create("horizontalpodautoscalers", scaler("web", (1, 3), &utilization(100)));
        cluster.until(&seen.sets, sized(3));
        cluster.until(&seen.scalers, |all| {
            says(all, "web", "ScalingLimited") == "True TooManyReplicas" && all.values()[0].status.desired_replicas == 3
        });
        cluster.settle();
        let conditions = ["AbleToScale", "ScalingActive", "ScalingLimited"].map(|of| says(&seen.scalers, "web", of));
        (conditions, seen.sets.values()[0].spec.replicas)
    });
}
