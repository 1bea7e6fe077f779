//! Whole clusters in virtual time: one seed is one history.

pub mod rollout;
mod world;

pub use self::world::{History, World};
