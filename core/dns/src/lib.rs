//! Services and EndpointSlices to DNS answers.
//!
//! This crate promises no stable API; embed it through `windlass`.
#![cfg_attr(test, allow(clippy::needless_pass_by_value, reason = "a check takes its case as it stands"))]

pub mod follow;
pub mod message;
pub mod serve;
pub mod zone;

pub use self::{follow::Follower, serve::Server, zone::Zone};
