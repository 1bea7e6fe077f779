//! Reading lists and maps: null is an empty one, as Go reads it, and a list takes no more room than it needs.

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, de};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// Reads a list or map; null is an empty one.
pub(crate) fn null_as_empty<'de, D: Deserializer<'de>, T: Collection<'de>>(from: D) -> Result<T, D::Error> {
    T::read(from)
}

/// What [`null_as_empty`] reads.
pub(crate) trait Collection<'de>: Sized {
    fn read<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error>;
}

impl<'de, T: Deserialize<'de>> Collection<'de> for BTreeMap<String, T> {
    fn read<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Option::deserialize(from).map(Option::unwrap_or_default)
    }
}

impl<'de, T: Deserialize<'de>> Collection<'de> for Vec<T> {
    fn read<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_option(Items(PhantomData))
    }
}

struct Items<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_none<E: de::Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_unit<E: de::Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Vec<T>, D::Error> {
        from.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let Some(first) = items.next_element()? else { return Ok(Vec::new()) };
        // Most lists have one item, and items are large: a vector would make room for four at once.
        let mut out = Vec::with_capacity(1);
        out.push(first);
        while let Some(item) = items.next_element()? {
            if out.len() == out.capacity() {
                out.reserve_exact(out.len());
            }
            out.push(item);
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Both {
        #[serde(deserialize_with = "null_as_empty")]
        list: Vec<[u64; 8]>,
        #[serde(deserialize_with = "null_as_empty")]
        map: BTreeMap<String, u8>,
    }

    #[test]
    fn null_is_empty_and_lists_have_no_room_to_spare() {
        let both: Both = serde_json::from_str(r#"{"list": null, "map": null}"#).unwrap();
        assert!(both.list.is_empty() && both.map.is_empty());
        let both: Both = serde_json::from_str(r#"{"list": [[1,2,3,4,5,6,7,8]], "map": {"a": 1}}"#).unwrap();
        assert_eq!((both.list.len(), both.list.capacity(), both.map["a"]), (1, 1, 1));
        assert!(serde_json::from_str::<Both>(r#"{"list": {}}"#).unwrap_err().to_string().contains("a sequence"));
    }
}
