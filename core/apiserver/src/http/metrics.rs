//! `/metrics`, under upstream's names.

use std::sync::atomic::AtomicI64;

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

const BUCKETS: [f64; 10] = [0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

/// What a request was, for counting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Labels {
    pub(super) verb: String,
    pub(super) group: String,
    pub(super) version: String,
    pub(super) resource: String,
    pub(super) subresource: String,
    pub(super) scope: String,
    pub(super) component: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Counted {
    code: u16,
    component: String,
    group: String,
    resource: String,
    scope: String,
    subresource: String,
    verb: String,
    version: String,
}

/// The counters of one server.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Counted, Counter>,
    durations: Family<Labels, Histogram>,
    long_running: Family<Labels, Gauge<i64, AtomicI64>>,
}

impl Metrics {
    /// Counters at zero. `started` is the Unix time.
    pub(super) fn new(started: i64) -> Self {
        let requests = Family::default();
        let durations: Family<Labels, Histogram> = Family::new_with_constructor(|| Histogram::new(BUCKETS));
        let long_running = Family::default();
        let mut registry = Registry::default();
        registry.register(
            "apiserver_request",
            "Requests, by what they asked for and their answer's code",
            requests.clone(),
        );
        registry.register("apiserver_request_duration_seconds", "How long requests took", durations.clone());
        registry.register(
            "apiserver_longrunning_requests",
            "Watches, logs and sessions that are open",
            long_running.clone(),
        );
        let start: Gauge<i64, AtomicI64> = Gauge::default();
        start.set(started);
        registry.register("process_start_time_seconds", "When the server started, as Unix time", start);
        Self { registry: Mutex::new(registry), requests, durations, long_running }
    }

    /// Counts a request that was answered.
    pub(super) fn answered(&self, labels: &Labels, code: u16, seconds: Option<f64>) {
        let Labels { verb, group, version, resource, subresource, scope, component } = labels.clone();
        self.requests
            .get_or_create(&Counted { code, component, group, resource, scope, subresource, verb, version })
            .inc();
        if let Some(seconds) = seconds {
            self.durations.get_or_create(labels).observe(seconds);
        }
    }

    /// Counts a long-running request for as long as the answer is held.
    pub(super) fn running(&self, labels: &Labels) -> Running {
        let gauge = self.long_running.get_or_create_owned(labels);
        gauge.inc();
        Running(gauge)
    }

    /// Everything, as text.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut out, &self.registry.lock());
        out
    }
}

/// A long-running request that is open.
pub(super) struct Running(Gauge<i64, AtomicI64>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}
