//! What comes piece by piece: the events of a watch and the chunks of a log.

use std::sync::Arc;

use futures::{FutureExt, StreamExt, lock::Mutex, stream::BoxStream};
use pyo3::prelude::*;
use windlass::kernel::{
    Result, Stop,
    api::{Chunks as Stream, Events as Watch, WatchEvent},
};

use crate::{engine::Engine, op::Op, reply::Reply};

/// A stream whose readers take turns, until it ends, fails or is closed.
struct Turns<T> {
    stream: Arc<Mutex<Option<BoxStream<'static, Result<T>>>>>,
    stop: Stop,
}

impl<T: Send + 'static> Turns<T> {
    fn new(stream: BoxStream<'static, Result<T>>) -> Self {
        Self { stream: Arc::new(Mutex::new(Some(stream))), stop: Stop::new() }
    }

    /// A call that takes the next piece; nothing at the end and after it.
    fn next(&self, engine: &Arc<Engine>, reply: fn(T) -> Reply) -> Op {
        let (stream, stop) = (Arc::clone(&self.stream), self.stop.clone());
        Op::new(engine, async move {
            let piece = stop.race(async {
                let mut stream = stream.lock().await;
                let piece = stream.as_mut()?.next().await;
                if !matches!(piece, Some(Ok(_))) {
                    *stream = None;
                }
                piece
            });
            match piece.await.flatten() {
                Some(piece) => piece.map(reply),
                None => Ok(Reply::Nothing),
            }
        })
    }

    /// Ends the stream, also for those who wait for its next piece.
    fn close(&self) {
        self.stop.stop();
        // Whoever holds it at this instant has been told; the stream then goes with its last owner.
        if let Some(mut stream) = self.stream.lock().now_or_never() {
            *stream = None;
        }
    }
}

/// The events of a watch.
#[pyclass(frozen, module = "windlass._native")]
pub(crate) struct Events {
    engine: Arc<Engine>,
    turns: Turns<WatchEvent>,
}

impl Events {
    pub(crate) fn new(engine: &Arc<Engine>, events: Watch) -> Self {
        Self { engine: Arc::clone(engine), turns: Turns::new(events) }
    }
}

#[pymethods]
impl Events {
    /// A call for the next event: its type and its object's JSON. `None` at the end.
    fn next(&self) -> Op {
        self.turns.next(&self.engine, Reply::event)
    }

    /// Ends the watch.
    fn close(&self) {
        self.turns.close();
    }
}

/// The chunks of a log.
#[pyclass(frozen, module = "windlass._native")]
pub(crate) struct Chunks {
    engine: Arc<Engine>,
    turns: Turns<bytes::Bytes>,
}

impl Chunks {
    pub(crate) fn new(engine: &Arc<Engine>, chunks: Stream) -> Self {
        Self { engine: Arc::clone(engine), turns: Turns::new(chunks.0) }
    }
}

#[pymethods]
impl Chunks {
    /// A call for the next chunk. `None` at the end.
    fn next(&self) -> Op {
        self.turns.next(&self.engine, Reply::Chunk)
    }

    /// Ends the stream.
    fn close(&self) {
        self.turns.close();
    }
}
