//! From what an attempt found to what is stored, reported as events, and logged.
//!
//! Each recipient gets exactly one event for each attempt that named it:
//!
//! | event | when |
//! | --- | --- |
//! | `email.delivered` | the next hop took responsibility |
//! | `email.delivery_delayed` | a temporary failure; it is tried again at `next_attempt` |
//! | `email.bounced` | refused for good by the remote, or its address or domain does not exist or takes no mail |
//! | `email.failed` | given up for good for a reason of our own: a loop, no conversion, too big, no way to it |
//! | `email.expired` | given up because its time is over |

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use relevo_mailkit::event::{self, Attempt, Blame, Event};
use relevo_mailkit::reply::EnhancedCode;
use relevo_queue::{LastAttempt, Lease, Millis, NewEvent, Recipient, RecipientState, Settlement};
use relevo_smtp::client::{Failure, RemoteReply, TlsState};

use super::failure::{EXPIRED, NO_COPY, judged};
use super::schedule;
use super::text::tame;

/// The host that was spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Via {
    /// MX or smarthost name.
    pub(crate) host: String,
    /// Its address.
    pub(crate) ip: IpAddr,
    /// Of the connection.
    pub(crate) tls: TlsState,
}

/// What an attempt found for one recipient.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    /// Position in the envelope as accepted.
    pub(crate) index: u32,
    /// Delivered, or not.
    pub(crate) result: Result<RemoteReply, Failure>,
    /// The host that was spoken to last.
    pub(crate) via: Option<Arc<Via>>,
}

/// What became of a recipient by an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// The next hop took responsibility.
    Delivered,
    /// It is tried again.
    Delayed,
    /// Refused for good by the remote or its DNS.
    Bounced,
    /// Given up for a reason of our own.
    Failed,
    /// Its time is over.
    Expired,
}

impl Fate {
    /// The event that reports it.
    fn event(self, attempt: Attempt) -> Event {
        match self {
            Self::Delivered => Event::Delivered(attempt),
            Self::Delayed => Event::DeliveryDelayed(attempt),
            Self::Bounced => Event::Bounced(attempt),
            Self::Failed => Event::Failed(event::Failure::Delivery(attempt)),
            Self::Expired => Event::Expired(attempt),
        }
    }

    /// The name in logs and metrics: that of the event, without `email.`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Delayed => "delivery_delayed",
            Self::Bounced => "bounced",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }
}

/// What an attempt comes to.
#[derive(Debug)]
pub(crate) struct Conclusion {
    /// To be stored.
    pub(crate) settlement: Settlement,
    /// In the same commit.
    pub(crate) events: Vec<NewEvent>,
    /// One for each recipient concerned, for logs, metrics and bounces.
    pub(crate) records: Vec<Record>,
}

/// What the log line of a recipient says.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) index: u32,
    pub(crate) address: String,
    pub(crate) fate: Fate,
    pub(crate) facts: LastAttempt,
    pub(crate) tls: Option<TlsState>,
}

/// What conclusions depend on besides the lease and the findings.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Delays between attempts.
    pub(crate) retry: Vec<Duration>,
    /// For jitter.
    pub(crate) seed: u64,
    /// The site is down until then: no next attempt before.
    pub(crate) not_before: Millis,
    /// A stage broke: whose fault it was, for the events.
    pub(crate) blame: Option<Blame>,
}

/// The recipients that are still to be delivered to.
pub(crate) fn pending(lease: &Lease) -> impl Iterator<Item = &Recipient> {
    lease.delivery.recipients.iter().filter(|r| r.state == RecipientState::Pending)
}

/// Whether its time is over.
pub(crate) fn is_expired(lease: &Lease, now: Millis) -> bool {
    lease.meta.expires_at <= now
}

/// Nothing was attempted: the delivery stays as it is.
pub(crate) fn handed_back(lease: Lease, next_attempt: Option<Millis>) -> Settlement {
    Settlement { lease, recipients: Vec::new(), next_attempt, last: None, reasons: Vec::new() }
}

/// The same failure for every pending recipient.
pub(crate) fn all_failed(lease: &Lease, failure: &Failure, via: Option<&Arc<Via>>) -> Vec<Finding> {
    pending(lease)
        .map(|r| Finding { index: r.index, result: Err(failure.clone()), via: via.cloned() })
        .collect()
}

/// A delivery whose time is over before it was tried once more. What is told is what was learnt last; where there was no
/// attempt, `obstacle` is what stood in its way.
pub(crate) fn expire(lease: Lease, obstacle: Option<&Failure>, now: Millis) -> Conclusion {
    let facts = |index| {
        // Before the first attempt it is why a plugin held it, which is not for its sender.
        let learnt = (lease.delivery.attempts > 0).then(|| lease.delivery.reason(index)).flatten();
        let last = learnt.cloned().unwrap_or_else(|| match obstacle {
            Some(failure) => fate_of(Err(failure.clone()), None, now).1,
            None if lease.delivery.held => own_words("it was held and not released in time"),
            None => own_words("it was never attempted"),
        });
        LastAttempt { status: EXPIRED.to_string(), ..last }
    };
    let fates =
        pending(&lease).map(|r| (r.index, r.address.clone(), Fate::Expired, facts(r.index), None)).collect();
    assemble(lease, fates, now, None, None)
}

fn own_words(text: &str) -> LastAttempt {
    LastAttempt { text: text.to_owned(), ..LastAttempt::default() }
}

/// `90061000` as `1 day 1 hour`: the two largest units.
pub(crate) fn in_words(millis: Millis) -> String {
    let mut rest = millis.max(0) / 1000;
    let mut words = Vec::new();
    for (unit, seconds) in [("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)] {
        let n = rest / seconds;
        rest %= seconds;
        if n > 0 && words.len() < 2 {
            words.push(format!("{n} {unit}{}", if n == 1 { "" } else { "s" }));
        }
    }
    if words.is_empty() { "0 seconds".to_owned() } else { words.join(" ") }
}

/// What the findings of an attempt come to. Recipients without a finding stay as they are.
pub(crate) fn conclude(lease: Lease, findings: Vec<Finding>, rules: &Rules, now: Millis) -> Conclusion {
    let attempt = lease.delivery.attempts.saturating_add(1);
    let delay = schedule::delay(&rules.retry, attempt, lease.delivery.id, rules.seed);
    let next = now.saturating_add(schedule::millis(delay)).max(rules.not_before).min(lease.meta.expires_at);
    let mut fates = Vec::with_capacity(findings.len());
    for Finding { index, result, via } in findings {
        let Some(recipient) = pending(&lease).find(|r| r.index == index) else { continue };
        let (fate, mut facts) = fate_of(result, via.as_deref(), now);
        let mut fate = fate;
        if fate == Fate::Delayed && is_expired(&lease, now) {
            fate = Fate::Expired;
            facts.status = EXPIRED.to_string();
        }
        fates.push((index, recipient.address.clone(), fate, facts, via.map(|v| v.tls.clone())));
    }
    assemble(lease, fates, now, Some(next), rules.blame.as_ref())
}

fn fate_of(result: Result<RemoteReply, Failure>, via: Option<&Via>, now: Millis) -> (Fate, LastAttempt) {
    let mut facts = LastAttempt {
        at: now,
        host: via.map(|v| tame(&v.host)),
        ip: via.map(|v| v.ip),
        ..LastAttempt::default()
    };
    match result {
        Ok(reply) => {
            facts.status = reply.enhanced.unwrap_or(EnhancedCode::new(2, 0, 0)).to_string();
            facts.code = Some(reply.code);
            facts.text = tame(&reply.text);
            (Fate::Delivered, facts)
        }
        Err(failure) => {
            let failure = judged(failure);
            facts.status = failure.status.to_string();
            facts.code = failure.reply.as_ref().map(|r| r.code);
            facts.text = match &failure.reply {
                Some(reply) if !reply.text.trim().is_empty() => tame(&reply.text),
                _ => tame(&failure.detail),
            };
            let fate = match (failure.permanent, failure.reply.is_some() || failure.status.subject == 1) {
                (false, _) => Fate::Delayed,
                (true, true) => Fate::Bounced,
                (true, false) => Fate::Failed,
            };
            (fate, facts)
        }
    }
}

type Fated = (u32, String, Fate, LastAttempt, Option<TlsState>);

fn assemble(
    lease: Lease,
    fates: Vec<Fated>,
    now: Millis,
    next: Option<Millis>,
    blame: Option<&Blame>,
) -> Conclusion {
    // Nobody is told: the failure counts as reported at once.
    let silent = lease.meta.no_bounce || lease.meta.is_bounce || lease.meta.sender.is_empty();
    let mut recipients = Vec::with_capacity(fates.len());
    let mut events = Vec::with_capacity(fates.len());
    let mut records = Vec::with_capacity(fates.len());
    for (index, address, fate, facts, tls) in fates {
        match fate {
            Fate::Delivered => recipients.push((index, RecipientState::Delivered)),
            Fate::Delayed => {}
            Fate::Bounced | Fate::Failed | Fate::Expired => {
                recipients.push((index, RecipientState::Failed { reported: silent }));
            }
        }
        let record = Record { index, address, fate, facts, tls };
        if !is_known_fault(&lease, &record) {
            events.push(event(&lease, &record, now, next, blame));
        }
        records.push(record);
    }
    let left = pending(&lease).any(|r| !recipients.iter().any(|(index, _)| *index == r.index));
    // What stands for the whole delivery is the worst; what differs is kept for each recipient.
    let last = records.iter().max_by_key(|r| severity(r.fate)).map(|r| r.facts.clone());
    let differs = |r: &&Record| r.fate != Fate::Delivered && last.as_ref() != Some(&r.facts);
    let reasons = records.iter().filter(differs).map(|r| (r.index, r.facts.clone())).collect();
    let settlement = Settlement { lease, recipients, next_attempt: next.filter(|_| left), last, reasons };
    Conclusion { settlement, events, records }
}

/// Returns true if the copy cannot be made and could not be made at the attempt before either. A failure of our own code or
/// configuration is an event once, not at every attempt.
fn is_known_fault(lease: &Lease, record: &Record) -> bool {
    let no_copy = |facts: &LastAttempt| facts.code.is_none() && facts.text == NO_COPY;
    record.fate == Fate::Delayed
        && no_copy(&record.facts)
        && lease.delivery.last.as_ref().is_some_and(no_copy)
}

fn severity(fate: Fate) -> u8 {
    match fate {
        Fate::Delivered => 0,
        Fate::Delayed => 1,
        Fate::Expired => 2,
        Fate::Failed => 3,
        Fate::Bounced => 4,
    }
}

fn event(
    lease: &Lease,
    record: &Record,
    now: Millis,
    next: Option<Millis>,
    blame: Option<&Blame>,
) -> NewEvent {
    let facts = &record.facts;
    let (reply, reason) = match facts.code {
        Some(_) => (Some(facts.text.clone()), None),
        None => (None, Some(facts.text.clone())),
    };
    let attempt = Attempt {
        delivery_id: lease.delivery.id.to_string(),
        recipient: record.address.clone(),
        recipient_index: record.index,
        sender: lease.meta.sender.clone(),
        message_id_header: lease.meta.message_id.clone(),
        mx: facts.host.clone(),
        mx_ip: facts.ip.map(|ip| ip.to_string()),
        tls: record.tls.as_ref().and_then(|t| t.cipher.clone()),
        code: facts.code,
        status: facts.status.clone(),
        reply,
        reason,
        attempt: lease.delivery.attempts.saturating_add(1),
        delay_ms: now.saturating_sub(lease.meta.accepted_at),
        next_attempt: next.filter(|_| record.fate == Fate::Delayed),
        // What broke here delayed or ended it; it neither delivered nor refused it.
        blame: blame.filter(|_| !matches!(record.fate, Fate::Delivered | Fate::Bounced)).cloned(),
    };
    NewEvent {
        tenant: lease.meta.tenant.clone(),
        at: now,
        item: Some(lease.delivery.id.item),
        event: record.fate.event(attempt),
    }
}

/// One line for each recipient.
pub(crate) fn log(conclusion: &Conclusion, now: Millis) {
    let lease = &conclusion.settlement.lease;
    for record in &conclusion.records {
        let facts = &record.facts;
        tracing::info!(
            target: "relevo::attempt",
            id = %lease.delivery.id.item,
            tenant = %lease.meta.tenant,
            from = %tame(&lease.meta.sender),
            to = %tame(&record.address),
            mx = facts.host.as_deref().unwrap_or("-"),
            ip = %facts.ip.map_or_else(|| "-".to_owned(), |ip| ip.to_string()),
            tls = record.tls.as_ref().and_then(|t| t.cipher.as_deref()).unwrap_or("none"),
            outcome = record.fate.name(),
            code = facts.code.unwrap_or(0),
            status = %facts.status,
            reply = %facts.text,
            attempt = lease.delivery.attempts.saturating_add(1),
            delay_ms = now.saturating_sub(lease.meta.accepted_at),
            "attempt"
        );
    }
}
