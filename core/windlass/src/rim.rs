//! Where Windlass meets the operating system: the real clock, randomness, tasks and connections, and the certificates that the
//! machine trusts.
//!
//! Everything else receives these as kernel traits; nothing else names tokio's clock, tasks or sockets.

#[cfg(any(feature = "http", feature = "containers"))]
mod trust;

pub use windlass_machine::{SystemClock, SystemDial, SystemEntropy, TokioSpawn};

#[cfg(any(feature = "http", feature = "containers"))]
pub use self::trust::trusted_certificates;
