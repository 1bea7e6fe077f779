//! A WebSocket as a stream of bytes: where messages begin and end has no meaning.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures::{AsyncRead, AsyncWrite, Sink, Stream};
use tokio::io;
use tokio_tungstenite::tungstenite::{self, Message};

use super::socket::Socket;

/// The bytes of a WebSocket's binary messages.
pub struct Tunnel<T> {
    socket: Socket<T>,
    unread: Bytes,
}

impl<T: io::AsyncRead + io::AsyncWrite + Unpin> Tunnel<T> {
    /// The bytes of that socket.
    pub fn new(socket: Socket<T>) -> Self {
        Self { socket, unread: Bytes::new() }
    }

    fn socket(&mut self) -> Pin<&mut Socket<T>> {
        Pin::new(&mut self.socket)
    }
}

impl<T: io::AsyncRead + io::AsyncWrite + Unpin> AsyncRead for Tunnel<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<std::io::Result<usize>> {
        while self.unread.is_empty() {
            match ready!(self.socket().poll_next(cx)) {
                Some(Ok(Message::Binary(data))) => self.unread = data,
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(0)),
                // The socket answers pings by itself.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
            }
        }
        let count = self.unread.len().min(buffer.len());
        self.unread.copy_to_slice(&mut buffer[..count]);
        Poll::Ready(Ok(count))
    }
}

impl<T: io::AsyncRead + io::AsyncWrite + Unpin> AsyncWrite for Tunnel<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        ready!(self.socket().poll_ready(cx)).map_err(broken)?;
        self.socket().start_send(Message::Binary(Bytes::copy_from_slice(bytes))).map_err(broken)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.socket().poll_flush(cx).map_err(broken)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.socket().poll_close(cx).map_err(broken)
    }
}

impl<T> fmt::Debug for Tunnel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").finish_non_exhaustive()
    }
}

fn broken(error: tungstenite::Error) -> std::io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        error => std::io::Error::new(std::io::ErrorKind::ConnectionAborted, error),
    }
}
