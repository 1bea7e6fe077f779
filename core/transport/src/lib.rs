//! What servers and clients over HTTP have in common: the upgrade of sessions, WebSockets, TLS towards anyone, what is
//! set on TCP connections.
//!
//! Nothing here dials, waits for a clock of its own or starts a task. This crate promises no stable API; embed it through `windlass`.

#[cfg(feature = "tcp")]
pub mod tcp;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "upgrade")]
pub mod upgrade;
