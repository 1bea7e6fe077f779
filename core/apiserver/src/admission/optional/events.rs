//! Events are taken no faster than a configuration says (`EventRateLimit`).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;
use windlass_kernel::{
    Admission, Clock,
    access::Admitting,
    api::{Request, Verb},
    error::{Error, ErrorKind, Result},
};

use super::super::configuration::EventLimit;

/// Refuses events of sources that have written too many.
#[derive(Debug)]
pub(in crate::admission) struct EventRateLimit {
    clock: Arc<dyn Clock>,
    limits: Vec<(EventLimit, Mutex<Sources>)>,
}

impl EventRateLimit {
    pub(in crate::admission) fn new(clock: Arc<dyn Clock>, limits: Vec<EventLimit>) -> Self {
        Self { clock, limits: limits.into_iter().map(|limit| (limit, Mutex::default())).collect() }
    }
}

#[async_trait]
impl Admission for EventRateLimit {
    fn name(&self) -> &'static str {
        "EventRateLimit"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        request.resource.resource == "events"
            && request.resource.group.is_empty()
            && matches!(request.verb, Verb::Create | Verb::Update | Verb::Patch(_))
            && !request.options.dry_run
    }

    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let now = self.clock.uptime();
        let event = admitting.new.as_deref().unwrap_or(&Value::Null);
        let mut refused = None;
        // Every limit counts the event, and the last one that it breaks is told.
        for (limit, sources) in &self.limits {
            let key = key(&limit.kind, admitting.request, event);
            if !sources.lock().take(limit, &key, now) {
                refused = Some(format!("Too many requests: limit reached on type {} for key {key}", limit.kind));
            }
        }
        refused.map_or(Ok(()), |message| Err(Error::new(ErrorKind::TooManyRequests, message)))
    }
}

/// What an event counts for.
fn key(kind: &str, request: &Request, event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (source, about) = (&event["source"], &event["involvedObject"]);
    match kind {
        "Namespace" => request.namespace.clone(),
        "User" => request.identity.name.clone(),
        "SourceAndObject" => [
            &source["component"],
            &source["host"],
            &about["kind"],
            &about["namespace"],
            &about["name"],
            &about["uid"],
            &about["apiVersion"],
        ]
        .map(text)
        .concat(),
        _ => String::new(),
    }
}

/// Sources of events and what they may still write, the longest unheard of forgotten first.
#[derive(Debug, Default)]
struct Sources {
    known: BTreeMap<String, Bucket>,
    /// Which source was heard when, by a counter.
    heard: BTreeMap<u64, String>,
    count: u64,
}

#[derive(Debug)]
struct Bucket {
    /// In billionths of an event, so that nothing is lost to rounding.
    tokens: u128,
    at: Duration,
    heard: u64,
}

/// One event, in the unit of a bucket.
const EVENT: u128 = 1_000_000_000;

impl Sources {
    /// Whether a source may write one event more now.
    fn take(&mut self, limit: &EventLimit, key: &str, now: Duration) -> bool {
        self.count += 1;
        let full = u128::from(limit.burst) * EVENT;
        let fresh = || Bucket { tokens: full, at: now, heard: 0 };
        let bucket = self.known.entry(key.to_owned()).or_insert_with(fresh);
        self.heard.remove(&bucket.heard);
        self.heard.insert(self.count, key.to_owned());
        bucket.heard = self.count;
        let gained = now.saturating_sub(bucket.at).as_nanos() * u128::from(limit.qps);
        (bucket.tokens, bucket.at) = (full.min(bucket.tokens + gained), now);
        let enough = bucket.tokens >= EVENT;
        if enough {
            bucket.tokens -= EVENT;
        }
        while self.known.len() > limit.sources
            && let Some((_, oldest)) = self.heard.pop_first()
        {
            self.known.remove(&oldest);
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_writes_a_burst_and_then_so_many_a_second() {
        let limit = EventLimit { kind: "User".into(), qps: 2, burst: 3, sources: 2 };
        let mut sources = Sources::default();
        let mut take = |key: &str, millis: u64| sources.take(&limit, key, Duration::from_millis(millis));
        assert_eq!([0; 4].map(|at| take("a", at)), [true, true, true, false]);
        assert_eq!([499, 500, 501].map(|at| take("a", at)), [false, true, false]);
        // Two others, and the first is forgotten.
        assert!(take("b", 501) && take("c", 501));
        assert!(take("a", 501));
    }
}
