//! Events are forgotten after an hour: they hang on leases, each of which many events share.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use windlass_kernel::{Clock, Store, error::Result, store::LeaseId};

const KEPT: Duration = Duration::from_secs(3600);
/// How long a lease takes new events; the first of them lives that much longer.
const SHARED: Duration = Duration::from_secs(300);

/// The lease that new events hang on.
pub(crate) struct EventLease {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    current: Mutex<Option<(LeaseId, Duration)>>,
}

impl fmt::Debug for EventLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLease").finish_non_exhaustive()
    }
}

impl EventLease {
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, current: Mutex::new(None) }
    }

    /// The lease for an event that is written now.
    pub(crate) async fn lease(&self) -> Result<LeaseId> {
        let now = self.clock.uptime();
        let usable = self.current.lock().filter(|(_, granted)| now < granted.saturating_add(SHARED));
        if let Some((lease, _)) = usable {
            return Ok(lease);
        }
        let lease = self.store.grant(KEPT.saturating_add(SHARED)).await?;
        *self.current.lock() = Some((lease, now));
        Ok(lease)
    }
}
