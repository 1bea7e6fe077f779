//! All figures of one server.

use std::{sync::Arc, time::Duration};

use prometheus_client::registry::Registry;

#[cfg(feature = "cel")]
use super::{Fault, checks::Checks};
use super::{Step, Who, admissions::Admissions, storage::Calls};
use crate::registered::Operation;

/// What was counted.
#[derive(Debug)]
pub(crate) struct Figures {
    admissions: Admissions,
    #[cfg(feature = "cel")]
    checks: Checks,
    storage: Arc<Calls>,
}

impl Figures {
    /// Nothing yet, for plugins of these names.
    pub(crate) fn new<'p>(plugins: impl Iterator<Item = &'p str>, storage: Arc<Calls>) -> Self {
        Self {
            admissions: Admissions::of(plugins),
            #[cfg(feature = "cel")]
            checks: Checks::default(),
            storage,
        }
    }

    /// Shows the figures among those of `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.admissions.register(registry);
        #[cfg(feature = "cel")]
        self.checks.register(registry);
        self.storage.register(registry);
    }

    /// Counts that somebody looked at a request, and whether that ended it.
    pub(crate) fn admitted(&self, (who, step, operation): (Who, Step, Operation), took: Duration, refused: bool) {
        self.admissions.count((who, step, operation), took, refused);
    }

    /// Counts what an expression of a policy came to under one of its bindings, and what followed.
    #[cfg(feature = "cel")]
    pub(crate) fn checked(&self, names: (&str, &str), fault: Fault, action: &'static str, took: Duration) {
        self.checks.count(names, fault, action, took);
    }

    /// Counts what a mutation of a policy came to under one of its bindings.
    #[cfg(feature = "cel")]
    pub(crate) fn mutated(&self, names: (&str, &str), fault: Fault, took: Duration) {
        self.checks.count_mutation(names, fault, took);
    }
}
