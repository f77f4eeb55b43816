//! The answers of `GET /stats` and `GET /stats/benchmark`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The counts that pages and files have: paths in the `counts` of an answer.
pub(crate) const COUNTS: [&str; 24] = [
    "accepted",
    "sent",
    "delivered",
    "deferred",
    "bounced.total",
    "bounced.hard",
    "bounced.soft",
    "bounced.block",
    "bounced.content",
    "bounced.other",
    "suppressed",
    "rejected",
    "failed",
    "expired",
    "canceled",
    "discarded",
    "opened.total",
    "opened.human",
    "opened.unique",
    "opened.unique_human",
    "clicked.total",
    "clicked.human",
    "clicked.unique",
    "clicked.unique_human",
];
/// The counts that follow these: they have no parts.
pub(crate) const MORE_COUNTS: [&str; 2] = ["complained", "unsubscribed"];

/// Every count.
pub(crate) fn counts() -> impl Iterator<Item = &'static str> {
    COUNTS.into_iter().chain(MORE_COUNTS)
}

/// Counts and rates of a span.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Figures {
    counts: Value,
    rates: BTreeMap<String, Option<f64>>,
}

impl Figures {
    /// A count by its path, such as `bounced.hard`.
    #[must_use]
    pub(crate) fn count(&self, path: &str) -> u64 {
        let value = path.split('.').try_fold(&self.counts, |value, key| value.get(key));
        value.and_then(Value::as_u64).unwrap_or_default()
    }

    /// A rate by its name. None: it would divide by 0.
    #[must_use]
    pub(crate) fn rate(&self, name: &str) -> Option<f64> {
        self.rates.get(name).copied().flatten()
    }

    /// A count or a rate.
    #[must_use]
    pub(crate) fn measure(&self, name: &str) -> Option<f64> {
        if is_rate(name) { self.rate(name) } else { Some(self.count(name) as f64) }
    }
}

/// Returns true if a measure is a share.
#[must_use]
pub(crate) fn is_rate(measure: &str) -> bool {
    measure.contains("_rate")
}

/// The answer of `GET /stats`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StatsReport {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) timezone: String,
    pub(crate) interval: String,
    #[serde(default)]
    pub(crate) group_by: Option<String>,
    pub(crate) totals: Figures,
    pub(crate) data: Vec<StatsSeries>,
    #[serde(default)]
    pub(crate) has_more: bool,
    #[serde(default)]
    pub(crate) rates: Vec<RateOf>,
}

impl StatsReport {
    /// The intervals of all mail; none of groups, and none of a span that is one.
    #[must_use]
    pub(crate) fn intervals(&self) -> &[IntervalFigures] {
        match (&self.group_by, self.data.first()) {
            (None, Some(series)) => &series.intervals,
            _ => &[],
        }
    }
}

/// A group, or all mail.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StatsSeries {
    #[serde(default)]
    pub(crate) value: Option<String>,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    #[serde(default)]
    pub(crate) intervals: Vec<IntervalFigures>,
}

/// An interval of a span.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct IntervalFigures {
    pub(crate) from: String,
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

/// What a rate divides by what: paths of counts.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RateOf {
    pub(crate) name: String,
    pub(crate) numerator: String,
    pub(crate) denominator: String,
}

/// The answer of `GET /stats/benchmark`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Benchmark {
    pub(crate) data: Vec<BenchmarkRate>,
}

/// A published rate beside one's own.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct BenchmarkRate {
    pub(crate) own: Option<f64>,
    pub(crate) rate: String,
    pub(crate) value: f64,
    pub(crate) kind: String,
    pub(crate) year: u64,
    pub(crate) publisher: String,
    pub(crate) report: String,
    pub(crate) url: String,
    pub(crate) note: String,
}

impl BenchmarkRate {
    /// The address of the report, if a browser may be sent there.
    #[must_use]
    pub(crate) fn link(&self) -> Option<&str> {
        let is_web = self.url.starts_with("https://") || self.url.starts_with("http://");
        is_web.then_some(self.url.as_str())
    }
}
