//! Watches as streams of frames: JSON lines, or protobuf messages behind their length.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt, future, stream};
use serde_json::{Value, json};
use windlass_api::protobuf;
use windlass_kernel::{
    Clock, Document, Error, Result, Stop,
    api::{Events, WatchEvent},
    store::Revision,
};

use super::{
    negotiate::{Encoding, Shape},
    shape::Format,
};

const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Writes events as frames.
pub(super) struct Frames {
    format: Format,
    api_version: String,
    clock: Arc<dyn Clock>,
    /// Whether the columns of a table have been sent: they are sent once.
    columns_sent: bool,
}

impl Frames {
    pub(super) fn new(format: Format, api_version: String, clock: Arc<dyn Clock>) -> Self {
        Self { format, api_version, clock, columns_sent: false }
    }

    /// The frames of a watch. It ends with the watch, after an error, or when the server stops.
    pub(super) fn of(mut self, events: Events, stop: &Stop) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        let stop = stop.clone();
        let stopped = async move { stop.wait().await };
        let mut ended = false;
        let frames = events.map(move |event| match event {
            Ok(event) => self.frame(event).unwrap_or_else(|error| self.failure(&error)),
            Err(error) => self.failure(&error),
        });
        // An error is the last thing that a watch says.
        let frames = frames.scan((), move |(), (frame, last)| {
            let over = std::mem::replace(&mut ended, last);
            future::ready((!over).then_some(Ok(frame)))
        });
        frames.take_until(Box::pin(stopped))
    }

    fn frame(&mut self, event: WatchEvent) -> Result<(Bytes, bool)> {
        let frame = match event {
            WatchEvent::Added(document) => self.object("ADDED", &document)?,
            WatchEvent::Modified(document) => self.object("MODIFIED", &document)?,
            WatchEvent::Deleted(document) => self.object("DELETED", &document)?,
            WatchEvent::Bookmark { revision, initial_events_end } => self.bookmark(revision, initial_events_end)?,
        };
        Ok((frame, false))
    }

    fn failure(&mut self, error: &Error) -> (Bytes, bool) {
        let status = error.to_status();
        let frame = match self.format.encoding {
            Encoding::Protobuf => {
                self.format.encode(&status).map(|bytes| protobuf::encode_watch_event("ERROR", &bytes).into())
            }
            _ => Ok(line("ERROR", &status)),
        };
        (frame.unwrap_or_default(), true)
    }

    fn object(&mut self, event: &str, document: &Document) -> Result<Bytes> {
        if self.format.verbatim() {
            let mut out = BytesMut::with_capacity(document.len() + 40);
            out.put_slice(b"{\"type\":\"");
            out.put_slice(event.as_bytes());
            out.put_slice(b"\",\"object\":");
            document.write_to(&mut out);
            out.put_slice(b"}\n");
            return Ok(out.freeze());
        }
        let object = self.format.object(document.value()?, self.clock.now());
        self.write(event, object)
    }

    fn write(&mut self, event: &str, mut object: Value) -> Result<Bytes> {
        if matches!(self.format.shape, Shape::Table(_)) && std::mem::replace(&mut self.columns_sent, true) {
            object["columnDefinitions"] = Value::Null;
        }
        Ok(match self.format.encoding {
            Encoding::Protobuf => protobuf::encode_watch_event(event, &self.format.encode(&object)?).into(),
            _ => line(event, &object),
        })
    }

    fn bookmark(&mut self, revision: Revision, initial_events_end: bool) -> Result<Bytes> {
        let mut meta = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_events_end {
            meta["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let object = match self.format.shape {
            Shape::Whole => json!({"kind": self.format.kind, "apiVersion": self.api_version, "metadata": meta}),
            Shape::Metadata(version) => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": meta})
            }
            Shape::Table(_) => {
                let object = json!({"kind": self.format.kind, "apiVersion": self.api_version, "metadata": meta});
                self.format.object(object, self.clock.now())
            }
        };
        self.write("BOOKMARK", object)
    }
}

fn line(event: &str, object: &Value) -> Bytes {
    format!("{}\n", json!({"type": event, "object": object})).into()
}

/// A body that ends when the server stops.
pub(super) fn until_stopped<S: Stream + Send + 'static>(
    stream: S,
    stop: &Stop,
) -> impl Stream<Item = S::Item> + Send + 'static
where
    S::Item: Send,
{
    let stop = stop.clone();
    stream.take_until(Box::pin(async move { stop.wait().await }))
}

/// A stream that keeps a value alive until it ends or is dropped.
pub(super) fn holding<S: Stream + Send + Unpin + 'static, T: Send + 'static>(
    stream: S,
    held: T,
) -> impl Stream<Item = S::Item> + Send + 'static
where
    S::Item: Send,
{
    stream::unfold((stream, held), |(mut stream, held)| async move {
        let item = stream.next().await?;
        Some((item, (stream, held)))
    })
}
