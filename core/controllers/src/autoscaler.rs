//! The HorizontalPodAutoscaler controller: gives a workload as many replicas as metrics of its pods ask for.
//!
//! Metrics cannot be watched, so each autoscaler has its turn every fifteen seconds. How many replicas a metric asks for is
//! decided in `replicas`, how soon and how fast in `history`, and what is said in `conditions`. What was recommended
//! lately is remembered here only: who starts anew begins with the present size.

mod conditions;
mod history;
mod propose;
mod replicas;
mod source;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;
use windlass_api::{
    autoscaling::v2::{
        HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, HorizontalPodAutoscalerStatus, MetricStatus,
    },
    selector::Labels,
    types::Time,
};
use windlass_client::{
    Cache, Client, Select,
    events::{Recorder, Severity},
    gvr,
};
use windlass_kernel::{
    Clock, Controller, Error, ErrorKind, Result,
    api::{Request, Verb},
    controller::{ObjectKey, Requeue, Watched},
};

pub use self::source::MetricSource;
use self::{
    conditions::{ABLE, ACTIVE, Conditions, LIMITED},
    history::{Bounds, History},
    propose::Proposals,
};
use crate::{
    claim,
    registry::Tools,
    resources::{self, Deletable},
    status,
};

/// How often each autoscaler has its turn, as upstream's.
const TURN: Duration = Duration::from_secs(15);

/// Scales workloads.
#[derive(Debug)]
pub struct Autoscalers {
    client: Client,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    scalers: Cache<Arc<HorizontalPodAutoscaler>>,
    custom: Cache<Arc<Deletable>>,
    source: Option<Arc<dyn MetricSource>>,
    memory: Mutex<BTreeMap<ObjectKey, Memory>>,
}

/// What is remembered of an autoscaler.
#[derive(Clone, Debug, Default)]
struct Memory {
    uid: Option<String>,
    spec: HorizontalPodAutoscalerSpec,
    /// When its next turn is, as uptime.
    due: Duration,
    /// Which pods it looks after.
    selector: Option<Labels>,
    history: History,
}

/// A turn of one autoscaler.
struct Turn<'a> {
    key: &'a ObjectKey,
    scaler: &'a HorizontalPodAutoscaler,
    conditions: Conditions,
    metrics: Vec<MetricStatus>,
    history: History,
    /// What the autoscaler has come to know of its pods.
    selector: Option<Labels>,
}

/// What a turn came to.
struct Sizes {
    current: i32,
    wanted: i32,
    scaled: bool,
}

impl Autoscalers {
    pub(crate) fn new(tools: &Tools) -> Self {
        let informers = &tools.informers;
        Self {
            client: tools.client.clone(),
            clock: Arc::clone(&informers.parts().clock),
            recorder: tools.recorder(),
            scalers: informers.typed(Select::all()),
            custom: resources::custom(informers),
            source: tools.config.metrics.clone(),
            memory: Mutex::default(),
        }
    }

    /// What is remembered of an autoscaler, if its turn has come; else how long it waits.
    fn recall(&self, key: &ObjectKey, scaler: &HorizontalPodAutoscaler) -> Result<Memory, Duration> {
        let memory = self.memory.lock().get(key).filter(|own| own.uid == scaler.metadata.uid).cloned();
        let Some(memory) = memory else {
            return Ok(Memory { uid: scaler.metadata.uid.clone(), ..Memory::default() });
        };
        let wait = memory.due.saturating_sub(self.clock.uptime());
        if memory.spec == scaler.spec && !wait.is_zero() { Err(wait) } else { Ok(memory) }
    }

    async fn take(&self, mut turn: Turn<'_>) -> Result<()> {
        let sizes = self.size(&mut turn).await;
        let Turn { key, scaler, conditions, metrics, history, selector } = turn;
        let now = conditions.now;
        if let Some(memory) = self.memory.lock().get_mut(key) {
            (memory.history, memory.selector) = (history, selector);
        }
        let old = &scaler.status;
        let mut wanted = HorizontalPodAutoscalerStatus { conditions: conditions.all, ..old.clone() };
        if let Ok(Some(sizes)) = &sizes {
            wanted.current_replicas = crate::amount::some(sizes.current);
            wanted.desired_replicas = sizes.wanted;
            wanted.current_metrics = metrics;
            if sizes.scaled {
                wanted.last_scale_time = Some(Time(now));
            }
        }
        if wanted != *old {
            status::write(&self.client, &HorizontalPodAutoscaler { status: wanted, ..scaler.clone() }).await?;
        }
        sizes.map(drop)
    }

    /// Sizes the target; `None` where it could not be read.
    async fn size(&self, turn: &mut Turn<'_>) -> Result<Option<Sizes>> {
        let scaler = turn.scaler;
        let warn = |reason: &str, message: String| self.recorder.event(scaler, Severity::Warning, reason, message);
        let (scale, request) = match self.scale(turn.key, scaler).await {
            Ok(found) => found,
            Err(error) => {
                warn("FailedGetScale", error.to_string());
                let message = format!("the HPA controller was unable to get the target's current scale: {error}");
                turn.conditions.say(ABLE, false, "FailedGetScale", message);
                return Ok(None);
            }
        };
        let message = "the HPA controller was able to get the target's current scale";
        turn.conditions.say(ABLE, true, "SucceededGetScale", message);
        let current = i32::try_from(scale["spec"]["replicas"].as_i64().unwrap_or(0)).unwrap_or(i32::MAX);
        turn.history.begin(current, turn.conditions.now);
        let Some((wanted, why)) = self.wanted(turn, &scale, current).await else {
            // Nothing is known, so nothing changes.
            return Ok(Some(Sizes { current, wanted: scaler.status.desired_replicas, scaled: false }));
        };
        if wanted == current {
            return Ok(Some(Sizes { current, wanted, scaled: false }));
        }
        let mut changed = scale;
        changed["spec"]["replicas"] = wanted.into();
        match self.client.call(Request { verb: Verb::Update, ..request.body(changed) }).await {
            Ok(_) => {
                let message = format!("the HPA controller was able to update the target scale to {wanted}");
                turn.conditions.say(ABLE, true, "SucceededRescale", message);
                let message = format!("New size: {wanted}; reason: {why}");
                self.recorder.event(scaler, Severity::Normal, "SuccessfulRescale", message);
                let behaviour = scaler.spec.behavior.as_ref();
                turn.history.scaled(current, wanted, behaviour, turn.conditions.now);
                Ok(Some(Sizes { current, wanted, scaled: true }))
            }
            // Somebody else changed the target: the next look begins with that.
            Err(error) if error.is(ErrorKind::Conflict) => Err(error),
            Err(error) => {
                warn("FailedRescale", format!("New size: {wanted}; reason: {why}; error: {error}"));
                let message = format!("the HPA controller was unable to update the target scale: {error}");
                turn.conditions.say(ABLE, false, "FailedUpdateScale", message);
                Ok(Some(Sizes { current, wanted: current, scaled: false }))
            }
        }
    }

    /// The scale of the target, and the request that reads it.
    async fn scale(&self, key: &ObjectKey, scaler: &HorizontalPodAutoscaler) -> Result<(Value, Request)> {
        let target = &scaler.spec.scale_target_ref;
        let group = claim::group(target.api_version.as_deref().unwrap_or_default());
        let resource = resources::of_kind(&self.custom, group, &target.kind).ok_or_else(|| {
            let message = format!("no matches for kind {:?} in group {group:?}", target.kind);
            Error::new(ErrorKind::NotFound, message)
        })?;
        let request = self.client.request(Verb::Get, resource).in_namespace(&key.namespace).named(&target.name);
        let request = request.subresource("scale");
        Ok((self.client.value(request.clone()).await?, request))
    }

    /// The size that the target is to have, and why; nothing where that cannot be told.
    async fn wanted(&self, turn: &mut Turn<'_>, scale: &Value, current: i32) -> Option<(i32, String)> {
        let spec = &turn.scaler.spec;
        let (least, most) = (spec.min_replicas.unwrap_or(1), spec.max_replicas);
        if current == 0 && least != 0 {
            let message = "scaling is disabled since the replica count of the target is zero";
            turn.conditions.say(ACTIVE, false, "ScalingDisabled", message);
            return Some((0, String::new()));
        }
        if current > most {
            return Some((most, "Current number of replicas above Spec.MaxReplicas".into()));
        }
        if current < least {
            return Some((least, "Current number of replicas below Spec.MinReplicas".into()));
        }
        let (wanted, name) = match self.propose(turn, scale, current).await {
            Ok(found) => found,
            Err(why) => {
                let why = format!("failed to compute desired number of replicas based on listed metrics: {why}");
                self.recorder.event(turn.scaler, Severity::Warning, "FailedComputeMetricsReplicas", why);
                return None;
            }
        };
        let behaviour = spec.behavior.as_ref();
        let settled = turn.history.settle(wanted, Bounds { current, least, most }, behaviour, turn.conditions.now);
        turn.conditions.say(ABLE, true, settled.able.0, settled.able.1);
        let (limited, reason, message) = settled.limited;
        turn.conditions.say(LIMITED, limited, reason, message);
        let why = match () {
            () if wanted > current => format!("{name} above target"),
            () if wanted < current => "All metrics below target".into(),
            () => String::new(),
        };
        Some((settled.replicas, why))
    }

    /// The most replicas that a metric asks for, and its name. Where some cannot be told, fewer are not trusted.
    async fn propose(&self, turn: &mut Turn<'_>, scale: &Value, current: i32) -> Result<(i32, String), String> {
        let scaler = turn.scaler;
        let selector = scale["status"]["selector"].as_str().unwrap_or_default();
        let warn = |reason: &str, message: &str| self.recorder.event(scaler, Severity::Warning, reason, message);
        if selector.is_empty() {
            warn("SelectorRequired", "selector is required");
            let message = "the HPA target's scale is missing a selector";
            turn.conditions.say(ACTIVE, false, "InvalidSelector", message);
            return Err("selector is required".into());
        }
        let labels: Labels = match selector.parse() {
            Ok(labels) => labels,
            Err(error) => {
                let why = format!("couldn't convert selector into a corresponding internal selector object: {error}");
                warn("InvalidSelector", &why);
                turn.conditions.say(ACTIVE, false, "InvalidSelector", why.clone());
                return Err(why);
            }
        };
        turn.selector = Some(labels);
        let pods = self.client.list(&Select::namespace(&turn.key.namespace).labels(selector)).await;
        let pods = pods.map_err(|error| format!("unable to get pods while calculating replica count: {error}"))?;
        let rivals = self.rivals(turn.key, &pods);
        if !rivals.is_empty() {
            let all = [&[turn.key.to_string()], &rivals[..]].concat().join(" ");
            let why = format!("pods by selector {selector} are controlled by multiple HPAs: [{all}]");
            warn("AmbiguousSelector", &why);
            turn.conditions.say(ACTIVE, false, "AmbiguousSelector", why.clone());
            return Err(why);
        }
        let proposals = Proposals {
            client: &self.client,
            source: self.source.as_deref(),
            namespace: &turn.key.namespace,
            selector,
            pods: &pods,
            current,
            spec: &scaler.spec,
            now: turn.conditions.now,
        };
        let (statuses, best, failures) = proposals.all().await;
        turn.metrics = statuses;
        for failure in &failures {
            warn(failure.reason, &failure.why);
        }
        if let Some(first) = failures.first() {
            let (failed, all) = (failures.len(), scaler.spec.metrics.len());
            if best.as_ref().is_none_or(|(replicas, _)| *replicas < current) {
                let message = format!("the HPA was unable to compute the replica count: {}", first.why);
                turn.conditions.say(ACTIVE, false, first.reason, message);
                return Err(format!("invalid metrics ({failed} invalid out of {all}), first error is: {}", first.why));
            }
        }
        let (replicas, name) = best.ok_or("there is no metric")?;
        let message = format!("the HPA was able to successfully calculate a replica count from {name}");
        turn.conditions.say(ACTIVE, true, "ValidMetricFound", message);
        Ok((replicas, name))
    }

    /// The other autoscalers that look after one of the pods.
    fn rivals(&self, key: &ObjectKey, pods: &[Arc<windlass_api::core::v1::Pod>]) -> Vec<String> {
        let memory = self.memory.lock();
        let others = memory.iter().filter(|(own, _)| own.namespace == key.namespace && *own != key);
        let rival = |memory: &Memory| {
            memory.selector.as_ref().is_some_and(|labels| pods.iter().any(|pod| labels.matches(&pod.metadata.labels)))
        };
        others.filter(|(_, memory)| rival(memory)).map(|(own, _)| own.to_string()).collect()
    }
}

#[async_trait]
impl Controller for Autoscalers {
    fn name(&self) -> &'static str {
        "horizontal-pod-autoscaler"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![Watched { resource: gvr::<HorizontalPodAutoscaler>(), keys: claim::own_key }]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        self.custom.synced().await;
        let Some(scaler) = self.scalers.get(key) else {
            self.memory.lock().remove(key);
            return Ok(Requeue::OnChange);
        };
        let memory = match self.recall(key, &scaler) {
            Ok(memory) => memory,
            Err(wait) => return Ok(Requeue::After(wait)),
        };
        let (history, selector) = (memory.history.clone(), memory.selector.clone());
        // The turn is taken whatever it comes to: what failed is tried again at the next one.
        let taken = Memory { spec: scaler.spec.clone(), due: self.clock.uptime() + TURN, ..memory };
        self.memory.lock().insert(key.clone(), taken);
        let conditions = Conditions { all: scaler.status.conditions.clone(), now: self.clock.now() };
        let metrics = scaler.status.current_metrics.clone();
        self.take(Turn { key, scaler: &scaler, conditions, metrics, history, selector }).await.inspect_err(|_| {
            // Where the API failed, the next turn is the next try.
            if let Some(memory) = self.memory.lock().get_mut(key) {
                memory.due = Duration::ZERO;
            }
        })?;
        Ok(Requeue::After(TURN))
    }
}
