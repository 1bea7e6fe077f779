//! Which pods a stage means. What is asked of a status is the state that the fake node brings a pod through anyway.

use std::collections::BTreeMap;

use serde::Deserialize;
use windlass_api::core::v1::Pod;

/// As the file says it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Selector {
    #[serde(default)]
    match_labels: BTreeMap<String, String>,
    #[serde(default)]
    match_annotations: BTreeMap<String, String>,
    #[serde(default)]
    match_expressions: Vec<Expression>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expression {
    #[serde(default)]
    key: String,
    #[serde(default)]
    operator: String,
    #[serde(default)]
    values: Vec<String>,
    #[serde(default)]
    jq: Option<Box<Expression>>,
}

/// What of a pod is looked at.
#[derive(Clone, Debug)]
enum Key {
    Label(String),
    Annotation(String),
    Owner,
    RestartPolicy,
    /// Whether it has init containers.
    Init,
}

#[derive(Clone, Debug)]
enum Wanted {
    In(Vec<String>),
    NotIn(Vec<String>),
    Some,
    None,
}

/// Which pods are meant.
#[derive(Clone, Debug)]
pub(super) struct Selects(Vec<(Key, Wanted)>);

/// The key in brackets and quotes behind a path.
pub(super) fn quoted(text: &str, path: &str) -> Option<String> {
    let inner = text.trim().strip_prefix(path)?.strip_suffix(']')?;
    let inner = inner.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.map(str::to_owned)
}

impl Selector {
    /// Which pods are meant, and whether they are going.
    pub(super) fn read(self) -> Result<(Selects, bool), String> {
        let equal = |value: String| Wanted::In(vec![value]);
        let labels = self.match_labels.into_iter().map(|(key, value)| (Key::Label(key), equal(value)));
        let annotations = self.match_annotations.into_iter().map(|(key, value)| (Key::Annotation(key), equal(value)));
        let mut all: Vec<_> = labels.chain(annotations).collect();
        let mut going = false;
        for expression in self.match_expressions {
            let Expression { key, operator, values, .. } = match expression.jq {
                Some(inner) => *inner,
                None => expression,
            };
            let wanted = match operator.as_str() {
                "In" => Wanted::In(values),
                "NotIn" => Wanted::NotIn(values),
                "Exists" => Wanted::Some,
                "DoesNotExist" => Wanted::None,
                other => return Err(format!("the operator {other:?} of {key} is none of KWOK's")),
            };
            let key = match key.trim() {
                ".metadata.deletionTimestamp" => {
                    going = matches!(wanted, Wanted::Some);
                    continue;
                }
                ".metadata.finalizers" | ".spec.nodeName" => continue,
                ".metadata.ownerReferences.[].kind" | ".metadata.ownerReferences[].kind" => Key::Owner,
                ".spec.restartPolicy" => Key::RestartPolicy,
                status if status.starts_with(".status.initContainerStatuses") => {
                    if matches!(wanted, Wanted::None | Wanted::NotIn(_)) {
                        continue;
                    }
                    all.push((Key::Init, Wanted::Some));
                    continue;
                }
                status if STATES.iter().any(|state| status.starts_with(state)) => continue,
                other => match (quoted(other, ".metadata.labels["), quoted(other, ".metadata.annotations[")) {
                    (Some(label), _) => Key::Label(label),
                    (None, Some(annotation)) => Key::Annotation(annotation),
                    (None, None) => return Err(format!("pods are not selected by {other}")),
                },
            };
            all.push((key, wanted));
        }
        Ok((Selects(all), going))
    }
}

/// What of a status the fake node keeps true by itself.
const STATES: &[&str] =
    &[".status.phase", ".status.podIP", ".status.startTime", ".status.conditions", ".status.containerStatuses"];

impl Selects {
    pub(super) fn means(&self, pod: &Pod) -> bool {
        self.0.iter().all(|(key, wanted)| wanted.meets(&key.of(pod)))
    }
}

impl Key {
    fn of<'a>(&self, pod: &'a Pod) -> Vec<&'a str> {
        let meta = &pod.metadata;
        match self {
            Self::Label(key) => meta.labels.get(key).map(String::as_str).into_iter().collect(),
            Self::Annotation(key) => super::annotations(pod).get(key).map(String::as_str).into_iter().collect(),
            Self::Owner => meta.owner_references.iter().map(|owner| owner.kind.as_str()).collect(),
            Self::RestartPolicy => vec![pod.spec.restart_policy.as_deref().unwrap_or("Always")],
            Self::Init => pod.spec.init_containers.iter().map(|container| container.name.as_str()).collect(),
        }
    }
}

impl Wanted {
    fn meets(&self, found: &[&str]) -> bool {
        let among = |values: &[String]| found.iter().any(|found| values.iter().any(|value| value == found));
        match self {
            Self::In(values) => among(values),
            Self::NotIn(values) => !among(values),
            Self::Some => !found.is_empty(),
            Self::None => found.is_empty(),
        }
    }
}
