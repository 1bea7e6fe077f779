//! What one candidate knows of the lease, and one attempt to take or renew it.

use std::{sync::Arc, time::Duration};

use windlass_api::{
    coordination::v1::{Lease, LeaseSpec},
    meta::v1::ObjectMeta,
    types::MicroTime,
};
use windlass_kernel::{Clock, ErrorKind, Result};

use crate::client::Client;

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The candidate holds the lease.
    Held,
    /// Somebody else holds it, or was quicker.
    Others,
}

/// The lease as last seen.
pub(super) struct Record {
    candidate: String,
    seen: Option<Arc<Lease>>,
    /// When, by the own clock's uptime, the lease was last seen to change.
    changed: Duration,
    /// When, by the own clock's uptime, the last renewal that succeeded began.
    pub(super) renewed: Duration,
}

impl Record {
    pub(super) fn new(candidate: &str) -> Self {
        Self { candidate: candidate.into(), seen: None, changed: Duration::ZERO, renewed: Duration::ZERO }
    }

    pub(super) async fn attempt(
        &mut self,
        client: &Client,
        clock: &dyn Clock,
        (namespace, name): (&str, &str),
        length: Duration,
    ) -> Result<Attempt> {
        let begun = clock.uptime();
        let Some(lease) = client.get_opt::<Lease>(namespace, name).await? else {
            let metadata =
                ObjectMeta { namespace: Some(namespace.into()), name: Some(name.into()), ..ObjectMeta::default() };
            let spec = self.spec(&LeaseSpec::default(), clock, length);
            return self.written(client.create(&Lease { metadata, spec }).await, begun, clock);
        };
        self.see(Arc::clone(&lease), clock);
        if !self.free(&lease, clock.uptime()) {
            return Ok(Attempt::Others);
        }
        let mut wanted = Lease::clone(&lease);
        wanted.spec = self.spec(&lease.spec, clock, length);
        self.written(client.update(&wanted).await, begun, clock)
    }

    /// Gives the lease back, if it is still the one that was written last.
    pub(super) async fn release(&self, client: &Client, clock: &dyn Clock) -> Result<()> {
        let Some(lease) = self.seen.as_ref().filter(|lease| self.own(lease)) else { return Ok(()) };
        let mut freed = Lease::clone(lease);
        freed.spec.holder_identity = None;
        freed.spec.lease_duration_seconds = Some(1);
        freed.spec.renew_time = Some(MicroTime(clock.now()));
        client.update(&freed).await.map(drop)
    }

    fn own(&self, lease: &Lease) -> bool {
        lease.spec.holder_identity.as_ref() == Some(&self.candidate)
    }

    fn see(&mut self, lease: Arc<Lease>, clock: &dyn Clock) {
        if self.seen.as_ref().is_none_or(|seen| seen.spec != lease.spec) {
            self.changed = clock.uptime();
        }
        self.seen = Some(lease);
    }

    /// Whether the lease may be taken: it is one's own, nobody's, or was not renewed for its whole length.
    fn free(&self, lease: &Lease, now: Duration) -> bool {
        let nobody = lease.spec.holder_identity.as_ref().is_none_or(String::is_empty);
        let seconds = lease.spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
        nobody || self.own(lease) || now >= self.changed + Duration::from_secs(seconds)
    }

    fn spec(&self, before: &LeaseSpec, clock: &dyn Clock, length: Duration) -> LeaseSpec {
        let now = Some(MicroTime(clock.now()));
        let same = before.holder_identity.as_ref() == Some(&self.candidate);
        let transitions = before.lease_transitions.unwrap_or(-1);
        LeaseSpec {
            holder_identity: Some(self.candidate.clone()),
            lease_duration_seconds: i32::try_from(length.as_secs()).ok(),
            acquire_time: if same { before.acquire_time } else { now },
            renew_time: now,
            lease_transitions: Some(if same { transitions.max(0) } else { transitions + 1 }),
            ..before.clone()
        }
    }

    fn written(&mut self, written: Result<Arc<Lease>>, begun: Duration, clock: &dyn Clock) -> Result<Attempt> {
        match written {
            Ok(lease) => {
                self.see(lease, clock);
                self.renewed = begun;
                Ok(Attempt::Held)
            }
            // Somebody was quicker, or an earlier attempt of one's own took effect: the next one reads and knows.
            Err(error) if error.is(ErrorKind::AlreadyExists) => Ok(Attempt::Others),
            Err(error) => Err(error),
        }
    }
}
