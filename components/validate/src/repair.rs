//! Dates that are malformed and can be read all the same (RFC 6409 section 8.2): asctime, ISO 8601,
//! what JavaScript and `date` write, and one-digit hours.

use crate::date::{DAYS, MONTHS, days_in, weekday};

/// A date and time as it was meant.
#[derive(Debug, Default)]
struct Read {
    year: Option<u32>,
    /// From 0.
    month: Option<usize>,
    day: Option<u32>,
    time: Option<(u32, u32, u32)>,
    zone: Option<String>,
}

/// Zone of a date that names none, or one that nobody knows (RFC 5322 section 3.3).
const UNKNOWN_ZONE: &str = "-0000";

/// The date as RFC 5322 section 3.3 has it. None: it cannot be read without guessing.
pub(crate) fn date(value: &[u8]) -> Option<String> {
    let text = without_comments(std::str::from_utf8(value).ok()?)?;
    let read = iso(text.trim()).or_else(|| words(&text))?;
    let (year, month, day) = (read.year?, read.month?, read.day?);
    let (hour, minute, second) = read.time?;
    let in_range = (1900..=9999).contains(&year)
        && (1..=days_in(month, year)).contains(&day)
        && hour <= 23
        && minute <= 59
        && second <= 60;
    let (name, month) = (DAYS.get(weekday(year, month, day))?, MONTHS.get(month)?);
    let zone = read.zone.as_deref().unwrap_or(UNKNOWN_ZONE);
    in_range.then(|| format!("{name}, {day} {month} {year:04} {hour:02}:{minute:02}:{second:02} {zone}"))
}

/// Comments nest nowhere in these formats.
fn without_comments(text: &str) -> Option<String> {
    let (mut out, mut inside) = (String::with_capacity(text.len()), false);
    for c in text.chars() {
        match (c, inside) {
            ('(', false) => inside = true,
            (')', true) => inside = false,
            ('(' | ')', _) => return None,
            (_, true) => {}
            (c, false) => out.push(c),
        }
    }
    (!inside).then_some(out)
}

/// `2026-11-22T05:34:00.123Z`, with a space for the `T`, with or without seconds and zone (ISO
/// 8601, RFC 3339).
fn iso(text: &str) -> Option<Read> {
    let (day, rest) = (text.get(..10)?, text.get(10..)?);
    let mut numbers = day.split('-');
    let (year, month, day) = (digits(numbers.next()?, 4, 4)?, numbers.next()?, numbers.next()?);
    let (month, day) = (digits(month, 2, 2)?, digits(day, 2, 2)?);
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let split = rest.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.').unwrap_or(rest.len());
    let (time, zone) = rest.split_at(split);
    let zone = match zone.trim() {
        "" => UNKNOWN_ZONE.to_owned(),
        zone if zone.eq_ignore_ascii_case("z") || zone.starts_with(['+', '-']) => self::zone(zone)?,
        _ => return None,
    };
    Some(Read {
        year: Some(year),
        month: usize::try_from(month).ok()?.checked_sub(1),
        day: Some(day),
        time: Some(self::time(time)?),
        zone: Some(zone),
    })
}

/// Words in any order, each of its own kind: day and month names, numbers, a time, a zone.
fn words(text: &str) -> Option<Read> {
    let mut read = Read::default();
    let mut named_day = false;
    for word in text.split([' ', '\t', '\r', '\n', ',']).filter(|w| !w.is_empty()) {
        if word.bytes().all(|b| b.is_ascii_digit()) {
            match word.len() {
                1 | 2 if read.day.is_none() => read.day = digits(word, 1, 2),
                2 if read.year.is_none() => read.year = digits(word, 2, 2).map(century),
                4 if read.year.is_none() => read.year = digits(word, 4, 4),
                _ => return None,
            }
        } else if word.as_bytes().first().is_some_and(u8::is_ascii_digit) {
            once(&mut read.time, time(word)?)?;
        } else if let Some(month) = named(&MONTHS, word) {
            once(&mut read.month, month)?;
        } else if named(&DAYS, word).is_some() && !named_day {
            named_day = true;
        } else {
            once(&mut read.zone, zone(word)?)?;
        }
    }
    Some(read)
}

/// RFC 5322 section 4.3.
fn century(year: u32) -> u32 {
    if year < 50 { 2000 + year } else { 1900 + year }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

/// The three letters of a name, or the whole of it.
fn named(names: &[&str], word: &str) -> Option<usize> {
    const WHOLE: [&str; 19] = [
        "sunday",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let lower = word.to_ascii_lowercase();
    let known = lower.len() == 3 || WHOLE.contains(&lower.as_str());
    names.iter().position(|name| known && lower.starts_with(&name.to_ascii_lowercase()))
}

/// `5:34`, `05:34:00`, `05:34:00.123`.
fn time(word: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = word.split(':');
    let (hour, minute) = (digits(numbers.next()?, 1, 2)?, digits(numbers.next()?, 2, 2)?);
    let second = match numbers.next() {
        None => 0,
        Some(second) => {
            let (whole, fraction) = second.split_once('.').unwrap_or((second, "0"));
            digits(fraction, 1, 9)?;
            digits(whole, 2, 2)?
        }
    };
    numbers.next().is_none().then_some((hour, minute, second))
}

/// `+0200`, `+02:00`, `GMT+0200`, `UTC`, `Z`, `EST`. Names that nobody knows are an unknown zone
/// (RFC 5322 section 4.3).
fn zone(word: &str) -> Option<String> {
    let upper = word.to_ascii_uppercase();
    let offset = ["GMT", "UTC", ""].iter().find_map(|prefix| {
        let rest = upper.strip_prefix(prefix)?;
        rest.starts_with(['+', '-']).then_some(rest)
    });
    if let Some(offset) = offset {
        let (sign, number) = offset.split_at(1);
        let number = number.replacen(':', "", 1);
        let number = if number.len() == 2 { number + "00" } else { number };
        let value = digits(&number, 4, 4)?;
        return (value % 100 <= 59).then(|| format!("{sign}{number}"));
    }
    let known = match upper.as_str() {
        "UT" | "UTC" | "GMT" | "Z" => "+0000",
        "EDT" => "-0400",
        "EST" | "CDT" => "-0500",
        "CST" | "MDT" => "-0600",
        "MST" | "PDT" => "-0700",
        "PST" => "-0800",
        // Half of the day, and nobody can say whether it counts.
        "AM" | "PM" => return None,
        name if (1..=5).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_uppercase()) => UNKNOWN_ZONE,
        _ => return None,
    };
    Some(known.to_owned())
}

fn digits(text: &str, least: usize, most: usize) -> Option<u32> {
    let fits = (least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_write_is_read() {
        for (text, meant) in [
            ("Sun, 22 Nov 2026 5:34:00 +0000", "Sun, 22 Nov 2026 05:34:00 +0000"),
            ("Sun Nov 22 05:34:00 2026", "Sun, 22 Nov 2026 05:34:00 -0000"),
            ("Sun Nov  1 05:34:00 CET 2026", "Sun, 1 Nov 2026 05:34:00 -0000"),
            ("Sun Nov 22 05:34:00 UTC 2026", "Sun, 22 Nov 2026 05:34:00 +0000"),
            ("2026-11-22T05:34:00Z", "Sun, 22 Nov 2026 05:34:00 +0000"),
            ("2026-11-22T05:34:00.123456+02:00", "Sun, 22 Nov 2026 05:34:00 +0200"),
            ("2026-11-22 05:34:00 -0330", "Sun, 22 Nov 2026 05:34:00 -0330"),
            ("2026-11-22 05:34", "Sun, 22 Nov 2026 05:34:00 -0000"),
            (
                "Sun Nov 22 2026 05:34:00 GMT+0200 (Central European Standard Time)",
                "Sun, 22 Nov 2026 05:34:00 +0200",
            ),
            ("Sunday, 22 November 2026 05:34:00 EST", "Sun, 22 Nov 2026 05:34:00 -0500"),
            // The day name is made to fit.
            ("Mon, 22 Nov 26 05:34", "Sun, 22 Nov 2026 05:34:00 -0000"),
        ] {
            assert_eq!(date(text.as_bytes()).as_deref(), Some(meant), "{text}");
        }
    }

    #[test]
    fn nothing_is_guessed() {
        for text in [
            "",
            "yesterday",
            "22/11/2026 05:34",
            "11-22-2026",
            "2026-11-22",
            "2026-13-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-11-22T25:00:00Z",
            "Sun Nov 22 2026",
            "1795325640",
            "22 Nov 2026 05:34 PM",
            "22 Nov Dec 2026 05:34",
            "22 Nov 2026 05:34 06:35",
            "(22 Nov 2026 05:34",
            "2026-11-22T05:34:00+0260",
            "00 Nov 2026 05:34",
            "22 Nov 1812 05:34 GMT",
            "2026-11-22T05:34:00Zulu",
        ] {
            assert_eq!(date(text.as_bytes()), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_a_date(text in "[0-9A-Za-z:+., ()-]{0,40}") {
            if let Some(written) = date(text.as_bytes()) {
                proptest::prop_assert!(crate::date::is_date(written.as_bytes()), "{} -> {}", text, written);
            }
        }

        #[test]
        fn a_good_date_keeps_its_meaning(seconds in -2_208_988_800_i64..253_402_300_799) {
            let good = crate::date::format(seconds);
            proptest::prop_assert_eq!(date(good.as_bytes()), Some(good));
        }
    }
}
