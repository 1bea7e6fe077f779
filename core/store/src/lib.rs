//! Stores: [`MemoryStore`] and [`DiskStore`].
//!
//! Both keep the whole state in memory as one persistent map (`mvcc`) and differ only in what must happen before a
//! write is acknowledged. This crate does not know what the bytes mean. Its interface beyond the kernel's
//! [`Store`](windlass_kernel::Store) may change in any release.

mod disk;
mod memory;
mod mvcc;

pub use disk::{
    DiskOptions, DiskStore, Stats,
    files::{File, Files, RealFiles},
};
pub use memory::MemoryStore;
pub use mvcc::HistoryLimits;
