//! Doubling delays that forget after a quiet time: restarts and image pulls.

use std::time::Duration;

use jiff::Timestamp;

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);
/// A quiet time after which the delay begins anew.
const FORGET: Duration = Duration::from_secs(600);

/// A delay, and when it was last raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) delay: Duration,
    pub(crate) raised: Timestamp,
}

impl Backoff {
    /// The delay after one more failure, or one more start.
    pub(crate) fn next(before: Option<Self>, now: Timestamp) -> Self {
        let fresh = before.filter(|before| elapsed(before.raised, now) <= FORGET);
        Self { delay: fresh.map_or(FIRST, |before| (before.delay * 2).min(LONGEST)), raised: now }
    }

    /// When it is over for something that failed then.
    pub(crate) fn until(self, failed: Timestamp) -> Timestamp {
        failed.checked_add(self.delay).unwrap_or(Timestamp::MAX)
    }
}

/// The time between two moments; none if the second is earlier.
pub(crate) fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(gaps: &[i64], expect: &[u64]) {
        let mut at = Timestamp::from_second(1000).unwrap();
        let mut backoff = None;
        let mut delays = vec![];
        for gap in gaps {
            at = at.checked_add(jiff::SignedDuration::from_secs(*gap)).unwrap();
            let next = Backoff::next(backoff, at);
            delays.push(next.delay.as_secs());
            backoff = Some(next);
        }
        assert_eq!(delays, expect);
    }

    #[test]
    fn delays_double_to_five_minutes_and_begin_anew_after_ten_quiet_ones() {
        check(&[0, 10, 20, 40, 80, 160, 300], &[10, 20, 40, 80, 160, 300, 300]);
        check(&[0, 10, 601, 1], &[10, 20, 10, 20]);
    }
}
