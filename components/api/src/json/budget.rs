//! A bound of the memory that the values of a body take once they are read.

use std::cell::Cell;

use serde::de::Error;

/// Octets of the values of a body, texts not counted: these take no more than they do in the body.
/// 100,000 recipients with two variables each are 120 MB.
pub(crate) const MAX_MEMORY: usize = 128 << 20;
/// Octets of a value or a key: 24 to 72 for most.
pub(super) const VALUE: usize = 64;
/// Octets of a list that has an element: room for four.
pub(super) const LIST: usize = 128;
/// Octets of a map that has an entry: room for eleven.
pub(super) const OBJECT: usize = 640;

/// What is left of [`MAX_MEMORY`].
#[derive(Debug)]
pub(crate) struct Budget(Cell<usize>);

impl Default for Budget {
    fn default() -> Self {
        Self(Cell::new(MAX_MEMORY))
    }
}

impl Budget {
    pub(super) fn charge<E: Error>(&self, octets: usize) -> Result<(), E> {
        let left = self.0.get().checked_sub(octets);
        self.0.set(left.ok_or_else(|| {
            E::custom(format!(
                "the values take more than {} MiB of memory, send fewer at once",
                MAX_MEMORY >> 20
            ))
        })?);
        Ok(())
    }
}
