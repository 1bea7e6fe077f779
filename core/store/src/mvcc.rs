//! The multi-version state that every store of this crate keeps in memory: what is read, changed and watched.
//!
//! Nothing here waits or performs I/O, apart from the task that ends leases.

mod apply;
mod head;
mod history;
mod leases;
mod published;
mod topics;
mod watch;

use windlass_kernel::{Error, ErrorKind, Revision};

pub(crate) use apply::{Applied, Mutation, Record, Reply, Tip};
pub(crate) use head::Head;
pub(crate) use history::History;
pub use history::HistoryLimits;
pub(crate) use leases::{LeaseKeeper, Writer};
pub(crate) use published::Published;

fn compacted(asked: Revision, floor: Revision) -> Error {
    Error::new(ErrorKind::Compacted, format!("revision {asked} is no longer kept; the oldest one is {floor}"))
        .detailed(|details| details.compacted = Some(floor))
}

fn in_the_future(asked: Revision, latest: Revision) -> Error {
    Error::new(ErrorKind::FutureRevision, format!("revision {asked} is not there yet; the latest one is {latest}"))
}
