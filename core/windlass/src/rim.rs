//! Where Windlass meets the operating system: the real clock, randomness, tasks and connections.
//!
//! Everything else receives these as kernel traits; nothing else names tokio's clock, tasks or sockets.

mod clock;
mod dial;
mod entropy;
mod spawn;
#[cfg(feature = "http")]
mod trust;

#[cfg(feature = "http")]
pub use self::trust::trusted_certificates;
pub use self::{clock::SystemClock, dial::SystemDial, entropy::SystemEntropy, spawn::TokioSpawn};
