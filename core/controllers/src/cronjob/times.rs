//! Which of a schedule's times is due.

use jiff::{Timestamp, tz::TimeZone};
use windlass_api::cron::Schedule;

/// So many times missed are a sign that something is wrong.
const MANY: usize = 100;

/// What a schedule says at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The last time that came and was not acted on.
    pub(super) last: Option<Timestamp>,
    /// Whether suspiciously many came.
    pub(super) too_many: bool,
    /// The next time that comes.
    pub(super) next: Option<Timestamp>,
}

/// The times after `since`, as they are at `now`.
pub(super) fn due(schedule: &Schedule, zone: &TimeZone, since: Timestamp, now: Timestamp) -> Due {
    let mut due = Due { last: None, too_many: false, next: schedule.next(since, zone) };
    let mut passed = 0;
    while let Some(time) = due.next.filter(|time| *time <= now) {
        passed += 1;
        if passed > MANY {
            due.too_many = true;
            due.last = Some(latest(schedule, zone, time, now));
            due.next = schedule.next(now, zone);
            return due;
        }
        due.last = Some(time);
        due.next = schedule.next(time, zone);
    }
    due
}

/// The last time up to `now`, of many after `from`: looked for in ever longer spans before `now`.
fn latest(schedule: &Schedule, zone: &TimeZone, from: Timestamp, now: Timestamp) -> Timestamp {
    let mut span = jiff::SignedDuration::from_mins(1);
    loop {
        let begin = now.checked_sub(span).unwrap_or(from).max(from);
        let mut found = None;
        let mut at = schedule.next(begin, zone);
        while let Some(time) = at.filter(|time| *time <= now) {
            found = Some(time);
            at = schedule.next(time, zone);
        }
        if let Some(time) = found {
            return time;
        }
        if begin == from {
            return from;
        }
        span = span.saturating_mul(8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schedule: &str, since: &str, now: &str, expect: &str) {
        let time = |text: &str| format!("2026-01-{text}:00Z").parse::<Timestamp>().unwrap();
        let schedule = Schedule::parse(schedule).unwrap();
        let due = due(&schedule, &TimeZone::UTC, time(since), time(now));
        let told = |time: Option<Timestamp>| time.map_or("-".into(), |time| time.strftime("%dT%H:%M").to_string());
        let many = if due.too_many { " of many" } else { "" };
        assert_eq!(format!("{}{many}, then {}", told(due.last), told(due.next)), expect);
    }

    #[test]
    fn the_last_time_that_passed_is_due() {
        check("0 * * * *", "01T10:00", "01T10:59", "-, then 01T11:00");
        check("0 * * * *", "01T10:00", "01T11:00", "01T11:00, then 01T12:00");
        check("0 * * * *", "01T10:00", "01T15:30", "01T15:00, then 01T16:00");
        check("0 0 31 2 *", "01T10:00", "05T00:00", "-, then -");
    }

    #[test]
    fn many_missed_times_are_noticed_and_the_last_of_them_is_found() {
        check("* * * * *", "01T00:00", "01T01:40", "01T01:40, then 01T01:41");
        check("* * * * *", "01T00:00", "01T01:41", "01T01:41 of many, then 01T01:42");
        // Only in the first hours of each day.
        check("*/2 0-3 * * *", "01T00:00", "05T20:00", "05T03:58 of many, then 06T00:00");
    }
}
