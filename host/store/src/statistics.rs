//! Statistics of mail: sums by hour, rolled up from the event log.
//!
//! A reader of the event log adds a batch of events with [`StatisticsStore::add_statistics`]: sums,
//! marks of what was seen, and the reader's position change in one transaction.

mod counter;
mod read;
mod write;

use async_trait::async_trait;

pub use counter::{COUNTERS, Counter, StatisticsCounts};

use crate::{ControlStore, ControlStoreError};

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// All mail. The value is empty.
    Total,
    /// The sending domain.
    Domain,
    /// A tag, `name:value`, or `name` where it has no value.
    Tag,
    /// The id of the template.
    Template,
    /// The provider of the recipient's mailbox.
    Provider,
    /// The destination of a link. Only clicks are counted.
    Link,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Total, Self::Domain, Self::Tag, Self::Template, Self::Provider, Self::Link];

    /// The name in the store and in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Domain => "domain",
            Self::Tag => "tag",
            Self::Template => "template",
            Self::Provider => "provider",
            Self::Link => "link",
        }
    }

    fn read(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dimension| dimension.name() == name)
    }
}

/// Counts of one hour that are added to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatisticsRow {
    /// Id of the tenant.
    pub tenant: String,
    /// What the row is about.
    pub dimension: Dimension,
    /// Hours since 1970, UTC.
    pub hour: i64,
    /// The name of the stream.
    pub stream: &'static str,
    /// The value of the dimension; empty for [`Dimension::Total`].
    pub value: String,
    /// What is added.
    pub counts: StatisticsCounts,
}

/// Something that is counted once for a recipient of a message, if it was not counted before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenCandidate {
    /// The message, by the octets of its id. They begin with the time of acceptance.
    pub message: [u8; 16],
    /// The recipient's position in the envelope.
    pub recipient: i64,
    /// A digest of the link; 0 for the message itself.
    pub link: i64,
    /// What is counted for each mark that is new. A mark occurs once.
    pub credits: Vec<SeenCredit>,
}

/// What is counted when a mark is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenCredit {
    /// The mark, one bit.
    pub mark: i64,
    /// The counter that is raised by one.
    pub counter: Counter,
    /// The rows of the batch that it is raised in.
    pub rows: Vec<usize>,
}

/// The provider that the MX hosts of a recipient domain belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatisticsSite {
    /// The recipient domain.
    pub domain: String,
    /// The provider.
    pub provider: String,
    /// Days since 1970: when the MX host was spoken to.
    pub seen_on: i64,
}

/// What a batch of events comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatisticsBatch {
    /// The name of the reader.
    pub reader: String,
    /// Its position before the batch.
    pub after: i64,
    /// Its position behind the batch.
    pub cursor: i64,
    /// Counts. A key occurs once.
    pub rows: Vec<StatisticsRow>,
    /// What is counted only once. A key occurs once.
    pub seen: Vec<SeenCandidate>,
    /// Providers that were learnt. A domain occurs once.
    pub sites: Vec<StatisticsSite>,
}

/// How sums are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatisticsGroup {
    /// Not at all: one sum for each interval.
    None,
    /// By the value of the dimension.
    Value,
    /// By stream.
    Stream,
}

/// Which sums are asked for.
#[derive(Debug, Clone)]
pub struct StatisticsQuery {
    /// Id of the tenant.
    pub tenant: String,
    /// What the rows are about.
    pub dimension: Dimension,
    /// Only these values; empty: all.
    pub values: Vec<String>,
    /// Only this stream.
    pub stream: Option<String>,
    /// Hours since 1970: each interval begins at one of them and ends before the next one.
    pub edges: Vec<i64>,
    /// How sums are grouped.
    pub group: StatisticsGroup,
}

/// A sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatisticsSum {
    /// The position of the interval in [`StatisticsQuery::edges`].
    pub interval: usize,
    /// The value or stream that it is grouped by; empty without groups.
    pub group: String,
    /// The counts.
    pub counts: StatisticsCounts,
}

/// What is older than this is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatisticsAge {
    /// Rows of hours before this one.
    pub hour: i64,
    /// Marks of messages with a lesser id.
    pub message: [u8; 16],
    /// Recipient domains that were not seen since this day.
    pub day: i64,
}

/// Statistics.
#[async_trait]
pub trait StatisticsStore: Send + Sync {
    /// The position of a reader; 0 before the first batch.
    async fn statistics_cursor(&self, reader: &str) -> Result<i64, ControlStoreError>;

    /// Adds a batch and moves the reader's position, in one step: neither a crash nor a repetition
    /// loses or doubles a count.
    ///
    /// # Errors
    /// [`ControlStoreError::Stale`] when the reader is not at the position `after` any more.
    async fn add_statistics(&self, batch: StatisticsBatch) -> Result<(), ControlStoreError>;

    /// The distinct values of the rows of a tenant and hour, with their dimensions.
    async fn statistics_values(
        &self,
        tenant: &str,
        hour: i64,
    ) -> Result<Vec<(Dimension, String)>, ControlStoreError>;

    /// Recipient domains whose provider is known, those seen last first, at most `max`.
    async fn statistics_sites(&self, max: u32) -> Result<Vec<StatisticsSite>, ControlStoreError>;

    /// Sums by interval and group. Intervals without counts are left out.
    async fn statistics(&self, query: &StatisticsQuery) -> Result<Vec<StatisticsSum>, ControlStoreError>;

    /// Groups of a query with the largest sums of `order` over all intervals, at most `max`.
    async fn statistics_groups(
        &self,
        query: &StatisticsQuery,
        order: Counter,
        max: u32,
    ) -> Result<Vec<String>, ControlStoreError>;

    /// Removes what is old. Returns the number of rows.
    async fn prune_statistics(&self, age: StatisticsAge) -> Result<u64, ControlStoreError>;
}

#[async_trait]
impl StatisticsStore for ControlStore {
    async fn statistics_cursor(&self, reader: &str) -> Result<i64, ControlStoreError> {
        read::cursor(self, reader).await
    }

    async fn add_statistics(&self, batch: StatisticsBatch) -> Result<(), ControlStoreError> {
        write::add(self, batch).await
    }

    async fn statistics_values(
        &self,
        tenant: &str,
        hour: i64,
    ) -> Result<Vec<(Dimension, String)>, ControlStoreError> {
        read::values(self, tenant, hour).await
    }

    async fn statistics_sites(&self, max: u32) -> Result<Vec<StatisticsSite>, ControlStoreError> {
        read::sites(self, max).await
    }

    async fn statistics(&self, query: &StatisticsQuery) -> Result<Vec<StatisticsSum>, ControlStoreError> {
        read::sums(self, query).await
    }

    async fn statistics_groups(
        &self,
        query: &StatisticsQuery,
        order: Counter,
        max: u32,
    ) -> Result<Vec<String>, ControlStoreError> {
        read::groups(self, query, order, max).await
    }

    async fn prune_statistics(&self, age: StatisticsAge) -> Result<u64, ControlStoreError> {
        write::prune(self, age).await
    }
}
