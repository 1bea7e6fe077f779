//! How long a pod may stay on a tainted node. Pure.

use jiff::{SignedDuration, Timestamp};
use windlass_api::core::v1::Pod;
use windlass_kernel::scheduler::{Taint, Toleration};

/// A taint that evicts, and since when a node has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Since {
    pub(super) taint: Taint,
    pub(super) at: Timestamp,
}

/// What becomes of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    Goes(Timestamp),
}

/// A toleration, and for how many seconds; `None` for ever.
pub(super) type Tolerations = Vec<(Toleration, Option<i64>)>;

/// What a pod puts up with.
pub(super) fn tolerations(pod: &Pod) -> Tolerations {
    pod.spec.tolerations.iter().map(|own| (Toleration::of(own), own.toleration_seconds)).collect()
}

/// Decides on a pod that is on its node since `placed`.
///
/// Each taint is answered by the first toleration that fits; the most impatient of those decides.
pub(super) fn fate(taints: &[Since], tolerations: &Tolerations, placed: Timestamp) -> Fate {
    let ends = taints.iter().filter_map(|since| {
        let from = since.at.max(placed);
        match tolerations.iter().find(|(toleration, _)| toleration.tolerates(&since.taint)) {
            None => Some(from),
            Some((_, None)) => None,
            Some((_, Some(seconds))) => {
                // What ends after the end of time never ends.
                from.checked_add(SignedDuration::from_secs((*seconds).max(0))).ok()
            }
        }
    });
    ends.min().map_or(Fate::Stays, Fate::Goes)
}

#[cfg(test)]
mod tests {
    use windlass_kernel::scheduler::Effect;

    use super::*;

    /// Taints are `key@time`, tolerations `key` or `key:seconds`; answers the second at which the pod goes.
    #[track_caller]
    fn check(taints: &str, tolerated: &str, placed: i64, expect: Option<i64>) {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let taints: Vec<Since> = taints
            .split_whitespace()
            .map(|word| word.split_once('@').unwrap())
            .map(|(key, time)| Since { taint: Taint::new(key, "", Effect::NoExecute), at: at(time.parse().unwrap()) })
            .collect();
        let tolerations: Tolerations = tolerated
            .split_whitespace()
            .map(|word| match word.split_once(':') {
                None => (Toleration::exists(word), None),
                Some((key, seconds)) => (Toleration::exists(key), Some(seconds.parse().unwrap())),
            })
            .collect();
        let expect = expect.map_or(Fate::Stays, |seconds| Fate::Goes(at(seconds)));
        assert_eq!(fate(&taints, &tolerations, at(placed)), expect);
    }

    #[test]
    fn a_pod_without_a_toleration_goes_at_once() {
        check("a@100", "", 0, Some(100));
        check("a@100 b@50", "b", 0, Some(100));
        check("", "", 0, None);
    }

    #[test]
    fn a_toleration_with_seconds_ends() {
        check("a@100", "a:300", 0, Some(400));
        check("a@100", "a", 0, None);
        check("a@100 b@100", "a:300 b:20", 0, Some(120));
        check("a@100", "a:-5", 0, Some(100));
        check("a@100", "a:9223372036854775807", 0, None);
    }

    #[test]
    fn the_first_toleration_that_fits_counts() {
        check("a@100", "a:10 a", 0, Some(110));
    }

    #[test]
    fn time_on_the_node_counts_from_the_pods_placing() {
        check("a@100", "a:300", 200, Some(500));
    }
}
