//! How keys and sections hold values. What single values look like is in `formats`.

use std::ops::Deref;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny};
use toml::Spanned;

use super::document::FileSpan;

/// A value of any type.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Raw {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Raw>),
    Other(IgnoredAny),
}

/// What a key may hold: the format of its text or number.
pub(crate) trait Format {
    type Value: Clone;

    /// Reads a value, or says what it must be.
    fn read(raw: Raw) -> Result<Self::Value, String>;
}

/// A value with its position in the file.
pub(crate) struct Located<F: Format> {
    pub(crate) value: F::Value,
    pub(crate) span: FileSpan,
}

/// The values of a list.
pub(crate) type List<F> = Vec<Located<F>>;

/// A list without the positions.
pub(crate) fn plain<F: Format>(list: &List<F>) -> Vec<F::Value> {
    list.iter().map(|at| at.value.clone()).collect()
}

struct Read<F: Format>(F::Value);

impl<'de, F: Format> Deserialize<'de> for Read<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        F::read(Raw::deserialize(deserializer)?).map(Self).map_err(D::Error::custom)
    }
}

/// As a struct around the value, so that the deserializer adds the span of the value to an error.
#[derive(Deserialize)]
#[serde(bound(deserialize = "F: Format"))]
struct WithSpan<F: Format>(Read<F>);

impl<'de, F: Format> Deserialize<'de> for Located<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let placed = Spanned::<WithSpan<F>>::deserialize(deserializer)?;
        let span = placed.span().into();
        Ok(Self { value: placed.into_inner().0.0, span })
    }
}

/// A key that may be absent.
pub(crate) struct Key<F: Format>(Option<Located<F>>);

impl<F: Format> Default for Key<F> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, F: Format> Deserialize<'de> for Key<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Located::deserialize(deserializer).map(|at| Self(Some(at)))
    }
}

impl<F: Format> Key<F> {
    /// The value with its position.
    pub(crate) fn at(&self) -> Option<&Located<F>> {
        self.0.as_ref()
    }

    /// The value.
    pub(crate) fn value(&self) -> Option<F::Value> {
        self.0.as_ref().map(|at| at.value.clone())
    }

    /// The value, or `default` when the key is absent.
    pub(crate) fn or(&self, default: F::Value) -> F::Value {
        self.value().unwrap_or(default)
    }
}

/// A table with its position in the file. An absent one has defaults and an empty span.
#[derive(Default)]
pub(crate) struct Section<T> {
    table: T,
    pub(crate) span: FileSpan,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Section<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = Spanned::<T>::deserialize(deserializer)?;
        let span = table.span().into();
        Ok(Self { table: table.into_inner(), span })
    }
}

impl<T> Deref for Section<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.table
    }
}
