//! Numbers as specs and statuses have them: counts, percentages, seconds.

use std::time::Duration;

use windlass_api::types::IntOrString;

/// A count as statuses hold it.
pub(crate) fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A count as upstream writes it: left out where it is none.
pub(crate) fn some(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}

/// Seconds of a spec; what is negative counts as none.
pub(crate) fn seconds(seconds: Option<i32>) -> Duration {
    Duration::from_secs(u64::try_from(seconds.unwrap_or(0)).unwrap_or(0))
}

/// Where a share of a whole is rounded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    Up,
    Down,
}

/// A count, or a percentage of `total`.
pub(crate) fn share(value: &IntOrString, total: i32, round: Round) -> i32 {
    let percent = match value {
        IntOrString::Int(count) => return *count,
        IntOrString::String(text) => text.strip_suffix('%').and_then(|text| text.parse::<i64>().ok()).unwrap_or(0),
    };
    let hundredfold = percent * i64::from(total);
    let rounded = if round == Round::Up { (hundredfold + 99).div_euclid(100) } else { hundredfold.div_euclid(100) };
    i32::try_from(rounded).unwrap_or(i32::MAX)
}
