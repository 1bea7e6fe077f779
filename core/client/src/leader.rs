//! Leader election over a Lease (`coordination/v1`): at most one of several candidates leads at a time.
//!
//! Safe under clocks that disagree: nobody compares another's time with its own. A candidate counts from when *it* saw
//! the lease change; the leader stops before the others may begin.

mod record;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use futures::{FutureExt, future::Either, pin_mut, select_biased};
use windlass_kernel::{Clock, ClockExt, Entropy, EntropyExt, Result, Stop};

use self::record::{Attempt, Record};
use crate::client::Client;

/// The rhythm of an election. The default is upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// So long others wait after the last renewal they saw.
    pub lease: Duration,
    /// So long the leader goes on without a renewal that succeeded; less than `lease`.
    pub renew: Duration,
    /// So long between attempts; less than `renew`.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let [lease, renew, retry] = [15, 10, 2].map(Duration::from_secs);
        Self { lease, renew, retry }
    }
}

/// A candidate in the election for one lease.
pub struct Election {
    client: Client,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    namespace: String,
    name: String,
    candidate: String,
    timing: Timing,
}

impl fmt::Debug for Election {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Election").field("name", &self.name).field("candidate", &self.candidate).finish_non_exhaustive()
    }
}

impl Election {
    /// `candidate`, unique among all, runs for the lease `namespace`/`name`.
    #[must_use]
    pub fn new(
        client: Client,
        time: (Arc<dyn Clock>, Arc<dyn Entropy>),
        lease: (&str, &str),
        candidate: impl Into<String>,
    ) -> Self {
        let (clock, entropy) = time;
        let (namespace, name) = (lease.0.into(), lease.1.into());
        Self { client, clock, entropy, namespace, name, candidate: candidate.into(), timing: Timing::default() }
    }

    /// Another rhythm.
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Runs for the lease until `stop`, and does `lead` whenever it is held.
    ///
    /// `lead` is dropped where it stands when the lease may be lost; what it must finish it does on its [`Stop`], which
    /// is asked when this candidate is stopped. The call ends when the work ends by itself; the lease is given back then,
    /// so that the next leader need not wait.
    pub async fn run<F: Future<Output = ()> + Send>(&self, stop: &Stop, lead: impl Fn(Stop) -> F + Send + Sync) {
        let mut record = Record::new(&self.candidate);
        while stop.race(self.acquire(&mut record)).await.is_some() {
            tracing::info!(lease = %self.name, candidate = %self.candidate, "this candidate leads");
            let kept = self.lead(&mut record, stop, &lead).await;
            tracing::info!(lease = %self.name, candidate = %self.candidate, kept, "this candidate leads no more");
            if kept {
                return self.release(&record).await;
            }
        }
    }

    async fn acquire(&self, record: &mut Record) {
        loop {
            match self.attempt(record).await {
                Ok(Attempt::Held) => return,
                Ok(Attempt::Others) => {}
                Err(error) => tracing::warn!(lease = %self.name, %error, "cannot run for the lease now"),
            }
            let jitter = self.entropy.below(u64::try_from(self.timing.retry.as_nanos()).unwrap_or(u64::MAX) / 5);
            self.clock.sleep(self.timing.retry + Duration::from_nanos(jitter)).await;
        }
    }

    /// Leads while the lease is held. True where it still is at the end.
    async fn lead<F: Future<Output = ()> + Send>(
        &self,
        record: &mut Record,
        stop: &Stop,
        lead: impl Fn(Stop) -> F + Send + Sync,
    ) -> bool {
        let inner = Stop::new();
        let ended = {
            let work = lead(inner.clone()).fuse();
            let lost = self.keep(record).fuse();
            let stopped = stop.wait().fuse();
            pin_mut!(work, lost, stopped);
            loop {
                select_biased! {
                    () = lost => break Either::Left(()),
                    () = work => break Either::Right(()),
                    () = stopped => inner.stop(),
                }
            }
        };
        matches!(ended, Either::Right(()))
    }

    /// Renews the lease; ends when that failed for too long, or somebody else holds it.
    async fn keep(&self, record: &mut Record) {
        loop {
            // Counted from before the request, because others may count from its arrival.
            let end = record.renewed + self.timing.renew;
            self.clock.sleep(self.timing.retry).await;
            let renewal = self.renew(record);
            let deadline = self.clock.sleep_until(end);
            pin_mut!(renewal);
            match futures::future::select(renewal, deadline).await {
                Either::Left((true, _)) => {}
                Either::Left((false, _)) | Either::Right(_) => return,
            }
        }
    }

    /// Tries until the lease is renewed. False where somebody else holds it.
    async fn renew(&self, record: &mut Record) -> bool {
        loop {
            match self.attempt(record).await {
                Ok(Attempt::Held) => return true,
                Ok(Attempt::Others) => return false,
                Err(error) => tracing::warn!(lease = %self.name, %error, "cannot renew the lease now"),
            }
            self.clock.sleep(self.timing.retry).await;
        }
    }

    async fn attempt(&self, record: &mut Record) -> Result<Attempt> {
        record.attempt(&self.client, self.clock.as_ref(), (&self.namespace, &self.name), self.timing.lease).await
    }

    async fn release(&self, record: &Record) {
        let released = record.release(&self.client, self.clock.as_ref());
        if let Err(error) = self.clock.timeout(self.timing.renew, released).await.and_then(|done| done) {
            tracing::warn!(lease = %self.name, %error, "cannot give the lease back");
        }
    }
}
