//! One field of a schedule: `*`, numbers, names, ranges and steps.

/// What a field may hold.
pub(super) struct Bounds {
    low: u32,
    high: u32,
    /// The names of the values from `low` on.
    names: &'static [&'static str],
}

pub(super) const MINUTES: Bounds = Bounds { low: 0, high: 59, names: &[] };
pub(super) const HOURS: Bounds = Bounds { low: 0, high: 23, names: &[] };
pub(super) const DAYS: Bounds = Bounds { low: 1, high: 31, names: &[] };
pub(super) const MONTHS: Bounds = Bounds {
    low: 1,
    high: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
pub(super) const WEEKDAYS: Bounds =
    Bounds { low: 0, high: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// The values that a field matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    bits: u64,
    /// Whether it asks for nothing (`*`).
    pub(super) any: bool,
}

impl Field {
    pub(super) fn parse(text: &str, bounds: &Bounds) -> Result<Self, String> {
        let mut field = Self { bits: 0, any: false };
        for part in text.split(',').filter(|part| !part.is_empty()) {
            field.add(part, bounds)?;
        }
        Ok(field)
    }

    pub(super) fn has(self, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| self.bits & (1 << value) != 0)
    }

    fn add(&mut self, part: &str, bounds: &Bounds) -> Result<(), String> {
        let pieces: Vec<&str> = part.split('/').collect();
        let ends: Vec<&str> = pieces[0].split('-').collect();
        let star = matches!(ends[0], "*" | "?");
        let (low, mut high) = match ends[..] {
            _ if star => (bounds.low, bounds.high),
            [one] => (value(one, bounds)?, value(one, bounds)?),
            [low, high] => (value(low, bounds)?, value(high, bounds)?),
            _ => return Err(format!("too many hyphens: {part}")),
        };
        let step = match pieces[..] {
            [_] => 1,
            [_, step] => {
                // A single number with a step is where a range to the end begins.
                if ends.len() == 1 {
                    high = bounds.high;
                }
                number(step)?
            }
            _ => return Err(format!("too many slashes: {part}")),
        };
        self.any |= star && step <= 1;
        let Bounds { low: least, high: most, .. } = bounds;
        if low < *least {
            return Err(format!("beginning of range ({low}) below minimum ({least}): {part}"));
        }
        if high > *most {
            return Err(format!("end of range ({high}) above maximum ({most}): {part}"));
        }
        if low > high {
            return Err(format!("beginning of range ({low}) beyond end of range ({high}): {part}"));
        }
        if step == 0 {
            return Err(format!("step of range should be a positive number: {part}"));
        }
        for value in (low..=high).step_by(step as usize) {
            self.bits |= 1 << value;
        }
        Ok(())
    }
}

fn value(text: &str, bounds: &Bounds) -> Result<u32, String> {
    let lower = text.to_lowercase();
    match (bounds.low..).zip(bounds.names).find(|(_, name)| **name == lower) {
        Some((value, _)) => Ok(value),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| match text.parse::<i64>() {
        Ok(number) if number < 0 => format!("negative number ({number}) not allowed: {text}"),
        Ok(_) => format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: value out of range"),
        Err(_) => format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"),
    })
}
