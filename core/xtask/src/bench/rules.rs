//! What the packet rules of many services cost, as a test in a network namespace tells it.

use super::{
    table::{Figures, Limit::Under},
    told::{self, millis},
};

const TEST: &str = "what_the_rules_of_many_services_cost_is_told";

/// In milliseconds.
#[derive(Debug, PartialEq)]
struct Costs {
    whole: f64,
    few: f64,
    many: f64,
}

/// Has it measured, and adds the figures.
pub(super) fn run(table: &mut Figures) {
    let (whole, change) = ("rules of 5,000 services from scratch", "CPU for one that changed among 5,000");
    let why = match told::by("windlass-proxy", TEST).map(|text| read(&text)) {
        Ok(Some(costs)) => {
            table.add(whole, Under(500.0), costs.whole, "ms", "debug build; most of it nft's own");
            table.add(change, Under(10.0), costs.many, "ms", &format!("{:.1} ms among 50", costs.few));
            return;
        }
        Ok(None) => "not measured: this machine has no network namespaces or no nft".to_owned(),
        Err(error) => format!("not measured: {error}"),
    };
    table.absent(whole, &Under(500.0).text("ms"), &why);
    table.absent(change, &Under(10.0).text("ms"), &why);
}

fn read(text: &str) -> Option<Costs> {
    let line = text.lines().find_map(|line| line.strip_prefix("rules: "))?;
    let (_, rest) = line.split_once(" from scratch ")?;
    let (whole, rest) = rest.split_once(", ")?;
    let (_, rest) = rest.split_once("one changed ")?;
    let (few, rest) = rest.split_once(" of CPU among ")?;
    let (_, rest) = rest.split_once(", ")?;
    let (many, _) = rest.split_once(" among ")?;
    Some(Costs { whole: millis(whole)?, few: millis(few)?, many: millis(many)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_read_as_the_test_tells_them() {
        let said = "running 1 test\nrules: 5000 from scratch 1.5s, 1.4s of CPU; one changed 5ms of CPU among 50, 67.5ms among 5000\nok";
        assert_eq!(read(said), Some(Costs { whole: 1500.0, few: 5.0, many: 67.5 }));
        assert_eq!(read("test x ... ignored"), None);
    }
}
