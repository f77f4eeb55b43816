//! What the page of statistics is asked for.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde::Deserialize;

use super::report::{counts, is_rate};
use crate::api::path;

/// Days of a span that is not chosen.
const DEFAULT_DAYS: i32 = 30;
/// The spans to choose from at once.
pub(super) const SPANS: [i32; 4] = [7, 30, 90, 365];
/// What sums are grouped by.
pub(super) const GROUPS: [&str; 6] = ["domain", "stream", "tag", "template", "provider", "link"];
/// What one value can be chosen of.
pub(super) const FILTERS: [&str; 5] = ["domain", "tag", "template", "provider", "link"];
/// Lengths of intervals.
pub(super) const INTERVALS: [&str; 4] = ["hour", "day", "week", "month"];
/// Groups of a page.
const GROUPS_SHOWN: &str = "20";
/// Days that counts are kept.
pub(super) const KEPT_DAYS: i64 = 400;
/// Weeks of a year: the same days of the week are compared.
const YEAR_DAYS: i64 = 364;

/// The fields of the form. All may be empty.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct StatsQuery {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) interval: String,
    pub(super) timezone: String,
    pub(super) group_by: String,
    pub(super) stream: String,
    /// The dimension of `value`.
    pub(super) only: String,
    pub(super) value: String,
    /// What is drawn for groups and comparisons: a count or a rate.
    pub(super) measure: String,
    /// `before` or `year`.
    pub(super) compare: String,
    /// Of downloads: the chart or the table.
    pub(super) of: String,
}

impl StatsQuery {
    /// With a span where none was given, and an interval that fits it.
    pub(super) fn completed(mut self, now: Timestamp) -> Self {
        for field in [&mut self.from, &mut self.to, &mut self.timezone, &mut self.value] {
            *field = field.trim().to_owned();
        }
        let zone = TimeZone::get(&self.timezone).unwrap_or(TimeZone::UTC);
        let today = now.to_zoned(zone).date();
        if self.to.is_empty() {
            self.to = today.to_string();
        }
        if self.from.is_empty() {
            let end = self.to.parse::<Date>().unwrap_or(today);
            let first = end.checked_sub((DEFAULT_DAYS - 1).days());
            self.from = first.unwrap_or(end).to_string();
        }
        if !INTERVALS.contains(&self.interval.as_str()) && self.interval != "total" {
            self.interval = match self.days().unwrap_or_default() {
                ..=2 => "hour",
                3..=92 => "day",
                _ => "week",
            }
            .to_owned();
        }
        let is_known = counts().any(|known| known == self.measure) || is_rate(&self.measure);
        if !is_known {
            self.measure = if self.is_about_links() { "clicked.total" } else { "delivered" }.to_owned();
        }
        self
    }

    /// Returns true if groups are links, or one link was chosen: there are clicks alone.
    pub(super) fn is_about_links(&self) -> bool {
        self.group_by == "link" || self.filter().is_some_and(|(dimension, _)| dimension == "link")
    }

    /// The value that was chosen.
    pub(super) fn filter(&self) -> Option<(&str, &str)> {
        let is_one = FILTERS.contains(&self.only.as_str()) && !self.value.is_empty();
        is_one.then_some((self.only.as_str(), self.value.as_str()))
    }

    /// The request to the API.
    pub(super) fn api(&self) -> String {
        let mut parameters = vec![
            ("from", self.from.as_str()),
            ("to", &self.to),
            ("interval", &self.interval),
            ("timezone", &self.timezone),
            ("group_by", &self.group_by),
            ("stream", &self.stream),
        ];
        if !self.group_by.is_empty() {
            parameters.push(("limit", GROUPS_SHOWN));
        }
        parameters.extend(self.filter());
        path(&["stats"], &parameters)
    }

    /// The request for published rates.
    pub(super) fn benchmark_api(&self) -> String {
        let span = [("from", self.from.as_str()), ("to", &self.to)];
        let [from, to] = span;
        path(&["stats", "benchmark"], &[from, to, ("timezone", &self.timezone), ("stream", &self.stream)])
    }

    /// The query of the page with other fields.
    pub(super) fn with(&self, changes: &[(&str, &str)]) -> String {
        let mut fields = vec![
            ("from", self.from.as_str()),
            ("to", &self.to),
            ("interval", &self.interval),
            ("timezone", &self.timezone),
            ("group_by", &self.group_by),
            ("stream", &self.stream),
            ("only", &self.only),
            ("value", &self.value),
            ("measure", &self.measure),
            ("compare", &self.compare),
        ];
        for (name, value) in changes {
            fields.retain(|(known, _)| known != name);
            fields.push((name, value));
        }
        path(&[], &fields)
    }

    /// The query with a span of days that ends today.
    pub(super) fn last(&self, days: i32, now: Timestamp) -> String {
        let zone = TimeZone::get(&self.timezone).unwrap_or(TimeZone::UTC);
        let today = now.to_zoned(zone).date();
        let first = today.checked_sub((days - 1).days()).unwrap_or(today);
        self.with(&[("from", &first.to_string()), ("to", &today.to_string()), ("interval", "")])
    }

    /// Returns true if the span is the last so many days.
    pub(super) fn is_last(&self, days: i32, now: Timestamp) -> bool {
        let (from, to) = (format!("from={}", self.from), format!("to={}", self.to));
        let last = self.last(days, now);
        last.contains(&from) && last.contains(&to)
    }

    /// Days of the span. None: a field is no date and no time.
    pub(super) fn days(&self) -> Option<i64> {
        let (from, to) = (self.from.parse::<Date>(), self.to.parse::<Date>());
        if let (Ok(from), Ok(to)) = (from, to) {
            return Some(i64::from(from.until(to).ok()?.get_days()) + 1);
        }
        let (from, to) = (self.from.parse::<Timestamp>().ok()?, self.to.parse::<Timestamp>().ok()?);
        Some(to.duration_since(from).as_hours().div_euclid(24) + 1)
    }

    /// The earlier span that is compared with. None: none is wanted, or the span cannot be read.
    pub(super) fn earlier(&self) -> Option<Self> {
        let days = match self.compare.as_str() {
            "before" => self.days().filter(|days| *days > 0)?,
            "year" => YEAR_DAYS,
            _ => return None,
        };
        let earlier = |text: &str| match text.parse::<Date>() {
            Ok(date) => Some(date.checked_sub(days.days()).ok()?.to_string()),
            Err(_) => {
                let time = text.parse::<Timestamp>().ok()?;
                Some(time.checked_sub(SignedDuration::from_hours(days * 24)).ok()?.to_string())
            }
        };
        Some(Self { from: earlier(&self.from)?, to: earlier(&self.to)?, ..self.clone() })
    }

    /// Returns true if the span begins before the oldest counts.
    pub(super) fn is_too_old(&self, now: Timestamp) -> bool {
        let oldest = now.checked_sub(SignedDuration::from_hours(KEPT_DAYS * 24)).unwrap_or(now);
        let oldest = oldest.to_string();
        self.from.get(..10) < oldest.get(..10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(from: &str, to: &str, compare: &str) -> StatsQuery {
        StatsQuery { from: from.into(), to: to.into(), compare: compare.into(), ..StatsQuery::default() }
    }

    #[test]
    fn a_span_is_completed() {
        let now: Timestamp = "2026-11-29T23:30:00Z".parse().expect("a time");
        let whole = StatsQuery::default().completed(now);
        assert_eq!((whole.from.as_str(), whole.to.as_str()), ("2026-10-31", "2026-11-29"));
        assert_eq!((whole.interval.as_str(), whole.measure.as_str()), ("day", "delivered"));
        let madrid = StatsQuery { timezone: "Europe/Madrid".into(), ..StatsQuery::default() };
        assert_eq!(madrid.completed(now).to, "2026-11-30", "it is tomorrow there");
        let year = query("2025-12-01", "2026-11-29", "").completed(now);
        assert_eq!(year.interval, "week");
        assert!(whole.is_last(30, now) && !whole.is_last(7, now));
    }

    #[test]
    fn the_span_before_is_as_long() {
        let before = query("2026-11-16", "2026-11-29", "before").earlier().expect("a span");
        assert_eq!((before.from.as_str(), before.to.as_str()), ("2026-11-02", "2026-11-15"));
        let year = query("2026-11-16", "2026-11-29", "year").earlier().expect("a span");
        assert_eq!((year.from.as_str(), year.to.as_str()), ("2025-11-17", "2025-11-30"));
        let times = query("2026-11-28T00:00:00Z", "2026-11-28T06:00:00Z", "before").earlier();
        assert_eq!(times.expect("a span").from, "2026-11-27T00:00:00Z");
        assert!(query("soon", "later", "before").earlier().is_none());
        assert!(query("2026-11-29", "2026-11-01", "before").earlier().is_none());
    }
}
