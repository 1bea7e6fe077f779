//! What a scheduler has done so far, in figures under upstream's names.
//!
//! Only counted here: who serves it hands it out, as `/metrics` of an API server does.

use std::{
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
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

use crate::queue::{Entered, QUEUES, Queue};

/// Figures of one scheduler. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Figures>);

#[derive(Debug)]
struct Figures {
    registry: Mutex<Registry>,
    attempts: Family<Outcome, Counter>,
    durations: Family<Outcome, Histogram>,
    algorithm: Histogram,
    pending: [Gauge<i64, AtomicI64>; 4],
    incoming: Family<Incoming, Counter>,
    tries: Histogram,
    spans: Family<Tries, Histogram>,
    preemptions: Counter,
    victims: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    profile: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Waiting {
    queue: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Incoming {
    event: &'static str,
    queue: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tries {
    attempts: String,
}

/// How an attempt to place a pod ended, as upstream calls it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ended {
    Scheduled,
    Unschedulable,
    Error,
}

/// So many tries are told apart; more are one.
const TRIES: u32 = 16;

impl Default for Figures {
    fn default() -> Self {
        let spans = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
        let pending = Family::<Waiting, Gauge<i64, AtomicI64>>::default();
        let own = Self {
            registry: Mutex::new(Registry::with_prefix("scheduler")),
            attempts: Family::default(),
            durations: Family::new_with_constructor(spans),
            algorithm: spans(),
            pending: QUEUES.map(|queue| pending.get_or_create_owned(&Waiting { queue })),
            incoming: Family::default(),
            tries: Histogram::new(exponential_buckets(1.0, 2.0, 5)),
            spans: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.01, 2.0, 20))),
            preemptions: Counter::default(),
            victims: Histogram::new(exponential_buckets(1.0, 2.0, 7)),
        };
        let mut registry = own.registry.lock();
        registry.register("schedule_attempts", "Attempts to place pods, by how they ended", own.attempts.clone());
        registry.register(
            "scheduling_attempt_duration_seconds",
            "How long attempts took, with the binding of pods that were placed",
            own.durations.clone(),
        );
        registry.register(
            "scheduling_algorithm_duration_seconds",
            "How long decisions took, however they ended",
            own.algorithm.clone(),
        );
        registry.register("pending_pods", "Pods without a node, by what they wait for", pending);
        registry.register(
            "queue_incoming_pods",
            "Pods that came to wait for something, by what brought them there",
            own.incoming.clone(),
        );
        registry.register("pod_scheduling_attempts", "How many attempts placed pods took", own.tries.clone());
        registry.register(
            "pod_scheduling_sli_duration_seconds",
            "How long placed pods took from their first attempt on",
            own.spans.clone(),
        );
        registry.register("preemption_attempts", "How often room was looked for", own.preemptions.clone());
        registry.register("preemption_victims", "How many pods were chosen to leave", own.victims.clone());
        drop(registry);
        own
    }
}

/// The figures of one profile, at hand.
#[derive(Clone, Debug)]
pub(crate) struct Attempts([(Counter, Histogram); 3]);

impl Attempts {
    pub(crate) fn count(&self, ended: Ended, took: Duration) {
        let (attempts, durations) = &self.0[ended as usize];
        attempts.inc();
        durations.observe(took.as_secs_f64());
    }
}

#[allow(clippy::cast_precision_loss, reason = "how many pods leave a node is a small number")]
fn float(count: usize) -> f64 {
    count as f64
}

impl Metrics {
    /// Writes everything as OpenMetrics text, without the mark of its end.
    pub fn write(&self, out: &mut String) {
        // Writing to a String cannot fail.
        let _ = encode_registry(out, &self.0.registry.lock());
    }

    pub(crate) fn of(&self, profile: &str) -> Attempts {
        Attempts(["scheduled", "unschedulable", "error"].map(|result| {
            let outcome = Outcome { profile: profile.into(), result };
            (self.0.attempts.get_or_create_owned(&outcome), self.0.durations.get_or_create_owned(&outcome))
        }))
    }

    pub(crate) fn decided(&self, took: Duration) {
        self.0.algorithm.observe(took.as_secs_f64());
    }

    /// A pod has its node: after so many attempts, and so long after the first one.
    pub(crate) fn placed(&self, attempts: u32, took: Duration) {
        self.0.tries.observe(attempts.into());
        let attempts = if attempts >= TRIES { format!("{TRIES}+") } else { attempts.to_string() };
        self.0.spans.get_or_create(&Tries { attempts }).observe(took.as_secs_f64());
    }

    /// Room was looked for, and would be made by so many pods.
    pub(crate) fn preempted(&self, victims: Option<usize>) {
        self.0.preemptions.inc();
        if let Some(victims) = victims {
            self.0.victims.observe(float(victims));
        }
    }

    /// Takes over how many pods wait for what, and what brought them there since the last time.
    pub(crate) fn waiting(&self, queue: &mut Queue) {
        for (pending, count) in self.0.pending.iter().zip(queue.sizes()) {
            pending.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        for Entered { queue, event, count } in queue.entered() {
            self.0.incoming.get_or_create(&Incoming { event, queue }).inc_by(count);
        }
    }
}
