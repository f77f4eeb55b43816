//! Lists in pages: `?limit=20&after=CURSOR`, answered by `{"object":"list","has_more":true,"data":[...]}`.

use serde::{Deserialize, Serialize};

use crate::error::RequestError;

/// Entries of a page, unless `limit` says less.
const MAX: u32 = 100;
/// Entries of a page without `limit`.
const DEFAULT: u32 = 20;

/// Parameters of every list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Entries of a page: 1 to 100; 20 without it.
    pub(crate) limit: Option<String>,
    /// The id of the last entry of the page before.
    pub(crate) after: Option<String>,
}

/// Parameters that were checked.
pub(crate) struct Bounds {
    /// The cursor: the id of the last entry of the page before; empty for the first page.
    pub(crate) after: String,
    limit: u32,
}

impl ListQuery {
    pub(crate) fn bounds(self) -> Result<Bounds, RequestError> {
        let limit = match self.limit.as_deref() {
            None | Some("") => Some(DEFAULT),
            Some(text) => text.parse().ok().filter(|limit| (1..=MAX).contains(limit)),
        };
        let limit = limit.ok_or_else(|| RequestError::invalid("limit", format!("must be 1 to {MAX}")))?;
        Ok(Bounds { after: self.after.unwrap_or_default(), limit })
    }
}

impl Bounds {
    /// Entries of a page.
    pub(crate) fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    /// Entries to read: one more than are shown tells whether there is another page.
    pub(crate) fn with_one_more(&self) -> u32 {
        self.limit + 1
    }

    /// A page of what [`Self::with_one_more`] found.
    pub(crate) fn page<T, V>(&self, mut found: Vec<T>, view: impl FnMut(T) -> V) -> Page<V> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let has_more = found.len() > limit;
        found.truncate(limit);
        Page {
            object: "list",
            has_more,
            data: found.into_iter().map(view).collect(),
            next: None,
            unavailable_shards: Vec::new(),
        }
    }
}

/// A page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Page<V> {
    object: &'static str,
    /// There are entries behind the last one.
    has_more: bool,
    data: Vec<V>,
    /// For `after` of the next page, where that is not the id of the last entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Shards of a cluster that could not be asked: what they have is missing here. A list of emails goes
    /// on with it when they answer again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unavailable_shards: Vec<u16>,
}

impl<V> Page<V> {
    /// A list that has one page.
    pub(crate) fn whole(data: Vec<V>) -> Self {
        Self::with_cursor(data, None)
    }

    /// A page behind which the list goes on at `next`.
    pub(crate) fn with_cursor(data: Vec<V>, next: Option<String>) -> Self {
        Self { object: "list", has_more: next.is_some(), data, next, unavailable_shards: Vec::new() }
    }

    /// The same, without what these shards have.
    pub(crate) fn without(self, unavailable_shards: Vec<u16>) -> Self {
        Self { unavailable_shards, ..self }
    }
}
