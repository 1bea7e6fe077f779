//! Who is at work: for the framework, to name a plugin that panics; for a host on another thread, one that never returns.

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use parking_lot::Mutex;
use windlass_kernel::{Error, ErrorKind, Result, scheduler::OutOfRange};

/// A fact from the host: where it is told which plugin is at work.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Mutex<Option<&'static str>>>);

impl Watch {
    /// Notes who is at work.
    pub fn enter(&self, plugin: &'static str) {
        *self.0.lock() = Some(plugin);
    }

    /// Who is at work; a scheduler that does not say is itself.
    #[must_use]
    pub fn at(&self) -> &'static str {
        self.0.lock().unwrap_or("(the scheduler itself)")
    }
}

/// A fact for the host: plugins that failed where a decision could do without them.
#[derive(Clone, Debug, Default)]
pub struct Faults(pub Vec<String>);

/// The plugin that is at work.
pub(crate) struct At {
    name: Cell<&'static str>,
    watch: Option<Watch>,
}

impl At {
    pub(crate) fn set(&self, name: &'static str) {
        self.name.set(name);
        if let Some(watch) = &self.watch {
            watch.enter(name);
        }
    }
}

/// Runs plugins; one that panics becomes an error with its name.
pub(crate) fn guarded<T>(watch: Option<&Watch>, work: impl FnOnce(&At) -> T) -> Result<T> {
    let at = At { name: Cell::new("the framework"), watch: watch.cloned() };
    catch_unwind(AssertUnwindSafe(|| work(&at))).map_err(|panic| fault(at.name.get(), panic.as_ref()))
}

/// What is told of a plugin that panicked, or that scored out of range.
pub(crate) fn fault(plugin: &str, panic: &(dyn Any + Send)) -> Error {
    let said = match panic.downcast_ref::<OutOfRange>() {
        Some(OutOfRange(score)) => format!("plugin {plugin} scored {score}, which is not from 0 to 100"),
        None => format!("plugin {plugin} panicked: {}", text(panic)),
    };
    Error::new(ErrorKind::Internal, said)
}

pub(crate) fn text(panic: &(dyn Any + Send)) -> String {
    let literal = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    literal.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason given".into())
}
