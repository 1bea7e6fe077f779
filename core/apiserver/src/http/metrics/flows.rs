//! Requests by flow schema and priority level (upstream: `apiserver/pkg/util/flowcontrol/metrics`).
//!
//! Nothing waits and nothing is refused here, so that there are no figures of limits, queues' lengths, waiting and refusals.

use std::{
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use windlass_kernel::Clock;

use super::Running;
use crate::Flow;

const BUCKETS: [f64; 12] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Names {
    flow_schema: Arc<str>,
    priority_level: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Executed {
    flow_schema: Arc<str>,
    priority_level: Arc<str>,
    r#type: &'static str,
}

/// The figures of all flows.
#[derive(Debug)]
pub(super) struct Flows {
    dispatched: Family<Names, Counter>,
    queued: Family<Names, Gauge<i64, AtomicI64>>,
    executing: Family<Names, Gauge<i64, AtomicI64>>,
    durations: Family<Executed, Histogram, fn() -> Histogram>,
}

impl Default for Flows {
    fn default() -> Self {
        Self {
            dispatched: Family::default(),
            queued: Family::default(),
            executing: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        }
    }
}

impl Flows {
    pub(super) fn register(&self, registry: &mut Registry) {
        let name = |rest: &str| format!("apiserver_flowcontrol_{rest}");
        registry.register(name("dispatched_requests"), "Requests that were let through", self.dispatched.clone());
        registry.register(name("current_inqueue_requests"), "Requests that wait: none does", self.queued.clone());
        let help = "Requests that are being answered, watches until they begin";
        registry.register(name("current_executing_requests"), help, self.executing.clone());
        let help = "How long requests took, watches until they began";
        registry.register(name("request_execution_seconds"), help, self.durations.clone());
    }

    pub(super) fn dispatch(&self, flow: Flow, watches: bool, clock: Arc<dyn Clock>) -> Dispatched {
        let (flow_schema, priority_level) = (Arc::clone(&flow.schema.name), Arc::clone(&flow.level.name));
        let names = Names { flow_schema: Arc::clone(&flow_schema), priority_level: Arc::clone(&priority_level) };
        self.dispatched.get_or_create(&names).inc();
        drop(self.queued.get_or_create(&names));
        let executing = self.executing.get_or_create_owned(&names);
        executing.inc();
        let r#type = if watches { "watch" } else { "regular" };
        let duration = self.durations.get_or_create_owned(&Executed { flow_schema, priority_level, r#type });
        Dispatched { flow, started: clock.uptime(), clock, duration, _executing: Running(executing) }
    }
}

/// A request of a flow that is being answered. It is over when this is dropped.
pub(in crate::http) struct Dispatched {
    flow: Flow,
    started: Duration,
    clock: Arc<dyn Clock>,
    duration: Histogram,
    _executing: Running,
}

impl Dispatched {
    pub(in crate::http) fn flow(&self) -> &Flow {
        &self.flow
    }
}

impl Drop for Dispatched {
    fn drop(&mut self) {
        let took = self.clock.uptime().saturating_sub(self.started);
        self.duration.observe(took.as_secs_f64());
    }
}
