//! A containerd of one's own: its configuration, its process, and images made for it without a registry.

mod config;
mod launcher;
mod leftovers;
pub mod oci;

pub use self::{
    config::{Layout, Settings},
    launcher::{Launcher, Running},
};
