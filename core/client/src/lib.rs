//! The client: typed calls, informers, work queue and leader election over any Api; and an Api over HTTPS.
//!
//! Nothing here knows whether the other side is in this process. Nothing polls what can be watched.

mod backoff;
mod client;
pub mod delegated;
mod dynamic;
pub mod events;
#[cfg(feature = "https")]
pub mod https;
pub mod informer;
#[cfg(feature = "https")]
pub mod kubeconfig;
pub mod leader;
mod modify;
mod pods;
pub mod queue;
pub mod runner;
mod select;
pub mod services;

pub use backoff::Backoff;
pub use client::{Client, Force};
pub use dynamic::Dynamic;
pub use informer::{Cache, Informers};
pub use queue::Queue;
pub use runner::{Runner, run_controllers};
pub use select::{Select, Selection, gvr};
pub use services::Services;
