//! Device plugins: drive any, write one, and one whose devices are files of the node.
//!
//! [`host::RemotePlugin`] is the kernel's `DevicePlugin` by speaking the kubelet's API `v1beta1` to a socket, and
//! [`host::Door`] is the socket at which plugins register; [`skel`] serves any `DevicePlugin` and registers it;
//! [`files::Files`] is a plugin whose devices are files. Which pods get which devices is the node agent's business.

pub mod files;
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
pub mod skel;
mod wire;
