//! The delay that a greylisting receiver announces in its words.

use std::time::Duration;

/// The longest delay that is believed: for a longer one, the schedule counts.
pub const LONGEST: Duration = Duration::from_secs(2 * 3600);
/// Octets of a reply that are looked at.
const LOOKED_AT: usize = 1024;
/// Digits of a number.
const DIGITS: usize = 6;
/// Words that stand before a delay.
const BEFORE: [&str; 7] = ["in", "after", "for", "within", "wait", "least", "approximately"];

/// The delay in words such as `try again in 300 seconds`, `greylisted for 5 minutes` or `come back in
/// 00:05:00`: a second at least and [`LONGEST`] at most. The first one counts.
#[must_use]
pub fn announced_delay(text: &str) -> Option<Duration> {
    let mut end = text.len().min(LOOKED_AT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text[..end].to_ascii_lowercase();
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '.');
    let words: Vec<&str> = text
        .split(|c: char| !is_part(c))
        .map(|w| w.trim_matches([':', '.']))
        .filter(|w| !w.is_empty())
        .collect();
    let delays = (1..words.len()).filter(|at| BEFORE.contains(&words[at - 1])).filter_map(|at| {
        clock(words[at]).or_else(|| in_units(words[at], words.get(at + 1).copied().unwrap_or_default()))
    });
    let seconds = delays.take(1).next()?;
    let delay = Duration::from_secs(seconds);
    (seconds > 0 && delay <= LONGEST).then_some(delay)
}

/// `00:05:00` or `05:00` in seconds.
fn clock(word: &str) -> Option<u64> {
    let mut seconds = 0_u64;
    let mut parts = 0;
    for part in word.split(':') {
        seconds = seconds.checked_mul(60)?.checked_add(number(part)?)?;
        parts += 1;
    }
    (2..=3).contains(&parts).then_some(seconds)
}

/// `300` and `seconds`, or `300s`, in seconds.
fn in_units(word: &str, next: &str) -> Option<u64> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = word.split_at(digits);
    let unit = if unit.is_empty() { next } else { unit };
    let seconds = match unit {
        "s" | "sec" | "secs" | "second" | "seconds" => 1,
        "m" | "min" | "mins" | "minute" | "minutes" => 60,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600,
        _ => return None,
    };
    number(count)?.checked_mul(seconds)
}

fn number(digits: &str) -> Option<u64> {
    let is_short = (1..=DIGITS).contains(&digits.len()) && digits.bytes().all(|octet| octet.is_ascii_digit());
    if is_short { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn delays_are_read_where_they_are_announced() {
        for (text, seconds) in [
            ("Greylisted, please try again in 300 seconds", 300),
            ("4.7.1 Greylisting in action, please come back in 00:05:00", 300),
            ("you are greylisted for 5 minutes (see http://h/?t=900)", 300),
            ("Please retry after 60s", 60),
            ("try again in 1 hour.", 3600),
            ("wait 10min", 600),
            ("must wait at least 04:59", 299),
            ("service is unavailable for 2 hrs", 7200),
        ] {
            assert_eq!(announced_delay(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "try again later",
            "451 4.7.1 300 seconds",
            "try again in 0 seconds",
            "try again in 3 hours",
            "try again in 99999999999999999999 seconds",
            "try again in 300",
            "try again in -5 seconds and 1:2:3:4",
            "listed in 192.0.2.1 h",
            "in::",
        ] {
            assert_eq!(announced_delay(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_words_give_a_delay_out_of_bounds(text in any::<String>(), n in any::<u64>(), unit in "[smh:a-z ]{0,4}") {
            for text in [text.clone(), format!("{text} in {n} {unit}"), format!("in {n}{unit}{text}")] {
                if let Some(delay) = announced_delay(&text) {
                    prop_assert!(delay >= Duration::from_secs(1) && delay <= LONGEST);
                }
            }
        }
    }
}
