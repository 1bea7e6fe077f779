//! Which area the conformance tests of Kubernetes 1.36 belong to, and what a cluster needs for them.

use std::collections::BTreeMap;

/// An area, what is needed (`API`: no node; `FAKE`: nodes that say that pods run; `REAL`: containers that run), and a name
/// without its tags.
static TABLE: &str = include_str!("../data/areas.tsv");

/// Area and class of tests by their names.
#[derive(Debug)]
pub(crate) struct Areas(BTreeMap<&'static str, (&'static str, &'static str)>);

impl Areas {
    pub(crate) fn known() -> Self {
        let rows = TABLE.lines().skip(1).filter_map(|line| {
            let mut cells = line.splitn(3, '\t');
            let (area, class, name) = (cells.next()?, cells.next()?, cells.next()?);
            Some((name, (area, class)))
        });
        Self(rows.collect())
    }

    /// The area and class of a test; empty where it is none of the table.
    pub(crate) fn of(&self, plain: &str) -> (&'static str, &'static str) {
        self.0.get(plain).copied().unwrap_or_default()
    }

    /// Whether there is such an area.
    pub(crate) fn has_area(&self, area: &str) -> bool {
        self.0.values().any(|(own, _)| *own == area)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_conformance_test() {
        let areas = Areas::known();
        assert_eq!(areas.0.len(), 446);
        let name =
            "[sig-api-machinery] Watchers should observe add, update, and delete watch notifications on configmaps";
        assert_eq!(areas.of(name), ("watch", "API"));
        assert_eq!(areas.of("something else"), ("", ""));
        assert!(areas.0.values().all(|(_, class)| ["API", "FAKE", "REAL"].contains(class)));
        assert!(areas.has_area("dns") && !areas.has_area("nothing"));
    }
}
