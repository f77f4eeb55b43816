//! A deserializer that takes a struct from a JSON object alone, and counts the memory of what it
//! reads. `serde_json` would take a struct from an array as well, field by field.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Unexpected, Visitor,
};

use super::budget::{Budget, LIST, OBJECT, VALUE};

/// Wraps a deserializer, and whatever it hands out.
pub(super) struct ObjectsOnly<'b, D> {
    pub(super) inner: D,
    pub(super) budget: &'b Budget,
}

impl<'b, D> ObjectsOnly<'b, D> {
    fn wrap<V>(&self, visitor: V) -> Wrapped<'b, V> {
        Wrapped { visitor, object: false, budget: self.budget }
    }
}

macro_rules! forward {
    ($($method:ident: $cost:expr,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.budget.charge($cost)?;
            let visitor = self.wrap(visitor);
            self.inner.$method(visitor)
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ObjectsOnly<'_, D> {
    type Error = D::Error;

    // An octet of an array of octets takes an octet. An option is counted with what it holds.
    forward! {
        deserialize_any: VALUE, deserialize_bool: VALUE, deserialize_i8: VALUE, deserialize_i16: VALUE,
        deserialize_i32: VALUE, deserialize_i64: VALUE, deserialize_i128: VALUE, deserialize_u8: 0,
        deserialize_u16: VALUE, deserialize_u32: VALUE, deserialize_u64: VALUE, deserialize_u128: VALUE,
        deserialize_f32: VALUE, deserialize_f64: VALUE, deserialize_char: VALUE, deserialize_str: VALUE,
        deserialize_string: VALUE, deserialize_bytes: VALUE, deserialize_byte_buf: VALUE,
        deserialize_option: 0, deserialize_unit: VALUE, deserialize_seq: VALUE, deserialize_map: VALUE,
        deserialize_identifier: VALUE, deserialize_ignored_any: 0,
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.budget.charge(VALUE)?;
        let visitor = Wrapped { object: true, ..self.wrap(visitor) };
        self.inner.deserialize_struct(name, fields, visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.budget.charge(VALUE)?;
        let visitor = self.wrap(visitor);
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.budget.charge(VALUE)?;
        let visitor = self.wrap(visitor);
        self.inner.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.budget.charge(VALUE)?;
        let visitor = self.wrap(visitor);
        self.inner.deserialize_tuple(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.budget.charge(VALUE)?;
        let visitor = self.wrap(visitor);
        self.inner.deserialize_tuple_struct(name, len, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.budget.charge(VALUE)?;
        let visitor = self.wrap(visitor);
        self.inner.deserialize_enum(name, variants, visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

struct Wrapped<'b, V> {
    visitor: V,
    /// A struct is wanted.
    object: bool,
    budget: &'b Budget,
}

macro_rules! visit {
    ($($method:ident: $kind:ty,)*) => {
        $(fn $method<E: Error>(self, value: $kind) -> Result<V::Value, E> {
            self.visitor.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Wrapped<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.object { f.write_str("an object") } else { self.visitor.expecting(f) }
    }

    visit! {
        visit_bool: bool, visit_i8: i8, visit_i16: i16, visit_i32: i32, visit_i64: i64, visit_i128: i128,
        visit_u8: u8, visit_u16: u16, visit_u32: u32, visit_u64: u64, visit_u128: u128, visit_f32: f32,
        visit_f64: f64, visit_char: char, visit_str: &str, visit_borrowed_str: &'de str, visit_string: String,
        visit_bytes: &[u8], visit_borrowed_bytes: &'de [u8], visit_byte_buf: Vec<u8>,
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(ObjectsOnly { inner: deserializer, budget: self.budget })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(ObjectsOnly { inner: deserializer, budget: self.budget })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        match self.object {
            true => Err(A::Error::invalid_type(Unexpected::Seq, &self)),
            false => self.visitor.visit_seq(WrappedAccess { inner: list, first: LIST, budget: self.budget }),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let first = if self.object { 0 } else { OBJECT };
        self.visitor.visit_map(WrappedAccess { inner: map, first, budget: self.budget })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(data)
    }
}

struct WrappedAccess<'b, A> {
    inner: A,
    /// The cost of the first element or entry: an empty list or map takes nothing.
    first: usize,
    budget: &'b Budget,
}

impl<'b, A> WrappedAccess<'b, A> {
    fn wrap<S>(&self, seed: S) -> WrappedSeed<'b, S> {
        WrappedSeed { seed, first: self.first, budget: self.budget }
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for WrappedAccess<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.wrap(seed);
        self.first = 0;
        self.inner.next_element_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WrappedAccess<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.wrap(seed);
        self.first = 0;
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.wrap(seed);
        self.inner.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

struct WrappedSeed<'b, S> {
    seed: S,
    first: usize,
    budget: &'b Budget,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for WrappedSeed<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.budget.charge(self.first)?;
        self.seed.deserialize(ObjectsOnly { inner: deserializer, budget: self.budget })
    }
}
