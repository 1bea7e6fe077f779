//! What a cluster is set up with: admission, flow control, extensions, certificates, runtimes.

pub(super) mod admission;
pub(super) mod certificates;
pub(super) mod definition;
pub(in crate::kinds) mod extensions;
pub(super) mod flow;
pub(super) mod runtime;
