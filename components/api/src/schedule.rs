//! Times in a request: RFC 3339, a date of RFC 5322, or a span from now such as `in 2 hours`.

use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// Seconds in a unit that a span may have.
const UNITS: [(&str, i64); 5] =
    [("second", 1), ("min", 60), ("hour", 3_600), ("day", 86_400), ("week", 604_800)];

/// Reads a time as milliseconds since 1970. `now` is in milliseconds since 1970.
///
/// Forms: RFC 3339 with an offset (`2026-12-24T18:00:00+01:00`), a date of RFC 5322
/// (`Thu, 24 Dec 2026 18:00:00 +0100`), and `in N seconds|minutes|hours|days|weeks`.
///
/// # Errors
/// The mistake, in words.
pub fn parse(text: &str, now: u64) -> Result<u64, String> {
    let text = text.trim();
    if let Some(span) = text.strip_prefix("in ") {
        let seconds = span_seconds(span).ok_or_else(unreadable)?;
        return seconds.checked_mul(1_000).and_then(|ms| now.checked_add_signed(ms)).ok_or_else(unreadable);
    }
    match rfc2822::DateTimeParser::new().parse_timestamp(text) {
        Ok(time) => milliseconds(time),
        Err(_) => parse_instant(text),
    }
}

/// Reads RFC 3339 with an offset as milliseconds since 1970. A span is refused.
///
/// # Errors
/// The mistake, in words.
pub fn parse_instant(text: &str) -> Result<u64, String> {
    let time: Timestamp = text.trim().parse().map_err(|_| unreadable())?;
    milliseconds(time)
}

/// Writes milliseconds since 1970 as RFC 3339 in UTC. A span that [`parse`] read is so made a time that
/// no longer moves; none: the time is beyond the year 9999.
#[must_use]
pub fn format(milliseconds: u64) -> Option<String> {
    let time = Timestamp::from_millisecond(i64::try_from(milliseconds).ok()?).ok()?;
    Some(time.to_string())
}

fn milliseconds(time: Timestamp) -> Result<u64, String> {
    u64::try_from(time.as_millisecond()).map_err(|_| "the time is before 1970".to_owned())
}

fn span_seconds(span: &str) -> Option<i64> {
    let (number, unit) = span.trim().split_once(' ')?;
    let number: i64 = match number {
        "a" | "an" => 1,
        digits => digits.parse().ok().filter(|n| *n >= 0)?,
    };
    let unit = unit.trim().trim_end_matches('s');
    let unit = if unit == "minute" { "min" } else { unit };
    let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*seconds)
}

fn unreadable() -> String {
    "not a time: give RFC 3339 with an offset (`2026-12-24T18:00:00+01:00`) or a span (`in 2 hours`)"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_spans_are_read() {
        let now = 1_795_000_000_000;
        assert_eq!(parse("2026-12-24T18:00:00+01:00", now), Ok(1_798_131_600_000));
        assert_eq!(parse("2026-12-24T17:00:00.250Z", now), Ok(1_798_131_600_250));
        assert_eq!(parse("Thu, 24 Dec 2026 18:00:00 +0100", now), Ok(1_798_131_600_000));
        assert_eq!(parse("24 Dec 2026 17:00 GMT", now), Ok(1_798_131_600_000));
        assert_eq!(parse("in 2 hours", now), Ok(now + 7_200_000));
        assert_eq!(parse("in 1 min", now), Ok(now + 60_000));
        assert_eq!(parse("in a week", now), Ok(now + 604_800_000));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "tomorrow",
            "2026-12-24",
            "2026-12-24T18:00:00",
            "in -1 hours",
            "in 99999999999999999 weeks",
            "1960-01-01T00:00:00Z",
            "Fri, 24 Dec 2026 18:00:00 +0100",
        ] {
            assert!(parse(text, 0).is_err(), "{text}");
        }
        assert!(parse_instant("in 2 hours").is_err());
    }
}
