//! The scheduler: the framework and the default plugins.

mod framework;
mod host;
pub mod plugins;
mod profile;
mod queue;
mod snapshot;

pub use self::{
    framework::Framework,
    host::{Config, Host, identity},
    profile::{DEFAULT_NAME, Profile},
    queue::Patience,
};
