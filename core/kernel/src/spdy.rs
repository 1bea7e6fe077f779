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
//! ```
//! use futures::{AsyncReadExt, AsyncWriteExt, executor::block_on, future::join3};
//! use windlass_kernel::spdy::{Connection, Headers, Role};
//! # let (near, far) = windlass_kernel::pipe::pipe(1024);
//! let (client, client_driver) = Connection::new(near, Role::Client);
//! let (server, server_driver) = Connection::new(far, Role::Server);
//! let talk = async {
//!     let (opened, accepted) = futures::join!(client.open(&Headers::of(&[("streamtype", "data")])), server.accept());
//!     let (mut opened, mut accepted) = (opened.unwrap(), accepted.unwrap());
//!     opened.write_all(b"hello").await.unwrap();
//!     opened.close().await.unwrap();
//!     let mut heard = String::new();
//!     accepted.read_to_string(&mut heard).await.unwrap();
//!     assert_eq!((accepted.headers().get("streamType"), heard.as_str()), (Some("data"), "hello"));
//!     client.close();
//! };
//! let _ = block_on(join3(talk, client_driver, server_driver));
//! ```

mod connection;
mod dictionary;
mod driver;
mod frame;
mod headers;
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
