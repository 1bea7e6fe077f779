//! Which lines of a YAML set a field that was set before.
//!
//! The reader tells places in errors only, so it is made to fail at one field after the other.

use std::{collections::BTreeSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Each field that is told costs one more reading.
const MOST: usize = 10;
/// Larger texts are not read again for this.
const LARGEST: usize = 256 * 1024;

/// What upstream says of the fields that are set more than once: `line 5: key "x" already set in map`.
///
/// Empty where there are none, or where the text is too large to be looked through.
pub(super) fn repeated(bytes: &[u8]) -> Vec<String> {
    let passes = if bytes.len() > LARGEST { 0 } else { MOST };
    let found = (0..passes).map_while(|skip| {
        let mut search = Search { skip, hit: None };
        let error = Place(&mut search).deserialize(yaml_serde::Deserializer::from_slice(bytes)).err()?;
        let line = error.location()?.line();
        search.hit.map(|key| format!("line {line}: key {key:?} already set in map"))
    });
    found.collect()
}

struct Search {
    /// So many repeated fields are passed over.
    skip: usize,
    hit: Option<String>,
}

struct Place<'a>(&'a mut Search);

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Place(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while entries.next_key_seed(Key { search: self.0, seen: &mut seen })?.is_some() {
            entries.next_value_seed(Place(self.0))?;
        }
        Ok(())
    }
}

struct Key<'a> {
    search: &'a mut Search,
    seen: &'a mut BTreeSet<String>,
}

impl Key<'_> {
    fn note<E: Error>(self, key: String) -> Result<(), E> {
        if !self.seen.contains(&key) {
            self.seen.insert(key);
            return Ok(());
        }
        match self.search.skip.checked_sub(1) {
            Some(left) => {
                self.search.skip = left;
                Ok(())
            }
            None => {
                self.search.hit = Some(key);
                Err(E::custom("a field is set twice"))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<(), E> {
        self.note(v.to_owned())
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<(), E> {
        self.note(v.to_string())
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<(), E> {
        self.note(v.to_string())
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<(), E> {
        self.note(v.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[&str]) {
        assert_eq!(repeated(text.as_bytes()), expect, "{text:?}");
    }

    #[test]
    fn a_repeated_field_is_told_with_its_line() {
        check("a: 1\nb:\n  c: 2\n", &[]);
        check("a: 1\nb: 2\na: 3\n", &["line 3: key \"a\" already set in map"]);
        let text = "spec:\n  list:\n  - x: 1\n    x: 2\n    x: 3\n  list: []\n";
        let told = [4, 5].map(|line| format!("line {line}: key \"x\" already set in map"));
        check(text, &[&told[0], &told[1], "line 6: key \"list\" already set in map"]);
        check("{\"a\": 1,\n \"a\": 2}", &["line 2: key \"a\" already set in map"]);
        check("1: a\n1: b\n", &["line 2: key \"1\" already set in map"]);
    }

    #[test]
    fn what_costs_too_much_is_not_told() {
        let many = "a: 1\n".repeat(50);
        assert_eq!(repeated(many.as_bytes()).len(), MOST);
        let large = format!("a: 1\na: {}\n", "x".repeat(LARGEST));
        check(&large, &[]);
    }
}
