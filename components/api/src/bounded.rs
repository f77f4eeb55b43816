//! Lists and maps of a request whose lengths are bounded while they are read.
//!
//! A body of 60 MB has room for twenty million empty objects, and each would be a hundred octets
//! or more in memory. What is too long is refused with the path of the list, as soon as its first
//! entry too many is there.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A list of at most `MAX` elements; `null` is an empty one.
pub(crate) fn list<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_option(ListVisitor::<T, MAX>(PhantomData))
}

/// A map of at most `MAX` texts; `null` is an empty one. A key that is given twice is a mistake.
pub(crate) fn map<'de, D, const MAX: usize>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error>
where
    D: Deserializer<'de>,
{
    deserializer.deserialize_option(MapVisitor::<MAX>)
}

/// The elements of a list of at most `max`.
pub(crate) fn elements<'de, A, T>(mut list: A, max: usize) -> Result<Vec<T>, A::Error>
where
    A: SeqAccess<'de>,
    T: Deserialize<'de>,
{
    let mut elements = Vec::new();
    while elements.len() < max {
        match list.next_element()? {
            Some(element) => elements.push(element),
            None => return Ok(elements),
        }
    }
    match list.next_element::<IgnoredAny>()? {
        Some(_) => Err(A::Error::custom(more_than(max))),
        None => Ok(elements),
    }
}

fn more_than(max: usize) -> String {
    format!("more than {max} entries, at most {max} are allowed")
}

struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_none<E: Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<T>, A::Error> {
        elements(list, MAX)
    }
}

struct MapVisitor<const MAX: usize>;

impl<'de, const MAX: usize> Visitor<'de> for MapVisitor<MAX> {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            if entries.contains_key(&key) {
                return Err(A::Error::custom(format!("duplicate field `{key}`")));
            }
            if entries.len() == MAX {
                return Err(A::Error::custom(more_than(MAX)));
            }
            entries.insert(key, map.next_value()?);
        }
        Ok(entries)
    }
}
