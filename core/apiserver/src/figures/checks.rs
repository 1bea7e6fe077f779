//! What validating policies came to (upstream: `apiserver/pkg/admission/plugin/policy/validating/metrics`).

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

use super::Fault;

const BUCKETS: [f64; 5] = [0.000_000_5, 0.001, 0.01, 0.1, 1.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Check {
    enforcement_action: &'static str,
    error_type: &'static str,
    policy: String,
    policy_binding: String,
}

/// Expressions that did not hold, or failed. Those that hold are not counted, as upstream does not.
#[derive(Debug)]
pub(super) struct Checks {
    totals: Family<Check, Counter>,
    durations: Family<Check, Histogram, fn() -> Histogram>,
}

impl Default for Checks {
    fn default() -> Self {
        Self { totals: Family::default(), durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)) }
    }
}

impl Checks {
    pub(super) fn register(&self, registry: &mut Registry) {
        let name = |rest: &str| format!("apiserver_validating_admission_policy_{rest}");
        let help = "Expressions of policies that did not hold, by what followed";
        registry.register(name("check"), help, self.totals.clone());
        let help = "How long such expressions took";
        registry.register(name("check_duration_seconds"), help, self.durations.clone());
    }

    pub(super) fn count(&self, (policy, binding): (&str, &str), fault: Fault, action: &'static str, took: Duration) {
        let error_type = match fault {
            Fault::None => "no_error",
            Fault::Compile => "compile_error",
            Fault::Evaluation => "invalid_error",
        };
        let (policy, policy_binding) = (policy.to_owned(), binding.to_owned());
        let check = Check { enforcement_action: action, error_type, policy, policy_binding };
        self.totals.get_or_create(&check).inc();
        self.durations.get_or_create(&check).observe(took.as_secs_f64());
    }
}
