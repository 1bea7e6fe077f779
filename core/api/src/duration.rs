//! Spans of time in the notation that configuration files and flags of Kubernetes share, such as `1h30m`.

use std::time::Duration;

/// Reads a span: numbers, each with a unit (`h`, `m`, `s`, `ms`, `us`, `ns`) right after it, and `0` without one. `None` for
/// anything else, and for spans below nothing.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let seconds = match &after[..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * seconds;
        rest = &after[unit..];
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(sum).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_a_unit() {
        let check =
            |text: &str, millis: Option<u64>| assert_eq!(parse(text), millis.map(Duration::from_millis), "{text}");
        check("1h30m", Some(5_400_000));
        check("1.5s", Some(1500));
        check("20ms", Some(20));
        check("0", Some(0));
        check("+5s", Some(5000));
        check("", None);
        check("+", None);
        check("5", None);
        check("-5s", None);
        check("5d", None);
    }
}
