//! The table: each figure, what it must reach, what was measured, and under which load.

use comfy_table::{Table, presets::ASCII_MARKDOWN};

use super::process::load_average;

/// What the limit has to say to a measured value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limit {
    Under(f64),
    AtLeast(f64),
    /// There is none: the figure stands beside another.
    None,
}

/// Figures as they come in.
#[derive(Debug)]
pub(super) struct Figures(Table);

impl Limit {
    fn verdict(self, value: f64) -> &'static str {
        match self {
            Self::Under(limit) if value < limit => "ok",
            Self::AtLeast(limit) if value >= limit => "ok",
            Self::Under(_) | Self::AtLeast(_) => "short",
            Self::None => "",
        }
    }

    pub(super) fn text(self, unit: &str) -> String {
        match self {
            Self::Under(limit) => format!("< {} {unit}", number(limit)),
            Self::AtLeast(limit) => format!(">= {} {unit}", number(limit)),
            Self::None => String::new(),
        }
    }
}

impl Figures {
    pub(super) fn new() -> Self {
        let mut table = Table::new();
        table.load_preset(ASCII_MARKDOWN).set_header(["figure", "must reach", "measured", "", "load"]);
        Self(table)
    }

    /// Adds a figure, and shows it at once: the whole takes minutes. `beside` tells more about it.
    pub(super) fn add(&mut self, figure: &str, limit: Limit, value: f64, unit: &str, beside: &str) {
        let beside = if beside.is_empty() { String::new() } else { format!(" ({beside})") };
        let measured = format!("{} {unit}{beside}", number(value));
        self.row(figure, &limit.text(unit), &measured, limit.verdict(value));
    }

    /// Adds a figure that could not be measured.
    pub(super) fn absent(&mut self, figure: &str, limit: &str, why: &str) {
        self.row(figure, limit, why, "");
    }

    fn row(&mut self, figure: &str, limit: &str, measured: &str, verdict: &str) {
        eprintln!("{figure}: {measured} {verdict}");
        self.0.add_row([figure, limit, measured, verdict, &load_average()]);
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Three digits, or all those before the point.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}").trim_end_matches(".0").into(),
        _ => format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: f64, limit: Limit, expect: (&str, &str)) {
        assert_eq!((number(value).as_str(), limit.verdict(value)), expect);
    }

    #[test]
    fn numbers_are_short_and_judged() {
        check(0.0, Limit::Under(1.0), ("0", "ok"));
        check(12.0, Limit::Under(12.0), ("12", "short"));
        check(5000.4, Limit::AtLeast(5000.0), ("5000", "ok"));
        check(0.123, Limit::None, ("0.12", ""));
        check(28.06, Limit::None, ("28.1", ""));
    }
}
