//! `addedAffinity`: node affinity as the API has it, read strictly.

use serde::Deserialize;
use windlass_api::core::v1 as api;
use windlass_kernel::Result;

use super::super::{in_range, wrong};
use crate::plugins::NodeAffinity;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct AddedAffinity {
    required_during_scheduling_ignored_during_execution: Option<Selector>,
    preferred_during_scheduling_ignored_during_execution: Vec<Preference>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Selector {
    node_selector_terms: Vec<Term>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Preference {
    weight: i32,
    preference: Term,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Term {
    match_expressions: Vec<Asked>,
    match_fields: Vec<Asked>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    key: String,
    operator: String,
    #[serde(default)]
    values: Vec<String>,
}

impl AddedAffinity {
    pub(super) fn plugin(self, place: &str) -> Result<NodeAffinity> {
        let mut affinity = api::NodeAffinity::default();
        if let Some(selector) = self.required_during_scheduling_ignored_during_execution {
            let place = format!("{place}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
            if selector.node_selector_terms.is_empty() {
                return Err(wrong(&place, "no term matches no node: state one"));
            }
            let terms = selector.node_selector_terms.into_iter().enumerate();
            let terms = terms.map(|(at, term)| term.checked(&format!("{place}[{at}]"))).collect::<Result<_>>()?;
            affinity.required_during_scheduling_ignored_during_execution =
                Some(api::NodeSelector { node_selector_terms: terms });
        }
        for (at, own) in self.preferred_during_scheduling_ignored_during_execution.into_iter().enumerate() {
            let place = format!("{place}.preferredDuringSchedulingIgnoredDuringExecution[{at}]");
            in_range(&format!("{place}.weight"), own.weight.into(), 1, 100)?;
            let preference = own.preference.checked(&format!("{place}.preference"))?;
            affinity
                .preferred_during_scheduling_ignored_during_execution
                .push(api::PreferredSchedulingTerm { weight: own.weight, preference });
        }
        Ok(NodeAffinity::adding(&affinity))
    }
}

impl Term {
    fn checked(self, place: &str) -> Result<api::NodeSelectorTerm> {
        let all = |asked: Vec<Asked>, field: &str, operators: &[&str]| {
            let asked = asked.into_iter().enumerate();
            asked.map(|(at, asked)| asked.checked(&format!("{place}.{field}[{at}]"), operators)).collect::<Result<_>>()
        };
        let match_expressions: Vec<_> =
            all(self.match_expressions, "matchExpressions", &["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"])?;
        let match_fields: Vec<api::NodeSelectorRequirement> = all(self.match_fields, "matchFields", &["In", "NotIn"])?;
        if let Some(at) = match_fields.iter().position(|asked| asked.key != "metadata.name") {
            let message = format!("{:?} is no field to select by; metadata.name is", match_fields[at].key);
            return Err(wrong(&format!("{place}.matchFields[{at}].key"), message));
        }
        if match_expressions.is_empty() && match_fields.is_empty() {
            return Err(wrong(place, "an empty term matches no node: state what it matches"));
        }
        Ok(api::NodeSelectorTerm { match_expressions, match_fields })
    }
}

impl Asked {
    fn checked(self, place: &str, operators: &[&str]) -> Result<api::NodeSelectorRequirement> {
        let Self { key, operator, values } = self;
        if !operators.contains(&operator.as_str()) {
            let message = format!("{operator:?} is none of {}", operators.join(", "));
            return Err(wrong(&format!("{place}.operator"), message));
        }
        let said = match operator.as_str() {
            "In" | "NotIn" if values.is_empty() => Some("at least one value"),
            "Exists" | "DoesNotExist" if !values.is_empty() => Some("no values"),
            "Gt" | "Lt" if !matches!(&*values, [one] if one.parse::<i64>().is_ok()) => {
                Some("one value, a whole number")
            }
            _ => None,
        };
        match said {
            Some(said) => Err(wrong(&format!("{place}.values"), format!("{operator} wants {said}"))),
            None => Ok(api::NodeSelectorRequirement { key, operator, values }),
        }
    }
}
