//! What calls of admission webhooks came to, counted under upstream's names.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

const BUCKETS: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];

/// A call that has ended.
pub(crate) struct Call<'c> {
    /// The webhook's name.
    pub(crate) name: &'c str,
    pub(crate) mutates: bool,
    pub(crate) operation: &'c str,
    pub(crate) took: Duration,
    pub(crate) outcome: Outcome,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Allowed,
    /// The request was refused with this code.
    Refused(u64),
    /// There was no answer, which the webhook's policy takes for a refusal.
    Failed,
    /// There was no answer, which the webhook's policy takes for consent.
    Ignored,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Admission {
    name: String,
    operation: String,
    rejected: String,
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    code: u64,
    name: String,
    operation: String,
    rejected: String,
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rejection {
    error_type: &'static str,
    name: String,
    operation: String,
    rejection_code: u64,
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Open {
    name: String,
    r#type: &'static str,
}

/// The counters of all webhooks.
#[derive(Debug)]
pub(crate) struct Calls {
    durations: Family<Admission, Histogram>,
    requests: Family<Request, Counter>,
    rejections: Family<Rejection, Counter>,
    open: Family<Open, Counter>,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            requests: Family::default(),
            rejections: Family::default(),
            open: Family::default(),
        }
    }
}

impl Calls {
    /// Shows the counters among those of `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let name = |rest: &str| format!("apiserver_admission_webhook_{rest}");
        registry.register(name("admission_duration_seconds"), "How long webhooks took", self.durations.clone());
        registry.register(name("request"), "Calls of webhooks, by what came of them", self.requests.clone());
        registry.register(name("rejection_count"), "Requests that webhooks refused", self.rejections.clone());
        let help = "Requests that went on although a webhook did not answer";
        registry.register(name("fail_open_count"), help, self.open.clone());
    }

    /// Counts a call.
    pub(crate) fn count(&self, call: &Call<'_>) {
        let r#type = if call.mutates { "admit" } else { "validating" };
        let (name, operation) = (call.name.to_owned(), call.operation.to_owned());
        let (code, error_type) = match call.outcome {
            Outcome::Allowed => (200, "no_error"),
            // A server that answers any number would make any number of series.
            Outcome::Refused(code) => (code.min(600), "no_error"),
            Outcome::Failed | Outcome::Ignored => (500, "calling_webhook_error"),
        };
        let rejects = matches!(call.outcome, Outcome::Refused(_) | Outcome::Failed);
        let rejected = rejects.to_string();
        let admission =
            Admission { name: name.clone(), operation: operation.clone(), rejected: rejected.clone(), r#type };
        self.durations.get_or_create(&admission).observe(call.took.as_secs_f64());
        let request = Request { code, name: name.clone(), operation: operation.clone(), rejected, r#type };
        self.requests.get_or_create(&request).inc();
        if rejects {
            let rejection = Rejection { error_type, name: name.clone(), operation, rejection_code: code, r#type };
            self.rejections.get_or_create(&rejection).inc();
        }
        if call.outcome == Outcome::Ignored {
            self.open.get_or_create(&Open { name, r#type }).inc();
        }
    }
}
