//! How a scripted pod behaves.

use std::time::Duration;

/// How a pod's containers end by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// How long after they are ready.
    pub after: Duration,
    /// With which exit code.
    pub code: i32,
}

/// A pod's script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// From being handed over to running.
    pub start: Duration,
    /// From running to ready.
    pub ready: Duration,
    /// How it ends by itself; `None` runs until it is ended.
    pub end: Option<End>,
    /// From the end to the first restart, where the restart policy says so; doubles each time.
    pub restart: Duration,
    /// From being told to end to having ended; never more than the grace period.
    pub stop: Duration,
}

impl Default for Behaviour {
    fn default() -> Self {
        let restart = Duration::from_secs(10);
        Self { start: Duration::ZERO, ready: Duration::ZERO, end: None, restart, stop: Duration::ZERO }
    }
}
