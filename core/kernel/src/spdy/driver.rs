//! Moves bytes between a connection's state and its stream of bytes.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use futures::io::{AsyncRead, AsyncWrite};

use super::{connection::Shared, frame::Frame};

/// Keeps a connection going until it ends: `Ok` after a goodbye from either side. Dropping it ends the connection.
#[must_use = "a connection does nothing unless its driver runs"]
pub struct Driver<T> {
    io: T,
    shared: Shared,
    incoming: BytesMut,
    outgoing: BytesMut,
    scratch: Box<[u8]>,
}

impl<T> Driver<T> {
    pub(super) fn new(io: T, shared: Shared) -> Self {
        Self {
            io,
            shared,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            scratch: vec![0; 16 << 10].into_boxed_slice(),
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Writes what there is to write; ready when nothing is left.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.outgoing.is_empty() {
                let mut state = self.shared.lock();
                std::mem::swap(&mut self.outgoing, &mut state.out);
                state.sent();
            }
            if self.outgoing.is_empty() {
                return Pin::new(&mut self.io).poll_flush(cx);
            }
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.outgoing))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.outgoing.advance(written),
            }
        }
    }

    /// Takes in what there is to take in; ready at the end of the input.
    fn poll_in(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut state = self.shared.lock();
            while !state.stalled() {
                match Frame::decode(&mut self.incoming)? {
                    Some(frame) => state.receive(frame)?,
                    None => break,
                }
            }
            if state.stalled() {
                // Whoever reads the stream wakes the driver.
                return Poll::Pending;
            }
            drop(state);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut self.scratch))? {
                0 => return Poll::Ready(Ok(())),
                read => self.incoming.extend_from_slice(&self.scratch[..read]),
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Future for Driver<T> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.shared.lock().driver = Some(cx.waker().clone());
        let closing = this.shared.lock().closing;
        let input = if closing { Poll::Pending } else { this.poll_in(cx) };
        let output = this.poll_out(cx);
        let end = match (input, output) {
            (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => Err(error),
            (Poll::Ready(Ok(())), _) => Ok(()),
            (Poll::Pending, Poll::Ready(Ok(()))) if closing => Ok(()),
            (Poll::Pending, _) => return Poll::Pending,
        };
        let why = end.as_ref().err().map_or(io::ErrorKind::UnexpectedEof, io::Error::kind);
        this.shared.lock().end(why);
        // The other side learns of the end by the end of the bytes; whether it listens does not matter any more.
        let _ = Pin::new(&mut this.io).poll_close(cx);
        Poll::Ready(end)
    }
}

impl<T> Drop for Driver<T> {
    fn drop(&mut self) {
        self.shared.lock().end(io::ErrorKind::ConnectionAborted);
    }
}

impl<T> fmt::Debug for Driver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}
