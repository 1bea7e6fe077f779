//! One stream of a connection.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Buf;
use futures::io::{AsyncRead, AsyncWrite};

use super::{
    Headers, ResetReason,
    connection::{Shared, ended, release},
    frame::DATA_LIMIT,
};
use crate::error::{Error, ErrorKind, Result};

/// A two-way stream. Closing it ends our half; dropping it resets what is not over.
///
/// What was received before a reset can still be read; then reading fails with
/// [`ConnectionReset`](io::ErrorKind::ConnectionReset).
pub struct Stream {
    id: u32,
    headers: Headers,
    shared: Shared,
}

impl Stream {
    pub(super) fn new(id: u32, headers: Headers, shared: Shared) -> Self {
        Self { id, headers, shared }
    }

    /// The number of the stream, which is unique on its connection.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What it was opened with.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Ends both halves at once, without regard for what is still on its way.
    pub fn reset(&self, reason: ResetReason) {
        self.shared.lock().reset(self.id, reason);
    }

    /// Takes a reset by the peer, or the end of the connection, for the end of the stream when reading: Kubernetes' own
    /// servers end the streams of a finished session like that.
    #[must_use]
    pub fn ends_with_reset(self) -> impl AsyncRead + AsyncWrite + Send + Unpin {
        Lenient(self)
    }

    pub(super) fn poll_opened(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = self.shared.lock();
        let over = state.over;
        let Some(flow) = state.flows.get_mut(&self.id) else {
            return Poll::Ready(Err(Error::new(ErrorKind::Internal, "a stream is not known")));
        };
        if flow.replied || !flow.received.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if let Some(reason) = flow.reset {
            return Poll::Ready(Err(Error::new(ErrorKind::Unavailable, format!("a stream was refused: {}", reason.0))));
        }
        if over.is_some() {
            let lost = Error::new(ErrorKind::Unavailable, "the connection ended before a stream was accepted");
            return Poll::Ready(Err(lost.maybe_applied()));
        }
        flow.opener = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.shared.lock();
        let over = state.over;
        let Some(flow) = state.flows.get_mut(&self.id) else { return Poll::Ready(Ok(0)) };
        if let Some(chunk) = flow.received.front_mut() {
            let len = chunk.len().min(buffer.len());
            buffer[..len].copy_from_slice(&chunk[..len]);
            chunk.advance(len);
            if chunk.is_empty() {
                flow.received.pop_front();
            }
            state.consumed(self.id, len);
            return Poll::Ready(Ok(len));
        }
        if flow.ended {
            return Poll::Ready(Ok(0));
        }
        if flow.reset.is_some() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, "the stream was reset")));
        }
        if let Some(why) = over {
            return Poll::Ready(Err(ended(why)));
        }
        flow.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.shared.lock();
        let room = state.room(self.id);
        let over = state.over;
        let Some(flow) = state.flows.get_mut(&self.id) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        if flow.closed || flow.reset.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if let Some(why) = over {
            return Poll::Ready(Err(ended(why)));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if room == 0 {
            flow.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = bytes.len().min(room).min(DATA_LIMIT);
        state.send_data(self.id, &bytes[..len]);
        Poll::Ready(Ok(len))
    }

    /// What was written goes out by itself: there is nothing to wait for.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.lock().finish(self.id);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.lock().forget(self.id);
        release(&self.shared);
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("id", &self.id).field("headers", &self.headers).finish_non_exhaustive()
    }
}

struct Lenient(Stream);

impl AsyncRead for Lenient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer).map(|read| Ok(read.unwrap_or(0)))
    }
}

impl AsyncWrite for Lenient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
