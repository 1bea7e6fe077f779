//! A containerd of one's own: its configuration, its process, and images made for it without a registry; and, with the feature
//! `containerd`, the reference runtime over containerd's own services.

mod config;
mod launcher;
mod leftovers;
mod mirrors;
#[cfg(feature = "containerd")]
mod native;
pub mod oci;

#[cfg(feature = "containerd")]
pub use self::native::{Containerd, Native, carry};
pub use self::{
    config::{Layout, Settings},
    launcher::{Bare, Launcher, Running},
    mirrors::{Mirror, Mirrors},
};

/// The digest of bytes, in hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
