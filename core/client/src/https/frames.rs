//! Bodies that come bit by bit: logs, and watches as lines of JSON.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream, stream::BoxStream};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use windlass_kernel::{
    Clock, ClockExt, Document, Error, ErrorKind, Result, Revision,
    api::{Chunks, Events, WatchEvent},
};

use super::connect::broken;

const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// A body's bytes as they come.
pub(super) fn chunks(body: Incoming) -> Chunks {
    Chunks(bytes(body).boxed())
}

/// A body's lines as events. Silence for `patience` ends the watch: the connection is taken for dead.
pub(super) fn events(body: Incoming, clock: Arc<dyn Clock>, patience: Duration) -> Events {
    decode(bytes(body).boxed(), clock, patience).boxed()
}

fn bytes(body: Incoming) -> impl Stream<Item = Result<Bytes>> + Send {
    body.into_data_stream().map(|chunk| chunk.map_err(broken))
}

struct Lines {
    chunks: BoxStream<'static, Result<Bytes>>,
    buffer: BytesMut,
    /// Up to where the buffer holds no line's end.
    searched: usize,
    ended: bool,
}

fn decode(
    chunks: BoxStream<'static, Result<Bytes>>,
    clock: Arc<dyn Clock>,
    patience: Duration,
) -> impl Stream<Item = Result<WatchEvent>> + Send {
    let lines = Lines { chunks, buffer: BytesMut::new(), searched: 0, ended: false };
    stream::unfold((lines, clock), move |(mut lines, clock)| async move {
        if lines.ended {
            return None;
        }
        let silent = || Err(Error::new(ErrorKind::Unavailable, "the watch's connection is silent"));
        let event = match clock.within(patience, lines.next()).await.unwrap_or_else(silent) {
            Ok(None) => return None,
            Ok(Some(line)) => event(&line),
            Err(error) => Err(error),
        };
        lines.ended = event.is_err();
        Some((event, (lines, clock)))
    })
}

impl Lines {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end + 1).freeze();
                self.searched = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            match self.chunks.next().await {
                Some(chunk) => self.buffer.extend_from_slice(&chunk?),
                None if self.buffer.trim_ascii().is_empty() => return Ok(None),
                None => return Err(Error::new(ErrorKind::Unavailable, "the watch ended within an event")),
            }
        }
    }
}

#[derive(Deserialize)]
struct Frame<'a> {
    r#type: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

fn event(line: &[u8]) -> Result<WatchEvent> {
    let wrong = |error| Error::new(ErrorKind::Internal, "an event of the watch is not JSON").with_source(error);
    let Frame { r#type, object } = serde_json::from_slice(line).map_err(wrong)?;
    let received = || Document::received(object.get(), ("", ""));
    let tree = || serde_json::from_str::<Value>(object.get()).map_err(wrong);
    match r#type.as_str() {
        "ADDED" => received().map(WatchEvent::Added),
        "MODIFIED" => received().map(WatchEvent::Modified),
        "DELETED" => received().map(WatchEvent::Deleted),
        "BOOKMARK" => {
            let object = tree()?;
            let meta = &object["metadata"];
            let revision = meta["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
            let initial_events_end = meta["annotations"][INITIAL_EVENTS_END] == "true";
            Ok(WatchEvent::Bookmark { revision: Revision(revision), initial_events_end })
        }
        "ERROR" => Err(Error::from_status(500, &tree()?)),
        other => Err(Error::new(ErrorKind::Internal, format!("a watch has no events of type {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use windlass_testkit::ManualClock;

    use super::*;

    /// What the chunks come to, as one word for each event.
    fn check(chunks: &[&'static str], expect: &[&str]) {
        let chunks =
            stream::iter(chunks.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))).collect::<Vec<_>>());
        let events = decode(chunks.boxed(), Arc::new(ManualClock::default()), Duration::from_secs(1));
        let words = events.map(|event| match event {
            Ok(WatchEvent::Added(document)) => format!("+{}", document.revision()),
            Ok(WatchEvent::Modified(document)) => format!("~{}", document.revision()),
            Ok(WatchEvent::Deleted(document)) => format!("-{}", document.revision()),
            Ok(WatchEvent::Bookmark { revision, initial_events_end }) => format!("={revision} {initial_events_end}"),
            Err(error) => format!("{:?}", error.kind()),
        });
        assert_eq!(words.collect::<Vec<_>>().now_or_never().unwrap(), expect);
    }

    #[test]
    fn events_are_found_however_the_bytes_are_cut() {
        let one = r#"{"type": "ADDED", "object": {"metadata": {"resourceVersion": "1"}}}"#;
        check(&[one, "\n"], &["+1"]);
        check(
            &[&one[..20], &one[20..], "\n\n", "{\"type\": \"DELETED\", \"object\": {\"metadata\": {}}}\n"],
            &["+1", "-0"],
        );
    }

    #[test]
    fn bookmarks_and_errors_are_told_apart() {
        let end = r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"8","annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
        let gone = r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}"#;
        check(&[end, "\n", gone, "\n", end, "\n"], &["=8 true", "Compacted"]);
    }

    #[test]
    fn an_end_within_an_event_is_an_error() {
        check(&["{\"type\":"], &["Unavailable"]);
        check(&["nonsense\n"], &["Internal"]);
    }

    #[test]
    fn silence_ends_a_watch() {
        let clock = ManualClock::default();
        let mut events = decode(stream::pending().boxed(), Arc::new(clock.clone()), Duration::from_secs(5)).boxed();
        assert!(events.next().now_or_never().is_none());
        let mut next = events.next();
        assert!((&mut next).now_or_never().is_none());
        clock.advance(Duration::from_secs(5));
        assert!(next.now_or_never().unwrap().unwrap().unwrap_err().is(ErrorKind::Unavailable));
    }
}
