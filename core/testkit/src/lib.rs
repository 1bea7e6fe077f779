//! Fakes that keep every contract, the virtual clock and the seeded executor.
//!
//! What is missing on purpose: a fake API server. The real one runs over a store in memory, under [`sim::Executor`].
#![deny(missing_docs)]

mod access;
pub mod agent;
mod clock;
mod entropy;
mod event_log;
mod keys;
pub mod network;
pub mod pipe;
pub mod runtime;
pub mod sim;
pub mod volume;

pub use access::Everyone;
pub use agent::{FakeAgent, FakeNode};
pub use clock::{ManualClock, SkewedClock};
pub use entropy::SeededEntropy;
pub use event_log::{Difference, EventLog};
pub use keys::FakeKeys;
pub use network::FakeNetwork;
pub use runtime::FakeRuntime;
pub use volume::FakeDriver;
