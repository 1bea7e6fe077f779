//! A spec of the suite: a test, by the name that ginkgo has for it.

use crate::areas::Areas;

/// One spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its full text, with tags.
    pub name: String,
    /// The file and line in which it is.
    pub place: String,
    /// The area of conformance that it belongs to; empty where it is not of the conformance of 1.36.
    pub area: &'static str,
    /// What it needs of a cluster: `API`, `FAKE` or `REAL`; empty as `area`.
    pub class: &'static str,
}

impl Spec {
    /// Whether it has a tag, such as `Conformance` or `Serial`.
    #[must_use]
    pub fn tagged(&self, tag: &str) -> bool {
        tags(&self.name).any(|own| own == tag)
    }

    /// A name for files: words of the spec, and what tells it from others with the same words.
    pub(crate) fn slug(&self) -> String {
        const MOST: usize = 80;
        let letters = plain(&self.name).to_lowercase();
        let words = letters.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let mut slug = words.collect::<Vec<_>>().join("-");
        slug.truncate(MOST);
        format!("{slug}-{:08x}", crc32fast::hash(plain(&self.name).as_bytes()))
    }

    /// The regular expression that ginkgo finds this spec alone by.
    pub(crate) fn focus(&self) -> String {
        let mut pattern = String::with_capacity(self.name.len() + 16);
        for letter in self.name.chars() {
            if r"\.+*?()|[]{}^$".contains(letter) {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        // What comes before is the name of the suite.
        pattern.push('$');
        pattern
    }
}

/// Reads what `e2e.test --list-tests` prints: a heading, and for each spec a place and a name, indented.
pub(crate) fn read(text: &str) -> Vec<Spec> {
    let areas = Areas::known();
    let lines = text.lines().filter(|line| line.starts_with(char::is_whitespace));
    let specs = lines.filter_map(|line| {
        let (place, name) = line.trim().split_once(": ")?;
        let (_, number) = place.rsplit_once(':')?;
        number.parse::<u32>().ok()?;
        let (area, class) = areas.of(&plain(name));
        Some(Spec { name: name.to_owned(), place: place.to_owned(), area, class })
    });
    specs.collect()
}

/// The tags of a name. The first word in brackets is the group that the test belongs to.
fn tags(name: &str) -> impl Iterator<Item = &str> {
    let parts = name.split('[').skip(1).filter_map(|part| part.split_once(']'));
    parts.map(|(tag, _)| tag).filter(|tag| !tag.contains(' '))
}

/// A name without its tags, which move between releases.
pub(crate) fn plain(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, tag, after)) = rest.split_once('[').and_then(|(before, after)| {
        let (tag, after) = after.split_once(']')?;
        Some((before, tag, after))
    }) {
        text.push_str(before);
        if tag.starts_with("sig-") || tag.contains(' ') {
            text.extend(["[", tag, "]"]);
        }
        rest = after;
    }
    text.push_str(rest);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "The following spec names can be used with 'ginkgo run --focus/skip':\n    \
        test/e2e/apimachinery/watch.go:60: [sig-api-machinery] Watchers should observe an object deletion if it stops \
        meeting the requirements of the selector [Conformance]\n    \
        test/e2e/x.go:7: [sig-node] Odd [Serial] (a.b) costs $1: fine [Feature:Odd]\n\n";

    #[test]
    fn specs_are_read_with_their_area() {
        let specs = read(LISTED);
        let shown: Vec<_> = specs.iter().map(|spec| (spec.place.as_str(), spec.area, spec.class)).collect();
        assert_eq!(shown, [("test/e2e/apimachinery/watch.go:60", "watch", "API"), ("test/e2e/x.go:7", "", "")]);
        assert!(specs[0].tagged("Conformance") && !specs[0].tagged("Serial"));
        assert!(specs[1].tagged("Serial") && specs[1].tagged("Feature:Odd"));
    }

    #[test]
    fn a_name_is_found_by_itself_alone() {
        let spec = &read(LISTED)[1];
        assert_eq!(spec.focus(), r"\[sig-node\] Odd \[Serial\] \(a\.b\) costs \$1: fine \[Feature:Odd\]$");
        assert_eq!(plain(&spec.name), "[sig-node] Odd (a.b) costs $1: fine");
        assert!(spec.slug().starts_with("sig-node-odd-a-b-costs-1-fine-"), "{}", spec.slug());
    }
}
