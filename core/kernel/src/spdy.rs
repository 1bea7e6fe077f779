//! SPDY/3.1: many byte streams over one connection, as Kubernetes' exec, attach and port-forward speak it.
//!
//! The frames and the state of a connection are pure; [`Driver`] moves bytes between them and any stream of bytes. What
//! the streams mean, and the HTTP upgrade before the first frame, are the callers' business.
//!
//! **Flow control.** Kubernetes' own peers never grant a window, so a sender that waited for grants would stall after
//! 64 KiB. Here a peer is taken to keep windows from its first `WINDOW_UPDATE` on (or a `SETTINGS` with a window); until
//! then only the connection's own back pressure holds a sender. As a receiver, what was read is always granted again, and
//! a stream that nobody reads stops the whole connection once it holds [`RECEIVE_LIMIT`] bytes.
//!
//! ```no_run
//! use futures::{AsyncReadExt, AsyncWriteExt};
//! use windlass_kernel::{dial::ByteStream, spdy::{Connection, Headers, Role}};
//! # async fn example(near: ByteStream) -> windlass_kernel::Result<()> {
//! let (client, driver) = Connection::new(near, Role::Client); // Run `driver` as a task.
//! let mut stream = client.open(&Headers::of(&[("streamType", "stdin")])).await?;
//! stream.write_all(b"hello").await.unwrap();
//! stream.close().await.unwrap(); // Our half is over; the peer's goes on.
//! # Ok(()) }
//! ```

mod connection;
mod dictionary;
mod driver;
mod frame;
mod headers;
#[cfg(test)]
mod pipe;
mod state;
mod stream;
#[cfg(test)]
mod tests;

pub use self::{
    connection::Connection,
    driver::Driver,
    frame::ResetReason,
    headers::Headers,
    state::{RECEIVE_LIMIT, Role},
    stream::Stream,
};

/// The name of the protocol in HTTP's `Upgrade` header.
pub const UPGRADE: &str = "SPDY/3.1";
