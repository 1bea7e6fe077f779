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
    /// A sandbox or container.
    Changed {
        /// Which.
        subject: Subject,
        /// What happened.
        what: Change,
    },
    /// The set of images.
    Images,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A sandbox.
    Sandbox(SandboxId),
    /// A container.
    Container(ContainerId),
    /// The sandbox or the container of that id: the runtime does not say which.
    Either(String),
}

impl Subject {
    /// The id, whatever it is of.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Sandbox(id) => id.as_str(),
            Self::Container(id) => id.as_str(),
            Self::Either(id) => id,
        }
    }
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
