//! Checks `[suppression]` and `[tenant.suppression]`.

use std::time::Duration;

use relevo_relay::suppressions::{
    IncidentRule, MailboxFullRule, SuppressionOverrides, SuppressionRuleSettings,
};

use super::document::Document;
use super::formats::CountOrNone;
use super::schema::{File, MailboxFullTable, OwnSuppressionTable};
use super::values::Key;

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
    check_counts(d, &s.hard_bounces, full);
    d.check(&s.expire, |time| *time >= SHORTEST, "must be 1h at least");
    d.check(&incident.bounces, |n| u32::try_from(*n).is_ok(), "is too large");
    d.check(&incident.percent, |n| *n < 100, "must be 1 to 99");
    d.check(&incident.minutes, |n| *n <= MAX_MINUTES, "must be 1440 at most");
    SuppressionRuleSettings {
        hard_bounces: count(s.hard_bounces.value()).unwrap_or(default.hard_bounces),
        mailbox_full: MailboxFullRule {
            times: count(full.times.value()).unwrap_or(default.mailbox_full.times),
            days: count(full.days.value()).unwrap_or(default.mailbox_full.days),
        },
        complaints: s.complaints.or(default.complaints),
        expire: s.expire.value(),
        incident: IncidentRule {
            bounces: count(incident.bounces.value()).unwrap_or(default.incident.bounces),
            percent: incident.percent.or(default.incident.percent),
            minutes: incident.minutes.or(default.incident.minutes),
        },
    }
}

/// What a tenant has of its own.
pub(crate) fn of_tenant(d: &mut Document<'_>, s: &OwnSuppressionTable) -> SuppressionOverrides {
    check_counts(d, &s.hard_bounces, &s.mailbox_full);
    SuppressionOverrides {
        hard_bounces: count(s.hard_bounces.value()),
        mailbox_full_times: count(s.mailbox_full.times.value()),
        mailbox_full_days: count(s.mailbox_full.days.value()),
        complaints: s.complaints.value(),
    }
}

fn check_counts(d: &mut Document<'_>, hard_bounces: &Key<CountOrNone>, full: &MailboxFullTable) {
    d.check(hard_bounces, |n| *n <= MAX_TIMES, "must be 100 at most");
    d.check(&full.times, |n| *n <= MAX_TIMES, "must be 100 at most");
    d.check(&full.days, |n| *n <= MAX_DAYS, "must be 90 at most");
}

fn count(value: Option<usize>) -> Option<u32> {
    value.map(|value| u32::try_from(value).unwrap_or(u32::MAX))
}
