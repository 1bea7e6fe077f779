//! Probes and hooks: what is asked of a container, how, and what the answers mean.

mod answers;
mod ask;
mod grpc;
mod http;
mod tls;
mod verdict;
mod watch;

pub(crate) use self::{
    answers::{answers, patience},
    ask::{Ask, Means, Target, answer, ask, ended},
    http::{Get, exchange},
    verdict::Tally,
};

/// Who asks, as servers see it.
const AGENT: &str = "kube-probe/1.36";

/// An error with its cause.
fn whole(error: &windlass_kernel::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

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
