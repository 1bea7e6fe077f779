//! Services and EndpointSlices to packet rules, and Nodes to routes.
//!
//! This crate promises no stable API; embed it through `windlass`.

pub mod nft;
mod routes;
mod run;
pub mod wanted;

pub use self::{nft::NftRules, routes::Router, run::Proxy};
