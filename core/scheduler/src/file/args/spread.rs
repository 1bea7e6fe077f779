//! `defaultConstraints`: how pods are spread that do not say so themselves.

use serde::Deserialize;
use serde_json::Value;
use windlass_api::selector::Labels;
use windlass_kernel::{
    Result,
    scheduler::{Policy, Spread, Unsatisfiable},
};

use super::super::{in_range, wrong};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct SpreadArgs {
    default_constraints: Vec<Constraint>,
    defaulting_type: Defaulting,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum Defaulting {
    #[default]
    System,
    List,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Constraint {
    max_skew: i32,
    topology_key: String,
    when_unsatisfiable: When,
    #[serde(default)]
    label_selector: Option<Value>,
    #[serde(default)]
    match_label_keys: Vec<String>,
    #[serde(default)]
    min_domains: Option<i32>,
    #[serde(default)]
    node_affinity_policy: Option<Word>,
    #[serde(default)]
    node_taints_policy: Option<Word>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum When {
    DoNotSchedule,
    ScheduleAnyway,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Word {
    Honor,
    Ignore,
}

impl From<Word> for Policy {
    fn from(word: Word) -> Self {
        match word {
            Word::Honor => Self::Honor,
            Word::Ignore => Self::Ignore,
        }
    }
}

impl SpreadArgs {
    /// `None` for those of the system.
    pub(super) fn constraints(self, place: &str) -> Result<Option<Vec<Spread>>> {
        let field = format!("{place}.defaultConstraints");
        if self.defaulting_type == Defaulting::System {
            return match self.default_constraints.is_empty() {
                true => Ok(None),
                false => Err(wrong(&field, "they would not be used: set defaultingType to List, or leave them out")),
            };
        }
        let mut spreads: Vec<Spread> = Vec::new();
        for (at, constraint) in self.default_constraints.into_iter().enumerate() {
            let place = format!("{field}[{at}]");
            let spread = constraint.spread(&place)?;
            if spreads
                .iter()
                .any(|other| (&other.topology, other.unsatisfiable) == (&spread.topology, spread.unsatisfiable))
            {
                let message = "another one has this topologyKey and whenUnsatisfiable: state it once";
                return Err(wrong(&place, message));
            }
            spreads.push(spread);
        }
        Ok(Some(spreads))
    }
}

impl Constraint {
    fn spread(self, place: &str) -> Result<Spread> {
        in_range(&format!("{place}.maxSkew"), self.max_skew.into(), 1, i64::MAX)?;
        if self.topology_key.is_empty() {
            return Err(wrong(&format!("{place}.topologyKey"), "it names a label of nodes"));
        }
        let said =
            [("labelSelector", self.label_selector.is_some()), ("matchLabelKeys", !self.match_label_keys.is_empty())];
        if let Some((field, _)) = said.iter().find(|(_, said)| *said) {
            let message = "whom it selects comes of the pod's services and controller: leave it out";
            return Err(wrong(&format!("{place}.{field}"), message));
        }
        let unsatisfiable = match self.when_unsatisfiable {
            When::DoNotSchedule => Unsatisfiable::DoNotSchedule,
            When::ScheduleAnyway => Unsatisfiable::ScheduleAnyway,
        };
        if let Some(domains) = self.min_domains {
            in_range(&format!("{place}.minDomains"), domains.into(), 1, i64::MAX)?;
            if unsatisfiable != Unsatisfiable::DoNotSchedule {
                return Err(wrong(&format!("{place}.minDomains"), "it is for whenUnsatisfiable: DoNotSchedule only"));
            }
        }
        Ok(Spread {
            max_skew: self.max_skew.into(),
            topology: self.topology_key,
            unsatisfiable,
            selector: Labels::nothing(),
            min_domains: self.min_domains.map(i64::from),
            affinity: self.node_affinity_policy.map_or(Policy::Honor, Into::into),
            taints: self.node_taints_policy.map_or(Policy::Ignore, Into::into),
        })
    }
}
