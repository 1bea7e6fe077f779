//! What a Job's policies make of its pods: which failures matter (KEP-3329), and when enough succeeded (KEP-3998).

use windlass_api::batch::v1::{JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule, SuccessPolicy};

use super::{indexes::Indexes, pod::JobPod};

/// What a failed pod means to its Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is one failure more.
    Count,
    /// It does not count.
    Ignore,
    /// Its index failed for good.
    FailIndex,
    /// The Job failed for good, and why.
    FailJob(String),
}

/// What a failed pod means. Without a policy, and where no rule speaks of it, it is a failure.
pub(super) fn judge(spec: &JobSpec, pod: &JobPod) -> Verdict {
    let rules = spec.pod_failure_policy.iter().flat_map(|policy| &policy.rules);
    for (at, rule) in rules.enumerate() {
        let Some(why) = matches(rule, pod) else { continue };
        return match rule.action.as_str() {
            "Ignore" => Verdict::Ignore,
            "FailIndex" if spec.backoff_limit_per_index.is_some() => Verdict::FailIndex,
            "FailJob" => Verdict::FailJob(format!("{why} matching {} rule at index {at}", rule.action)),
            _ => Verdict::Count,
        };
    }
    Verdict::Count
}

/// How the pod matches the rule.
fn matches(rule: &PodFailurePolicyRule, pod: &JobPod) -> Option<String> {
    let key = &pod.view.key;
    if let Some(codes) = &rule.on_exit_codes {
        let (container, code) = pod.exits.iter().find(|(container, code)| exits(codes, container, *code))?;
        return Some(format!("Container {container} for pod {key} failed with exit code {code}"));
    }
    let holds = |(type_, status): &&(String, String)| {
        rule.on_pod_conditions.iter().any(|own| own.type_ == *type_ && own.status == *status)
    };
    let (type_, _) = pod.conditions.iter().find(holds)?;
    Some(format!("Pod {key} has condition {type_}"))
}

fn exits(rule: &PodFailurePolicyOnExitCodesRequirement, container: &str, code: i32) -> bool {
    if code == 0 || rule.container_name.as_deref().is_some_and(|own| own != container) {
        return false;
    }
    rule.values.contains(&code) == (rule.operator == "In")
}

/// Which rule of a success policy the succeeded indexes fulfil, as a message.
pub(super) fn enough(policy: &SuccessPolicy, succeeded: &Indexes, completions: u32) -> Option<String> {
    let met = |rule: &windlass_api::batch::v1::SuccessPolicyRule| {
        let wanted = rule.succeeded_indexes.as_deref().map(|text| Indexes::parse(text, completions));
        let of_wanted = wanted.as_ref().map_or_else(|| succeeded.len(), |wanted| succeeded.shared(wanted));
        match (rule.succeeded_count, &wanted) {
            (Some(count), _) => i64::from(of_wanted) >= i64::from(count),
            (None, Some(wanted)) => of_wanted == wanted.len(),
            (None, None) => false,
        }
    };
    let at = policy.rules.iter().position(met)?;
    Some(format!("Matched rules at index {at}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use windlass_kernel::controller::ObjectKey;

    use super::*;
    use crate::pods::PodView;

    fn check(rules: &Value, pod: &str, expect: &Verdict) {
        let mut words = pod.split(' ');
        let view = PodView { key: ObjectKey::new("ns", "p"), ..PodView::default() };
        let mut pod = JobPod { view: view.into(), ..JobPod::default() };
        if let Some((container, code)) = words.next().and_then(|word| word.split_once('=')) {
            pod.exits.push((container.into(), code.parse().unwrap()));
        }
        pod.conditions.extend(words.map(|type_| (type_.to_owned(), "True".to_owned())));
        let spec = json!({"podFailurePolicy": {"rules": rules}, "backoffLimitPerIndex": 1});
        assert_eq!(judge(&serde_json::from_value(spec).unwrap(), &pod), *expect);
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = json!([
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [7]}},
            {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "NotIn", "values": [1, 2]}},
        ]);
        check(&rules, "main=42 DisruptionTarget", &Verdict::Ignore);
        check(&rules, "side=7", &Verdict::FailIndex);
        check(&rules, "side=42", &Verdict::Count);
        check(&rules, "main=1", &Verdict::Count);
        let why = "Container main for pod ns/p failed with exit code 42 matching FailJob rule at index 2";
        check(&rules, "main=42", &Verdict::FailJob(why.into()));
        // A container that ended well failed by no rule.
        check(&rules, "main=0", &Verdict::Count);
    }

    fn check_enough(rule: &Value, succeeded: &str, expect: bool) {
        let policy = serde_json::from_value(json!({"rules": [rule]})).unwrap();
        let met = enough(&policy, &Indexes::parse(succeeded, 10), 10);
        assert_eq!(met.as_deref(), expect.then_some("Matched rules at index 0"), "{rule} {succeeded}");
    }

    #[test]
    fn enough_is_a_set_or_a_number_or_a_number_of_a_set() {
        check_enough(&json!({"succeededIndexes": "0,2-4"}), "0,2,3", false);
        check_enough(&json!({"succeededIndexes": "0,2-4"}), "0-4", true);
        check_enough(&json!({"succeededCount": 2}), "7,9", true);
        check_enough(&json!({"succeededCount": 2}), "7", false);
        check_enough(&json!({"succeededIndexes": "0-3", "succeededCount": 2}), "3,7-9", false);
        check_enough(&json!({"succeededIndexes": "0-3", "succeededCount": 2}), "2,3", true);
    }
}
