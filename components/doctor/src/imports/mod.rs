//! What large receivers report of us, as they export it.

mod postmaster;
mod snds;

use serde::{Deserialize, Serialize};

use crate::check::{Check, Status, shown};

pub use postmaster::{PostmasterRow, postmaster};
pub use snds::{FilterResult, SndsRow, snds};

/// Rows of an import at most.
pub const MAX_ROWS: usize = 10_000;

/// A mistake in an import, with its place: a path, or a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportMistake {
    /// Such as `domainStats[3].value`, or `line 7`.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

impl ImportMistake {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }
}

/// A day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Day {
    /// Such as 2026.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

impl Day {
    /// A day of the calendar, roughly: no month has more than 31.
    fn new(year: u64, month: u64, day: u64) -> Option<Self> {
        let is_day = (2000..=2200).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        let small = |n: u64| u8::try_from(n).ok();
        is_day.then_some(Self { year: u16::try_from(year).ok()?, month: small(month)?, day: small(day)? })
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

const SNDS: &str = "https://sendersupport.olc.protection.outlook.com/snds/";

pub(crate) fn checks(rows: &[SndsRow]) -> Vec<Check> {
    let of = |row: &SndsRow| {
        let (status, result) = match row.filter {
            FilterResult::Green => (Status::Pass, "green"),
            FilterResult::Yellow => (Status::Warn, "yellow"),
            FilterResult::Red => (Status::Fail, "red"),
        };
        let status = if row.trap_hits > 0 { status.max(Status::Warn) } else { status };
        let message = format!(
            "{}: {result}, complaints {}, {} trap hits of {} recipients",
            row.day,
            shown(&row.complaints),
            row.trap_hits,
            row.recipients
        );
        Check::new("reputation.snds", SNDS, status, message).about(row.address.to_string())
    };
    rows.iter().map(of).collect()
}
