//! What some checks need that not every fixture has. Such a check is listed as not run, never as passed.

use std::fmt;

/// What a check needs of its fixture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A way to end what is checked as a crash would, and to begin it anew.
    Restart,
    /// Snapshots of a store.
    Snapshots,
}

impl Need {
    /// Why a check is not run where the need is not met.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Restart => "what is checked cannot be restarted",
            Self::Snapshots => "the store makes no snapshots",
        }
    }
}

/// A check that was not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRun {
    /// The check's name.
    pub check: &'static str,
    /// What it needs.
    pub need: Need,
}

impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} not run: {}", self.check, self.need.reason())
    }
}
