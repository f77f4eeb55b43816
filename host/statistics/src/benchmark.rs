//! Published rates of the sector, to be shown beside one's own.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// What a published figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateKind {
    /// What senders had on average.
    Average,
    /// What a receiver asks senders to stay below.
    Limit,
}

/// A published rate and where it was published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PublishedRate {
    /// The name of the rate.
    pub rate: String,
    /// The rate, from 0 to 1.
    pub value: f64,
    /// An average or a limit.
    pub kind: RateKind,
    /// The year that the figure is about.
    pub year: u16,
    /// Who published it.
    pub publisher: String,
    /// The report.
    pub report: String,
    /// Where it can be read.
    pub url: String,
    /// Which mail it is about.
    pub note: String,
}

static PUBLISHED: LazyLock<Vec<PublishedRate>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../data/benchmark.json")).unwrap_or_default());

/// All published rates. They are data of the repository: `data/benchmark.json`.
#[must_use]
pub fn published_rates() -> &'static [PublishedRate] {
    &PUBLISHED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RATES;

    #[test]
    fn every_published_rate_has_a_counterpart_and_a_source() {
        let read: Vec<PublishedRate> =
            serde_json::from_str(include_str!("../data/benchmark.json")).expect("the data file is good");
        assert_eq!(read, published_rates());
        for published in read {
            let name = &published.rate;
            assert!(RATES.iter().any(|rate| rate.name == name), "{name} is not a rate");
            assert!((0.0..=1.0).contains(&published.value), "{name}");
            assert!(published.url.starts_with("http") && !published.publisher.is_empty(), "{name}");
            assert!((2019..=2026).contains(&published.year), "{name}");
        }
    }
}
