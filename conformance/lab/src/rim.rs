//! The machine's time, tasks and connections.

use std::sync::Arc;

use tokio::runtime::Handle;
use windlass_cri::host::Rim;
use windlass_machine::Machine;

/// A rim on a tokio runtime.
#[must_use]
pub fn rim(runtime: &Handle) -> Rim {
    let machine = Arc::new(Machine::on(runtime.clone()));
    Rim { dial: machine.clone(), clock: machine.clone(), spawn: machine }
}
