//! What the API answers about suppressions.

use serde::Deserialize;

/// An entry.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) email: String,
    pub(super) stream: String,
    pub(super) origin: String,
    #[serde(default)]
    pub(super) detail: String,
    #[serde(default)]
    pub(super) source_id: Option<String>,
    pub(super) created_at: String,
    #[serde(default)]
    pub(super) rule: Option<String>,
    #[serde(default)]
    pub(super) provider: Option<String>,
    #[serde(default)]
    pub(super) mx: Option<String>,
}

impl Entry {
    /// The topic whose mail it stops; none: another stream.
    pub(super) fn topic(&self) -> Option<&str> {
        self.stream.strip_prefix("topic:")
    }
}

/// The answer to what changed several entries.
#[derive(Debug, Deserialize)]
pub(super) struct Counted {
    pub(super) count: u64,
}

/// What was undone, or would be.
#[derive(Debug, Deserialize)]
pub(super) struct Undone {
    pub(super) count: u64,
    #[serde(default)]
    pub(super) has_more: bool,
    #[serde(default)]
    pub(super) data: Vec<Entry>,
}
