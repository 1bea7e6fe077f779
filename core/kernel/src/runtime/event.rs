//! What a runtime tells unasked. Events are hints: the truth is in the lists and statuses.

use futures::stream::BoxStream;

use super::{ContainerId, SandboxId};

/// What happens in a runtime, beginning with [`RuntimeEvent::Relist`].
pub type RuntimeEvents = BoxStream<'static, RuntimeEvent>;

/// Something that happened: a reason to look, never what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// Anything may have happened: events were lost, or the stream has just begun.
    Relist,
    /// A sandbox or one of its containers.
    Changed {
        /// The sandbox, where the runtime says.
        sandbox: Option<SandboxId>,
        /// The container; `None` for the sandbox itself, or where it is not known which of the two it was.
        container: Option<ContainerId>,
        /// What happened.
        what: Change,
    },
    /// The set of images.
    Images,
}

/// What happened to a container or sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// It was made.
    Created,
    /// It was started.
    Started,
    /// Its process ended.
    Exited,
    /// The kernel killed one of its processes, since memory ran out.
    OutOfMemory,
    /// It was removed.
    Removed,
}
