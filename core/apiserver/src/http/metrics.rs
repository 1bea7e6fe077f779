//! `/metrics`, under upstream's names.

use std::{
    fmt::Debug,
    sync::{Arc, atomic::AtomicI64},
};

use hyper::Method;
use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode_registry},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

const BUCKETS: [f64; 10] = [0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

/// Somebody else's figures, told on the same page.
///
/// # Contract
///
/// 1. **Whole families.** It writes families of metrics in OpenMetrics' text form, without the mark of its end. Their
///    names are those of no other meter.
/// 2. **Quick.** It is asked by whoever scrapes, and waits for nobody.
pub trait Meter: Debug + Send + Sync + 'static {
    /// Adds the figures as they are now.
    fn write(&self, out: &mut String);
}

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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InFlight {
    request_kind: String,
}

/// The counters of one server.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Counted, Counter>,
    durations: Family<Labels, Histogram>,
    long_running: Family<Labels, Gauge<i64, AtomicI64>>,
    in_flight: Family<InFlight, Gauge<i64, AtomicI64>>,
    others: Vec<Arc<dyn Meter>>,
}

impl Metrics {
    /// Counters at zero. `started` is the Unix time; the figures of `others` stand beside them.
    pub(super) fn new(started: i64, others: Vec<Arc<dyn Meter>>) -> Self {
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
        let in_flight = Family::<InFlight, Gauge<i64, AtomicI64>>::default();
        registry.register(
            "apiserver_current_inflight_requests",
            "Requests that are being answered, by whether they change anything",
            in_flight.clone(),
        );
        let start: Gauge<i64, AtomicI64> = Gauge::default();
        start.set(started);
        registry.register("process_start_time_seconds", "When the server started, as Unix time", start);
        Self { registry: Mutex::new(registry), requests, durations, long_running, in_flight, others }
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

    /// Counts a request that is being answered for as long as that is held.
    pub(super) fn in_flight(&self, method: &Method) -> Running {
        let kind = if matches!(*method, Method::GET | Method::HEAD) { "readOnly" } else { "mutating" };
        let gauge = self.in_flight.get_or_create_owned(&InFlight { request_kind: kind.into() });
        gauge.inc();
        Running(gauge)
    }

    /// Everything, as OpenMetrics or in the older format of Prometheus.
    pub(super) fn text(&self, open: bool) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = encode_registry(&mut out, &self.registry.lock());
        self.others.iter().for_each(|meter| meter.write(&mut out));
        out.push_str("# EOF\n");
        if open { out } else { older(&out) }
    }
}

/// OpenMetrics in the older format: counters are named with their suffix, and there are neither units nor an end.
fn older(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut counters = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# TYPE ").and_then(|line| line.strip_suffix(" counter")) {
            counters.push(name);
        }
    }
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), _) => continue,
            (Some("#"), Some(what @ ("TYPE" | "HELP")), Some(name)) if counters.contains(&name) => {
                let rest = words.next().unwrap_or_default();
                out.push_str(&format!("# {what} {name}_total {rest}"));
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// A request that is open.
pub(super) struct Running(Gauge<i64, AtomicI64>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_counters_in_full() {
        let text = "# HELP a_b What.\n# TYPE a_b counter\n# UNIT a_b seconds\na_b_total{x=\"1\"} 2\n# TYPE c gauge\nc 1\n# EOF\n";
        let expect = "# HELP a_b_total What.\n# TYPE a_b_total counter\na_b_total{x=\"1\"} 2\n# TYPE c gauge\nc 1\n";
        assert_eq!(older(text), expect);
    }
}
