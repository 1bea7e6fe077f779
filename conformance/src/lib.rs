//! One suite per kernel trait, for anyone's implementation.
//!
//! A suite is a list of named checks. Each check is a plain async function on a fresh instance, names in its first line
//! the contract number it checks, and panics with a message where the contract is broken. A check that the
//! fixture cannot show is told as [`NotRun`], with the reason. The suites need no runtime
//! of their own: they run on whatever the caller polls them with.
#![deny(missing_docs)]

pub mod api;
mod check;
pub mod device;
mod need;
pub mod network;
pub mod node;
mod proto;
pub mod report;
pub mod runtime;
pub mod store;
pub mod volume;

pub use self::{
    check::Check,
    need::{Need, NotRun},
};
