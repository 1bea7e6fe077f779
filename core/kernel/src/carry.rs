//! Carries sessions between whoever runs them and a client: what servers of exec, attach and port-forward have in common.
//!
//! [`carry`] is the middle, whatever frames the client's end; over SPDY both ends are here. The HTTP upgrade before it, and
//! WebSockets, are those of `windlass-transport`.

mod client;
mod exec;
mod ports;
mod process;
mod told;

use std::sync::Arc;

pub use self::{
    client::{PORTS_PROTOCOL, PROCESS_PROTOCOL, PROTOCOL_HEADER, ports_from_spdy, process_from_spdy},
    exec::exec_over_spdy,
    ports::{forward, ports_over_spdy},
    process::{Input, Output, Remote, Telling, carry, drain, pump},
    told::ends_as_told,
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
