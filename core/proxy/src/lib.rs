//! Services and EndpointSlices to packet rules.
//!
//! This crate promises no stable API; embed it through `windlass`.

pub mod nft;
mod run;
pub mod wanted;

pub use self::{nft::NftRules, run::Proxy};
