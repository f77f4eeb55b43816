//! Checks `[suppression]`.

use std::time::Duration;

use relevo_relay::suppressions::{IncidentRule, MailboxFullRule, SuppressionRuleSettings};

use super::document::Document;
use super::schema::File;

/// Hard bounces, or failures of a full mailbox. They are counted for half a year.
const MAX_TIMES: usize = 100;
const MAX_DAYS: usize = 90;
/// The brake counts by minute.
const MAX_MINUTES: u32 = 24 * 60;
/// Entries are removed every hour.
const SHORTEST: Duration = Duration::from_secs(3_600);

pub(crate) fn suppression(d: &mut Document<'_>, file: &File) -> SuppressionRuleSettings {
    let (s, default) = (&file.suppression, SuppressionRuleSettings::default());
    let (full, incident) = (&s.mailbox_full, &s.incident);
    d.check(&s.hard_bounces, |n| *n <= MAX_TIMES, "must be 100 at most");
    d.check(&full.times, |n| *n <= MAX_TIMES, "must be 100 at most");
    d.check(&full.days, |n| *n <= MAX_DAYS, "must be 90 at most");
    d.check(&s.expire, |time| *time >= SHORTEST, "must be 1h at least");
    d.check(&incident.bounces, |n| u32::try_from(*n).is_ok(), "is too large");
    d.check(&incident.percent, |n| *n < 100, "must be 1 to 99");
    d.check(&incident.minutes, |n| *n <= MAX_MINUTES, "must be 1440 at most");
    let count = |value: Option<usize>, default: u32| {
        value.map_or(default, |value| u32::try_from(value).unwrap_or(u32::MAX))
    };
    SuppressionRuleSettings {
        hard_bounces: count(s.hard_bounces.value(), default.hard_bounces),
        mailbox_full: MailboxFullRule {
            times: count(full.times.value(), default.mailbox_full.times),
            days: count(full.days.value(), default.mailbox_full.days),
        },
        complaints: s.complaints.or(default.complaints),
        expire: s.expire.value(),
        incident: IncidentRule {
            bounces: count(incident.bounces.value(), default.incident.bounces),
            percent: incident.percent.or(default.incident.percent),
            minutes: incident.minutes.or(default.incident.minutes),
        },
    }
}
