//! How long a Job waits before it tries again after a failure: ten seconds, doubling, six minutes at most.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::pod::JobPod;

const FIRST: Duration = Duration::from_secs(10);
const LAST: Duration = Duration::from_secs(360);

/// When pods of a Job failed since the last success.
///
/// A memory, not a state: who begins anew learns it from the pods that are still there.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    failed: BTreeMap<String, Timestamp>,
    succeeded: Option<Timestamp>,
}

impl Record {
    /// Notes what ended; with `terminating`, pods that are on their way out failed.
    pub(super) fn observe<'a>(&mut self, pods: impl Iterator<Item = &'a JobPod>, terminating: bool) {
        for pod in pods {
            let Some(time) = pod.finished else { continue };
            if pod.succeeded() {
                self.succeeded = self.succeeded.max(Some(time));
            } else if pod.failed(terminating && pod.tracked) {
                self.failed.entry(pod.view.uid.clone()).or_insert(time);
            }
        }
        self.failed.retain(|_, time| Some(*time) > self.succeeded);
    }

    /// How long to wait yet.
    pub(super) fn left(&self, now: Timestamp) -> Duration {
        let failures = u32::try_from(self.failed.len()).unwrap_or(u32::MAX);
        self.failed.values().max().map_or(Duration::ZERO, |last| left(failures, *last, now))
    }
}

/// How long to wait yet after so many failures, of which the last was then.
pub(super) fn left(failures: u32, last: Timestamp, now: Timestamp) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
    let wait = FIRST.saturating_mul(1_u32.checked_shl(doublings.min(16)).unwrap_or(u32::MAX)).min(LAST);
    let since = Duration::try_from(now.duration_since(last)).unwrap_or_default();
    wait.saturating_sub(since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::{Phase, PodView};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Pods such as `a failed 3`, one per line.
    fn check(text: &str, now: i64, expect: u64) {
        let pod = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            let phase = if words[1] == "failed" { Phase::Failed } else { Phase::Succeeded };
            let view = PodView { uid: words[0].into(), phase, ..PodView::default() };
            JobPod { view: view.into(), finished: Some(at(words[2].parse().unwrap())), ..JobPod::default() }
        };
        let pods: Vec<JobPod> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(pod).collect();
        let mut record = Record::default();
        record.observe(pods.iter(), false);
        record.observe(pods.iter(), false);
        assert_eq!(record.left(at(now)), Duration::from_secs(expect), "{text}");
    }

    #[test]
    fn each_failure_doubles_the_wait() {
        check("", 100, 0);
        check("a failed 100", 100, 10);
        check("a failed 90\n b failed 100", 105, 15);
        check("a failed 100", 111, 0);
        let many: String = (0..40).map(|at| format!("p{at} failed {at}\n")).collect();
        check(&many, 39, 360);
    }

    #[test]
    fn a_success_wipes_the_slate() {
        check("a failed 90\n b succeeded 95\n c failed 100", 100, 10);
        check("a failed 90\n b succeeded 95", 96, 0);
    }

    #[test]
    fn a_pod_that_is_gone_is_remembered() {
        let view = PodView { uid: "a".into(), phase: Phase::Failed, ..PodView::default() };
        let pod = JobPod { view: view.into(), finished: Some(at(100)), ..JobPod::default() };
        let mut record = Record::default();
        record.observe([&pod].into_iter(), false);
        record.observe(std::iter::empty(), false);
        assert_eq!(record.left(at(104)), Duration::from_secs(6));
    }
}
