//! Sessions over HTTP: exec, attach, port-forward and logs, framed as WebSocket channels or SPDY streams.
//!
//! The `Api` authorizes and opens a session as plain byte streams; here they meet the client's. [`Sessions`] answers the
//! request, then one task per session carries bytes until the session, the client or the server ends. Requests for the `proxy`
//! sub-resources go on to other servers.

mod logs;
mod proxy;
mod sessions;

pub use self::sessions::Sessions;
