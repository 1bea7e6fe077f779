//! Points in time as the API writes them: whole seconds for most fields, microseconds for events and leases.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// A point in time, written with whole seconds (`2026-01-02T03:04:05Z`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub Timestamp);

/// A point in time, written with microseconds (`2026-01-02T03:04:05.000000Z`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MicroTime(pub Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

impl fmt::Display for MicroTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"))
    }
}

/// Reads an RFC 3339 time with any offset and precision.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    // RFC 3339 wants a full date, a `T`, a full time and an offset; jiff alone accepts more than that.
    let bytes = text.as_bytes();
    let digits = bytes.len() >= 20
        && (0..19).all(|at| match at {
            4 | 7 => bytes[at] == b'-',
            10 => bytes[at] == b'T',
            13 | 16 => bytes[at] == b':',
            _ => bytes[at].is_ascii_digit(),
        });
    let offset = match bytes {
        [.., b'Z'] => true,
        [.., b'+' | b'-', a, b, b':', c, d] => [a, b, c, d].iter().all(|d| d.is_ascii_digit()),
        _ => false,
    };
    if digits && offset { text.parse().ok() } else { None }
}

macro_rules! as_text {
    ($name:ident) => {
        impl From<Timestamp> for $name {
            fn from(at: Timestamp) -> Self {
                Self(at)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                let at = parse(&text).ok_or_else(|| de::Error::custom(format!("{text:?} is not an RFC 3339 time")))?;
                Ok(Self(at))
            }
        }
    };
}

as_text!(Time);
as_text!(MicroTime);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, seconds: &str, micros: &str) {
        let at = parse(input).unwrap();
        assert_eq!((Time(at).to_string(), MicroTime(at).to_string()), (seconds.to_owned(), micros.to_owned()));
    }

    #[test]
    fn times_are_written_in_utc_with_their_own_precision() {
        check("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z");
        check("2026-01-02T03:04:05.123456789+02:00", "2026-01-02T01:04:05Z", "2026-01-02T01:04:05.123456Z");
        for wrong in ["2026-01-02", "2026-01-02T03:04:05", "2026-01-02T03:04:05Z[UTC]", "2026-01-02T03:04:05+02", ""] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
