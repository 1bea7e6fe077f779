//! What tests with real containers stand on: this machine's time, tasks and connections, a containerd of their own, and a
//! registry on loopback. For tests only: the product's own rim lies above the crates that use this one.

mod containerd;
mod registry;
mod rim;

pub use self::{
    containerd::{BUSYBOX, BareLab, Lab, PAUSE, alone},
    registry::Registry,
    rim::rim,
};
pub use windlass_cri::host::Rim;
