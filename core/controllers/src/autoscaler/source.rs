//! Where figures come from: what containers use from `metrics.k8s.io`, anything else from whoever embeds the controllers.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use async_trait::async_trait;
use jiff::SignedDuration;
use serde::Deserialize;
use windlass_api::{
    autoscaling::v2::{CrossVersionObjectReference, MetricIdentifier},
    quantity::Amount,
    types::{Quantity, Time},
};
use windlass_client::{Client, Select};
use windlass_kernel::{Error, Result, api::GroupVersionResource};

use super::replicas::{Sample, Samples};

const POD_METRICS: GroupVersionResource = GroupVersionResource::of("metrics.k8s.io", "v1beta1", "pods");

/// Figures beyond what containers use, for metrics of the types `Pods`, `Object` and `External`. All are in thousandths.
///
/// An error becomes the autoscaler's condition `ScalingActive`, and is asked again at the next turn.
#[async_trait]
pub trait MetricSource: Debug + Send + Sync + 'static {
    /// A metric of each pod of a namespace that has it and that a label selector chooses, by the pod's name.
    async fn pods(&self, namespace: &str, selector: &str, metric: &MetricIdentifier) -> Result<BTreeMap<String, i64>>;

    /// A metric of one object.
    async fn object(
        &self,
        namespace: &str,
        object: &CrossVersionObjectReference,
        metric: &MetricIdentifier,
    ) -> Result<i64>;

    /// A metric of something outside the cluster; several values are summed.
    async fn external(&self, namespace: &str, metric: &MetricIdentifier) -> Result<Vec<i64>>;
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodMetrics {
    metadata: Named,
    timestamp: Option<Time>,
    window: String,
    containers: Vec<ContainerMetrics>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerMetrics {
    name: String,
    usage: BTreeMap<String, Quantity>,
}

/// What pods use of a resource: their containers together, or the one of that name.
pub(super) async fn used(
    client: &Client,
    (namespace, selector): (&str, &str),
    (resource, container): (&str, &str),
) -> Result<Samples, String> {
    let list = client.dynamic(POD_METRICS).list(&Select::namespace(namespace).labels(selector)).await;
    let fetched = list.map_err(|error: Error| format!("unable to fetch metrics from resource metrics API: {error}"))?;
    let mut samples = Samples::new();
    for item in &fetched.items {
        let metrics = item.value().ok().and_then(|value| serde_json::from_value::<PodMetrics>(value).ok());
        let metrics =
            metrics.ok_or("unable to fetch metrics from resource metrics API: the answer is no PodMetrics")?;
        if let Some(sample) = sample(&metrics, resource, container, namespace)? {
            samples.insert(metrics.metadata.name, sample);
        }
    }
    if fetched.items.is_empty() {
        return Err("no metrics returned from resource metrics API".into());
    }
    Ok(samples)
}

/// What a pod uses; `None` where one of its containers is not measured.
fn sample(metrics: &PodMetrics, resource: &str, container: &str, namespace: &str) -> Result<Option<Sample>, String> {
    let chosen = metrics.containers.iter().filter(|own| container.is_empty() || own.name == container);
    let milli = |own: &ContainerMetrics| own.usage.get(resource)?.0.parse::<Amount>().ok().map(Amount::milli_value);
    let values: Vec<Option<i64>> = chosen.map(milli).collect();
    if values.is_empty() && !container.is_empty() {
        let pod = &metrics.metadata.name;
        return Err(format!("container {container} not present in metrics for pod {namespace}/{pod}"));
    }
    let value = values.into_iter().try_fold(0_i64, |sum, own| Some(sum.saturating_add(own?)));
    let window = metrics.window.parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
    let sample =
        value.zip(metrics.timestamp).map(|(value, at)| Sample { at: at.0, window: window.unwrap_or_default(), value });
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(containers: &Value, container: &str, expect: Result<Option<i64>, &str>) {
        let metrics = json!({"metadata": {"name": "p"}, "timestamp": "2026-01-01T00:00:00Z", "window": "10.5s", "containers": containers});
        let metrics: PodMetrics = serde_json::from_value(metrics).unwrap();
        let read = sample(&metrics, "cpu", container, "ns");
        assert_eq!(read.as_ref().map(|own| own.map(|own| own.value)).map_err(String::as_str), expect);
        assert!(read.ok().flatten().is_none_or(|own| own.window == Duration::from_millis(10_500)));
    }

    #[test]
    fn a_pod_uses_what_its_containers_use() {
        let used = |name: &str, usage: Value| json!({"name": name, "usage": usage});
        let both = json!([used("a", json!({"cpu": "250000001n"})), used("b", json!({"cpu": "1", "memory": "1Ki"}))]);
        check(&both, "", Ok(Some(1251)));
        check(&both, "b", Ok(Some(1000)));
        check(&both, "c", Err("container c not present in metrics for pod ns/p"));
        check(&json!([used("a", json!({"cpu": "1"})), used("b", json!({}))]), "", Ok(None));
    }
}
