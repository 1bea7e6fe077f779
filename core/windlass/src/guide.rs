//! The guides of `docs/guide`, whose programs are compiled and run as tests. Nothing else.

#[doc = include_str!("../../../docs/guide/embedding.md")]
mod embedding {}

#[cfg(feature = "device")]
#[doc = include_str!("../../../docs/guide/writing-a-device-plugin.md")]
mod writing_a_device_plugin {}

#[cfg(feature = "cni")]
#[doc = include_str!("../../../docs/guide/writing-a-network-plugin.md")]
mod writing_a_network_plugin {}

#[cfg(feature = "cri")]
#[doc = include_str!("../../../docs/guide/writing-a-runtime.md")]
mod writing_a_runtime {}

#[doc = include_str!("../../../docs/guide/writing-a-scheduler-plugin.md")]
mod writing_a_scheduler_plugin {}

#[doc = include_str!("../../../docs/guide/writing-a-store.md")]
mod writing_a_store {}

#[cfg(feature = "csi")]
#[doc = include_str!("../../../docs/guide/writing-a-volume-driver.md")]
mod writing_a_volume_driver {}
