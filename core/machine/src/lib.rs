//! Where Windlass meets the operating system: the real clock, randomness, tasks and connections, behind the kernel's traits.
//!
//! Products, programs of plugins and tests that need the real machine all have it from here; everything else receives it as
//! kernel traits. Connections to nodes, pods and services are not the machine's: whoever knows a cluster brings those.
#![deny(missing_docs)]

mod clock;
mod dial;
mod entropy;
mod machine;
mod spawn;

pub use self::{clock::SystemClock, dial::SystemDial, entropy::SystemEntropy, machine::Machine, spawn::TokioSpawn};
