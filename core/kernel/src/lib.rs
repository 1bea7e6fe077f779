//! What Windlass is made of: the traits with their contracts, one error, time, randomness and tasks.
//!
//! Nothing here performs I/O, starts a thread or reads a clock: those are inputs, handed in as [`Clock`], [`Entropy`],
//! [`Spawn`], [`Dial`] and [`Keys`].
#![deny(missing_docs)]

pub mod access;
pub mod api;
pub mod carry;
pub mod clock;
pub mod controller;
pub mod device;
pub mod dial;
pub mod document;
pub mod entropy;
pub mod error;
pub mod keys;
pub mod network;
pub mod node;
pub mod routes;
pub mod rules;
pub mod runtime;
pub mod scheduler;
pub mod spawn;
pub mod spdy;
pub mod stop;
pub mod store;
mod text;
pub mod volume;

pub use access::{Admission, Authenticator, Authorizer, Identity};
pub use api::Api;
pub use clock::{Clock, ClockExt};
pub use controller::Controller;
pub use device::DevicePlugin;
pub use dial::Dial;
pub use document::Document;
pub use entropy::{Entropy, EntropyExt};
pub use error::{Certainty, Error, ErrorKind, Result};
pub use keys::Keys;
pub use network::PodNetwork;
pub use node::NodeAgent;
pub use routes::PodRoutes;
pub use rules::{FlowMemory, ServiceRules};
pub use runtime::{ContainerRuntime, ImageStore};
pub use scheduler::Scheduler;
pub use spawn::{Spawn, SpawnExt, Task};
pub use stop::Stop;
pub use store::{Revision, Store};
pub use volume::VolumeDriver;
