//! Rules that add suppressions from events.
//!
//! An entry is added only for
//! - a hard bounce about the recipient: `about` is `recipient` and `action` is `suppress`,
//! - a full mailbox, so often and over so many days as configured,
//! - a complaint of the recipient.
//!
//! Nothing about the sender, its addresses, domain or content adds one, and an event without a
//! classification never does. Recipients who leave are another way (`subscriptions.rs`).
//!
//! Entries count for all streams. A mailbox that does not exist takes no mail of any stream. A
//! complaint counts against the sender's domain and addresses whatever the stream was, and mail of
//! another stream to the same person is as likely to be complained about. Amazon SES, SendGrid and
//! Resend do the same. [`ComplaintScope::Stream`] keeps the other streams open, for those who must
//! send notices.

use std::time::Duration;

mod brake;
mod fold;
mod metrics;
mod reader;

pub use fold::SettingsOf;
pub use metrics::SuppressionRuleMetrics;
pub use reader::{SuppressionRules, suppression_reader_name};

/// When rules add suppressions: `[suppression]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuppressionRuleSettings {
    /// Hard bounces without a delivery between them; 0: bounces add nothing.
    pub hard_bounces: u32,
    /// A mailbox that is full.
    pub mailbox_full: MailboxFullRule,
    /// The streams that a complaint concerns.
    pub complaints: ComplaintScope,
    /// Entries that bounces added are removed after this time.
    pub expire: Option<Duration>,
    /// What looks like an incident at a provider.
    pub incident: IncidentRule,
}

impl SuppressionRuleSettings {
    /// With what a tenant has of its own.
    #[must_use]
    pub fn with(&self, own: &SuppressionOverrides) -> Self {
        Self {
            hard_bounces: own.hard_bounces.unwrap_or(self.hard_bounces),
            mailbox_full: MailboxFullRule {
                times: own.mailbox_full_times.unwrap_or(self.mailbox_full.times),
                days: own.mailbox_full_days.unwrap_or(self.mailbox_full.days),
            },
            complaints: own.complaints.unwrap_or(self.complaints),
            ..self.clone()
        }
    }
}

/// What a tenant has of its own: `[tenant.suppression]`. The rest is as in `[suppression]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SuppressionOverrides {
    /// As [`SuppressionRuleSettings::hard_bounces`].
    pub hard_bounces: Option<u32>,
    /// As [`MailboxFullRule::times`].
    pub mailbox_full_times: Option<u32>,
    /// As [`MailboxFullRule::days`].
    pub mailbox_full_days: Option<u32>,
    /// As [`SuppressionRuleSettings::complaints`].
    pub complaints: Option<ComplaintScope>,
}

/// Failures of a full mailbox without a delivery between them. A message counts once, when it is
/// given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxFullRule {
    /// So many at least; 0: full mailboxes add nothing.
    pub times: u32,
    /// Days between the first and the last, at least.
    pub days: u32,
}

/// The streams that a complaint concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComplaintScope {
    /// All of the tenant.
    All,
    /// That of the message.
    Stream,
}

/// Hard bounces of a tenant at one provider that look like an incident there. While they do, bounces
/// at the provider add nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IncidentRule {
    /// More than so many; 0: never.
    pub bounces: u32,
    /// More than so many of a hundred attempts.
    pub percent: u32,
    /// Within so many minutes. The pause ends as long after the last bounce that looked like it.
    pub minutes: u32,
}

impl Default for SuppressionRuleSettings {
    fn default() -> Self {
        Self {
            hard_bounces: 1,
            mailbox_full: MailboxFullRule { times: 5, days: 7 },
            complaints: ComplaintScope::All,
            expire: None,
            incident: IncidentRule { bounces: 100, percent: 50, minutes: 15 },
        }
    }
}
