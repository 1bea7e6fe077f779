//! Connections whose failure is told beside their data.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{
    future::BoxFuture,
    io::{AsyncRead, AsyncWrite},
};

use crate::dial::ByteStream;

/// A connection of which another place says how it failed: where its data ends and `why` says something, reading fails with that.
/// `why` is asked only then.
pub fn ends_as_told<T>(data: T, why: BoxFuture<'static, Option<String>>) -> ByteStream
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    Box::new(Told { data, why: Some(why) })
}

struct Told<T> {
    data: T,
    why: Option<BoxFuture<'static, Option<String>>>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Told<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.data).poll_read(cx, buffer))?;
        if read > 0 || buffer.is_empty() {
            return Poll::Ready(Ok(read));
        }
        let Some(why) = &mut self.why else { return Poll::Ready(Ok(0)) };
        let why = ready!(why.as_mut().poll(cx));
        self.why = None;
        Poll::Ready(why.map_or(Ok(0), |why| Err(io::Error::other(why))))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Told<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.data).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.data).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.data).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt, FutureExt, io::Cursor};

    use super::*;

    fn check(why: Option<&str>, expect: Result<&str, &str>) {
        let why = why.map(ToOwned::to_owned);
        let mut stream = ends_as_told(Cursor::new(b"data".to_vec()), async { why }.boxed());
        let mut read = [0; 4];
        stream.read_exact(&mut read).now_or_never().unwrap().unwrap();
        let mut rest = String::new();
        let ended = stream.read_to_string(&mut rest).now_or_never().unwrap();
        assert_eq!(read, *b"data");
        assert_eq!(ended.map(|_| rest.as_str()).map_err(|error| error.to_string()), expect.map_err(ToOwned::to_owned));
    }

    #[test]
    fn a_connection_ends_as_somebody_says() {
        check(None, Ok(""));
        check(Some("refused"), Err("refused"));
    }
}
