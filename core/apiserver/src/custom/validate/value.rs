//! The checks of a single value: its type, length, size, bounds and choices.

use serde_json::Value;
use windlass_kernel::error::Cause;

use super::{invalid, kind_of, mistyped, place};
use crate::custom::schema::{Bound, Kind, Limits, Node};

/// Checks the JSON type.
pub(super) fn type_of(value: &Value, node: &Node, path: &str, found: &mut Vec<Cause>) {
    let wanted = match node.kind {
        _ if node.int_or_string => "integer,string",
        Some(kind) => kind.as_str(),
        None => return,
    };
    let got = kind_of(value);
    let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
    let fits = match (node.kind, value) {
        (_, Value::Null) => node.nullable,
        (_, Value::String(_)) if node.int_or_string => true,
        (_, Value::Number(_)) if node.int_or_string => whole,
        (Some(Kind::Integer), Value::Number(_)) => whole,
        (Some(Kind::Number), Value::Number(_)) => true,
        (Some(kind), _) => kind.as_str() == got,
        (None, _) => false,
    };
    if !fits {
        let said = if path.is_empty() {
            format!("in body must be of type {wanted}: {got:?}")
        } else {
            format!("{path} in body must be of type {wanted}: {got:?}")
        };
        found.push(mistyped(path, &got.into(), &said));
    }
}

/// Checks a text's length, counted in characters, and pattern.
pub(super) fn text(text: &str, node: &Node, path: &str, found: &mut Vec<Cause>) {
    let checks = &node.checks;
    let shown = Value::from(text);
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(most) = checks.length.most.filter(|most| length > *most) {
        let unit = if most == 1 { "byte" } else { "bytes" };
        let message = format!("Too long: may not be more than {most} {unit}");
        found.push(Cause { reason: "FieldValueTooLong".into(), message, field: place(path) });
    }
    if let Some(least) = checks.length.least.filter(|least| length < *least) {
        found.push(invalid(path, &shown, &format!("{path} in body should be at least {least} chars long")));
    }
    if let Some((pattern, compiled)) = &checks.pattern
        && compiled.as_ref().is_some_and(|compiled| !compiled.is_match(text))
    {
        found.push(invalid(path, &shown, &format!("{path} in body should match '{pattern}'")));
    }
}

/// Checks a number's bounds.
pub(super) fn number(value: &Value, node: &Node, path: &str, found: &mut Vec<Cause>) {
    let (Some(number), true) = (value.as_f64(), value.is_number()) else { return };
    let checks = &node.checks;
    let whole = !value.is_f64();
    let mut refuse = |why: String| found.push(invalid(path, value, &format!("{path} in body should be {why}")));
    if let Some(step) = checks.multiple_of.filter(|step| *step > 0.0) {
        let times = number / step;
        if (times - times.round()).abs() > f64::EPSILON * times.abs().max(1.0) {
            refuse(format!("a multiple of {}", shown(step, whole)));
        }
    }
    if let Some(Bound { value: most, exclusive }) = checks.maximum
        && (number > most || exclusive && number >= most)
    {
        let or = if exclusive { "" } else { " or equal to" };
        refuse(format!("less than{or} {}", shown(most, whole)));
    }
    if let Some(Bound { value: least, exclusive }) = checks.minimum
        && (number < least || exclusive && number <= least)
    {
        let or = if exclusive { "" } else { " or equal to" };
        refuse(format!("greater than{or} {}", shown(least, whole)));
    }
}

/// A bound as messages show it: beside whole numbers it is one; large ones have an exponent.
fn shown(number: f64, whole: bool) -> String {
    if whole && number.fract() == 0.0 {
        return format!("{number:.0}");
    }
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) || size >= 1e6 && number.fract() == 0.0 {
        let text = format!("{number:e}");
        let Some((digits, exponent)) = text.split_once('e') else { return text };
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{number}")
}

/// Checks how many items or fields there are.
pub(super) fn count(count: usize, limits: Limits, what: &str, path: &str, value: &Value, found: &mut Vec<Cause>) {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    if let Some(most) = limits.most.filter(|most| count > *most) {
        let unit = if most == 1 { "item" } else { "items" };
        let message = format!("Too many: {count}: must have at most {most} {unit}");
        found.push(Cause { reason: "FieldValueTooMany".into(), message, field: place(path) });
    }
    if let Some(least) = limits.least.filter(|least| count < *least) {
        found.push(invalid(path, value, &format!("{path} in body should have at least {least} {what}")));
    }
}

/// Checks that the value is one of those allowed.
pub(super) fn choice(value: &Value, node: &Node, path: &str, found: &mut Vec<Cause>) {
    let Some(choices) = &node.checks.choices else { return };
    if choices.iter().any(|choice| crate::kinds::field::same(choice, value)) {
        return;
    }
    let word = |choice: &Value| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned);
    let supported: Vec<String> = choices.iter().map(|choice| format!("{:?}", word(choice))).collect();
    let message = format!("Unsupported value: {value}: supported values: {}", supported.join(", "));
    found.push(Cause { reason: "FieldValueNotSupported".into(), message, field: place(path) });
}
