//! In place of the figures where there is no page that shows them.

use std::{sync::Arc, time::Duration};

use windlass_kernel::{Clock, Store};

use super::{Step, Who};
use crate::registered::Operation;

/// Nothing.
#[derive(Debug)]
pub(crate) struct Figures;

/// The store as it is.
pub(crate) fn measured(store: Arc<dyn Store>, _: &Arc<dyn Clock>) -> (Arc<dyn Store>, ()) {
    (store, ())
}

impl Figures {
    pub(crate) fn new<'p>(_: impl Iterator<Item = &'p str>, (): ()) -> Self {
        Self
    }

    pub(crate) fn admitted(&self, _: (Who, Step, Operation), _: Duration, _: bool) {}

    #[cfg(feature = "cel")]
    pub(crate) fn checked(&self, _: (&str, &str), _: super::Fault, _: &'static str, _: Duration) {}

    #[cfg(feature = "cel")]
    pub(crate) fn mutated(&self, _: (&str, &str), _: super::Fault, _: Duration) {}
}
