//! The simulator's core: one thread, virtual time, and an order of tasks that the seed decides.
//!
//! One seed is one history, in this process and in any other. It knows nothing of networks, disks or clusters.

mod executor;
mod handle;
mod state;

pub use executor::{Executor, Halt, Limits};
pub use handle::{Handle, Process};
pub use state::Panic;
