//! How urgent a message is: BY (RFC 2852) and MT-PRIORITY (RFC 6710).

use std::fmt;

use serde::{Deserialize, Serialize};

/// BY: until when a message is to be delivered, and what is done when it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeliverBy {
    /// Seconds from when the parameter is read. Zero or less: the time is over.
    pub seconds: i32,
    /// What is done when the time is over.
    pub mode: ByMode,
    /// Each relay reports that it handed the message on.
    pub trace: bool,
}

/// What is done with a message whose time is over (RFC 2852 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ByMode {
    /// The sender is told, and delivery goes on.
    Notify,
    /// It is returned.
    Return,
}

/// MT-PRIORITY: from -9 to 9; 0 is that of mail without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct MtPriority(i8);

impl DeliverBy {
    /// The largest number of seconds that the parameter can carry: nine digits.
    const MAX: i32 = 999_999_999;

    /// Reads the value of BY, such as `120;R` or `-5;NT`. None: it is none, or asks that a message
    /// be returned whose time is over already.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (seconds, mode) = text.split_once(';')?;
        let digits = seconds.strip_prefix(['+', '-']).unwrap_or(seconds);
        if !(1..=9).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let (mode, trace) = match mode.to_ascii_uppercase().as_str() {
            "N" => (ByMode::Notify, false),
            "NT" => (ByMode::Notify, true),
            "R" => (ByMode::Return, false),
            "RT" => (ByMode::Return, true),
            _ => return None,
        };
        let seconds = seconds.parse().ok()?;
        (seconds > 0 || mode == ByMode::Notify).then_some(Self { seconds, mode, trace })
    }

    /// When the time is over, of a message that was accepted at `accepted_at`: both in milliseconds.
    #[must_use]
    pub fn ends_at(&self, accepted_at: i64) -> i64 {
        accepted_at.saturating_add(i64::from(self.seconds) * 1000)
    }

    /// The same with the seconds that are left at `now`.
    #[must_use]
    pub fn left_at(&self, now: i64, accepted_at: i64) -> Self {
        let waited = i32::try_from(now.saturating_sub(accepted_at) / 1000).unwrap_or(i32::MAX).max(0);
        Self { seconds: self.seconds.saturating_sub(waited), ..*self }
    }
}

impl MtPriority {
    /// Reads the value of MT-PRIORITY. None: it is no number from -9 to 9.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_digit = digits.len() == 1 && digits.bytes().all(|b| b.is_ascii_digit());
        if is_digit && text != "-0" { text.parse().ok().and_then(Self::new) } else { None }
    }

    /// Of this number. None: it is below -9 or above 9.
    #[must_use]
    pub fn new(priority: i8) -> Option<Self> {
        (-9..=9).contains(&priority).then_some(Self(priority))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> i8 {
        self.0
    }
}

impl fmt::Display for DeliverBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            ByMode::Notify => "N",
            ByMode::Return => "R",
        };
        let seconds = self.seconds.clamp(-Self::MAX, Self::MAX);
        write!(f, "{seconds};{mode}{}", if self.trace { "T" } else { "" })
    }
}

impl fmt::Display for MtPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliver_by() {
        for (text, shown) in [("120;R", "120;R"), ("+5;rt", "5;RT"), ("-7;NT", "-7;NT"), ("0;n", "0;N")] {
            assert_eq!(DeliverBy::parse(text).map(|by| by.to_string()).as_deref(), Some(shown), "{text}");
        }
        for wrong in ["", "120", ";R", "120;", "120;X", "0;R", "-1;R", "1234567890;N", "--1;N", "1 ;N"] {
            assert_eq!(DeliverBy::parse(wrong), None, "{wrong:?}");
        }
        let long = DeliverBy { seconds: i32::MIN, mode: ByMode::Notify, trace: false };
        assert_eq!(long.to_string(), "-999999999;N");
    }

    #[test]
    fn the_time_runs_from_acceptance() {
        let by = DeliverBy::parse("60;R").unwrap();
        assert_eq!(by.ends_at(1_000), 61_000);
        assert_eq!([0, 1_000, 31_500, 91_000].map(|now| by.left_at(now, 1_000).seconds), [60, 60, 30, -30]);
    }

    #[test]
    fn priorities() {
        for number in -9..=9 {
            let priority = MtPriority::new(number).unwrap();
            assert_eq!(MtPriority::parse(&priority.to_string()), Some(priority));
        }
        for wrong in ["", "10", "-10", "-0", "+1", "x", "1 ", "-"] {
            assert_eq!(MtPriority::parse(wrong), None, "{wrong:?}");
        }
    }
}
