//! From events to entries. Pure: the reader brings what is counted and writes what comes out.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use relevo_mailkit::classification::{Action, Subject};
use relevo_mailkit::event::{Attempt, Complained, Event, Failure, SuppressionPause};
use relevo_queue::{Millis, NewEvent};
use relevo_store::{SuppressionCause, SuppressionCount};

use super::brake::{Brake, Brakes};
use super::{ComplaintScope, SuppressionRuleSettings, metrics::RuleCounts};
use crate::clock::timestamp;
use crate::suppressions::{ALL_STREAMS, canonical};

/// The category of a full mailbox in classifications.
const FULL: &str = "mailbox_full";
/// Kinds of counted failures.
const MAILBOX_FULL: &str = "mailbox_full";
const HARD_BOUNCE: &str = "hard_bounce";

const DAY: Millis = 86_400_000;

/// Names the provider of a recipient, after an attempt with this MX host if there was one.
pub(super) type NameProvider = dyn Fn(&str, Option<&str>) -> String + Send + Sync;

/// The settings of a tenant.
pub type SettingsOf = dyn Fn(&str) -> Arc<SuppressionRuleSettings> + Send + Sync;

/// A tenant and an address.
pub(super) type Key = (String, String);

/// What an attempt says about its recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// The mailbox exists and takes mail.
    Delivered,
    /// The mailbox takes no mail, and never will.
    Hard,
    /// It is full, and a message was given up.
    Full,
    /// Nothing for good.
    Nothing,
}

/// An entry that a rule adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RuleEntry {
    pub(super) tenant: String,
    pub(super) address: String,
    pub(super) stream: String,
    pub(super) reason: &'static str,
    pub(super) detail: String,
    pub(super) message_id: Option<String>,
    pub(super) at: Millis,
    pub(super) cause: SuppressionCause,
}

/// What a batch of events comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    pub(super) entries: Vec<RuleEntry>,
    pub(super) forgotten: Vec<Key>,
    pub(super) counts: Vec<SuppressionCount>,
}

impl Effects {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a batch of events showed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) counts: RuleCounts,
    /// Pauses that began, by tenant.
    pub(super) pauses: Vec<(String, SuppressionPause)>,
}

/// Reads events in their order.
pub(super) struct Fold<'s> {
    settings: &'s SettingsOf,
    provider: &'s NameProvider,
    pub(super) brakes: Brakes,
    counts: HashMap<Key, Vec<SuppressionCount>>,
    /// Addresses whose stored counts are void.
    forgotten: BTreeSet<Key>,
    changed: BTreeSet<Key>,
    entries: Vec<RuleEntry>,
    pub(super) seen: Seen,
}

/// The addresses of a page whose counts are needed. `has_counts`: some are stored.
pub(super) fn counted_addresses<'e>(
    settings: &SettingsOf,
    events: impl Iterator<Item = &'e NewEvent>,
    has_counts: bool,
) -> Vec<Key> {
    let is_counted = |finding, tenant: &str| match finding {
        Finding::Delivered => has_counts,
        Finding::Hard => has_counts || settings(tenant).hard_bounces > 1,
        Finding::Full => settings(tenant).mailbox_full.times > 0,
        Finding::Nothing => false,
    };
    let keys = events.filter_map(|event| {
        let (finding, attempt) = finding(event)?;
        is_counted(finding, &event.tenant).then(|| key(event, &attempt.recipient)).flatten()
    });
    keys.collect::<BTreeSet<Key>>().into_iter().collect()
}

fn key(event: &NewEvent, recipient: &str) -> Option<Key> {
    // Mail of nobody's has no list; `postmaster` without a domain cannot be on one.
    let address = canonical(recipient).ok()?;
    (!event.tenant.is_empty()).then(|| (event.tenant.clone(), address))
}

fn finding(event: &NewEvent) -> Option<(Finding, &Attempt)> {
    match &event.event {
        Event::Delivered(attempt) => Some((Finding::Delivered, attempt)),
        Event::Bounced(attempt) => Some((of_failure(attempt, true), attempt)),
        Event::Expired(attempt) => Some((of_failure(attempt, false), attempt)),
        Event::DeliveryDelayed(attempt) | Event::Failed(Failure::Delivery(attempt)) => {
            Some((Finding::Nothing, attempt))
        }
        _ => None,
    }
}

/// Only what is about the recipient counts, and nothing that was not classified.
fn of_failure(attempt: &Attempt, bounced: bool) -> Finding {
    match &attempt.classification {
        Some(class) if class.about == Subject::Recipient && class.category == FULL => Finding::Full,
        Some(class) if class.about == Subject::Recipient && class.action == Action::Suppress && bounced => {
            Finding::Hard
        }
        _ => Finding::Nothing,
    }
}

impl<'s> Fold<'s> {
    /// `counts` has those of [`counted_addresses`].
    pub(super) fn new(
        settings: &'s SettingsOf,
        provider: &'s NameProvider,
        brakes: Brakes,
        counts: Vec<SuppressionCount>,
    ) -> Self {
        let mut known: HashMap<Key, Vec<SuppressionCount>> = HashMap::new();
        for count in counts {
            known.entry((count.tenant.clone(), count.address.clone())).or_default().push(count);
        }
        Self {
            settings,
            provider,
            brakes,
            counts: known,
            forgotten: BTreeSet::new(),
            changed: BTreeSet::new(),
            entries: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// Reads an event.
    pub(super) fn add(&mut self, event: &NewEvent) {
        if let Event::Complained(complained) = &event.event {
            return self.complaint(event, complained);
        }
        let Some((finding, attempt)) = finding(event) else { return };
        let Some(key) = key(event, &attempt.recipient) else { return };
        let provider = (self.provider)(&attempt.recipient, attempt.mx.as_deref());
        if finding == Finding::Hard {
            return self.hard(event, attempt, &key, provider);
        }
        self.brakes.attempt(&event.tenant, &provider, event.at);
        match finding {
            Finding::Delivered => self.forget(&key, event.at),
            Finding::Full => self.full(event, attempt, &key, provider),
            Finding::Hard | Finding::Nothing => {}
        }
    }

    fn hard(&mut self, event: &NewEvent, attempt: &Attempt, key: &Key, provider: String) {
        let needed = i64::from((self.settings)(&event.tenant).hard_bounces);
        // Nothing is paused where bounces suppress nobody.
        if needed == 0 {
            return;
        }
        match self.brakes.bounce(&event.tenant, &provider, event.at) {
            Brake::Off => {}
            brake => {
                self.seen.counts.withheld += 1;
                if let Brake::Pulled { bounces, attempts, until } = brake {
                    tracing::warn!(
                        tenant = %event.tenant, %provider, bounces, attempts,
                        "so many hard bounces look like an incident at the provider: they suppress nobody for now"
                    );
                    self.seen.counts.incidents += 1;
                    let pause = SuppressionPause { provider, bounces, attempts, until: timestamp(until) };
                    self.seen.pauses.push((event.tenant.clone(), pause));
                }
                return;
            }
        }
        if needed > 1 && self.count(key, HARD_BOUNCE, event.at).times < needed {
            return;
        }
        self.forget(key, event.at);
        self.entry(event, attempt, key, provider, words(attempt, true));
    }

    fn full(&mut self, event: &NewEvent, attempt: &Attempt, key: &Key, provider: String) {
        let rule = (self.settings)(&event.tenant).mailbox_full;
        if rule.times == 0 {
            return;
        }
        let SuppressionCount { times, first_at, last_at, .. } = self.count(key, MAILBOX_FULL, event.at);
        if times < i64::from(rule.times) || last_at - first_at < i64::from(rule.days) * DAY {
            return;
        }
        self.forget(key, event.at);
        let since = timestamp(first_at);
        let since = since.split('T').next().unwrap_or_default();
        let said = words(attempt, matches!(event.event, Event::Bounced(_)));
        self.entry(event, attempt, key, provider, format!("{times} times since {since}: {said}"));
    }

    /// The report was believed before the event was written.
    fn complaint(&mut self, event: &NewEvent, complained: &Complained) {
        let Some((tenant, address)) = key(event, &complained.recipient) else { return };
        let stream = match (self.settings)(&event.tenant).complaints {
            ComplaintScope::All => ALL_STREAMS,
            ComplaintScope::Stream => event.labels.stream.name(),
        };
        let report = &complained.report;
        self.entries.push(RuleEntry {
            tenant,
            address,
            stream: stream.to_owned(),
            reason: "complaint",
            detail: format!("{} reported by {}", report.action, report.reported_by),
            message_id: event.item.map(|id| id.to_string()),
            at: event.at,
            cause: SuppressionCause {
                rule: report.action.clone(),
                provider: (self.provider)(&complained.recipient, None),
                mx: String::new(),
            },
        });
    }

    fn entry(&mut self, event: &NewEvent, attempt: &Attempt, key: &Key, provider: String, detail: String) {
        let rule = attempt.classification.as_ref().map(|class| class.rule.clone());
        let mx = attempt.mx.as_deref().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        let (tenant, address) = key.clone();
        self.entries.push(RuleEntry {
            tenant,
            address,
            stream: ALL_STREAMS.to_owned(),
            reason: "bounce",
            detail,
            message_id: event.item.map(|id| id.to_string()),
            at: event.at,
            cause: SuppressionCause { rule: rule.unwrap_or_default(), provider, mx },
        });
    }

    /// Counts one more failure of a kind.
    fn count(&mut self, key: &Key, kind: &str, at: Millis) -> SuppressionCount {
        self.changed.insert(key.clone());
        let counts = self.counts.entry(key.clone()).or_default();
        if let Some(count) = counts.iter_mut().find(|count| count.kind == kind) {
            count.times = count.times.saturating_add(1);
            count.first_at = count.first_at.min(at);
            count.last_at = count.last_at.max(at);
            return count.clone();
        }
        let (tenant, address) = key.clone();
        let count =
            SuppressionCount { tenant, address, kind: kind.to_owned(), times: 1, first_at: at, last_at: at };
        counts.push(count.clone());
        count
    }

    /// Failures up to `at` are void: a later one that another node has counted stays.
    fn forget(&mut self, key: &Key, at: Millis) {
        let is_void = |counts: &Vec<SuppressionCount>| counts.iter().all(|count| count.last_at <= at);
        if self.counts.get(key).is_some_and(is_void) {
            self.counts.remove(key);
            self.changed.remove(key);
            self.forgotten.insert(key.clone());
        }
    }

    /// What the events come to, and the brakes behind them.
    pub(super) fn finish(mut self) -> (Effects, Brakes, Seen) {
        let counts = self.changed.iter().filter_map(|key| self.counts.remove(key)).flatten().collect();
        let forgotten = self.forgotten.into_iter().collect();
        (Effects { entries: self.entries, forgotten, counts }, self.brakes, self.seen)
    }
}

/// What the receiver said. The status of a message that expired is ours.
fn words(attempt: &Attempt, with_status: bool) -> String {
    let code = attempt.code.map(|code| code.to_string());
    let status = Some(attempt.status.clone()).filter(|status| with_status && !status.is_empty());
    let said = attempt.reply.clone().or_else(|| attempt.reason.clone());
    [code, status, said].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
