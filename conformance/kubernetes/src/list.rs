//! Lists of specs with a reason for each line, by which runs are narrowed.

use windlass_kernel::{Error, ErrorKind, Result};

use crate::{areas::Areas, spec::Spec};

/// Lists that come with this crate, by name.
const OWN: [(&str, &str); 3] = [
    ("fake-nodes", include_str!("../lists/fake-nodes.txt")),
    ("one-node", include_str!("../lists/one-node.txt")),
    ("windlass", include_str!("../lists/windlass.txt")),
];

/// A list of specs.
///
/// Each line is a selector, a tab and a reason. Selectors are `area:NAME`, `class:API`, `class:FAKE` or `class:REAL` (of the
/// conformance of 1.36), `tag:NAME` for a tag in brackets, and `text:PART` for a part of the name. Empty lines and those that begin
/// with `#` say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List(Vec<Line>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    selector: Selector,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Selector {
    Area(String),
    Class(String),
    Tag(String),
    Text(String),
}

impl List {
    /// A list that comes with this crate: `fake-nodes`, `one-node` or `windlass`.
    #[must_use]
    pub fn own(name: &str) -> Option<Self> {
        let (name, text) = OWN.iter().find(|(own, _)| *own == name)?;
        Self::read(name, text).ok()
    }

    /// The specs that a certification asks for.
    #[must_use]
    pub fn conformance() -> Self {
        let reason = "what every Kubernetes has to do".into();
        Self(vec![Line { selector: Selector::Tag("Conformance".into()), reason }])
    }

    /// Reads a list; `name` is what complaints call it.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) with the line that is none, or has no reason.
    pub fn read(name: &str, text: &str) -> Result<Self> {
        let areas = Areas::known();
        let mut lines = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: &str| Error::new(ErrorKind::Invalid, format!("{name}:{}: {why}", number + 1));
            let (selector, reason) = line.split_once('\t').unwrap_or((line, ""));
            if reason.trim().is_empty() {
                return Err(wrong("there is no reason: write the selector, a tab and why"));
            }
            let (kind, what) = selector.split_once(':').unwrap_or((selector, ""));
            let what = what.trim().to_owned();
            let selector = match kind {
                _ if what.is_empty() => return Err(wrong("expected area:, class:, tag: or text: with a name")),
                "area" if areas.has_area(&what) => Selector::Area(what),
                "area" => return Err(wrong(&format!("the conformance of 1.36 has no area {what:?}"))),
                "class" if ["API", "FAKE", "REAL"].contains(&what.as_str()) => Selector::Class(what),
                "class" => return Err(wrong("a class is API, FAKE or REAL")),
                "tag" => Selector::Tag(what.trim_matches(['[', ']']).to_owned()),
                "text" => Selector::Text(what),
                _ => return Err(wrong("expected area:, class:, tag: or text: with a name")),
            };
            lines.push(Line { selector, reason: reason.trim().to_owned() });
        }
        Ok(Self(lines))
    }

    /// Why a spec is in the list; the first line that selects it says so.
    #[must_use]
    pub fn reason(&self, spec: &Spec) -> Option<&str> {
        let selects = |line: &&Line| match &line.selector {
            Selector::Area(area) => spec.area == area,
            Selector::Class(class) => spec.class == class,
            Selector::Tag(tag) => spec.tagged(tag),
            Selector::Text(part) => spec.name.contains(part.as_str()),
        };
        self.0.iter().find(selects).map(|line| line.reason.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    #[test]
    fn own_lists_are_sound() {
        for (name, text) in OWN {
            assert!(List::read(name, text).is_ok_and(|list| !list.0.is_empty()), "{name}");
        }
        assert_eq!(List::own("nothing"), None);
    }

    #[test]
    fn a_spec_is_selected_with_its_reason() {
        let text = "area:watch\twatches\n# a remark\n\ntag:[Serial]\tserial ones\ntext:odd one\tit is odd\n";
        let list = List::read("l", text).unwrap();
        let check = |name: &str, expect: Option<&str>| {
            let specs = spec::read(&format!("  a.go:1: {name}\n"));
            assert_eq!(list.reason(&specs[0]), expect, "{name}");
        };
        let watcher =
            "[sig-api-machinery] Watchers should observe add, update, and delete watch notifications on configmaps";
        check(&format!("{watcher} [Conformance]"), Some("watches"));
        check("[sig-apps] x [Serial]", Some("serial ones"));
        check("[sig-apps] an odd one", Some("it is odd"));
        check("[sig-apps] another", None);
    }

    #[test]
    fn what_is_no_line_is_told_with_its_place() {
        let check = |text: &str, expect: &str| {
            assert_eq!(List::read("l", text).unwrap_err().message(), expect);
        };
        check("\ntag:Serial", "l:2: there is no reason: write the selector, a tab and why");
        check("area:none\twhy", "l:1: the conformance of 1.36 has no area \"none\"");
        check("class:SLOW\twhy", "l:1: a class is API, FAKE or REAL");
        check("Serial\twhy", "l:1: expected area:, class:, tag: or text: with a name");
    }
}
