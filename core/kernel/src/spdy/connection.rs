//! The handle of a connection: opens streams, accepts streams, says goodbye.

use std::{fmt, future::poll_fn, io, sync::Arc, task::Poll};

use futures::io::{AsyncRead, AsyncWrite};
use parking_lot::Mutex;

use super::{Driver, Headers, Role, Stream, state::State};
use crate::error::{Error, ErrorKind, Result};

pub(super) type Shared = Arc<Mutex<State>>;

/// A connection. Clones share it; when every clone and every [`Stream`] is gone it ends.
pub struct Connection(pub(super) Shared);

impl Connection {
    /// A connection over `io`, and the future that keeps it going: run it as a task.
    pub fn new<T: AsyncRead + AsyncWrite + Unpin>(io: T, role: Role) -> (Self, Driver<T>) {
        let shared = Arc::new(Mutex::new(State::new(role)));
        (Self::share(&shared), Driver::new(io, shared))
    }

    fn share(shared: &Shared) -> Self {
        shared.lock().handles += 1;
        Self(Arc::clone(shared))
    }

    /// Opens a stream and waits for the peer's reply.
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) when the peer refuses it or the connection has ended. Dropping the future
    /// gives the stream up.
    pub fn open(&self, headers: &Headers) -> impl Future<Output = Result<Stream>> + Send + use<> {
        let mut state = self.0.lock();
        // The frame goes out now, so that streams come to be in the order of the calls.
        let stream = state.open(headers).map(|id| {
            state.handles += 1;
            Stream::new(id, headers.clone(), Arc::clone(&self.0))
        });
        drop(state);
        async move {
            let stream = stream.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the connection has ended"))?;
            poll_fn(|cx| stream.poll_opened(cx)).await?;
            Ok(stream)
        }
    }

    /// Waits for a stream that the peer opens, and accepts it; `None` when the connection has ended.
    ///
    /// A stream that is not wanted is refused with [`Stream::reset`].
    pub async fn accept(&self) -> Option<Stream> {
        poll_fn(|cx| {
            let mut state = self.0.lock();
            if let Some((id, headers)) = state.arrived.pop_front() {
                state.reply(id);
                state.handles += 1;
                drop(state);
                return Poll::Ready(Some(Stream::new(id, headers, Arc::clone(&self.0))));
            }
            if state.over.is_some() || state.closing {
                return Poll::Ready(None);
            }
            state.acceptors.push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Says goodbye and ends the connection after what was written has gone out.
    pub fn close(&self) {
        self.0.lock().close();
    }

    /// Whether nothing goes in or out any more.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.0.lock().over.is_some()
    }
}

impl Clone for Connection {
    fn clone(&self) -> Self {
        Self::share(&self.0)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        release(&self.0);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("ended", &self.ended()).finish_non_exhaustive()
    }
}

/// Gives a handle back; the last one ends the connection.
pub(super) fn release(shared: &Shared) {
    let mut state = shared.lock();
    state.handles -= 1;
    if state.handles == 0 {
        state.close();
    }
}

/// What reading and writing answer after the end.
pub(super) fn ended(why: io::ErrorKind) -> io::Error {
    io::Error::new(why, "the connection has ended")
}
