//! Date and time (RFC 5322 sections 3.3 and 4.3).

use crate::lexer::Lexer;

pub(crate) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
pub(crate) const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// Whether a field value is a date. The obsolete zones and two-digit years are; a day name that
/// does not fit the date is let pass, because no reader uses it.
pub(crate) fn is_date(value: &[u8]) -> bool {
    parse(value).is_some()
}

fn parse(value: &[u8]) -> Option<()> {
    let mut lexer = Lexer::new(value);
    lexer.skip_cfws().ok()?;
    if lexer.peek()?.is_ascii_alphabetic() {
        position(&DAYS, word(&mut lexer)?)?;
        if !lexer.eat(b',') {
            return None;
        }
        lexer.skip_cfws().ok()?;
    }
    let day = number(&mut lexer, 1, 2)?;
    let month = position(&MONTHS, word(&mut lexer)?)?;
    let year = number(&mut lexer, 2, 4)?;
    if day == 0 || day > days_in(month, year) {
        return None;
    }
    let hour = number(&mut lexer, 2, 2)?;
    lexer.eat(b':').then_some(())?;
    lexer.skip_cfws().ok()?;
    let minute = number(&mut lexer, 2, 2)?;
    let mut second = 0;
    if lexer.eat(b':') {
        lexer.skip_cfws().ok()?;
        second = number(&mut lexer, 2, 2)?;
    }
    // A leap second is a second.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    zone(&mut lexer)?;
    lexer.is_at_end().then_some(())
}

fn zone(lexer: &mut Lexer<'_>) -> Option<()> {
    if lexer.eat(b'+') || lexer.eat(b'-') {
        return (number(lexer, 4, 4)? % 100 <= 59).then_some(());
    }
    // Section 4.3: names and military letters.
    let name = word(lexer)?;
    (name.len() <= 5).then_some(())
}

fn word<'a>(lexer: &mut Lexer<'a>) -> Option<&'a [u8]> {
    let word = lexer.run(|b| b.is_ascii_alphabetic());
    lexer.skip_cfws().ok()?;
    (!word.is_empty()).then_some(word)
}

fn number(lexer: &mut Lexer<'_>, least: usize, most: usize) -> Option<u32> {
    let digits = lexer.run(|b| b.is_ascii_digit());
    lexer.skip_cfws().ok()?;
    if digits.len() < least || digits.len() > most {
        return None;
    }
    Some(digits.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0')))
}

fn position(names: &[&str], word: &[u8]) -> Option<usize> {
    names.iter().position(|n| n.as_bytes().eq_ignore_ascii_case(word))
}

pub(crate) fn days_in(month: usize, year: u32) -> u32 {
    match month {
        1 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

/// The place in [`DAYS`] of a day of the Gregorian calendar. `month` is from 0.
pub(crate) fn weekday(year: u32, month: usize, day: u32) -> usize {
    // Days that the months before take beyond whole weeks; January and February belong to the year
    // before (Sakamoto's rule).
    const SHIFTS: [u32; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
    let year = if month < 2 { year.saturating_sub(1) } else { year };
    let shift = SHIFTS.get(month).copied().unwrap_or_default();
    ((year + year / 4 - year / 100 + year / 400 + shift + day) % 7) as usize
}

/// Seconds since 1970 as `Thu, 1 Jan 1970 00:00:00 +0000`. Years outside 1900 to 9999 have no such
/// form: the nearest instant that has is written.
pub(crate) fn format(seconds: i64) -> String {
    let seconds = seconds.clamp(-2_208_988_800, 253_402_300_799);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days from the civil calendar, with years that begin in March.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12;
    let year = year_of_era + era * 400 + i64::from(month < 2);
    let name = |names: &[&'static str], index: i64| {
        usize::try_from(index).ok().and_then(|i| names.get(i)).copied().unwrap_or_default()
    };
    format!(
        "{}, {day} {} {year:04} {:02}:{:02}:{:02} +0000",
        name(&DAYS, (days + 4).rem_euclid(7)),
        name(&MONTHS, month),
        second / 3_600,
        second / 60 % 60,
        second % 60,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_dates() {
        for text in [
            " Fri, 21 Nov 1997 09:55:06 -0600",
            "21 Nov 1997 09:55 +0000",
            "Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0330 (Newfoundland Time)",
            "21 Nov 97 09:55:06 GMT",
            "29 Feb 2024 23:59:60 +1400",
            "Fri, 21 Nov 1997 09(comment):   55  :  06 -0600",
        ] {
            assert!(is_date(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn bad_dates() {
        for text in [
            "",
            "yesterday",
            "2026-11-22T05:00:00Z",
            "30 Feb 2024 00:00 +0000",
            "29 Feb 2023 00:00 +0000",
            "1 Jan 2024 24:00 +0000",
            "1 Jan 2024 00:60 +0000",
            "1 Jan 2024 00:00 +0060",
            "1 Jan 2024 00:00",
            "1 Jan 2024 0:00 +0000",
            "Foo, 1 Jan 2024 00:00 +0000",
            "1 Jan 2024 00:00 +0000 x",
            "0 Jan 2024 00:00 +0000",
        ] {
            assert!(!is_date(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn formats() {
        assert_eq!(format(0), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(format(951_782_400), "Tue, 29 Feb 2000 00:00:00 +0000");
        assert_eq!(format(1_795_325_640), "Sun, 22 Nov 2026 05:34:00 +0000");
        assert_eq!(format(-1), "Wed, 31 Dec 1969 23:59:59 +0000");
        assert_eq!(format(i64::MAX), "Fri, 31 Dec 9999 23:59:59 +0000");
        assert_eq!(format(i64::MIN), "Mon, 1 Jan 1900 00:00:00 +0000");
    }

    proptest::proptest! {
        #[test]
        fn what_is_formatted_is_a_date(seconds: i64) {
            proptest::prop_assert!(is_date(format(seconds).as_bytes()));
        }
    }
}
