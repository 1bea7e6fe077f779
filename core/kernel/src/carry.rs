//! Carries sessions between whoever runs them and a client: what servers of exec, attach and port-forward have in common.
//!
//! [`carry`] is the middle, whatever frames the client's end; over SPDY both ends are here. With the feature `upgrade`, [`upgrade`]
//! has the HTTP upgrade before it, and WebSockets.

mod client;
mod exec;
mod ports;
mod process;
#[cfg(feature = "upgrade")]
pub mod upgrade;

use std::sync::Arc;

pub use self::{
    client::{PORTS_PROTOCOL, PROCESS_PROTOCOL, PROTOCOL_HEADER, ports_from_spdy, process_from_spdy},
    exec::exec_over_spdy,
    ports::{forward, ports_over_spdy},
    process::{Input, Output, Remote, Telling, carry, drain, pump},
};
use crate::{clock::Clock, stop::Stop};

/// What a session needs of its server.
#[derive(Clone, Debug)]
pub struct Keeping {
    /// Bounds what clients may take.
    pub clock: Arc<dyn Clock>,
    /// Ends the session with the server.
    pub stop: Stop,
}
