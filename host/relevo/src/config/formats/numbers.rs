//! Texts, numbers, octets and times.

use std::time::Duration;

use relevo_queue::{MAX_PRIORITY, Priority};

use super::super::values::{Format, Raw};
use super::{positive, text};

impl Format for String {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        text(raw)
    }
}

impl Format for bool {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        match raw {
            Raw::Boolean(b) => Ok(b),
            _ => Err("must be true or false".to_owned()),
        }
    }
}

/// A number above 0.
impl Format for u64 {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        positive(&raw)
    }
}

/// A number above 0.
impl Format for u32 {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        Self::try_from(positive(&raw)?).map_err(|_| "is too large".to_owned())
    }
}

/// A number above 0.
impl Format for usize {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        Self::try_from(positive(&raw)?).map_err(|_| "is too large".to_owned())
    }
}

/// A number, 0 or above: 0 switches something off.
pub(crate) enum CountOrNone {}

impl Format for CountOrNone {
    type Value = usize;
    fn read(raw: Raw) -> Result<usize, String> {
        let Raw::Integer(n) = raw else { return Err("must be a whole number, 0 or above".to_owned()) };
        usize::try_from(n).map_err(|_| "must be a whole number, 0 or above".to_owned())
    }
}

pub(crate) enum Port {}

impl Format for Port {
    type Value = u16;
    fn read(raw: Raw) -> Result<u16, String> {
        let port = positive(&raw).ok().and_then(|n| u16::try_from(n).ok());
        port.ok_or_else(|| "must be a port, 1 to 65535".to_owned())
    }
}

pub(crate) enum MaxPriority {}

impl Format for MaxPriority {
    type Value = Priority;
    fn read(raw: Raw) -> Result<Priority, String> {
        let n = match raw {
            Raw::Integer(n) => Priority::try_from(n).ok(),
            _ => None,
        };
        n.filter(|p| (0..=MAX_PRIORITY).contains(p)).ok_or_else(|| format!("must be 0 to {MAX_PRIORITY}"))
    }
}

/// Octets: a number, or a string such as `50MB` or `1GiB`.
pub(crate) enum Size {}

impl Format for Size {
    type Value = u64;
    fn read(raw: Raw) -> Result<u64, String> {
        let octets = match &raw {
            Raw::Text(text) => split_unit(text).and_then(|(n, unit)| {
                let factor = match unit {
                    "" | "B" => 1,
                    "kB" | "KB" => 1_000,
                    "MB" => 1_000_000,
                    "GB" => 1_000_000_000,
                    "KiB" => 1 << 10,
                    "MiB" => 1 << 20,
                    "GiB" => 1 << 30,
                    _ => return None,
                };
                n.checked_mul(factor)
            }),
            _ => positive(&raw).ok(),
        };
        octets
            .ok_or_else(|| "must be a number of octets or a string such as \"512MiB\" or \"1GiB\"".to_owned())
    }
}

/// `90s`, `5m`, `1h`, `5d`.
pub(crate) enum Time {}

impl Format for Time {
    type Value = Duration;
    fn read(raw: Raw) -> Result<Duration, String> {
        let time = text(raw).ok().and_then(|text| seconds(&text));
        time.ok_or_else(|| "must be a string such as \"30s\", \"5m\", \"4h\" or \"5d\"".to_owned())
    }
}

/// `50ms`, or as [`Time`].
pub(crate) enum ShortTime {}

impl Format for ShortTime {
    type Value = Duration;
    fn read(raw: Raw) -> Result<Duration, String> {
        let time = text(raw).ok().and_then(|text| match split_unit(&text)? {
            (n, "ms") => (1..=3_600_000).contains(&n).then(|| Duration::from_millis(n)),
            _ => seconds(&text),
        });
        time.ok_or_else(|| "must be a string such as \"50ms\" or \"1s\"".to_owned())
    }
}

/// How long something is kept, by the day: 0, or as [`Time`] from an hour to 400 days.
pub(crate) enum KeepTime {}

impl Format for KeepTime {
    type Value = Duration;
    fn read(raw: Raw) -> Result<Duration, String> {
        const MOST: Duration = Duration::from_secs(400 * 86_400);
        let time = match raw {
            Raw::Integer(0) => Some(Duration::ZERO),
            raw => text(raw).ok().and_then(|text| match text.as_str() {
                "0" => Some(Duration::ZERO),
                text => seconds(text).filter(|time| (Duration::from_secs(3_600)..=MOST).contains(time)),
            }),
        };
        time.ok_or_else(|| "must be 0, or a time from \"1h\" to \"400d\"".to_owned())
    }
}

/// At most ten years.
fn seconds(text: &str) -> Option<Duration> {
    let (n, unit) = split_unit(text)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let seconds = n.checked_mul(factor).filter(|n| (1..=10 * 365 * 86_400).contains(n))?;
    Some(Duration::from_secs(seconds))
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..at].parse().ok()?, text[at..].trim()))
}
