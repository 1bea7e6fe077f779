//! A pod as the checks of levels see it, and who of it breaks a rule.

use serde_json::Value;

use crate::kinds::field::{items, text};

/// A pod or the template of one.
pub(super) struct Pod<'p> {
    pub(super) meta: &'p Value,
    pub(super) spec: &'p Value,
    /// The minor version whose rules hold.
    pub(super) minor: u32,
}

impl<'p> Pod<'p> {
    /// All its containers: those that begin, those that stay, those that were added.
    pub(super) fn containers(&self) -> impl Iterator<Item = &'p Value> + use<'p> {
        let spec = self.spec;
        ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(move |list| items(spec, &[list]))
    }

    /// The names of those containers.
    pub(super) fn named(&self, breaks: impl Fn(&Value) -> bool) -> Vec<&'p str> {
        self.containers().filter(|container| breaks(container)).map(|container| text(container, &["name"])).collect()
    }

    /// Whether it is in a user namespace of its own, where root is nobody outside (KEP-127).
    pub(super) fn has_own_users(&self) -> bool {
        self.spec["hostUsers"] == false
    }

    /// Whether it says that it is for Windows, where some rules mean nothing.
    pub(super) fn is_for_windows(&self) -> bool {
        self.minor >= 25 && text(self.spec, &["os", "name"]) == "windows"
    }
}

/// Texts in quotes, with commas.
pub(super) fn quoted<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let texts: Vec<String> = texts.into_iter().map(|text| format!("{text:?}")).collect();
    texts.join(", ")
}

/// `container "a"` or `containers "a", "b"`.
pub(super) fn containers(names: &[&str]) -> String {
    format!("container{} {}", plural(names), quoted(names.iter().copied()))
}

/// Who sets something: the pod, containers, or both.
pub(super) fn setters(pod: bool, names: &[&str]) -> Option<String> {
    match (pod, names.is_empty()) {
        (false, true) => None,
        (true, true) => Some("pod".into()),
        (false, false) => Some(containers(names)),
        (true, false) => Some(format!("pod and {}", containers(names))),
    }
}

/// The ending of a word that counts these.
pub(super) fn plural<T>(of: &[T]) -> &'static str {
    if of.len() == 1 { "" } else { "s" }
}
