//! Resource quantities: `100m`, `1.5Gi`, `12e6`, kept exactly, in billionths of a unit.
//!
//! The JSON newtype that objects carry is a string elsewhere; this is its value, for arithmetic and for the canonical spelling.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

const NANO_PER_UNIT: i128 = 1_000_000_000;
const NANO_PER_MILLI: i128 = 1_000_000;
const BINARY_LIMIT: i128 = i64::MAX as i128 * NANO_PER_UNIT;
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// An exact amount of a resource and the family of suffixes it is written with.
///
/// Amounts compare by value alone: `1Ki` equals `1024`.
/// Anything finer than a billionth is rounded away from zero when it is parsed; sums saturate.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    nano: i128,
    format: Format,
}

/// The family of suffixes an amount is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `500m`, `12M`.
    Decimal,
    /// `12Mi`.
    Binary,
    /// `12e6`.
    Exponent,
}

/// Why a text is no quantity, in the words clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// The text has not the shape of a number and a suffix.
    Format,
    /// The number cannot be read.
    Number,
    /// The suffix is none of the known ones.
    Suffix,
}

impl Amount {
    /// Nothing at all, written `0`.
    pub const ZERO: Self = Self { nano: 0, format: Format::Decimal };

    /// Creates an amount of whole units.
    #[must_use]
    pub const fn units(units: i64, format: Format) -> Self {
        Self { nano: units as i128 * NANO_PER_UNIT, format }
    }

    /// Creates an amount of thousandths, as processor time is counted.
    #[must_use]
    pub const fn milli(milli: i64, format: Format) -> Self {
        Self { nano: milli as i128 * NANO_PER_MILLI, format }
    }

    /// Reads an amount from JSON, where a bare number is allowed too.
    pub fn from_json(value: &serde_json::Value) -> Result<Self, ParseError> {
        match value {
            serde_json::Value::String(text) => text.trim().parse(),
            serde_json::Value::Number(number) => number.to_string().parse(),
            serde_json::Value::Null => Ok(Self::ZERO),
            _ => Err(ParseError::Format),
        }
    }

    /// The family of suffixes it is written with.
    #[must_use]
    pub const fn format(self) -> Format {
        self.format
    }

    /// Whole units, rounded away from zero, capped at the range of the result.
    #[must_use]
    pub fn as_i64(self) -> i64 {
        self.scaled(NANO_PER_UNIT)
    }

    /// Thousandths, rounded away from zero, capped at the range of the result.
    #[must_use]
    pub fn milli_value(self) -> i64 {
        self.scaled(NANO_PER_MILLI)
    }

    /// Billionths, capped at the range of the result.
    #[must_use]
    pub fn nano_value(self) -> i64 {
        self.scaled(1)
    }

    /// Units as a floating-point number, which may lose precision.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "approximate by contract")]
    pub fn as_f64(self) -> f64 {
        self.nano as f64 / 1e9
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.nano == 0
    }

    /// Whether it is below nothing.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.nano < 0
    }

    /// Rounds away from zero to whole thousandths, which is what container resources keep.
    #[must_use]
    pub fn rounded_to_milli(self) -> Self {
        Self { nano: div_away(self.nano, NANO_PER_MILLI).saturating_mul(NANO_PER_MILLI), ..self }
    }

    fn scaled(self, per: i128) -> i64 {
        let whole = div_away(self.nano, per);
        i64::try_from(whole).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX })
    }
}

/// The spelling that upstream's types give a quantity after they read it.
///
/// Most become canonical; a short, already reduced spelling such as `1.500` or `+5` is kept as it came.
pub fn normalize(text: &str) -> Result<Cow<'_, str>, ParseError> {
    if text == "0" {
        return Ok(Cow::Borrowed(text));
    }
    let parts = Parts::split(text)?;
    let unit = Unit::of(parts.suffix)?;
    let amount = parts.amount(unit)?;
    let digits = parts.whole.len() + parts.fraction.len();
    let ends = |tail: &str| format!("{}{}", parts.whole, parts.fraction).ends_with(tail);
    let keep = match unit {
        Unit::Power2(_) => parts.fraction.is_empty() && digits <= 6 && !amount.is_zero() && last_bits(parts.whole),
        Unit::Power10 { exponent, .. } => {
            let scale = exponent - i32::try_from(parts.fraction.len()).unwrap_or(i32::MAX);
            digits <= 18 && scale >= -9 && scale % 3 == 0 && !parts.whole.is_empty() && !ends("000")
        }
    };
    Ok(if keep { Cow::Borrowed(text) } else { Cow::Owned(amount.to_string()) })
}

/// Whether a small number has one of its three lowest bits set: then no larger binary suffix fits.
fn last_bits(digits: &str) -> bool {
    digits.parse::<u64>().is_ok_and(|n| n & 7 != 0)
}

#[derive(Clone, Copy)]
enum Unit {
    Power10 { exponent: i32, format: Format },
    Power2(u32),
}

impl Unit {
    fn of(suffix: &str) -> Result<Self, ParseError> {
        if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
            return Ok(Self::Power10 { exponent: *exponent, format: Format::Decimal });
        }
        if let Some((_, power)) = BINARY.iter().find(|(name, _)| *name == suffix) {
            return Ok(Self::Power2(*power));
        }
        let exponent = suffix.strip_prefix(['e', 'E']).and_then(|digits| digits.parse().ok());
        exponent.map(|exponent| Self::Power10 { exponent, format: Format::Exponent }).ok_or(ParseError::Suffix)
    }
}

/// A quantity's text taken apart; `whole` is without leading zeros.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self, ParseError> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, rest) = unsigned.split_at(digits(unsigned));
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(digits(rest)),
            None => ("", rest),
        };
        let letters = suffix.bytes().take_while(|b| b"eEinumkKMGTP".contains(b)).count();
        let power = &suffix[letters..];
        let power = power.strip_prefix(['+', '-']).unwrap_or(power);
        if rest.len() == unsigned.len() && !rest.starts_with('.') || digits(power) != power.len() {
            return Err(ParseError::Format);
        }
        if whole.is_empty() && fraction.is_empty() {
            return Err(ParseError::Number);
        }
        Ok(Self { negative: text.starts_with('-'), whole: whole.trim_start_matches('0'), fraction, suffix })
    }

    fn amount(&self, unit: Unit) -> Result<Amount, ParseError> {
        let (nano, format) = match unit {
            Unit::Power10 { exponent, format } => (self.decimal(exponent)?, format),
            Unit::Power2(power) => {
                let nano = self.binary(power)?;
                (nano, if nano < NANO_PER_UNIT && nano > 0 { Format::Decimal } else { Format::Binary })
            }
        };
        Ok(Amount { nano: if self.negative { -nano } else { nano }, format })
    }

    /// Shifts the digits by the exponent; what falls off the end rounds up.
    fn decimal(&self, exponent: i32) -> Result<i128, ParseError> {
        let digits = || self.whole.bytes().chain(self.fraction.bytes());
        let count = i64::try_from(self.whole.len()).map_err(|_| ParseError::Number)?;
        let keep = count + i64::from(exponent) + 9;
        let mut nano = 0_i128;
        let mut dropped = false;
        for (at, digit) in (0_i64..).zip(digits()) {
            if at < keep {
                nano = nano.saturating_mul(10).saturating_add(i128::from(digit - b'0'));
            } else {
                dropped |= digit != b'0';
            }
        }
        if nano == 0 {
            return Ok(i128::from(dropped));
        }
        let written = count + i64::try_from(self.fraction.len()).map_err(|_| ParseError::Number)?;
        let zeros = u32::try_from((keep - written).clamp(0, 39)).map_err(|_| ParseError::Number)?;
        let shifted = 10_i128.checked_pow(zeros).map_or(i128::MAX, |by| nano.saturating_mul(by));
        Ok(shifted.saturating_add(i128::from(dropped)))
    }

    /// Multiplies by a power of two, capped at the largest 64-bit number of units.
    fn binary(&self, power: u32) -> Result<i128, ParseError> {
        let factor = 1_i128 << power;
        let whole = match self.whole.len() {
            0 => 0,
            1..=20 => self.whole.parse::<i128>().map_err(|_| ParseError::Number)?,
            _ => return Ok(BINARY_LIMIT),
        };
        let (head, tail) = self.fraction.split_at(self.fraction.len().min(18));
        let sticky = i128::from(tail.bytes().any(|b| b != b'0'));
        let length = u32::try_from(head.len()).map_err(|_| ParseError::Number)?;
        let fraction = if head.is_empty() { 0 } else { head.parse::<i128>().map_err(|_| ParseError::Number)? };
        let fraction = if length <= 9 {
            fraction * 10_i128.pow(9 - length) * factor
        } else {
            div_away(fraction * factor, 10_i128.pow(length - 9))
        };
        let whole = whole.saturating_mul(factor).saturating_mul(NANO_PER_UNIT);
        Ok(whole.saturating_add(fraction).saturating_add(sticky).min(BINARY_LIMIT))
    }
}

impl FromStr for Amount {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parts = Parts::split(text)?;
        parts.amount(Unit::of(parts.suffix)?)
    }
}

impl fmt::Display for Amount {
    /// Writes the canonical form: no fraction, and the largest suffix that loses nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        let small = self.nano.abs() < 1024 * NANO_PER_UNIT;
        if self.format == Format::Binary && !small && self.nano % NANO_PER_UNIT == 0 {
            return write_binary(self.nano / NANO_PER_UNIT, f);
        }
        let (mut number, mut exponent) = (self.nano, -9);
        let largest = if self.format == Format::Exponent { 27 } else { 18 };
        while number % 1000 == 0 && exponent < largest {
            number /= 1000;
            exponent += 3;
        }
        if self.format == Format::Exponent {
            return if exponent == 0 { write!(f, "{number}") } else { write!(f, "{number}e{exponent}") };
        }
        let suffix = DECIMAL.iter().find(|(_, e)| *e == exponent).map_or("", |(name, _)| name);
        write!(f, "{number}{suffix}")
    }
}

fn write_binary(mut number: i128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut suffix = "";
    for (name, _) in BINARY {
        if number % 1024 != 0 {
            break;
        }
        number /= 1024;
        suffix = name;
    }
    write!(f, "{number}{suffix}")
}

fn div_away(number: i128, by: i128) -> i128 {
    let quotient = number / by;
    if number % by == 0 { quotient } else { quotient + number.signum() }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let format = if self.nano == 0 { other.format } else { self.format };
        Self { nano: self.nano.saturating_add(other.nano), format }
    }
}

impl Sub for Amount {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Neg for Amount {
    type Output = Self;

    fn neg(self) -> Self {
        Self { nano: self.nano.saturating_neg(), ..self }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Default for Amount {
    fn default() -> Self {
        Self::ZERO
    }
}

impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Amount {}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Amount {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Format => {
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            }
            Self::Number => "unable to parse numeric part of quantity",
            Self::Suffix => "unable to parse quantity's suffix",
        })
    }
}

impl std::error::Error for ParseError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, canonical: &str) {
        let written = text.parse::<Amount>().map_or_else(|e| format!("{e:?}"), |a| a.to_string());
        assert_eq!(written, canonical, "{text}");
    }

    #[test]
    fn canonical_forms_use_the_largest_suffix_that_loses_nothing() {
        for (text, canonical) in [
            ("0", "0"),
            ("0Mi", "0"),
            ("1", "1"),
            ("1000", "1k"),
            ("1024", "1024"),
            ("1500m", "1500m"),
            ("1000m", "1"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1.", "1"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("1000Mi", "1000Mi"),
            ("512", "512"),
            ("0.5Ki", "512"),
            ("0.1Ki", "102400m"),
            ("1.1Ki", "1126400m"),
            ("0.5Mi", "512Ki"),
            ("12e6", "12e6"),
            ("12000e3", "12e6"),
            ("1E", "1E"),
            ("1E3", "1e3"),
            ("5e-1", "500e-3"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("-0.1n", "-1n"),
            ("1.0000000001", "1000000001n"),
            ("-1.5k", "-1500"),
            ("+3", "3"),
            ("0001Mi", "1Mi"),
            ("9999999999999Ei", "9223372036854775807"),
            ("8Ei", "9223372036854775807"),
            ("7Ei", "7Ei"),
            ("1e30", "170141183460469231731687303715884105727e-9"),
        ] {
            check(text, canonical);
        }
    }

    #[test]
    fn refusals_name_the_part_that_is_wrong() {
        for (text, error) in [
            ("", "Format"),
            ("abc", "Format"),
            ("1x", "Format"),
            ("1 Gi", "Format"),
            ("1.2.3", "Format"),
            ("--1", "Format"),
            ("1e3.5", "Format"),
            (".", "Number"),
            ("1kk", "Suffix"),
            ("1e", "Suffix"),
            ("1Kib", "Format"),
            ("1K", "Suffix"),
            ("1i", "Suffix"),
        ] {
            check(text, error);
        }
    }

    #[test]
    fn reduced_spellings_are_kept_when_normalizing() {
        for (text, spelling) in
            [("1.500", "1.500"), ("+5", "+5"), ("0.5", "500m"), ("1000m", "1"), ("1024Mi", "1Gi"), ("3Gi", "3Gi")]
        {
            assert_eq!(normalize(text).unwrap(), spelling);
        }
    }

    #[test]
    fn whole_numbers_round_away_from_zero() {
        let read = |text: &str| text.parse::<Amount>().unwrap();
        assert_eq!((read("1.1").as_i64(), read("-1.1").as_i64(), read("100n").milli_value()), (2, -2, 1));
        assert_eq!((read("1e25").as_i64(), read("250m").milli_value()), (i64::MAX, 250));
    }

    #[test]
    fn a_sum_from_nothing_takes_the_format_of_what_is_added() {
        let sum = Amount::ZERO + Amount::units(2048, Format::Binary);
        assert_eq!((sum - Amount::units(1024, Format::Decimal)).to_string(), "1Ki");
    }

    proptest! {
        #[test]
        fn canonical_text_reads_back_as_itself(nano in -1_000_000_000_000_000_000_000_i128..1_000_000_000_000_000_000_000, f in 0..3) {
            let format = [Format::Decimal, Format::Binary, Format::Exponent][usize::try_from(f).unwrap()];
            let text = Amount { nano, format }.to_string();
            let again: Amount = text.parse().unwrap();
            prop_assert_eq!(again.nano, nano);
            prop_assert_eq!(again.to_string(), text);
        }

        #[test]
        fn any_text_is_read_or_refused_without_panic(text in "[-+]?[0-9.]{0,45}[eEinumkKMGTPx]{0,3}[-+0-9]{0,12}") {
            let _ = text.parse::<Amount>();
            let _ = normalize(&text);
        }
    }
}
