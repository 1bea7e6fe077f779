//! Spans of time as people read them: `45s`, `3m20s`, `3d4h`, `2y35d`.

use jiff::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// A span of whole seconds in two or three significant figures.
#[must_use]
pub fn human(seconds: i64) -> String {
    // Clocks of two machines may differ a little; that much is taken for "now".
    match seconds {
        ..-1 => return "<invalid>".into(),
        -1 => return "0s".into(),
        _ => {}
    }
    let pair = |large: i64, l: &str, small: i64, s: &str| {
        if small == 0 { format!("{large}{l}") } else { format!("{large}{l}{small}{s}") }
    };
    let (minutes, hours, days) = (seconds / MINUTE, seconds / HOUR, seconds / DAY);
    if seconds < 2 * MINUTE {
        format!("{seconds}s")
    } else if minutes < 10 {
        pair(minutes, "m", seconds % MINUTE, "s")
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        pair(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if days < 8 {
        pair(days, "d", hours % 24, "h")
    } else if seconds < 2 * YEAR {
        format!("{days}d")
    } else if seconds < 8 * YEAR {
        pair(days / 365, "y", days % 365, "d")
    } else {
        format!("{}y", days / 365)
    }
}

/// How long ago a time of an object was; `<unknown>` when it has none.
#[must_use]
pub fn age(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(then) => human(now.duration_since(then).as_secs()),
        Err(_) => "<unknown>".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_keep_two_or_three_figures() {
        for (seconds, expect) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR + 60, "3h1m"),
            (47 * HOUR, "47h"),
            (3 * DAY + 4 * HOUR, "3d4h"),
            (8 * DAY + HOUR, "8d"),
            (2 * YEAR + 35 * DAY, "2y35d"),
            (9 * YEAR + DAY, "9y"),
        ] {
            assert_eq!(human(seconds), expect);
        }
    }

    #[test]
    fn what_never_happened_has_no_age() {
        assert_eq!(age("", Timestamp::UNIX_EPOCH), "<unknown>");
        assert_eq!(age("1969-12-31T23:59:50Z", Timestamp::UNIX_EPOCH), "10s");
    }
}
