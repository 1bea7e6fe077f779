//! What the server counts of its inside: admission, policies and calls of the store. `/metrics` shows it, so that without the
//! feature `http` nothing is counted.

#[cfg(feature = "http")]
mod admissions;
#[cfg(all(feature = "cel", feature = "http"))]
mod checks;
#[cfg(feature = "http")]
mod counted;
#[cfg(feature = "http")]
mod storage;
#[cfg(not(feature = "http"))]
mod uncounted;

#[cfg(not(feature = "http"))]
pub(crate) use self::uncounted::{Figures, measured};
#[cfg(feature = "http")]
pub(crate) use self::{counted::Figures, storage::measured};

/// One of the two steps of admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// What may change the object.
    Admit,
    /// What may only refuse it.
    Validate,
}

/// Who takes part in admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// All of them, one after the other.
    Chain,
    /// One of the plugins, by its place among them.
    Plugin(usize),
    /// One of upstream's plugins that is none here.
    Own(Own),
}

/// Upstream's plugins that are parts of the server itself here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    #[cfg(feature = "cel")]
    MutatingPolicies,
    MutatingWebhooks,
    Quota,
    #[cfg(feature = "cel")]
    ValidatingPolicies,
    ValidatingWebhooks,
}

/// Whether a policy's expression could be evaluated.
#[cfg(feature = "cel")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It cannot be compiled.
    Compile,
    /// It failed. Also one that cost too much is told so.
    Evaluation,
}
