//! Reports: sums of a span by interval and group, with rates.

use std::sync::Arc;

use relevo_store::{
    ControlStoreError, Counter, Dimension, StatisticsCounts, StatisticsGroup, StatisticsQuery,
    StatisticsStore, StatisticsSum,
};

mod answer;

pub use answer::{Bounces, Counts, Engagement, RATES, RateDefinition, Rates, Report, Series, SpanCounts};

use crate::span::Span;

/// The most intervals of all groups together.
const MAX_SUMS: usize = 2_000;
/// The most groups.
pub const MAX_GROUPS: usize = 100;

/// What a report is asked for.
#[derive(Debug, Clone)]
pub struct ReportRequest {
    /// Id of the tenant.
    pub tenant: String,
    /// The span.
    pub span: Span,
    /// What rows are about: the total, or the dimension of the group or filter.
    pub dimension: Dimension,
    /// How sums are grouped.
    pub group: StatisticsGroup,
    /// Only this value of the dimension.
    pub value: Option<String>,
    /// Only this stream.
    pub stream: Option<String>,
    /// The most groups, up to [`MAX_GROUPS`].
    pub limit: usize,
}

/// The reason why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The answer would be too large.
    #[error(
        "the answer would have more than {MAX_SUMS} intervals: choose a longer interval, or a lower limit"
    )]
    TooLarge,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] ControlStoreError),
}

/// Reports from the rows of the store. Cheap to clone.
#[derive(Clone)]
pub struct Statistics {
    store: Arc<dyn StatisticsStore>,
    reader: Arc<str>,
}

impl Statistics {
    /// `reader` is the name of the reader of this process.
    #[must_use]
    pub fn new(store: Arc<dyn StatisticsStore>, reader: &str) -> Self {
        Self { store, reader: reader.into() }
    }

    /// Makes a report.
    ///
    /// # Errors
    /// [`ReportError`].
    pub async fn report(&self, request: &ReportRequest) -> Result<Report, ReportError> {
        // Before the sums: they have at least what was counted up to here.
        let cursor = self.store.statistics_cursor(&self.reader).await?;
        let (groups, has_more) = self.groups(request).await?;
        if groups.len().max(1) * request.span.len() > MAX_SUMS {
            return Err(ReportError::TooLarge);
        }
        let mut query = query(request, request.dimension, request.span.edges.clone());
        let sums = match request.group {
            StatisticsGroup::None => self.store.statistics(&query).await?,
            _ if groups.is_empty() => Vec::new(),
            StatisticsGroup::Value => {
                query.values.clone_from(&groups);
                self.store.statistics(&query).await?
            }
            StatisticsGroup::Stream => self.store.statistics(&query).await?,
        };
        let totals = self.totals(request).await?;
        let groups = match request.group {
            StatisticsGroup::None => vec![None],
            _ => groups.into_iter().map(Some).collect(),
        };
        let data = groups.into_iter().map(|group| series(&request.span, group, &sums)).collect();
        Ok(Report { span: request.span.clone(), cursor, totals, data, has_more })
    }

    /// The groups with the largest sums.
    async fn groups(&self, request: &ReportRequest) -> Result<(Vec<String>, bool), ReportError> {
        if request.group == StatisticsGroup::None {
            return Ok((Vec::new(), false));
        }
        let order = match request.dimension {
            Dimension::Link => Counter::Clicked,
            Dimension::Provider => Counter::Sent,
            _ => Counter::Accepted,
        };
        let limit = request.limit.clamp(1, MAX_GROUPS);
        let query = query(request, request.dimension, request.span.whole());
        let max = u32::try_from(limit + 1).unwrap_or(u32::MAX);
        let mut groups = self.store.statistics_groups(&query, order, max).await?;
        let has_more = groups.len() > limit;
        groups.truncate(limit);
        Ok((groups, has_more))
    }

    /// The sum of all mail of the span: of the filter's value where there is one, never of groups. A
    /// message with two tags is in two groups.
    async fn totals(&self, request: &ReportRequest) -> Result<StatisticsCounts, ReportError> {
        let dimension = if request.value.is_some() { request.dimension } else { Dimension::Total };
        let query = StatisticsQuery {
            group: StatisticsGroup::None,
            ..query(request, dimension, request.span.whole())
        };
        Ok(merged(&self.store.statistics(&query).await?))
    }
}

fn query(request: &ReportRequest, dimension: Dimension, edges: Vec<i64>) -> StatisticsQuery {
    StatisticsQuery {
        tenant: request.tenant.clone(),
        dimension,
        values: request.value.iter().cloned().collect(),
        stream: request.stream.clone(),
        edges,
        group: request.group,
    }
}

fn merged(sums: &[StatisticsSum]) -> StatisticsCounts {
    let mut counts = StatisticsCounts::default();
    for sum in sums {
        counts.merge(&sum.counts);
    }
    counts
}

/// All intervals of a group, also those without counts. A span that is one interval has none.
fn series(span: &Span, group: Option<String>, sums: &[StatisticsSum]) -> Series {
    let own = sums.iter().filter(|sum| group.as_ref().is_none_or(|group| *group == sum.group));
    let mut intervals = vec![StatisticsCounts::default(); span.len()];
    for sum in own {
        if let Some(counts) = intervals.get_mut(sum.interval) {
            counts.merge(&sum.counts);
        }
    }
    let mut total = StatisticsCounts::default();
    for counts in &intervals {
        total.merge(counts);
    }
    Series::new(span, group, &total, &intervals)
}
