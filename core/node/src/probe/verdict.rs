//! From single answers to a verdict, by the thresholds of a probe. Pure.

use windlass_api::core::v1::Probe;

/// Counts answers of one kind in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    success: u32,
    failure: u32,
    last: Option<bool>,
    run: u32,
}

/// What the answers so far mean; `None` leaves things as they were.
pub(crate) type Verdict = Option<bool>;

impl Tally {
    pub(crate) fn of(probe: &Probe) -> Self {
        let count = |threshold: Option<i32>, default: u32| {
            threshold.and_then(|threshold| u32::try_from(threshold).ok()).filter(|count| *count > 0).unwrap_or(default)
        };
        Self {
            success: count(probe.success_threshold, 1),
            failure: count(probe.failure_threshold, 3),
            last: None,
            run: 0,
        }
    }

    /// Takes one more answer.
    pub(crate) fn count(&mut self, good: bool) -> Verdict {
        self.run = if self.last == Some(good) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(good);
        let threshold = if good { self.success } else { self.failure };
        (self.run >= threshold).then_some(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(success: i32, failure: i32, answers: &str, expect: &str) {
        let probe = Probe { success_threshold: Some(success), failure_threshold: Some(failure), ..Probe::default() };
        let mut tally = Tally::of(&probe);
        let verdicts: String = answers
            .chars()
            .map(|answer| match tally.count(answer == '+') {
                None => '.',
                Some(true) => '+',
                Some(false) => '-',
            })
            .collect();
        assert_eq!(verdicts, expect);
    }

    #[test]
    fn a_verdict_needs_as_many_answers_in_a_row_as_its_threshold() {
        check(1, 3, "+---+--+---", "+..-+..+..-");
        check(2, 1, "+-++", ".-.+");
    }
}
