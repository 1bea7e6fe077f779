//! Topology spread constraints, compiled.

use std::collections::BTreeMap;

use windlass_api::{
    core::v1 as api,
    selector::{Labels, Operator, Requirement},
};

use super::affinity;

/// What happens where a constraint cannot be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsatisfiable {
    /// The pod waits.
    DoNotSchedule,
    /// Other nodes are preferred.
    ScheduleAnyway,
}

/// Whether nodes where the pod cannot run count as a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// They do not count.
    Honor,
    /// They count.
    Ignore,
}

/// How evenly a pod's kin is to be spread over the values of a node label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// By how many pods places may differ.
    pub max_skew: i64,
    /// The node label whose values are the places.
    pub topology: String,
    /// What happens where that cannot be met.
    pub unsatisfiable: Unsatisfiable,
    /// Who the kin is.
    pub selector: Labels,
    /// With fewer places than this, the emptiest counts as empty.
    pub min_domains: Option<i64>,
    /// Whether nodes that the pod's node affinity rules out count.
    pub affinity: Policy,
    /// Whether nodes with taints that the pod does not tolerate count.
    pub taints: Policy,
}

impl Spread {
    /// Reads the API's form, for a pod with these labels.
    #[must_use]
    pub fn of(constraint: &api::TopologySpreadConstraint, own: &BTreeMap<String, String>) -> Self {
        let policy = |word: &Option<String>, default| match word.as_deref() {
            Some("Honor") => Policy::Honor,
            Some("Ignore") => Policy::Ignore,
            _ => default,
        };
        let mut selector = affinity::labels(constraint.label_selector.as_ref());
        if !constraint.match_label_keys.is_empty() && !selector.is_nothing() {
            let mut all = selector.requirements().to_vec();
            for key in &constraint.match_label_keys {
                let value = own.get(key).cloned();
                let same = value.and_then(|value| Requirement::new(key.clone(), Operator::In, vec![value]).ok());
                // The API server may have merged the key already; asking twice changes nothing.
                all.extend(same);
            }
            selector = Labels::all(all);
        }
        let wait = constraint.when_unsatisfiable == "DoNotSchedule";
        Self {
            max_skew: constraint.max_skew.into(),
            topology: constraint.topology_key.clone(),
            unsatisfiable: if wait { Unsatisfiable::DoNotSchedule } else { Unsatisfiable::ScheduleAnyway },
            selector,
            min_domains: constraint.min_domains.map(i64::from),
            affinity: policy(&constraint.node_affinity_policy, Policy::Honor),
            taints: policy(&constraint.node_taints_policy, Policy::Ignore),
        }
    }
}
