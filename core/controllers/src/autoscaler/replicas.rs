//! How many replicas a metric asks for. Pods that are not measured or not ready neither hasten nor hinder.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use windlass_api::{
    autoscaling::v2::HorizontalPodAutoscalerBehavior,
    core::v1::{Container, Pod},
    quantity::Amount,
    types::Quantity,
};

use super::history::whole;

/// A pod that starts uses more CPU than it will.
const START: Duration = Duration::from_secs(5 * 60);
/// So late after its start a pod may first say that it is not ready.
const FIRST_WORD: Duration = Duration::from_secs(30);
/// A ratio so close to one is as good as one.
const TOLERANCE: f64 = 0.1;

/// What was measured of one pod, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) at: Timestamp,
    pub(super) window: Duration,
    pub(super) value: i64,
}

/// What was measured, by pod.
pub(super) type Samples = BTreeMap<String, Sample>;

/// How far from its target a metric may be without anything being done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tolerance {
    up: f64,
    down: f64,
}

impl Tolerance {
    pub(super) fn of(behaviour: Option<&HorizontalPodAutoscalerBehavior>) -> Self {
        let (up, down) = behaviour.map_or((None, None), |own| (own.scale_up.as_ref(), own.scale_down.as_ref()));
        let read = |quantity: Option<&Quantity>| {
            quantity.and_then(|own| own.0.parse::<Amount>().ok()).map_or(TOLERANCE, Amount::as_f64)
        };
        Self {
            up: read(up.and_then(|rules| rules.tolerance.as_ref())),
            down: read(down.and_then(|rules| rules.tolerance.as_ref())),
        }
    }

    fn covers(self, ratio: f64) -> bool {
        (1.0 - self.down) <= ratio && ratio <= (1.0 + self.up)
    }
}

/// What a metric of pods is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A percentage of what the pods request.
    Utilization(i32),
    /// So many thousandths for each pod.
    Average(i64),
}

/// What a metric asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) replicas: i32,
    pub(super) utilization: Option<i32>,
    /// The mean of the pods that count, in thousandths.
    pub(super) average: i64,
}

/// What a metric of pods is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric<'a> {
    /// The resource; empty where it is none.
    pub(super) resource: &'a str,
    /// One container of each pod; empty for whole pods.
    pub(super) container: &'a str,
    pub(super) target: Target,
}

/// Whether and how a pod counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Ready,
    Unready,
    Missing,
    Ignored,
}

/// How many replicas a metric of pods asks for. The error is in upstream's words.
pub(super) fn of_pods(
    pods: &[Arc<Pod>],
    mut samples: Samples,
    metric: Metric<'_>,
    (current, tolerance): (i32, Tolerance),
    now: Timestamp,
) -> Result<Proposal, String> {
    if pods.is_empty() {
        return Err("no pods returned by selector while calculating replica count".into());
    }
    let name = |pod: &Pod| pod.metadata.name.clone().unwrap_or_default();
    let standing = |pod: &Pod| standing(pod, samples.get(&name(pod)), metric.resource, now);
    let (mut unready, mut missing, mut ignored, mut ready) = (Vec::new(), Vec::new(), Vec::new(), 0_i32);
    for pod in pods {
        match standing(pod) {
            Standing::Ready => ready += 1,
            Standing::Unready => unready.push(name(pod)),
            Standing::Missing => missing.push(name(pod)),
            Standing::Ignored => ignored.push(name(pod)),
        }
    }
    for pod in unready.iter().chain(&ignored) {
        samples.remove(pod);
    }
    if samples.is_empty() {
        return Err("did not receive metrics for targeted pods (pods might be unready)".into());
    }
    let mut values: BTreeMap<String, i64> = samples.iter().map(|(pod, sample)| (pod.clone(), sample.value)).collect();
    let requests = match metric.target {
        Target::Utilization(_) => requests(pods, metric)?,
        Target::Average(_) => BTreeMap::new(),
    };
    let (ratio, utilization, average) = measure(&values, &requests, metric.target)?;
    let proposal = |replicas| Ok(Proposal { replicas, utilization, average });
    let with_unready = !unready.is_empty() && ratio > 1.0;
    if !with_unready && missing.is_empty() {
        return proposal(if tolerance.covers(ratio) { current } else { whole((ratio * f64::from(ready)).ceil()) });
    }
    for pod in missing {
        // Whoever is not measured is taken to be where it stands in the way of what the others ask for.
        let assumed = match (ratio.total_cmp(&1.0), metric.target) {
            (Ordering::Equal, _) => continue,
            (Ordering::Greater, _) => 0,
            (Ordering::Less, Target::Average(target)) => target,
            (Ordering::Less, Target::Utilization(percent)) => {
                requests.get(&pod).copied().unwrap_or(0).saturating_mul(i64::from(percent.max(100))) / 100
            }
        };
        values.insert(pod, assumed);
    }
    if with_unready {
        values.extend(unready.into_iter().map(|pod| (pod, 0)));
    }
    let (second, ..) = measure(&values, &requests, metric.target)?;
    if tolerance.covers(second) || (ratio < 1.0 && second > 1.0) || (ratio > 1.0 && second < 1.0) {
        return proposal(current);
    }
    let count = f64::from(i32::try_from(values.len()).unwrap_or(i32::MAX));
    let replicas = whole((second * count).ceil());
    let backwards = (second < 1.0 && replicas > current) || (second > 1.0 && replicas < current);
    proposal(if backwards { current } else { replicas })
}

/// How many replicas a single value asks for, given what it is to be for the whole.
pub(super) fn of_value(value: i64, target: i64, ready: i32, (current, tolerance): (i32, Tolerance)) -> i32 {
    let ratio = float(value) / float(target);
    match current {
        0 => whole(ratio.ceil()),
        current if tolerance.covers(ratio) => current,
        _ => whole((ratio * f64::from(ready)).ceil()),
    }
}

/// How many replicas a single value asks for, given what it is to be for each; and the value for each.
pub(super) fn of_share(value: i64, target: i64, (current, tolerance): (i32, Tolerance)) -> (i32, i64) {
    let ratio = float(value) / (float(target) * f64::from(current));
    let replicas = if tolerance.covers(ratio) { current } else { whole((float(value) / float(target)).ceil()) };
    (replicas, whole_i64((float(value) / f64::from(current.max(1))).ceil()))
}

/// How many pods are running and ready.
pub(super) fn ready(pods: &[Arc<Pod>]) -> i32 {
    let ready = |pod: &&Arc<Pod>| {
        let condition = pod.status.conditions.iter().find(|own| own.type_ == "Ready");
        pod.status.phase.as_deref() == Some("Running") && condition.is_some_and(|own| own.status == "True")
    };
    i32::try_from(pods.iter().filter(ready).count()).unwrap_or(i32::MAX)
}

/// The ratio of what is to what is to be, the utilization where that is the target, and the mean.
fn measure(
    values: &BTreeMap<String, i64>,
    requests: &BTreeMap<String, i64>,
    target: Target,
) -> Result<(f64, Option<i32>, i64), String> {
    let percent = match target {
        Target::Average(target) => {
            let mean = values.values().sum::<i64>() / i64::try_from(values.len().max(1)).unwrap_or(i64::MAX);
            return Ok((float(mean) / float(target), None, mean));
        }
        Target::Utilization(percent) => percent,
    };
    let both = values.iter().filter_map(|(pod, value)| Some((*value, *requests.get(pod)?)));
    let (used, requested, count) = both.fold((0_i64, 0_i64, 0_i64), |(used, requested, count), (value, request)| {
        (used.saturating_add(value), requested.saturating_add(request), count + 1)
    });
    if requested == 0 {
        return Err("no metrics returned matched known pods".into());
    }
    let utilization = i32::try_from(used.saturating_mul(100) / requested).unwrap_or(i32::MAX);
    Ok((f64::from(utilization) / f64::from(percent), Some(utilization), used / count))
}

fn standing(pod: &Pod, sample: Option<&Sample>, resource: &str, now: Timestamp) -> Standing {
    let phase = pod.status.phase.as_deref();
    if pod.metadata.deletion_timestamp.is_some() || phase == Some("Failed") {
        return Standing::Ignored;
    }
    if phase == Some("Pending") {
        return Standing::Unready;
    }
    let Some(sample) = sample else { return Standing::Missing };
    if resource != "cpu" {
        return Standing::Ready;
    }
    let condition = pod.status.conditions.iter().find(|own| own.type_ == "Ready");
    let (Some(condition), Some(start)) = (condition, pod.status.start_time) else { return Standing::Unready };
    let changed = condition.last_transition_time.map_or(start.0, |time| time.0);
    let after = |time: Timestamp, span: Duration| time + SignedDuration::try_from(span).unwrap_or_default();
    let unready = condition.status == "False";
    let early = if after(start.0, START) > now {
        // What was measured before it was ready tells of its start.
        unready || sample.at < after(changed, sample.window)
    } else {
        // It has never been ready.
        unready && after(start.0, FIRST_WORD) > changed
    };
    if early { Standing::Unready } else { Standing::Ready }
}

/// What each pod requests, in thousandths.
fn requests(pods: &[Arc<Pod>], metric: Metric<'_>) -> Result<BTreeMap<String, i64>, String> {
    pods.iter().map(|pod| Ok((pod.metadata.name.clone().unwrap_or_default(), request(pod, metric)?))).collect()
}

fn request(pod: &Pod, Metric { resource, container, .. }: Metric<'_>) -> Result<i64, String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let milli = |quantity: &Quantity| quantity.0.parse::<Amount>().ok().map(Amount::milli_value);
    let whole = pod.spec.resources.as_ref().and_then(|own| own.requests.get(resource)).and_then(milli);
    if let (true, Some(whole)) = (container.is_empty(), whole) {
        return Ok(whole);
    }
    let sidecars = pod.spec.init_containers.iter().filter(|own| own.restart_policy.as_deref() == Some("Always"));
    let all: Vec<&Container> = pod.spec.containers.iter().chain(sidecars).collect();
    let chosen = all.into_iter().filter(|own| container.is_empty() || own.name == container);
    let (mut sum, mut found) = (0_i64, false);
    for own in chosen {
        let requested = own.resources.requests.get(resource).and_then(milli);
        let requested = requested
            .ok_or_else(|| format!("missing request for {resource} in container {} of Pod {name}", own.name))?;
        (sum, found) = (sum.saturating_add(requested), true);
    }
    if found { Ok(sum) } else { Err(format!("container {container} not found in Pod {name}")) }
}

#[allow(clippy::cast_precision_loss, reason = "a ratio need not be exact")]
fn float(number: i64) -> f64 {
    number as f64
}

#[allow(clippy::cast_possible_truncation, reason = "a conversion of a float saturates")]
fn whole_i64(number: f64) -> i64 {
    number as i64
}

#[cfg(test)]
mod tests;
