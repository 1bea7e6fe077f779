//! Which kinds of which versions are deprecated, and what users of them are told.

static TABLE: &str = include_str!("../data/lifecycle.tsv");

/// The end of a kind in one of its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deprecation {
    /// The release since which it is deprecated: `1.33`.
    pub since: &'static str,
    /// The release from which on upstream does not serve it; empty where none is named.
    pub removed: &'static str,
    /// What to use: `discovery.k8s.io/v1 EndpointSlice`; empty where nothing is named.
    pub replacement: &'static str,
}

/// Finds a deprecated kind.
#[must_use]
pub fn of_kind(group: &str, version: &str, kind: &str) -> Option<Deprecation> {
    TABLE.lines().skip(1).find_map(|line| {
        let mut cells = line.split('\t');
        let mut next = || cells.next().unwrap_or_default();
        let own = (next(), next(), next()) == (group, version, kind);
        own.then(|| Deprecation { since: next(), removed: next(), replacement: next() })
    })
}

impl Deprecation {
    /// What users are told, in the words that clients look for. `api_version` and `kind` are what is deprecated.
    #[must_use]
    pub fn warning(&self, api_version: &str, kind: &str) -> String {
        let mut text = format!("{api_version} {kind} is deprecated in v{}+", self.since);
        if !self.removed.is_empty() {
            text.push_str(&format!(", unavailable in v{}+", self.removed));
        }
        if !self.replacement.is_empty() {
            text.push_str(&format!("; use {}", self.replacement));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(group: &str, version: &str, kind: &str, expect: Option<&str>) {
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let told = of_kind(group, version, kind).map(|end| end.warning(&api_version, kind));
        assert_eq!(told.as_deref(), expect);
    }

    #[test]
    fn users_of_deprecated_kinds_are_told_in_upstreams_words() {
        check("", "v1", "ComponentStatus", Some("v1 ComponentStatus is deprecated in v1.19+"));
        let told = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";
        check("", "v1", "Endpoints", Some(told));
        let told = "resource.k8s.io/v1beta1 ResourceClaim is deprecated in v1.35+, unavailable in v1.38+";
        check("resource.k8s.io", "v1beta1", "ResourceClaim", Some(told));
        check("", "v1", "Pod", None);
        check("resource.k8s.io", "v1beta2", "DeviceTaintRule", None);
    }

    #[test]
    fn what_is_deprecated_exists() {
        for line in TABLE.lines().skip(1) {
            let cells: Vec<&str> = line.split('\t').collect();
            assert_eq!(cells.len(), 6, "{line}");
            assert!(crate::resources::of_kind(cells[0], cells[1], cells[2]).is_some(), "{line}");
        }
    }
}
