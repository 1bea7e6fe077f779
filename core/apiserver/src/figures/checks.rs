//! What policies came to (upstream: `apiserver/pkg/admission/plugin/policy/validating/metrics` and `…/mutating/metrics`).

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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Mutation {
    error_type: &'static str,
    policy: String,
    policy_binding: String,
}

/// Expressions of validating policies that did not hold, or failed, and all of mutating ones. Validations that hold are not
/// counted, as upstream does not.
#[derive(Debug)]
pub(super) struct Checks {
    totals: Family<Check, Counter>,
    durations: Family<Check, Histogram, fn() -> Histogram>,
    mutations: Family<Mutation, Counter>,
    mutating: Family<Mutation, Histogram, fn() -> Histogram>,
}

impl Default for Checks {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        Self {
            totals: Family::default(),
            durations: Family::new_with_constructor(histogram),
            mutations: Family::default(),
            mutating: Family::new_with_constructor(histogram),
        }
    }
}

impl Fault {
    /// As labels have it.
    fn error_type(self) -> &'static str {
        match self {
            Self::None => "no_error",
            Self::Compile => "compile_error",
            Self::Evaluation => "invalid_error",
        }
    }
}

impl Checks {
    pub(super) fn register(&self, registry: &mut Registry) {
        let name = |rest: &str| format!("apiserver_validating_admission_policy_{rest}");
        let help = "Expressions of policies that did not hold, by what followed";
        registry.register(name("check"), help, self.totals.clone());
        let help = "How long such expressions took";
        registry.register(name("check_duration_seconds"), help, self.durations.clone());
        let name = |rest: &str| format!("apiserver_mutating_admission_policy_{rest}");
        registry.register(name("check"), "Mutations that policies made", self.mutations.clone());
        registry.register(name("check_duration_seconds"), "How long mutations took", self.mutating.clone());
    }

    pub(super) fn count(&self, (policy, binding): (&str, &str), fault: Fault, action: &'static str, took: Duration) {
        let (policy, policy_binding) = (policy.to_owned(), binding.to_owned());
        let check = Check { enforcement_action: action, error_type: fault.error_type(), policy, policy_binding };
        self.totals.get_or_create(&check).inc();
        self.durations.get_or_create(&check).observe(took.as_secs_f64());
    }

    pub(super) fn count_mutation(&self, (policy, binding): (&str, &str), fault: Fault, took: Duration) {
        let (policy, policy_binding) = (policy.to_owned(), binding.to_owned());
        let mutation = Mutation { error_type: fault.error_type(), policy, policy_binding };
        self.mutations.get_or_create(&mutation).inc();
        self.mutating.get_or_create(&mutation).observe(took.as_secs_f64());
    }
}
