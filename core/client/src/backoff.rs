//! Growing delays between attempts, with jitter from [`Entropy`]. It does not sleep; callers do.

use std::time::Duration;

use windlass_kernel::{Entropy, EntropyExt};

/// Delays that double up to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    attempts: u32,
}

impl Backoff {
    /// Delays from `first` to `limit`.
    #[must_use]
    pub const fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit, attempts: 0 }
    }

    /// The delay after so many failed attempts, without jitter.
    #[must_use]
    pub fn after(&self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).filter(|factor| *factor > 0);
        doubled.and_then(|factor| self.first.checked_mul(factor)).map_or(self.limit, |delay| delay.min(self.limit))
    }

    /// The next delay: between one and two times the bare one, so that those who failed together do not return together.
    pub fn next(&mut self, entropy: &dyn Entropy) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        let bare = self.after(self.attempts);
        let jitter = u64::try_from(bare.as_nanos()).unwrap_or(u64::MAX);
        bare + Duration::from_nanos(entropy.below(jitter))
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use windlass_testkit::SeededEntropy;

    use super::*;

    const BACKOFF: Backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(1000));

    #[test]
    fn delays_double_up_to_the_limit() {
        let delays: Vec<_> = [1, 2, 3, 18, 19, 33, u32::MAX].iter().map(|n| BACKOFF.after(*n).as_millis()).collect();
        assert_eq!(delays, [5, 10, 20, 655_360, 1_000_000, 1_000_000, 1_000_000]);
    }

    #[test]
    fn jitter_adds_at_most_as_much_again() {
        let (mut backoff, entropy) = (BACKOFF, SeededEntropy::new(1));
        for failures in 1..30 {
            let (bare, delay) = (BACKOFF.after(failures), backoff.next(&entropy));
            assert!(bare <= delay && delay <= bare * 2, "{bare:?} {delay:?}");
        }
    }
}
