//! What drivers of this crate need of the machine: mounts, copies, and paths that lead where they say.

pub(crate) mod beneath;
pub(crate) mod busy;
pub(crate) mod copy;
pub(crate) mod mounts;
pub(crate) mod place;
