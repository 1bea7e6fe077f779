//! Informers: local views of collections that follow their changes, shared by everyone in the process.
//!
//! One [`Informers`] holds one list and watch per [`Selection`](crate::Selection), however many caches it feeds. A cache
//! holds *projections*: whatever its owner needs to know of each object, not the object.

mod cache;
mod follow;
mod inner;
mod items;
mod set;
mod subscription;

pub use cache::{Cache, Index, Update};
pub use set::{Informers, Parts};
pub use subscription::Subscription;
