//! The client: typed calls, informers, work queue and leader election over any Api; and an Api over HTTPS.
//!
//! Nothing here knows whether the other side is in this process. Nothing polls what can be watched.

mod backoff;
mod client;
mod dynamic;
pub mod informer;
mod pods;
mod select;
pub mod services;

pub use backoff::Backoff;
pub use client::{Client, Force};
pub use dynamic::Dynamic;
pub use informer::{Cache, Informers};
pub use select::{Select, Selection, gvr};
pub use services::Services;
