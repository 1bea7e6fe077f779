//! What each metric of an autoscaler asks for.

use std::sync::Arc;

use jiff::Timestamp;
use windlass_api::{
    autoscaling::v2::{
        ContainerResourceMetricStatus, ExternalMetricSource, ExternalMetricStatus, HorizontalPodAutoscalerSpec,
        MetricIdentifier, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus, ObjectMetricSource,
        ObjectMetricStatus, PodsMetricSource, PodsMetricStatus, ResourceMetricStatus,
    },
    core::v1::Pod,
    quantity::{Amount, Format},
    types::Quantity,
};
use windlass_client::Client;

use super::{
    replicas::{self, Metric, Sample, Samples, Target, Tolerance},
    source::{self, MetricSource},
};

const NO_CUSTOM: &str =
    "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered";
const NO_EXTERNAL: &str =
    "unable to fetch metrics from external metrics API: no external metrics API (external.metrics.k8s.io) registered";

/// What the metrics of an autoscaler are worked out from.
pub(super) struct Proposals<'a> {
    pub(super) client: &'a Client,
    pub(super) source: Option<&'a dyn MetricSource>,
    pub(super) namespace: &'a str,
    pub(super) selector: &'a str,
    pub(super) pods: &'a [Arc<Pod>],
    pub(super) current: i32,
    pub(super) spec: &'a HorizontalPodAutoscalerSpec,
    pub(super) now: Timestamp,
}

/// Why a metric asks for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: &'static str,
    pub(super) why: String,
}

/// The replicas that a metric asks for, its name, and what it is now.
type Found = (i32, String, MetricStatus);

impl Proposals<'_> {
    /// The status of each metric, the one that asks for the most replicas, and what cannot be told.
    pub(super) async fn all(&self) -> (Vec<MetricStatus>, Option<(i32, String)>, Vec<Failure>) {
        let (mut statuses, mut best, mut failures) = (Vec::new(), None::<(i32, String)>, Vec::new());
        for metric in &self.spec.metrics {
            match self.one(metric).await {
                Ok((replicas, name, status)) => {
                    statuses.push(status);
                    if best.as_ref().is_none_or(|(most, _)| replicas > *most) {
                        best = Some((replicas, name));
                    }
                }
                Err(failure) => {
                    // Clients find the status of a metric by its place.
                    statuses.push(MetricStatus::default());
                    failures.push(failure);
                }
            }
        }
        (statuses, best, failures)
    }

    async fn one(&self, metric: &MetricSpec) -> Result<Found, Failure> {
        let type_ = metric.type_.clone();
        let failed = |reason| move |why| Failure { reason, why };
        let status = MetricStatus { type_, ..MetricStatus::default() };
        if let Some(own) = &metric.resource {
            let found = self.resource(&own.name, "", &own.target).await.map_err(failed("FailedGetResourceMetric"))?;
            let (replicas, name, current) = found;
            let resource = Some(Box::new(ResourceMetricStatus { name: own.name.clone(), current }));
            return Ok((replicas, name, MetricStatus { resource, ..status }));
        }
        if let Some(own) = &metric.container_resource {
            let found = self.resource(&own.name, &own.container, &own.target).await;
            let (replicas, name, current) = found.map_err(failed("FailedGetContainerResourceMetric"))?;
            let (resource, container) = (own.name.clone(), own.container.clone());
            let container_resource =
                Some(Box::new(ContainerResourceMetricStatus { name: resource, container, current }));
            return Ok((replicas, name, MetricStatus { container_resource, ..status }));
        }
        if let Some(own) = &metric.pods {
            let found = self.of_pods(own).await.map_err(failed("FailedGetPodsMetric"))?;
            let pods = Some(Box::new(PodsMetricStatus { metric: own.metric.clone(), current: found.2 }));
            return Ok((found.0, found.1, MetricStatus { pods, ..status }));
        }
        if let Some(own) = &metric.object {
            let found = self.of_object(own).await.map_err(failed("FailedGetObjectMetric"))?;
            let (metric, described_object) = (own.metric.clone(), own.described_object.clone());
            let object = Some(Box::new(ObjectMetricStatus { metric, described_object, current: found.2 }));
            return Ok((found.0, found.1, MetricStatus { object, ..status }));
        }
        if let Some(own) = &metric.external {
            let found = self.external(own).await.map_err(failed("FailedGetExternalMetric"))?;
            let external = Some(Box::new(ExternalMetricStatus { metric: own.metric.clone(), current: found.2 }));
            return Ok((found.0, found.1, MetricStatus { external, ..status }));
        }
        let why = format!("unknown metric source type {:?}", metric.type_);
        Err(Failure { reason: "InvalidMetricSourceType", why })
    }

    fn pace(&self) -> (i32, Tolerance) {
        (self.current, Tolerance::of(self.spec.behavior.as_ref()))
    }

    async fn resource(
        &self,
        resource: &str,
        container: &str,
        target: &MetricTarget,
    ) -> Result<(i32, String, MetricValueStatus), String> {
        let (target, what) = match (milli(target.average_value.as_ref()), target.average_utilization) {
            (Some(value), _) => (Target::Average(value), "usage"),
            (None, Some(percent)) => (Target::Utilization(percent), "utilization"),
            (None, None) => {
                let why = "invalid resource metric source: neither an average utilization nor an average value was set";
                return Err(why.into());
            }
        };
        let failed = |why: String| format!("failed to get {resource} {what}: {why}");
        let samples = source::used(self.client, (self.namespace, self.selector), (resource, container)).await;
        let samples = samples.map_err(|why| failed(format!("unable to get metrics for resource {resource}: {why}")))?;
        let metric = Metric { resource, container, target };
        let found = replicas::of_pods(self.pods, samples, metric, self.pace(), self.now).map_err(failed)?;
        let of = if container.is_empty() { "resource" } else { "container resource" };
        let name = match target {
            Target::Average(_) => format!("{resource} {of}"),
            Target::Utilization(_) => format!("{resource} {of} utilization (percentage of request)"),
        };
        let average_value = Some(quantity(found.average));
        let status = MetricValueStatus { average_utilization: found.utilization, average_value, value: None };
        Ok((found.replicas, name, status))
    }

    async fn of_pods(&self, own: &PodsMetricSource) -> Result<(i32, String, MetricValueStatus), String> {
        let MetricIdentifier { name, .. } = &own.metric;
        let failed = |why: String| format!("failed to get pods metric value: {why}");
        let unable = |why: String| failed(format!("unable to get metric {name}: {why}"));
        let source = self.source.ok_or_else(|| unable(NO_CUSTOM.into()))?;
        let values = source.pods(self.namespace, self.selector, &own.metric).await;
        let values = values.map_err(|error| unable(error.to_string()))?;
        let sample = |value| Sample { at: self.now, window: std::time::Duration::ZERO, value };
        let samples: Samples = values.into_iter().map(|(pod, value)| (pod, sample(value))).collect();
        let target = milli(own.target.average_value.as_ref()).unwrap_or(0);
        let metric = Metric { resource: "", container: "", target: Target::Average(target) };
        let found = replicas::of_pods(self.pods, samples, metric, self.pace(), self.now).map_err(failed)?;
        let average_value = Some(quantity(found.average));
        let status = MetricValueStatus { average_value, ..MetricValueStatus::default() };
        Ok((found.replicas, format!("pods metric {name}"), status))
    }

    async fn of_object(&self, own: &ObjectMetricSource) -> Result<(i32, String, MetricValueStatus), String> {
        let (name, object) = (&own.metric.name, &own.described_object);
        let of = format!("{} on {} {}", object.kind, self.namespace, object.name);
        let unable =
            |why: String| format!("failed to get object metric value: unable to get metric {name}: {of}/{why}");
        let source = self.source.ok_or_else(|| unable(NO_CUSTOM.into()))?;
        let value = source.object(self.namespace, object, &own.metric).await;
        let value = value.map_err(|error| unable(error.to_string()))?;
        self.single(value, &own.target, format!("{} metric {name}", object.kind))
    }

    async fn external(&self, own: &ExternalMetricSource) -> Result<(i32, String, MetricValueStatus), String> {
        let name = &own.metric.name;
        let failed = |why: String| {
            let of = format!("{}/{name}", self.namespace);
            format!("failed to get {name} external metric value: unable to get external metric {of}: {why}")
        };
        let source = self.source.ok_or_else(|| failed(NO_EXTERNAL.into()))?;
        let values = source.external(self.namespace, &own.metric).await;
        let values = values.map_err(|error| failed(error.to_string()))?;
        let value = values.into_iter().fold(0_i64, i64::saturating_add);
        self.single(value, &own.target, format!("external metric {name}"))
    }

    /// What a single value asks for, by its target for the whole or for each.
    fn single(
        &self,
        value: i64,
        target: &MetricTarget,
        name: String,
    ) -> Result<(i32, String, MetricValueStatus), String> {
        let positive = |quantity: Option<&Quantity>| milli(quantity).filter(|value| *value > 0);
        if let Some(target) = positive(target.average_value.as_ref()) {
            let (replicas, each) = replicas::of_share(value, target, self.pace());
            let status = MetricValueStatus { average_value: Some(quantity(each)), ..MetricValueStatus::default() };
            return Ok((replicas, name, status));
        }
        let target = positive(target.value.as_ref())
            .ok_or("invalid metric source: neither a value target nor an average value target was set")?;
        let replicas = replicas::of_value(value, target, replicas::ready(self.pods), self.pace());
        let status = MetricValueStatus { value: Some(quantity(value)), ..MetricValueStatus::default() };
        Ok((replicas, name, status))
    }
}

fn milli(quantity: Option<&Quantity>) -> Option<i64> {
    Some(quantity?.0.parse::<Amount>().ok()?.milli_value())
}

fn quantity(milli: i64) -> Quantity {
    Quantity(Amount::milli(milli, Format::Decimal).to_string())
}
