//! The formats of strings that are checked (`format` of a schema); one that is not known says nothing.

use std::{collections::BTreeSet, net::Ipv4Addr, net::Ipv6Addr, sync::LazyLock};

use regex::Regex;
use serde_json::Value;
use windlass_api::names;

/// Whether a text has the format.
pub(super) fn matches(format: &str, text: &str) -> bool {
    match format {
        "date" => is_date(text),
        "date-time" | "datetime" => is_time(text),
        "duration" => is_duration(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => text.parse::<ipnet::IpNet>().is_ok(),
        "byte" => is_base64(text),
        "email" => is_email(text),
        "hostname" => is_hostname(text),
        "uri" => is_uri(text),
        "k8s-short-name" => names::dns_1123_label(text).is_empty(),
        "k8s-long-name" => names::dns_1123_subdomain(text).is_empty(),
        "creditcard" => is_card(text),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        _ => PATTERNS.iter().find(|(name, _)| *name == format).is_none_or(|(_, pattern)| pattern.is_match(text)),
    }
}

/// The formats that are checked, without dashes, beside those that a pattern decides. What a password is is not checked.
const KNOWN: [&str; 17] = [
    "byte",
    "cidr",
    "creditcard",
    "date",
    "datetime",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "isbn",
    "isbn10",
    "isbn13",
    "k8slongname",
    "k8sshortname",
    "password",
    "uri",
];

/// The formats of strings anywhere in a schema that are not checked, each once.
pub(super) fn unrecognized(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            let numeric = matches!(schema["type"].as_str(), Some("integer" | "number"));
            if let (Some(format), false) = (schema["format"].as_str(), numeric || schema["type"].is_object()) {
                let plain = format.replace('-', "");
                let known = KNOWN.contains(&plain.as_str()) || PATTERNS.iter().any(|(name, _)| *name == plain);
                if !known && !format.is_empty() {
                    found.insert(format.to_owned());
                }
            }
            for (name, value) in fields {
                // What stands there are objects and not schemas.
                if !matches!(name.as_str(), "default" | "example" | "enum") {
                    unrecognized(value, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| unrecognized(item, found)),
        _ => {}
    }
}

/// The formats that a pattern decides.
static PATTERNS: LazyLock<Vec<(&'static str, Regex)>> = LazyLock::new(|| {
    let all = [
        ("bsonobjectid", "^[0-9a-fA-F]{24}$"),
        ("hexcolor", "^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"),
        ("mac", "^([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}$|^([0-9a-fA-F]{4}\\.){2}[0-9a-fA-F]{4}$"),
        (
            "rgbcolor",
            "^rgb\\((\\s*(25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})\\s*,){2}\\s*(25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})\\s*\\)$",
        ),
        ("ssn", "^[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}$"),
        ("uuid", "(?i)^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$"),
        ("uuid3", "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$"),
        ("uuid4", "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$"),
        ("uuid5", "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$"),
    ];
    all.into_iter().filter_map(|(name, pattern)| Some((name, Regex::new(pattern).ok()?))).collect()
});

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_time(text: &str) -> bool {
    // RFC 3339 and nothing else that a parser of times takes.
    let zoned = text.ends_with(['Z', 'z']) || text.len() > 6 && text.as_bytes()[text.len() - 3] == b':';
    zoned && text.as_bytes().get(10).is_some_and(|mark| matches!(mark, b'T' | b't' | b' ')) && {
        text.parse::<jiff::Timestamp>().is_ok()
    }
}

/// Go's durations, and the words for units that upstream takes as well (`3 days`).
fn is_duration(text: &str) -> bool {
    const UNITS: [&str; 31] = [
        "ns",
        "us",
        "µs",
        "μs",
        "ms",
        "s",
        "m",
        "h",
        "d",
        "w",
        "nano",
        "nanosecond",
        "nanoseconds",
        "micro",
        "microsecond",
        "microseconds",
        "milli",
        "millisecond",
        "milliseconds",
        "sec",
        "second",
        "seconds",
        "min",
        "minute",
        "minutes",
        "hr",
        "hour",
        "hours",
        "day",
        "days",
        "week",
    ];
    let mut rest = text.trim().strip_prefix(['-', '+']).unwrap_or(text.trim());
    if rest.is_empty() {
        return false;
    }
    if rest == "0" {
        return true;
    }
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        if rest[..digits].parse::<f64>().is_err() {
            return false;
        }
        rest = rest[digits..].trim_start();
        let unit = rest.find(|letter: char| letter.is_ascii_digit() || letter == ' ').unwrap_or(rest.len());
        let word = rest[..unit].to_lowercase();
        if !UNITS.contains(&word.as_str()) && word != "weeks" {
            return false;
        }
        rest = rest[unit..].trim_start();
    }
    true
}

fn is_base64(text: &str) -> bool {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    !text.is_empty() && STANDARD.decode(text).is_ok()
}

fn is_email(text: &str) -> bool {
    let address = match (text.rfind('<'), text.strip_suffix('>')) {
        (Some(at), Some(_)) => &text[at + 1..text.len() - 1],
        _ => text,
    };
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let atom = |text: &str| {
        let odd = |letter: char| letter.is_whitespace() || letter.is_control() || "()<>[]:;@\\,\"".contains(letter);
        !text.is_empty()
            && !text.contains(odd)
            && !text.starts_with('.')
            && !text.ends_with('.')
            && !text.contains("..")
    };
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    (quoted || atom(local)) && atom(domain)
}

fn is_hostname(text: &str) -> bool {
    let label = |label: &str| {
        let inside = |letter: char| letter.is_alphanumeric() || letter == '-' || !letter.is_ascii();
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 255 && text.split('.').all(label)
}

/// An absolute URI, or a path from the root.
fn is_uri(text: &str) -> bool {
    if text.is_empty() || text.contains(|letter: char| letter.is_control() || letter == ' ') {
        return false;
    }
    let scheme = text.split_once(':').is_some_and(|(scheme, rest)| {
        let letters = |letter: char| letter.is_ascii_alphanumeric() || "+-.".contains(letter);
        scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && scheme.chars().all(letters)
            && !rest.is_empty()
    });
    scheme || text.starts_with('/')
}

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter(|letter| !matches!(letter, '-' | ' ')).filter_map(|letter| letter.to_digit(10)).collect()
}

fn plain(text: &str, most: usize) -> bool {
    text.chars().all(|letter| letter.is_ascii_digit() || matches!(letter, '-' | ' ')) && text.len() <= most
}

fn is_card(text: &str) -> bool {
    let numbers = digits(text);
    let sum: u32 = numbers
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| if at % 2 == 0 { *digit } else { digit * 2 / 10 + digit * 2 % 10 })
        .sum();
    plain(text, 30) && (13..=19).contains(&numbers.len()) && sum.is_multiple_of(10)
}

fn is_isbn10(text: &str) -> bool {
    let letters: Vec<char> = text.chars().filter(|letter| !matches!(letter, '-' | ' ')).collect();
    if letters.len() != 10 {
        return false;
    }
    let value = |(at, letter): (usize, &char)| match letter {
        'X' | 'x' if at == 9 => Some(10),
        letter => letter.to_digit(10),
    };
    let values: Option<Vec<u32>> = letters.iter().enumerate().map(value).collect();
    let weighed = values.map(|values| values.iter().zip(1..).map(|(value, at)| value * at).sum::<u32>());
    weighed.is_some_and(|sum| sum.is_multiple_of(11))
}

fn is_isbn13(text: &str) -> bool {
    let numbers = digits(text);
    let sum: u32 = numbers.iter().enumerate().map(|(at, digit)| if at % 2 == 0 { *digit } else { digit * 3 }).sum();
    plain(text, 20) && numbers.len() == 13 && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: &str, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(matches(format, text), "{format} {text}");
        }
        for text in bad {
            assert!(!matches(format, text), "{format} {text}");
        }
    }

    #[test]
    fn texts_have_the_format_they_claim() {
        check("date", &["2026-11-28"], &["2026-13-01", "2026-11-28T00:00:00Z", "x"]);
        check("date-time", &["2026-11-28T10:00:00Z", "2026-11-28T10:00:00.5+01:00"], &["2026-11-28", "now"]);
        check("duration", &["1h30m", "3 days", "0", "1.5s"], &["", "1", "x", "1 year"]);
        check("ipv4", &["10.0.0.1"], &["::1", "10.0.0"]);
        check("cidr", &["10.0.0.0/8", "::/0"], &["10.0.0.0"]);
        check("email", &["a@b.c", "A <a@b.c>"], &["a", "@b", "a@"]);
        check("hostname", &["a.b-c"], &["-a", "a..b", "a_b"]);
        check("uri", &["http://x/y", "/a"], &["a b", ""]);
        check("uuid", &["123e4567-e89b-12d3-a456-426614174000"], &["123"]);
        check("mac", &["00:1a:2b:3c:4d:5e"], &["00:1a"]);
        check("byte", &["YWJj"], &["a", ""]);
        check("k8s-short-name", &["a-b"], &["a.b", "A"]);
        check("creditcard", &["4111 1111 1111 1111"], &["4111 1111 1111 1112"]);
        check("isbn10", &["3-598-21508-8"], &["3-598-21508-9"]);
        check("isbn13", &["978-3-16-148410-0"], &["978-3-16-148410-1"]);
        check("made-up", &["anything"], &[]);
    }
}
