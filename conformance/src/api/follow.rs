//! A watch as its bytes come: lines of JSON.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream::BoxStream};
use serde_json::Value;
use windlass_kernel::{Clock, ClockExt, Result};

use crate::report::Trace;

/// So long an event may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// The events of a watch. Dropping it ends the watch.
pub(super) struct Following {
    pub(super) asked: String,
    pub(super) body: BoxStream<'static, Result<Bytes>>,
    pub(super) buffer: BytesMut,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) trace: Trace,
}

impl Following {
    /// The next event; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1);
                self.trace
                    .note(format!("  {}", String::from_utf8_lossy(&line[..end]).chars().take(500).collect::<String>()));
                return match serde_json::from_slice(&line) {
                    Ok(event) => Some(event),
                    Err(error) => panic!("{}: an event is not JSON ({error})", self.asked),
                };
            }
            let chunk = self.clock.within(PATIENCE, self.body.next()).await;
            match chunk {
                Some(Some(Ok(chunk))) => self.buffer.extend_from_slice(&chunk),
                Some(Some(Err(error))) => panic!("{}: the watch broke: {error}", self.asked),
                Some(None) => {
                    assert!(self.buffer.is_empty(), "{}: the watch ended within an event", self.asked);
                    return None;
                }
                None => panic!("{}: no event within {PATIENCE:?}", self.asked),
            }
        }
    }

    /// The next event's object; the event must be of this type, and bookmarks are passed over unless one is wanted.
    pub(super) async fn object(&mut self, kind: &str) -> Value {
        loop {
            let Some(mut event) = self.next().await else {
                panic!("{}: the watch ended before an event {kind}", self.asked)
            };
            if event["type"] == kind {
                return event["object"].take();
            }
            assert!(event["type"] == "BOOKMARK", "{}: wanted an event {kind}, got {event}", self.asked);
        }
    }

    /// The next event must be of this type and about an object of this name.
    pub(super) async fn expect(&mut self, kind: &str, name: &str) -> Value {
        let object = self.object(kind).await;
        assert_eq!(object["metadata"]["name"], name, "{}: the object of an event {kind}", self.asked);
        object
    }

    /// The first event of a type about an object of this name, whatever comes before it.
    pub(super) async fn until(&mut self, kind: &str, name: &str) -> Value {
        loop {
            let Some(mut event) = self.next().await else {
                panic!("{}: the watch ended before an event {kind} of {name}", self.asked)
            };
            if event["type"] == kind && event["object"]["metadata"]["name"] == name {
                return event["object"].take();
            }
        }
    }
}
