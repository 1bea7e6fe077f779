//! A whole cluster in one process: assembly, re-exports, and the rim where Windlass meets the operating system.
#![deny(missing_docs)]

pub mod rim;
