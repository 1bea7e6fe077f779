//! Probes and hooks: what is asked of a container, how, and what the answers mean.

mod ask;
mod verdict;
mod watch;

pub(crate) use self::{
    ask::{Ask, Target, ask},
    verdict::Tally,
};

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Whether the container has started.
    Startup,
    /// Whether it is still alive.
    Liveness,
    /// Whether it can serve.
    Readiness,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}
