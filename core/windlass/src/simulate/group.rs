//! Nodes of one kind: their size, place, taints, and how they start and fail.

use std::{collections::BTreeMap, time::Duration};

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;
use windlass_kernel::{Error, ErrorKind, Result};
use windlass_testkit::FakeNode;

use super::Simulation;

const ZONE: &str = "topology.kubernetes.io/zone";
const REGION: &str = "topology.kubernetes.io/region";

/// A span of time, as `1m30s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let span = text.parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
        span.map(Self).ok_or_else(|| D::Error::custom(format!("{text:?} is no span of time, such as 1m30s")))
    }
}

/// Amounts by name, as texts or numbers.
pub(super) fn amounts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let read = BTreeMap::<String, Value>::deserialize(deserializer)?;
    let text = |(name, value): (String, Value)| match value {
        Value::String(text) => Ok((name, text)),
        Value::Number(number) => Ok((name, number.to_string())),
        other => Err(D::Error::custom(format!("{name}: {other} is no amount"))),
    };
    read.into_iter().map(text).collect()
}

/// A taint.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Taint {
    key: String,
    #[serde(default)]
    value: String,
    effect: String,
}

/// When nodes come up.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Start {
    /// The first one, after the cluster.
    #[serde(default)]
    after: Span,
    /// Each other, after the one before.
    #[serde(default)]
    every: Span,
}

/// How nodes fail: as by a power cut, with all their pods.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Fail {
    /// How long a node is up: any time up to twice this, the same chance for each.
    pub(super) every: Span,
    /// How long it is away; for good where it is not said.
    #[serde(default, rename = "for")]
    pub(super) away: Option<Span>,
}

/// Nodes of one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Group {
    /// What their names begin with.
    #[serde(default = "usual_name")]
    name: String,
    #[serde(default)]
    count: Option<u16>,
    #[serde(default, deserialize_with = "amounts")]
    capacity: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "amounts")]
    allocatable: BTreeMap<String, String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Nodes are dealt out to them in turn.
    #[serde(default)]
    zones: Vec<String>,
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    taints: Vec<Taint>,
    #[serde(default)]
    start: Start,
    #[serde(default)]
    fail: Option<Fail>,
}

fn usual_name() -> String {
    "node".into()
}

/// A node that is to be.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) node: FakeNode,
    pub(super) start: Duration,
    pub(super) fail: Option<Fail>,
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

impl Group {
    pub(super) fn check(&self) -> Result<()> {
        let name = &self.name;
        for (field, amounts) in [("capacity", &self.capacity), ("allocatable", &self.allocatable)] {
            for (resource, amount) in amounts {
                amount.parse::<windlass_api::quantity::Amount>().map_err(|_| {
                    invalid(format!("nodes {name}: {field}.{resource}: {amount:?} is no amount, such as 4 or 32Gi"))
                })?;
            }
        }
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        if let Some(wrong) = self.taints.iter().find(|taint| !effects.contains(&taint.effect.as_str())) {
            let (key, effect) = (&wrong.key, &wrong.effect);
            return Err(invalid(format!("nodes {name}: taint {key}: {effect:?} is none of {}", effects.join(", "))));
        }
        if self.fail.is_some_and(|fail| fail.every.0.is_zero()) {
            return Err(invalid(format!("nodes {name}: fail.every has to be more than nothing")));
        }
        Ok(())
    }

    fn node(&self, at: usize, number: u16) -> FakeNode {
        let mut node = FakeNode::new(format!("{}-{}", self.name, at + 1), number);
        node.capacity.extend(self.capacity.clone());
        node.allocatable.clone_from(&self.allocatable);
        node.labels.clone_from(&self.labels);
        if let Some(zone) = (!self.zones.is_empty()).then(|| &self.zones[at % self.zones.len()]) {
            node.labels.insert(ZONE.into(), zone.clone());
        }
        if let Some(region) = &self.region {
            node.labels.insert(REGION.into(), region.clone());
        }
        let taint = |taint: &Taint| (taint.key.clone(), taint.value.clone(), taint.effect.clone());
        node.taints = self.taints.iter().map(taint).collect();
        node
    }
}

impl Simulation {
    /// The nodes that are to be, each with its time to start.
    pub(super) fn planned(&self, wanted: Option<u16>) -> Result<Vec<Planned>> {
        let plain = [Group::usual()];
        let groups = if self.groups.is_empty() { &plain[..] } else { &self.groups };
        let said: u32 = groups.iter().filter_map(|group| group.count).map(u32::from).sum();
        let open = groups.iter().filter(|group| group.count.is_none()).count();
        let left = match wanted {
            Some(wanted) => u32::from(wanted).checked_sub(said).ok_or_else(|| {
                invalid(format!("the groups count {said} nodes together, which is more than the {wanted} wanted"))
            })?,
            None if open > 0 => 1,
            None => 0,
        };
        if open == 0 && left > 0 {
            return Err(invalid(format!(
                "the groups count {said} nodes; leave out a count for the {left} more wanted"
            )));
        }
        let mut share = (0..open).map(|at| usize::try_from(left).unwrap_or_default() * (at + 1) / open.max(1));
        let (mut given, mut nodes) = (0, Vec::new());
        for group in groups {
            let count = group.count.map_or_else(
                || {
                    let upto = share.next().unwrap_or_default();
                    upto - std::mem::replace(&mut given, upto)
                },
                usize::from,
            );
            for at in 0..count {
                let number = u16::try_from(nodes.len()).map_err(|_| invalid("65,535 nodes are the most".into()))?;
                let mut node = group.node(at, number);
                node.scripts = Some(self.scripts());
                let start = group.start.after.0 + group.start.every.0 * u32::try_from(at).unwrap_or(u32::MAX);
                nodes.push(Planned { node, start, fail: group.fail });
            }
        }
        let mut names: Vec<_> = nodes.iter().map(|planned| &planned.node.name).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(invalid(format!("two nodes would be named {}: give the groups other names", twice[0])));
        }
        Ok(nodes)
    }
}

impl Group {
    /// What is meant where no nodes are described.
    fn usual() -> Self {
        Self {
            name: usual_name(),
            count: None,
            capacity: BTreeMap::new(),
            allocatable: BTreeMap::new(),
            labels: BTreeMap::new(),
            zones: Vec::new(),
            region: None,
            taints: Vec::new(),
            start: Start::default(),
            fail: None,
        }
    }
}
