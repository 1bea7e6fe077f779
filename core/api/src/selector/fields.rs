//! Field selectors: `spec.nodeName=n1,status.phase!=Running`, with `\` before a literal comma, equals sign or backslash.

use std::fmt;
use std::str::FromStr;

use super::Error;

/// A field selector: terms that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    terms: Vec<Term>,
}

/// One field that must, or must not, have a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term {
    /// The field's name, such as `metadata.name`.
    pub field: String,
    /// Whether the field must equal the value, rather than differ from it.
    pub equal: bool,
    /// The value; an absent field counts as empty.
    pub value: String,
}

impl Fields {
    /// Selects what has this value in this field.
    pub fn equal_to(field: impl Into<String>, value: impl Into<String>) -> Self {
        Self { terms: vec![Term { field: field.into(), equal: true, value: value.into() }] }
    }

    /// Whether the fields that `get` looks up answer to every term; a missing field counts as empty.
    pub fn matches_with<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms.iter().all(|term| (get(&term.field).unwrap_or_default() == term.value) == term.equal)
    }

    /// The terms, sorted.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Whether everything matches.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The one value that the field must have, where the selector leaves no choice.
    #[must_use]
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.field == field).map(|term| term.value.as_str())
    }

    /// Rewrites each term, or refuses the selector: for checks against the fields a kind supports.
    pub fn map<E>(mut self, each: impl FnMut(Term) -> Result<Term, E>) -> Result<Self, E> {
        self.terms = self.terms.into_iter().map(each).collect::<Result<_, _>>()?;
        Ok(self)
    }
}

impl FromStr for Fields {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let term = |part: &str| {
            let (field, equal, value) = operator(part)
                .ok_or_else(|| Error::new(format!("invalid selector: '{text}'; can't understand '{part}'")))?;
            Ok(Term { field: field.to_owned(), equal, value: unescape(value)? })
        };
        let parts = split(text).into_iter().filter(|part| !part.is_empty());
        let mut terms = parts.map(term).collect::<Result<Vec<_>, Error>>()?;
        terms.sort();
        Ok(Self { terms })
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, term) in self.terms.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{}{}", term.field, if term.equal { "=" } else { "!=" })?;
            for c in term.value.chars() {
                let mark = if matches!(c, '\\' | ',' | '=') { "\\" } else { "" };
                write!(f, "{mark}{c}")?;
            }
        }
        Ok(())
    }
}

/// Splits at commas that no backslash protects.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn operator(part: &str) -> Option<(&str, bool, &str)> {
    let (field, value) = part.split_once('=')?;
    Some(match field.strip_suffix('!') {
        Some(field) => (field, false, value),
        None => (field, true, value.strip_prefix('=').unwrap_or(value)),
    })
}

fn unescape(value: &str) -> Result<String, Error> {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => plain.push(c),
                other => {
                    let shown: String = other.into_iter().collect();
                    return Err(Error::new(format!("invalid field selector: invalid escape sequence: \\{shown}")));
                }
            },
            ',' | '=' => {
                return Err(Error::new(format!("invalid field selector: unescaped character in value: {c}")));
            }
            _ => plain.push(c),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let read = text.parse::<Fields>().map_or_else(|e| e.to_string(), |s| s.to_string());
        assert_eq!(read, expect, "{text}");
    }

    #[test]
    fn terms_are_sorted_and_escapes_kept() {
        for (text, canonical) in [
            ("", ""),
            ("b==2,a=1,,c!=3", "a=1,b=2,c!=3"),
            ("a=", "a="),
            (r"a=x\,y\=z\\", r"a=x\,y\=z\\"),
            ("a", "invalid selector: 'a'; can't understand 'a'"),
            ("a=b=c", "invalid field selector: unescaped character in value: ="),
            (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
        ] {
            check(text, canonical);
        }
    }

    #[test]
    fn an_absent_field_counts_as_empty() {
        let node = |node: Option<&'static str>| move |field: &str| node.filter(|_| field == "spec.nodeName");
        let unplaced: Fields = "spec.nodeName=".parse().unwrap();
        assert!(unplaced.matches_with(node(None)) && !unplaced.matches_with(node(Some("n1"))));
        assert!("spec.nodeName!=n2".parse::<Fields>().unwrap().matches_with(node(Some("n1"))));
        assert_eq!(Fields::equal_to("a", "b").exact("a"), Some("b"));
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_read_back(text in "([ab][!=]{1,2}([xy]|\\\\[,=\\\\]){0,4},){0,4}") {
            if let Ok(selector) = text.parse::<Fields>() {
                prop_assert_eq!(selector.to_string().parse::<Fields>(), Ok(selector));
            }
        }
    }
}
