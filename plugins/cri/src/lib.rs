//! CRI: drive any container runtime over its socket, and serve one.
//!
//! [`host::RemoteRuntime`] is the kernel's `ContainerRuntime` and `ImageStore` by speaking CRI v1; [`skel`] serves any
//! `ContainerRuntime` and `ImageStore` as CRI v1; [`containerd`] starts a containerd of one's own and makes images for it;
//! with the cargo feature `containerd` it has the reference runtime over containerd's own services. What pods are is the node agent's
//! business.

pub mod containerd;
#[allow(
    unreachable_pub,
    unused_qualifications,
    missing_debug_implementations,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
mod r#gen;
mod held;
pub mod host;
pub mod skel;
mod wire;
