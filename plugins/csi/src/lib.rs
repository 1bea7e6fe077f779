//! CSI: drive any volume driver, write one, and a driver of the host's own folders.
//!
//! [`host::RemoteDriver`] is the kernel's `VolumeDriver` by speaking CSI v1 to a socket; [`skel`] serves any `VolumeDriver`
//! on a socket; [`hostpath::HostPath`] is a driver whose volumes are folders and files of one machine, [`nfs::Nfs`] one whose
//! volumes are folders of NFS exports. Which claims get which volumes is the controllers' business.

#[allow(
    unreachable_pub,
    unused_qualifications,
    missing_debug_implementations,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
mod r#gen;
pub mod host;
pub mod hostpath;
mod machine;
pub mod nfs;
pub mod skel;
mod wire;
