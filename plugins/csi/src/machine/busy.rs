//! What calls work on at the moment: no two of them on the same thing.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use windlass_kernel::{Error, ErrorKind, Result, Spawn, SpawnExt, volume::Refusal};

/// The keys that calls work on. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Busy(Arc<Mutex<BTreeSet<String>>>);

/// Keys that nobody else has. They are free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    busy: Busy,
    keys: Vec<String>,
}

impl Busy {
    /// Takes keys; refused with a conflict while another call has one of them.
    pub(crate) fn take(&self, keys: &[&str]) -> Result<Taken> {
        let mut busy = self.0.lock();
        if let Some(key) = keys.iter().find(|key| busy.contains(**key)) {
            return Err(Refusal::Pending.error(format!("another call on {key} goes on: try again")));
        }
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        busy.extend(keys.iter().cloned());
        drop(busy);
        Ok(Taken { busy: self.clone(), keys })
    }

    /// Runs work that blocks, while no other call has any of `keys`. It goes on when nobody waits for it any more.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        keys: &[&str],
        spawn: &Arc<dyn Spawn>,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let taken = self.take(keys)?;
        let work = move || {
            let done = work();
            drop(taken);
            done
        };
        let done = spawn.run_blocking("csi.driver", work).await;
        done.unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, "the driver panicked").maybe_applied()))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut busy = self.busy.0.lock();
        for key in &self.keys {
            busy.remove(key);
        }
    }
}
