//! A two-way stream of bytes within the process, for this module's tests.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, BytesMut};
use futures::io::{AsyncRead, AsyncWrite};
use parking_lot::Mutex;

/// One end of a [`pipe`]. Dropping it ends both directions: the other end reads what was written and then the end, and
/// cannot write any more.
pub(super) struct Pipe {
    incoming: Arc<Mutex<Half>>,
    outgoing: Arc<Mutex<Half>>,
}

#[derive(Default)]
struct Half {
    bytes: BytesMut,
    capacity: usize,
    closed: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Two ends: what is written to one is read from the other. A writer waits while `capacity` bytes are unread.
pub(super) fn pipe(capacity: usize) -> (Pipe, Pipe) {
    let half = || Arc::new(Mutex::new(Half { capacity: capacity.max(1), ..Half::default() }));
    let (there, back) = (half(), half());
    let near = Pipe { incoming: Arc::clone(&back), outgoing: Arc::clone(&there) };
    (near, Pipe { incoming: there, outgoing: back })
}

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut half = self.incoming.lock();
        if half.bytes.is_empty() {
            if half.closed {
                return Poll::Ready(Ok(0));
            }
            half.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = buffer.len().min(half.bytes.len());
        buffer[..len].copy_from_slice(&half.bytes[..len]);
        half.bytes.advance(len);
        wake(&mut half.writer);
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut half = self.outgoing.lock();
        if half.closed || half.reader_gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = half.capacity.saturating_sub(half.bytes.len());
        if room == 0 && !bytes.is_empty() {
            half.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = room.min(bytes.len());
        half.bytes.extend_from_slice(&bytes[..len]);
        wake(&mut half.reader);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut half = self.outgoing.lock();
        half.closed = true;
        wake(&mut half.reader);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut half = self.outgoing.lock();
        half.closed = true;
        wake(&mut half.reader);
        drop(half);
        let mut half = self.incoming.lock();
        half.reader_gone = true;
        wake(&mut half.writer);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
