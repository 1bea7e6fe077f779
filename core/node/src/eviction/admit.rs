//! Which pods a node lets in that is short of something. Pure.

use std::collections::BTreeSet;

use windlass_api::core::v1::Pod;
use windlass_kernel::scheduler::{Effect, Taint, Toleration};

use super::{Pressure, critical};
use crate::make::resources::{Class, class};

/// Why a pod is not let in; `None` where it is. Short of memory only, a node lets in those that were promised some, and those
/// that tolerate it; short of anything else, only those that it cannot do without.
pub(crate) fn refusal(pressures: &BTreeSet<Pressure>, pod: &Pod) -> Option<String> {
    if pressures.is_empty() || critical(pod) {
        return None;
    }
    if pressures.iter().all(|pressure| *pressure == Pressure::Memory) {
        let taint = Taint::new("node.kubernetes.io/memory-pressure", "", Effect::NoSchedule);
        let tolerates = pod.spec.tolerations.iter().any(|own| Toleration::of(own).tolerates(&taint));
        if class(pod) != Class::BestEffort || tolerates {
            return None;
        }
    }
    let conditions: Vec<_> = pressures.iter().map(|pressure| pressure.condition()).collect();
    Some(format!("The node had condition: [{}]. ", conditions.join(" ")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(pressures: &[Pressure], spec: Value, expect: &str) {
        let mut pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
        if pod.spec.containers.is_empty() {
            pod.spec.containers = serde_json::from_value(json!([{"name": "c"}])).unwrap();
        }
        let pressures = pressures.iter().copied().collect();
        assert_eq!(refusal(&pressures, &pod).unwrap_or_default(), expect);
    }

    #[test]
    fn memory_pressure_keeps_out_those_that_were_promised_nothing() {
        let memory = [Pressure::Memory];
        check(&[], json!({}), "");
        check(&memory, json!({}), "The node had condition: [MemoryPressure]. ");
        check(&memory, json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}), "");
        check(&memory, json!({"priority": 2_000_000_000}), "");
        let tolerated =
            |key: &str| json!({"tolerations": [{"key": key, "operator": "Exists", "effect": "NoSchedule"}]});
        check(&memory, tolerated("node.kubernetes.io/memory-pressure"), "");
        check(&memory, tolerated("node.kubernetes.io/disk-pressure"), "The node had condition: [MemoryPressure]. ");
    }

    #[test]
    fn other_pressure_keeps_out_all_but_the_critical() {
        let promised = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]});
        check(&[Pressure::Disk], promised.clone(), "The node had condition: [DiskPressure]. ");
        check(
            &[Pressure::Processes, Pressure::Memory],
            promised,
            "The node had condition: [MemoryPressure PIDPressure]. ",
        );
        check(
            &[Pressure::Disk],
            json!({"tolerations": [{"operator": "Exists"}]}),
            "The node had condition: [DiskPressure]. ",
        );
        check(&[Pressure::Disk], json!({"priority": 2_000_001_000}), "");
    }
}
