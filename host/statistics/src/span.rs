//! Spans of time and their intervals, in the caller's time zone.
//!
//! Rows are kept by hours of UTC. A span is widened to whole hours, and an interval begins with the
//! first hour that begins in it. So in zones that differ from UTC by a part of an hour a day begins
//! up to 45 minutes after local midnight; the answer says exactly when.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

/// The most intervals of a span.
pub const MAX_INTERVALS: usize = 1_000;
/// The longest span, a leap year: so far back rows are kept.
const MAX_HOURS: i64 = 366 * 24;
/// Span without `from`, in days.
const DEFAULT_DAYS: i64 = 30;
const HOUR_MILLIS: i64 = 3_600_000;

/// The length of intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Interval {
    /// Hours of UTC.
    Hour,
    /// From midnight to midnight.
    #[default]
    Day,
    /// From Monday to Sunday (ISO 8601).
    Week,
    /// Calendar months.
    Month,
    /// One interval.
    Total,
}

impl Interval {
    /// The names, in order of length.
    pub const NAMES: [&str; 5] = ["hour", "day", "week", "month", "total"];
    const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Total];

    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The interval of a name.
    #[must_use]
    pub fn read(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|interval| interval.name() == name)
    }
}

/// The reason why a span cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SpanError {
    /// The parameter that is wrong.
    pub param: &'static str,
    /// What is wrong.
    pub message: String,
}

impl SpanError {
    fn new(param: &'static str, message: impl Into<String>) -> Self {
        Self { param, message: message.into() }
    }
}

/// A span of time, divided into intervals.
#[derive(Debug, Clone)]
pub struct Span {
    zone: TimeZone,
    /// Hours since 1970, ascending: each interval begins at one and ends before the next.
    pub(crate) edges: Vec<i64>,
}

impl Span {
    /// Reads a span: `from` and `to` are RFC 3339 or dates, and `to` is exclusive, except that a
    /// date as `to` is included. Without `to` the span ends now, without `from` it has 30 days.
    ///
    /// # Errors
    /// The parameter that cannot be read, a span that is empty or too long, or too many intervals.
    pub fn read(
        from: Option<&str>,
        to: Option<&str>,
        interval: Interval,
        timezone: &str,
        now: i64,
    ) -> Result<Self, SpanError> {
        let zone = zone(timezone)?;
        let to = match to {
            Some(text) => instant("to", text, &zone, true)?,
            None => now,
        };
        let is_date = from.is_some_and(is_date);
        let from = match from {
            Some(text) => instant("from", text, &zone, false)?,
            None => to.saturating_sub(DEFAULT_DAYS * 24 * HOUR_MILLIS),
        };
        // A date begins with its first full hour; a time is within the hour that it is in.
        let first = if is_date { hour_after(from) } else { from.div_euclid(HOUR_MILLIS) };
        let last = hour_after(to);
        if from >= to {
            return Err(SpanError::new("to", "must be later than `from`"));
        }
        if last - first > MAX_HOURS {
            return Err(SpanError::new("from", "must be at most 366 days before `to`"));
        }
        let edges = edges(first, last, interval, &zone)?;
        Ok(Self { zone, edges })
    }

    /// The number of intervals.
    #[must_use]
    pub fn len(&self) -> usize {
        self.edges.len().saturating_sub(1)
    }

    /// False: a span has at least one interval.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first and the last edge alone: the span as one interval.
    pub(crate) fn whole(&self) -> Vec<i64> {
        self.edges.first().into_iter().chain(self.edges.last()).copied().collect()
    }

    /// The beginning of an interval, or the end of the last one: RFC 3339 with the zone's offset.
    pub(crate) fn time(&self, edge: usize) -> String {
        let hour = self.edges.get(edge).or(self.edges.last()).copied().unwrap_or_default();
        let Ok(time) = Timestamp::from_second(hour.saturating_mul(3_600)) else { return String::new() };
        time.display_with_offset(self.zone.to_offset(time)).to_string()
    }

    /// The position of the last edge.
    pub(crate) fn end(&self) -> usize {
        self.len()
    }

    /// The name of the time zone.
    pub(crate) fn timezone(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }
}

fn zone(name: &str) -> Result<TimeZone, SpanError> {
    let unknown = || SpanError::new("timezone", "must be a name of the IANA database, such as Europe/Madrid");
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name).map_err(|_| unknown())
}

/// Milliseconds since 1970 of RFC 3339, or of the beginning of a date; of the end if it is included.
fn instant(param: &'static str, text: &str, zone: &TimeZone, is_included: bool) -> Result<i64, SpanError> {
    let wrong =
        || SpanError::new(param, "must be RFC 3339 (`2026-12-24T18:00:00+01:00`) or a date (`2026-12-24`)");
    if is_date(text) {
        let date: Date = text.parse().map_err(|_| wrong())?;
        let date = if is_included { date.tomorrow().map_err(|_| wrong())? } else { date };
        return Ok(date.to_zoned(zone.clone()).map_err(|_| wrong())?.timestamp().as_millisecond());
    }
    Ok(text.parse::<Timestamp>().map_err(|_| wrong())?.as_millisecond())
}

/// Returns true if a text can only be a date: every time is longer.
fn is_date(text: &str) -> bool {
    text.len() == "2026-12-24".len()
}

/// The first full hour that does not begin before a time.
fn hour_after(millis: i64) -> i64 {
    millis.saturating_add(HOUR_MILLIS - 1).div_euclid(HOUR_MILLIS)
}

fn edges(first: i64, last: i64, interval: Interval, zone: &TimeZone) -> Result<Vec<i64>, SpanError> {
    let mut edges = vec![first];
    while edges.len() <= MAX_INTERVALS {
        let edge = edges.last().copied().unwrap_or(last);
        if edge >= last {
            return Ok(edges);
        }
        let next = match interval {
            Interval::Hour => edge + 1,
            Interval::Total => last,
            Interval::Day | Interval::Week | Interval::Month => next_boundary(edge, interval, zone)
                .ok_or_else(|| SpanError::new("to", "is beyond the calendar"))?,
        };
        edges.push(next.clamp(edge + 1, last));
    }
    if edges.last() == Some(&last) {
        return Ok(edges);
    }
    Err(SpanError::new("interval", format!("makes more than {MAX_INTERVALS} intervals: choose a longer one")))
}

/// The first full hour at or after the next local boundary behind `hour`.
fn next_boundary(hour: i64, interval: Interval, zone: &TimeZone) -> Option<i64> {
    let local: Zoned = Timestamp::from_second(hour.checked_mul(3_600)?).ok()?.to_zoned(zone.clone());
    let date = local.date();
    let next = match interval {
        Interval::Week => date.nth_weekday(1, Weekday::Monday).ok()?,
        Interval::Month => date.first_of_month().checked_add(1.month()).ok()?,
        _ => date.tomorrow().ok()?,
    };
    let boundary = next.to_zoned(zone.clone()).ok()?.timestamp();
    Some(hour_after(boundary.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_000_000_000;

    fn span(from: &str, to: &str, interval: Interval, timezone: &str) -> Vec<String> {
        let span = Span::read(Some(from), Some(to), interval, timezone, NOW).unwrap();
        (0..=span.end()).map(|edge| span.time(edge)).collect()
    }

    fn refused(from: &str, to: &str, interval: Interval, timezone: &str) -> &'static str {
        Span::read(Some(from), Some(to), interval, timezone, NOW).unwrap_err().param
    }

    #[test]
    fn days_follow_the_zone_and_its_change_of_offset() {
        let days = span("2026-10-24", "2026-10-26", Interval::Day, "Europe/Madrid");
        assert_eq!(
            days,
            [
                "2026-10-24T00:00:00+02:00",
                "2026-10-25T00:00:00+02:00",
                "2026-10-26T00:00:00+01:00",
                "2026-10-27T00:00:00+01:00"
            ]
        );
        let span = Span::read(Some("2026-10-25"), Some("2026-10-25"), Interval::Hour, "Europe/Madrid", NOW);
        assert_eq!(span.unwrap().len(), 25, "the day has an hour more");
    }

    #[test]
    fn zones_with_parts_of_an_hour_begin_with_the_next_hour_of_utc() {
        let days = span("2026-01-01", "2026-01-02", Interval::Day, "Asia/Kolkata");
        assert_eq!(
            days,
            ["2026-01-01T00:30:00+05:30", "2026-01-02T00:30:00+05:30", "2026-01-03T00:30:00+05:30"]
        );
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        let weeks = span("2026-11-04", "2026-11-17", Interval::Week, "UTC");
        assert_eq!(
            weeks.iter().map(|t| &t[..10]).collect::<Vec<_>>(),
            ["2026-11-04", "2026-11-09", "2026-11-16", "2026-11-18"]
        );
        let months =
            span("2026-01-31T12:30:00Z", "2026-03-10T00:00:00Z", Interval::Month, "America/New_York");
        assert_eq!(
            months,
            [
                "2026-01-31T07:00:00-05:00",
                "2026-02-01T00:00:00-05:00",
                "2026-03-01T00:00:00-05:00",
                "2026-03-09T20:00:00-04:00"
            ]
        );
        assert_eq!(span("2026-01-01", "2026-12-31", Interval::Total, "UTC").len(), 2);
    }

    #[test]
    fn a_zone_without_midnight_has_every_day() {
        // Clocks went from 23:59:59 to 01:00 in Beirut on this day.
        let days = span("2022-03-26", "2022-03-28", Interval::Day, "Asia/Beirut");
        assert_eq!(days[1], "2022-03-27T01:00:00+03:00");
        assert_eq!(days.len(), 4);
    }

    #[test]
    fn without_bounds_it_is_the_last_thirty_days() {
        let span = Span::read(None, None, Interval::Day, "UTC", NOW).unwrap();
        assert_eq!(
            (span.time(0), span.time(span.end())),
            ("2026-10-19T11:00:00+00:00".into(), "2026-11-18T12:00:00+00:00".into())
        );
    }

    #[test]
    fn mistakes_are_named() {
        use Interval::{Day, Hour};
        assert_eq!(refused("2026-01-02", "2026-01-01", Day, "UTC"), "to");
        assert_eq!(refused("2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z", Day, "UTC"), "to");
        assert_eq!(refused("yesterday", "2026-01-01", Day, "UTC"), "from");
        assert_eq!(refused("2026-13-01", "2026-12-01", Day, "UTC"), "from");
        assert_eq!(refused("2026-01-01", "2026-01-01T10:00:00", Day, "UTC"), "to");
        assert_eq!(refused("2025-01-01", "2026-02-01", Day, "UTC"), "from");
        assert_eq!(refused("2026-01-01", "2026-02-15", Hour, "UTC"), "interval");
        assert_eq!(refused("2026-01-01", "9999-12-31", Day, "UTC"), "to");
        for zone in ["", "Mars/Base", "../etc/passwd", "+25:00", &"x".repeat(10_000)] {
            assert_eq!(refused("2026-01-01", "2026-01-02", Day, zone), "timezone", "{zone}");
        }
        assert_eq!(
            Span::read(Some("2026-01-01T00:00:00Z"), Some("2026-02-11T16:00:00Z"), Hour, "UTC", NOW)
                .unwrap()
                .len(),
            MAX_INTERVALS
        );
    }
}
