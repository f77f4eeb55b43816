//! Dates and times.

use jiff::civil::{self, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use minijinja::value::Kwargs;
use minijinja::{Error, Value};

use super::language::{Language, language};
use super::{defined, invalid};

/// Octets of a pattern.
const MAX_PATTERN: usize = 200;

/// `"2026-12-24T18:00:00Z"|date("long", tz="Europe/Madrid", lang="es")`.
///
/// The value is RFC 3339, a date, a date and time without an offset (taken as UTC), or seconds
/// since 1970. Styles are `short`, `medium`, `long`, `full`, `time`, or a pattern of `strftime`.
/// Without a style it is `medium`.
pub(super) fn date(value: &Value, style: Option<&str>, options: Kwargs) -> Result<String, Error> {
    let language = language(options.get("lang")?)?;
    let zone: Option<&str> = options.get("tz")?;
    options.assert_all_used()?;
    let zone = match zone {
        None => TimeZone::UTC,
        Some(name) => {
            TimeZone::get(name).map_err(|_| invalid(format!("the time zone {name:?} is not known")))?
        }
    };
    let pattern = match style.unwrap_or("medium") {
        "short" => language.dates[0],
        "medium" => language.dates[1],
        "long" => language.dates[2],
        "full" => language.dates[3],
        "time" => language.time,
        pattern if pattern.contains('%') && pattern.len() <= MAX_PATTERN => pattern,
        other => {
            return Err(invalid(format!(
                "{other:?} is not a style: short, medium, long, full, time, or a pattern such as %d.%m.%Y"
            )));
        }
    };
    let time = read(value, &zone)?;
    let pattern = in_words(pattern, &time, language);
    jiff::fmt::strtime::format(&pattern, &time)
        .map_err(|error| invalid(format!("the pattern {pattern:?} cannot be used: {error}")))
}

fn read(value: &Value, zone: &TimeZone) -> Result<Zoned, Error> {
    let unreadable =
        || invalid(format!("{value} is not a date: give RFC 3339, a date, or seconds since 1970"));
    if let Some(text) = defined(value)?.as_str() {
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(time.to_zoned(zone.clone()));
        }
        // A date alone is that date everywhere; a time without an offset is UTC.
        if let Ok(date) = text.parse::<civil::Date>()
            && !text.contains([':', 'T'])
        {
            return date.to_zoned(zone.clone()).map_err(|_| unreadable());
        }
        let time = text.parse::<DateTime>().map_err(|_| unreadable())?;
        let time = time.to_zoned(TimeZone::UTC).map_err(|_| unreadable())?;
        return Ok(time.with_time_zone(zone.clone()));
    }
    let seconds = value.as_i64().ok_or_else(unreadable)?;
    Ok(Timestamp::from_second(seconds).map_err(|_| unreadable())?.to_zoned(zone.clone()))
}

/// The names of month and weekday in place of `%B`, `%b`, `%A` and `%a`, with the flags and widths
/// that `strftime` knows: `%^A` is upper case.
fn in_words(pattern: &str, time: &Zoned, language: &Language) -> String {
    let month = usize::from(time.month().unsigned_abs()) - 1;
    let day = usize::from(time.weekday().to_monday_zero_offset().unsigned_abs());
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let directive = &rest[at + 1..];
        let options = directive.len() - directive.trim_start_matches(is_option).len();
        let letter = directive[options..].chars().next();
        let name = match letter {
            Some('B') => Some(language.months[month]),
            Some('b' | 'h') => Some(language.months_short[month]),
            Some('A') => Some(language.weekdays[day]),
            Some('a') => Some(language.weekdays_short[day]),
            _ => None,
        };
        let length = 1 + options + letter.map_or(0, char::len_utf8);
        match name {
            Some(name) => out.push_str(&with_options(name, &directive[..options])),
            None => out.push_str(&rest[at..at + length]),
        }
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    out
}

/// Flags and the digits of a width.
fn is_option(c: char) -> bool {
    c.is_ascii_digit() || "-_^#".contains(c)
}

/// A name in the case and width that the options of its directive ask for.
fn with_options(name: &str, options: &str) -> String {
    let name = match options.chars().rfind(|c| "^#".contains(*c)) {
        Some('^') => name.to_uppercase(),
        Some(_) => name.chars().flat_map(swapped).collect(),
        None => name.to_owned(),
    };
    let width = options.trim_start_matches(|c: char| !c.is_ascii_digit()).trim_start_matches('0');
    let width = width.parse().unwrap_or(0_usize).min(MAX_PATTERN);
    if options.contains('-') { name } else { format!("{name:>width$}") }
}

fn swapped(c: char) -> Vec<char> {
    if c.is_lowercase() { c.to_uppercase().collect() } else { c.to_lowercase().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_take_flags_and_widths() {
        let time: Zoned = "2026-12-24T18:00:00+01:00[Europe/Madrid]".parse().expect("a time");
        let spanish = language(Some("es")).expect("a language");
        for (pattern, expected) in [
            ("%A %^A %#A", "jueves JUEVES JUEVES"),
            ("%^b|%10B|%-10B|%010a", "DIC| diciembre|diciembre|       jue"),
            ("%% %%A %-d %e %", "%% %%A %-d %e %"),
        ] {
            assert_eq!(in_words(pattern, &time, spanish), expected, "{pattern}");
        }
        let german = language(Some("de")).expect("a language");
        let march: Zoned = "2026-03-01T00:00:00+00:00[UTC]".parse().expect("a time");
        assert_eq!(in_words("%^B", &march, german), "MÄRZ");
    }
}
