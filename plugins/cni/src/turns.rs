//! Calls on one sandbox take turns, whether or not somebody waits for them: the specification forbids parallel ones.

use std::{collections::BTreeMap, sync::Arc};

use async_lock::MutexGuardArc;
use parking_lot::Mutex;
use windlass_kernel::runtime::SandboxId;

/// The turns of all sandboxes.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<BTreeMap<SandboxId, Arc<async_lock::Mutex<()>>>>);

/// The turn of a call, until it is dropped. It goes with the work: a call that has its turn is over before the next one begins,
/// whether or not somebody waits for it.
pub(crate) type Turn = MutexGuardArc<()>;

impl Turns {
    /// Waits for the turn of a call. Whoever goes away before it has come has asked for nothing.
    pub(crate) async fn next(&self, sandbox: &SandboxId) -> Turn {
        let turn = {
            let mut turns = self.0.lock();
            // Those that nobody holds or waits for are forgotten.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(sandbox.clone()).or_default())
        };
        turn.lock_arc().await
    }
}
