//! `/metrics`, under upstream's names.

mod flows;

use std::{
    fmt::Debug,
    sync::{Arc, atomic::AtomicI64},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    Method, Response,
    body::{Body as _, Frame},
};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode_registry},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use windlass_api::lifecycle;
use windlass_kernel::Clock;

pub(super) use self::flows::Dispatched;
use self::flows::Flows;
use super::body::Body;
use crate::{
    ApiServer, Flow,
    discovery::{GIT_VERSION, Snapshot},
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Watched {
    group: String,
    resource: String,
    version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stored {
    resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kept {
    group: String,
    resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Deprecated {
    group: String,
    removed_release: String,
    resource: String,
    subresource: String,
    version: String,
}

/// The counters of one server.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Counted, Counter>,
    durations: Family<Labels, Histogram>,
    long_running: Family<Labels, Gauge<i64, AtomicI64>>,
    in_flight: Family<InFlight, Gauge<i64, AtomicI64>>,
    watched: Family<Watched, Counter>,
    watched_sizes: Family<Watched, Histogram>,
    sizes: Family<Labels, Histogram>,
    stored: Family<Stored, Gauge<i64, AtomicI64>>,
    kept: Family<Kept, Gauge<i64, AtomicI64>>,
    flows: Flows,
    deprecated: Family<Deprecated, Gauge<i64, AtomicI64>>,
    others: Vec<Arc<dyn Meter>>,
}

impl Metrics {
    /// Counters at zero, and those of the server behind the API. `started` is the Unix time; the figures of `others` stand
    /// beside them.
    pub(super) fn new(started: i64, inside: Option<&ApiServer>, others: Vec<Arc<dyn Meter>>) -> Self {
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
        let watched = Family::default();
        registry.register("apiserver_watch_events", "Events that watchers were sent", watched.clone());
        let watched_sizes: Family<Watched, Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(1024.0, 2.0, 8)));
        registry.register(
            "apiserver_watch_events_sizes",
            "Bytes of events that watchers were sent",
            watched_sizes.clone(),
        );
        let sizes: Family<Labels, Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(1000.0, 10.0, 7)));
        registry.register("apiserver_response_sizes", "Bytes of answers to requests that read", sizes.clone());
        let stored = Family::default();
        registry.register("apiserver_storage_objects", "How many objects are stored of each resource", stored.clone());
        let kept = Family::default();
        let help = "How many objects are stored of each resource, by group";
        registry.register("apiserver_resource_objects", help, kept.clone());
        let deprecated = Family::default();
        registry.register(
            "apiserver_requested_deprecated_apis",
            "Deprecated resources that were asked for, with the release that takes them away",
            deprecated.clone(),
        );
        let build: Family<[(&str, String); 1], Gauge<i64, AtomicI64>> = Family::default();
        build.get_or_create(&[("git_version", GIT_VERSION.to_owned())]).set(1);
        registry.register("kubernetes_build_info", "The version that is served", build);
        if let Some(inside) = inside {
            inside.parts.calls.register(&mut registry);
            inside.parts.figures.register(&mut registry);
        }
        let flows = Flows::default();
        flows.register(&mut registry);
        Self {
            registry: Mutex::new(registry),
            requests,
            durations,
            long_running,
            in_flight,
            watched,
            watched_sizes,
            sizes,
            stored,
            kept,
            flows,
            deprecated,
            others,
        }
    }

    /// Counts the events of a watch.
    pub(super) fn watched(&self, labels: &Labels) -> Watching {
        let Labels { group, resource, version, .. } = labels.clone();
        let watched = Watched { group, resource, version };
        Watching {
            events: self.watched.get_or_create_owned(&watched),
            sizes: self.watched_sizes.get_or_create_owned(&watched),
        }
    }

    /// Measures an answer, once it has been sent where its size is not known before.
    pub(super) fn sized(&self, labels: &Labels, out: Response<Body>) -> Response<Body> {
        let sizes = self.sizes.get_or_create_owned(labels);
        if let Some(size) = out.body().size_hint().exact() {
            sizes.observe(float(size));
            return out;
        }
        let mut sent = Sent { sizes, bytes: 0 };
        out.map(|body| {
            let counted = body.map_frame(move |frame: Frame<Bytes>| {
                sent.add(&frame);
                frame
            });
            counted.boxed_unsync()
        })
    }

    /// Says how many objects there are of each resource.
    pub(super) fn stored(&self, counts: &[(String, usize)]) {
        self.stored.clear();
        self.kept.clear();
        for (resource, count) in counts {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            self.stored.get_or_create(&Stored { resource: resource.clone() }).set(count);
            let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
            let (group, resource) = (group.to_owned(), plural.to_owned());
            self.kept.get_or_create(&Kept { group, resource }).set(count);
        }
    }

    /// Notes that a resource was asked for, if it is deprecated.
    pub(super) fn deprecated(&self, labels: &Labels, snapshot: &Snapshot) {
        let Labels { group, version, resource, subresource, .. } = labels.clone();
        let Some(known) = snapshot.find(&group, &version, &resource) else { return };
        let Some(ended) = lifecycle::of_kind(&group, &version, &known.kind) else { return };
        let removed_release = ended.removed.to_owned();
        self.deprecated.get_or_create(&Deprecated { group, removed_release, resource, subresource, version }).set(1);
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

    /// Counts a request of a flow, that goes on at once, for as long as the answer is held.
    pub(super) fn dispatched(&self, flow: Flow, watches: bool, clock: Arc<dyn Clock>) -> Dispatched {
        self.flows.dispatch(flow, watches, clock)
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

/// Counters whose names upstream ends with `_count`. OpenMetrics asks for a suffix nevertheless.
const BARE: [&str; 2] = ["apiserver_admission_webhook_fail_open_count", "apiserver_admission_webhook_rejection_count"];

/// OpenMetrics in the older format: counters are named with their suffix, except those that upstream has without, and there
/// are neither units nor an end.
fn older(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut counters = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# TYPE ").and_then(|line| line.strip_suffix(" counter"))
            && !BARE.contains(&name)
        {
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
            _ => match BARE.iter().find_map(|name| Some((name, line.strip_prefix(*name)?.strip_prefix("_total")?))) {
                Some((name, rest)) => {
                    out.push_str(name);
                    out.push_str(rest);
                }
                None => out.push_str(line),
            },
        }
        out.push('\n');
    }
    out
}

/// A count as metrics have it.
#[expect(clippy::cast_precision_loss, reason = "sizes are rounded to buckets")]
fn float(size: u64) -> f64 {
    size as f64
}

/// The events of one watch.
pub(super) struct Watching {
    events: Counter,
    sizes: Histogram,
}

impl Watching {
    /// One more, of so many bytes.
    pub(super) fn tell(&self, bytes: usize) {
        self.events.inc();
        self.sizes.observe(float(bytes as u64));
    }
}

/// What was sent of a body.
struct Sent {
    sizes: Histogram,
    bytes: u64,
}

impl Sent {
    fn add(&mut self, frame: &Frame<Bytes>) {
        self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.sizes.observe(float(self.bytes));
    }
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

    #[test]
    fn the_older_format_leaves_names_as_upstream_has_them() {
        let text = "# TYPE apiserver_admission_webhook_rejection_count counter\n\
                    apiserver_admission_webhook_rejection_count_total{name=\"a\"} 2\n# EOF\n";
        let expect = "# TYPE apiserver_admission_webhook_rejection_count counter\n\
                      apiserver_admission_webhook_rejection_count{name=\"a\"} 2\n";
        assert_eq!(older(text), expect);
    }
}
