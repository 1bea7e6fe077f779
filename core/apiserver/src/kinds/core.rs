//! The kinds of the core group, but for pods.

pub(super) mod config;
pub(super) mod endpoints;
pub(super) mod event;
pub mod namespace;
pub(super) mod node;
pub(super) mod quota;
pub(super) mod service;
pub(super) mod volume;
