//! Clocks for tests that need no executor: time that the test moves, and time that is off.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use windlass_kernel::Clock;

/// A clock that stands still until the test moves it. Clones share the time.
#[derive(Clone, Debug)]
pub struct ManualClock {
    start: Timestamp,
    times: Arc<Mutex<Times>>,
}

#[derive(Debug, Default)]
struct Times {
    uptime: Duration,
    next: u64,
    sleeps: BTreeMap<(Duration, u64), Waker>,
}

impl ManualClock {
    /// A clock at `start`, with uptime zero.
    #[must_use]
    pub fn at(start: Timestamp) -> Self {
        Self { start, times: Arc::default() }
    }

    /// Moves time and wakes the sleeps that end.
    pub fn advance(&self, span: Duration) {
        let mut times = self.times.lock();
        times.uptime += span;
        let later = (times.uptime, u64::MAX);
        let later = times.sleeps.split_off(&later);
        let due = std::mem::replace(&mut times.sleeps, later);
        drop(times);
        due.into_values().for_each(Waker::wake);
    }
}

impl Default for ManualClock {
    /// A clock at 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::at(Timestamp::from_second(1_767_225_600).expect("a valid time"))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.start.checked_add(self.uptime()).unwrap_or(Timestamp::MAX)
    }

    fn uptime(&self) -> Duration {
        self.times.lock().uptime
    }

    fn sleep_until(&self, end: Duration) -> BoxFuture<'static, ()> {
        let mut times = self.times.lock();
        times.next += 1;
        Box::pin(Sleep { times: Arc::clone(&self.times), end, number: times.next })
    }
}

struct Sleep {
    times: Arc<Mutex<Times>>,
    end: Duration,
    number: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut times = self.times.lock();
        if times.uptime >= self.end {
            return Poll::Ready(());
        }
        let before = times.sleeps.insert((self.end, self.number), context.waker().clone());
        drop(times);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let waker = self.times.lock().sleeps.remove(&(self.end, self.number));
        drop(waker);
    }
}

/// A clock whose wall time is off by a constant; its uptime is right.
#[derive(Clone, Debug)]
pub struct SkewedClock {
    inner: Arc<dyn Clock>,
    ahead: SignedDuration,
}

impl SkewedClock {
    /// `inner`, with a wall time that is `ahead`, or behind where that is negative.
    #[must_use]
    pub fn new(inner: Arc<dyn Clock>, ahead: SignedDuration) -> Self {
        Self { inner, ahead }
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        let now = self.inner.now();
        now.checked_add(self.ahead).unwrap_or(now)
    }

    fn uptime(&self) -> Duration {
        self.inner.uptime()
    }

    fn sleep_until(&self, end: Duration) -> BoxFuture<'static, ()> {
        self.inner.sleep_until(end)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use windlass_kernel::ClockExt;

    use super::*;

    #[test]
    fn a_sleep_ends_when_time_was_moved_to_its_end() {
        let clock = ManualClock::default();
        let mut sleep = clock.sleep(Duration::from_secs(2));
        clock.advance(Duration::from_secs(1));
        assert!((&mut sleep).now_or_never().is_none());
        clock.advance(Duration::from_secs(1));
        assert!((&mut sleep).now_or_never().is_some());
    }

    #[test]
    fn a_dropped_sleep_is_forgotten() {
        let clock = ManualClock::default();
        let mut sleep = clock.sleep(Duration::from_secs(2));
        assert!((&mut sleep).now_or_never().is_none());
        drop(sleep);
        assert!(clock.times.lock().sleeps.is_empty());
    }
}
