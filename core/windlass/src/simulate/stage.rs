//! KWOK's `Stage`s (`kwok.x-k8s.io/v1alpha1`), as far as they say when pods start, end and go.
//!
//! Templates are not run: what a simulated pod says is the fake node's business, which keeps the whole of a pod's status
//! true. Of a template only the phase and the exit code are read. What cannot be played so is refused.

mod select;
mod template;

use std::{collections::BTreeMap, time::Duration};

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::Value;
use windlass_api::core::v1::Pod;
use windlass_kernel::{Error, ErrorKind, Result};
use windlass_testkit::agent::{Behaviour, End};

use self::{
    select::{Selector, Selects},
    template::{Effect, Told},
};

/// Long enough for never, and no trouble to add to a time.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// All stages that are about pods.
#[derive(Clone, Debug, Default)]
pub(super) struct Stages(Vec<Stage>);

/// What a stage does to which pods, and when.
#[derive(Clone, Debug)]
struct Stage {
    name: String,
    selects: Selects,
    weight: u64,
    delay: Delay,
    effect: Effect,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Read {
    #[serde(rename = "apiVersion")]
    api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default)]
    metadata: Meta,
    spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
struct Meta {
    #[serde(default)]
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    resource_ref: Reference,
    #[serde(default)]
    selector: Selector,
    #[serde(default)]
    weight: u64,
    /// A weight that a pod states itself. It changes how often, not what.
    #[serde(default, rename = "weightFrom")]
    _weight_from: Option<Value>,
    #[serde(default)]
    delay: Delay,
    #[serde(default)]
    next: Option<Next>,
    #[serde(default)]
    steps: Vec<Step>,
    #[serde(default, rename = "immediateNextStage")]
    _immediate: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Reference {
    #[serde(default, rename = "apiGroup")]
    group: String,
    kind: String,
}

/// The older form of what happens.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Next {
    #[serde(default)]
    status_template: String,
    #[serde(default)]
    delete: bool,
    /// Finalizers of KWOK's own, which simulated pods do without.
    #[serde(default, rename = "finalizers")]
    _finalizers: Option<Value>,
    /// An event beside it.
    #[serde(default, rename = "event")]
    _event: Option<Value>,
}

/// The newer form.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Step {
    #[serde(default)]
    patch: Option<Patch>,
    #[serde(default)]
    delete: bool,
    #[serde(default, rename = "event")]
    _event: Option<Value>,
    #[serde(default, rename = "finalizers")]
    _finalizers: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Patch {
    #[serde(default)]
    root: String,
    #[serde(default)]
    template: String,
}

/// How long after a pod is selected.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Delay {
    #[serde(default)]
    duration_milliseconds: u64,
    #[serde(default)]
    duration_from: Option<From>,
    #[serde(default)]
    jitter_duration_milliseconds: u64,
    #[serde(default)]
    jitter_duration_from: Option<From>,
}

/// Where a pod itself says it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct From {
    #[serde(default)]
    expression_from: String,
    #[serde(default)]
    jq: Option<Jq>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Jq {
    expression: String,
}

fn refuse(message: String) -> Error {
    Error::new(ErrorKind::NotSupported, message)
}

impl Stages {
    /// Takes in a stage.
    pub(super) fn add(&mut self, value: Value) -> Result<()> {
        let name = value["metadata"]["name"].as_str().unwrap_or("without a name").to_owned();
        let kind = value["kind"].as_str().unwrap_or_default();
        if kind != "Stage" {
            return Err(refuse(format!("KWOK's {kind} {name} cannot be played: only Stage can")));
        }
        let read: Read = serde_json::from_value(value)
            .map_err(|error| refuse(format!("the stage {name} cannot be played: {error}")))?;
        let stage = read.stage().map_err(|why| refuse(format!("the stage {name} cannot be played: {why}")))?;
        self.0.extend(stage);
        Ok(())
    }

    /// How a pod behaves. Without any stage, as its annotations say.
    pub(super) fn play(&self, pod: &Pod) -> Behaviour {
        if self.0.is_empty() {
            return Behaviour::of(pod);
        }
        let mut behaviour = Behaviour { start: NEVER, stop: NEVER, ..Behaviour::default() };
        if let Some(stage) = self.one(pod, |effect| *effect == Effect::Run) {
            let before = self.0.iter().filter(|stage| stage.effect == Effect::Prepare && stage.selects.means(pod));
            behaviour.start = before.map(|stage| stage.wait(pod)).sum::<Duration>() + stage.wait(pod);
        }
        if let Some(stage) = self.one(pod, |effect| matches!(effect, Effect::End(_)))
            && let Effect::End(code) = &stage.effect
        {
            behaviour.end = Some(End { after: stage.wait(pod), code: code.of(pod) });
        }
        if let Some(stage) = self.one(pod, |effect| *effect == Effect::Go) {
            behaviour.stop = stage.wait(pod);
        }
        behaviour
    }

    /// The stage for a pod among those of an effect; chance, which is the pod's uid, decides by weight.
    fn one(&self, pod: &Pod, of: impl Fn(&Effect) -> bool) -> Option<&Stage> {
        let all: Vec<_> = self.0.iter().filter(|stage| of(&stage.effect) && stage.selects.means(pod)).collect();
        let weight = |stage: &Stage, total: u64| if total == 0 { 1 } else { stage.weight };
        let total = all.iter().map(|stage| stage.weight).sum::<u64>();
        let sum: u64 = all.iter().map(|stage| weight(stage, total)).sum();
        let mut drawn = chance(pod, "stage").checked_rem(sum)?;
        all.into_iter().find(|stage| {
            let own = weight(stage, total);
            let found = drawn < own;
            drawn = drawn.saturating_sub(own);
            found
        })
    }
}

impl Read {
    /// The stage; `None` where the fake node does that anyway.
    fn stage(self) -> Result<Option<Stage>, String> {
        if self.api_version != "kwok.x-k8s.io/v1alpha1" {
            return Err(format!("{} is not read, only kwok.x-k8s.io/v1alpha1", self.api_version));
        }
        let Self { metadata: Meta { name }, spec, .. } = self;
        let Spec { resource_ref, selector, weight, delay, next, steps, .. } = spec;
        let mut told = Told::default();
        if let Some(next) = next {
            told.delete |= next.delete;
            told.templates.push(next.status_template);
        }
        for step in steps {
            told.delete |= step.delete;
            if let Some(Patch { root, template }) = step.patch {
                if root != "status" {
                    return Err(format!("it patches {root:?}, and only a status can be"));
                }
                told.templates.push(template);
            }
        }
        match (resource_ref.group.as_str(), resource_ref.kind.as_str()) {
            ("" | "v1", "Pod") => {}
            ("" | "v1", "Node") => return told.node().map(|()| None),
            (group, kind) => return Err(format!("it is about {group} {kind}, and only pods and nodes are simulated")),
        }
        delay.check()?;
        let (selects, going) = selector.read()?;
        let effect = told.pod(going)?;
        Ok(Some(Stage { name, selects, weight, delay, effect }))
    }
}

impl Stage {
    /// How long the stage waits for a pod: any time between the delay and the jitter, where that is longer.
    fn wait(&self, pod: &Pod) -> Duration {
        let Delay { duration_milliseconds, duration_from, jitter_duration_milliseconds, jitter_duration_from } =
            &self.delay;
        let said = |from: &Option<From>, usual: &u64| {
            let said = from.as_ref().and_then(|from| from.annotation()).and_then(|key| span(pod, &key));
            said.unwrap_or(Duration::from_millis(*usual))
        };
        let least = said(duration_from, duration_milliseconds);
        let most = said(jitter_duration_from, jitter_duration_milliseconds);
        let range = u64::try_from(most.saturating_sub(least).as_millis()).unwrap_or(u64::MAX);
        least + Duration::from_millis(chance(pod, &self.name).checked_rem(range).unwrap_or_default())
    }
}

impl Delay {
    fn check(&self) -> Result<(), String> {
        for from in self.duration_from.iter().chain(&self.jitter_duration_from) {
            // The time when a pod has to be gone bounds every stop here.
            if from.annotation().is_none() && from.text() != ".metadata.deletionTimestamp" {
                return Err(format!("a delay is read from annotations, not from {}", from.text()));
            }
        }
        Ok(())
    }
}

impl From {
    fn text(&self) -> &str {
        self.jq.as_ref().map_or(&self.expression_from, |jq| &jq.expression)
    }

    fn annotation(&self) -> Option<String> {
        select::quoted(self.text(), ".metadata.annotations[")
    }
}

fn span(pod: &Pod, annotation: &str) -> Option<Duration> {
    let span: SignedDuration = pod.metadata.annotations.get(annotation)?.parse().ok()?;
    Duration::try_from(span).ok()
}

/// A number that is the pod's own, and another one for each purpose.
fn chance(pod: &Pod, purpose: &str) -> u64 {
    let meta = &pod.metadata;
    let name = [&meta.uid, &meta.namespace, &meta.name].into_iter().flatten().flat_map(|text| text.bytes());
    let hash = name
        .chain(purpose.bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    // The low bits of such a hash are poor.
    hash ^ (hash >> 32)
}

/// What a pod's annotations say, for texts that name one.
fn annotations(pod: &Pod) -> &BTreeMap<String, String> {
    &pod.metadata.annotations
}
