//! Statistics of mail: a reader that rolls the event log up by hour, and the reports of what it
//! counted.
//!
//! [`StatisticsReader`] follows the event log and adds to the rows of the store, in one transaction
//! with its own position. [`Statistics`] answers questions from those rows. `DESIGN.md` says what
//! is counted where, and what is promised.

mod benchmark;
mod bounce;
mod count;
mod fold;
mod known;
mod metrics;
mod provider;
mod reader;
mod report;
mod span;

pub use benchmark::{PublishedRate, RateKind, published_rates};
pub use relevo_store::{Dimension, StatisticsGroup};

pub use metrics::StatisticsMetrics;
pub use provider::provider_name;
pub use reader::{StatisticsReader, reader_name};
pub use report::{
    Bounces, Counts, Engagement, MAX_GROUPS, RATES, RateDefinition, Rates, Report, ReportError,
    ReportRequest, Series, SpanCounts, Statistics,
};
pub use span::{Interval, MAX_INTERVALS, Span, SpanError};

/// The value of what has no place of its own: a value beyond the bound of its hour, or a provider
/// that is not known.
pub const OTHER: &str = "(other)";
