//! A connection to the API that begins and ends in this process, for clients that bring an HTTP of their own.

use std::{io, sync::Arc};

use futures::{
    AsyncReadExt, AsyncWriteExt, FutureExt,
    io::{ReadHalf, WriteHalf},
    lock::Mutex,
};
use pyo3::prelude::*;
use windlass::{
    apiserver::http::Server,
    kernel::{Error, ErrorKind, Identity, SpawnExt, Stop, Task},
    testkit::pipe::{End, duplex},
};

use crate::{engine::Engine, op::Op, reply::Reply};

/// So much is read at once.
const PIECE: usize = 64 * 1024;

/// One half, until it is closed.
type Half<T> = Arc<Mutex<Option<T>>>;

/// Both directions of a connection.
#[pyclass(frozen, module = "windlass._native")]
pub(crate) struct Pipe {
    engine: Arc<Engine>,
    from: Half<ReadHalf<End>>,
    to: Half<WriteHalf<End>>,
    stop: Stop,
    // A session that took the connection over goes on until this end is closed.
    _serving: Task,
}

impl Pipe {
    /// Connects to a server as somebody.
    pub(crate) fn connect(engine: &Arc<Engine>, server: &Arc<Server>, identity: Identity) -> Self {
        let (near, far) = duplex();
        let serving = Arc::clone(server).serve_in_process(identity, Box::new(far));
        let (from, to) = near.split();
        Self {
            engine: Arc::clone(engine),
            from: Arc::new(Mutex::new(Some(from))),
            to: Arc::new(Mutex::new(Some(to))),
            stop: Stop::new(),
            _serving: engine.spawn().spawn("python.connection", serving),
        }
    }
}

#[pymethods]
impl Pipe {
    /// A call for the next bytes. `None` at the end.
    fn read(&self) -> Op {
        let (from, stop) = (Arc::clone(&self.from), self.stop.clone());
        Op::new(&self.engine, async move {
            let mut held = from.lock().await;
            let Some(half) = held.as_mut() else { return Ok(Reply::Nothing) };
            let mut piece = vec![0; PIECE];
            match stop.race(half.read(&mut piece)).await {
                Some(read) => piece.truncate(read.map_err(broken)?),
                None => piece.clear(),
            }
            if piece.is_empty() {
                *held = None;
                return Ok(Reply::Nothing);
            }
            Ok(Reply::Chunk(piece.into()))
        })
    }

    /// A call that sends bytes.
    fn write(&self, bytes: Vec<u8>) -> Op {
        let (to, stop) = (Arc::clone(&self.to), self.stop.clone());
        Op::new(&self.engine, async move {
            let mut held = to.lock().await;
            let gone = || Error::new(ErrorKind::Unavailable, "the connection is closed");
            let half = held.as_mut().ok_or_else(gone)?;
            match stop.race(half.write_all(&bytes)).await {
                Some(written) => written.map(|()| Reply::Nothing).map_err(broken),
                None => {
                    *held = None;
                    Err(gone())
                }
            }
        })
    }

    /// Ends the connection, also for those who wait for it.
    fn close(&self) {
        self.stop.stop();
        // Whoever holds a half at this instant has been told, and lets go of it.
        if let Some(mut held) = self.from.lock().now_or_never() {
            *held = None;
        }
        if let Some(mut held) = self.to.lock().now_or_never() {
            *held = None;
        }
    }
}

fn broken(error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "a connection in this process broke off").with_source(error).maybe_applied()
}
