//! What a profile asks of the nodes of all its pods, beyond what they ask themselves (`addedAffinity`).

use std::sync::Arc;

use windlass_api::core::v1 as api;
use windlass_kernel::scheduler::{NodeTerm, NodeTerms, Weighted};

use super::NodeAffinity;

/// What a profile adds.
#[derive(Debug)]
pub(super) struct Added {
    pub(super) terms: Option<NodeTerms>,
    pub(super) preferences: Vec<Weighted<NodeTerm>>,
}

impl NodeAffinity {
    /// Asks of the nodes of every pod what `affinity` says, beside what the pod asks (`addedAffinity` of upstream's
    /// `NodeAffinityArgs`). A pod cannot do without it.
    #[must_use]
    pub fn adding(affinity: &api::NodeAffinity) -> Self {
        let preferences = &affinity.preferred_during_scheduling_ignored_during_execution;
        let preferences =
            preferences.iter().map(|p| Weighted { weight: p.weight.into(), term: NodeTerm::of(&p.preference) });
        let terms = affinity.required_during_scheduling_ignored_during_execution.as_ref().map(NodeTerms::of);
        Self { added: Some(Arc::new(Added { terms, preferences: preferences.collect() })) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use windlass_kernel::scheduler::Cycle;

    use super::*;
    use crate::plugins::fixture::{node, pod, prepared, scored};

    fn adding(affinity: Value) -> NodeAffinity {
        NodeAffinity::adding(&serde_json::from_value(affinity).unwrap())
    }

    fn zone(operator: &str, value: &str) -> Value {
        json!({"matchExpressions": [{"key": "zone", "operator": operator, "values": [value]}]})
    }

    #[test]
    fn what_the_profile_asks_goes_before_what_the_pod_asks() {
        let nodes = ["a", "b", "c"].map(|zone| node(zone, &[("zone", zone)], json!({})));
        let required = json!({"nodeSelectorTerms": [zone("NotIn", "a")]});
        let plugin = adding(json!({"requiredDuringSchedulingIgnoredDuringExecution": required}));
        let enforced = "never: node(s) didn't match scheduler-enforced node affinity";
        assert_eq!(prepared(&plugin, &pod(json!({})), &nodes), [enforced, "yes", "yes"]);
        let own = "never: node(s) didn't match Pod's node affinity/selector";
        assert_eq!(prepared(&plugin, &pod(json!({"nodeSelector": {"zone": "b"}})), &nodes), [enforced, "yes", own]);
    }

    #[test]
    fn preferences_of_the_profile_and_of_the_pod_add_up() {
        let nodes = ["a", "b", "c"].map(|zone| node(zone, &[("zone", zone)], json!({})));
        let preferred = |weight: i32, zones: Value| json!([{"weight": weight, "preference": zones}]);
        let key = "preferredDuringSchedulingIgnoredDuringExecution";
        let plugin = adding(json!({key: preferred(30, zone("NotIn", "a"))}));
        assert_eq!(scored(&plugin, Cycle::new(), &pod(json!({})), &nodes), [0, 100, 100]);
        let spec = json!({"affinity": {"nodeAffinity": {key: preferred(10, zone("In", "c"))}}});
        assert_eq!(scored(&plugin, Cycle::new(), &pod(spec), &nodes), [0, 75, 100]);
    }
}
