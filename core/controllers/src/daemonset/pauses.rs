//! How long pods that ended are let lie on their node, so that what fails at once does not come back at once.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use windlass_client::Backoff;

/// As upstream's.
const PAUSE: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(15 * 60));
/// After so long without a failure the next is a first one.
const FORGET: Duration = Duration::from_secs(30 * 60);

/// How often pods ended, and when the last one was replaced, by the uid of their set and by node.
///
/// Nothing here must survive: who starts anew is as patient as at first.
#[derive(Debug, Default)]
pub(super) struct Pauses(Mutex<BTreeMap<(String, String), (u32, Duration)>>);

impl Pauses {
    /// How long a pod that ended is still to lie there.
    pub(super) fn left(&self, set: &str, node: &str, now: Duration) -> Option<Duration> {
        let failures = self.0.lock();
        let (count, last) = failures.get(&(set.to_owned(), node.to_owned()))?;
        Some((*last + PAUSE.after(*count)).saturating_sub(now)).filter(|left| !left.is_zero())
    }

    /// Notes that a pod that ended is replaced.
    pub(super) fn replaced(&self, set: &str, node: &str, now: Duration) {
        let mut failures = self.0.lock();
        failures.retain(|_, (_, last)| now.saturating_sub(*last) < FORGET);
        let (count, last) = failures.entry((set.to_owned(), node.to_owned())).or_default();
        *count = count.saturating_add(1);
        *last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_a_pod_lasts() {
        let (pauses, at) = (Pauses::default(), Duration::from_secs);
        let left = |now| pauses.left("set", "n1", at(now)).map(|left| left.as_secs());
        assert_eq!(left(10), None);
        pauses.replaced("set", "n1", at(10));
        assert_eq!((left(10), left(11)), (Some(1), None));
        pauses.replaced("set", "n1", at(11));
        assert_eq!((left(12), pauses.left("set", "n2", at(12))), (Some(1), None));
        pauses.replaced("set", "n1", at(5000));
        assert_eq!(left(5000), Some(1));
    }
}
