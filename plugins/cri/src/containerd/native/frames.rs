//! What the runtime and the program that carries a container's streams say to each other over a socket file: a question of one byte,
//! an answer of one byte, then frames of a kind, a length and as many bytes.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Goes on in a new log.
pub(super) const ASK_REOPEN: u8 = b'r';
/// Ends, whatever the container does.
pub(super) const ASK_QUIT: u8 = b'q';
/// Listens, and may speak. One byte more says to what.
pub(super) const ASK_ATTACH: u8 = b'a';

pub(super) const OK: u8 = b'o';
/// Why follows.
pub(super) const FAILED: u8 = b'f';

/// A frame of input; an empty one is its end, and from the other side says that it was taken.
pub(super) const INPUT: u8 = 0;
pub(super) const STDOUT: u8 = 1;
pub(super) const STDERR: u8 = 2;

/// Frames are shorter.
const LIMIT: usize = 1 << 20;

/// The bit of a stream among those that are wanted.
pub(super) fn wants(stream: u8) -> u8 {
    1 << stream
}

pub(super) fn frame(kind: u8, bytes: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + bytes.len());
    frame.put_u8(kind);
    frame.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    frame.put_slice(bytes);
    frame.freeze()
}

/// The next frame; `None` at the end.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(u8, Vec<u8>)>> {
    let kind = match from.read_u8().await {
        Ok(kind) => kind,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(from.read_u32().await?).unwrap_or(usize::MAX);
    if length > LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await?;
    Ok(Some((kind, bytes)))
}
