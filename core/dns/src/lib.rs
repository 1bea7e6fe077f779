//! Services and EndpointSlices to DNS answers.
//!
//! This crate promises no stable API; embed it through `windlass`.

pub mod follow;
pub mod message;
pub mod serve;
pub mod zone;

pub use self::{follow::Follower, serve::Server, zone::Zone};
