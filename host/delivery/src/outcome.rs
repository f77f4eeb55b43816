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
//! | `email.suppressed` | given up because the address was suppressed since the message was accepted |

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use relevo_mailkit::classification::Classification;
use relevo_mailkit::event::{self, Attempt, Blame, ConversationLine, Event};
use relevo_mailkit::reply::EnhancedCode;
use relevo_queue::{LastAttempt, Lease, Millis, NewEvent, Recipient, RecipientState, Settlement};
use relevo_smtp::client::{DialogueStep, Failure, RemoteReply, TlsFailure, TlsReason, TlsState};

use super::classify::{Classify, of_last};
use super::failure::{EXPIRED, NO_COPY, SUPPRESSED, with_class};
use super::relay_report::is_relay_told;
use super::schedule;
use super::text::remote_text;

/// Attempts after which a receiver says when to come back.
const ANNOUNCED_ATTEMPTS: u32 = 5;
/// A receiver's clock is not ours.
const AFTER_ANNOUNCED: Duration = Duration::from_secs(1);

/// The host that was spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Via {
    /// MX or smarthost name.
    pub(crate) host: String,
    /// Its address.
    pub(crate) ip: IpAddr,
    /// Of the connection.
    pub(crate) tls: TlsState,
    /// What asked for that much TLS.
    pub(crate) needed_by: TlsReason,
    /// It offers DSN: with a message it takes over the reports that its sender asked for (RFC 3461
    /// section 5.2.1). Of mail that went to a host that does not, a report of success is ours to
    /// write: that it was relayed (section 5.2.2).
    pub(crate) takes_dsn: bool,
    /// DELIVERBY as it offers it: see [`crate::dial::HopOffer`].
    pub(crate) deliver_by: Option<Option<u32>>,
}

/// What an attempt found for one recipient.
#[derive(Debug, Clone)]
pub(crate) struct RecipientResult {
    /// Position in the envelope as accepted.
    pub(crate) index: u32,
    /// Delivered, or not.
    pub(crate) result: Result<RemoteReply, Failure>,
    /// The host that was spoken to last.
    pub(crate) via: Option<Arc<Via>>,
    /// What the failure means; filled in before anybody learns of it.
    pub(crate) classification: Option<Arc<Classification>>,
}

impl RecipientResult {
    /// Of the recipient at `index`; not yet classified.
    pub(crate) fn new(index: u32, result: Result<RemoteReply, Failure>, via: Option<Arc<Via>>) -> Self {
        Self { index, result, via, classification: None }
    }
}

impl RecipientResult {
    /// Whether the receiver took the message, or may have: the final dot was sent without an
    /// answer.
    pub(crate) fn may_be_there(&self) -> bool {
        match &self.result {
            Ok(_) => true,
            Err(failure) => failure.command == DialogueStep::EndOfData && failure.reply.is_none(),
        }
    }
}

/// What became of a recipient by an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Disposition {
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
    /// The address was suppressed after the message was accepted.
    Suppressed,
}

impl Disposition {
    /// The event that reports it.
    fn event(self, attempt: Attempt) -> Event {
        match self {
            Self::Delivered => Event::Delivered(attempt),
            Self::Delayed => Event::DeliveryDelayed(attempt),
            Self::Bounced => Event::Bounced(attempt),
            Self::Failed => Event::Failed(event::Failure::Delivery(attempt)),
            Self::Expired => Event::Expired(attempt),
            Self::Suppressed => Event::Suppressed(event::Suppressed {
                recipient: attempt.recipient,
                recipient_index: attempt.recipient_index,
                sender: attempt.sender,
                reason: attempt.reason.unwrap_or_default(),
                delivery_id: Some(attempt.delivery_id),
            }),
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
            Self::Suppressed => "suppressed",
        }
    }
}

/// What an attempt comes to.
#[derive(Debug)]
pub(crate) struct AttemptResult {
    /// To be stored, with its events.
    pub(crate) settlement: Settlement,
    /// One for each recipient concerned, for logs, metrics and bounces.
    pub(crate) records: Vec<RecipientReport>,
}

/// What the log line of a recipient says.
#[derive(Debug, Clone)]
pub(crate) struct RecipientReport {
    pub(crate) index: u32,
    pub(crate) address: String,
    pub(crate) disposition: Disposition,
    pub(crate) facts: LastAttempt,
    pub(crate) tls: TlsFacts,
    /// The host took over the reports that the sender asked for.
    pub(crate) is_dsn_handed_on: bool,
    /// The host took the message, and its sender is to be told so.
    pub(crate) is_relay_told: bool,
    pub(crate) classification: Option<Arc<Classification>>,
}

/// What an attempt says of TLS.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsFacts {
    /// Of the connection.
    pub(crate) state: TlsState,
    /// What TLS was needed for.
    pub(crate) policy: Option<TlsReason>,
    /// Why it did not come about.
    pub(crate) failure: Option<TlsFailure>,
}

impl TlsFacts {
    fn of(result: &Result<RemoteReply, Failure>, via: Option<&Via>) -> Self {
        let failure = result.as_ref().err().and_then(|failure| failure.tls);
        // A host that a policy refuses is not connected to.
        let policy = via.map(|via| via.needed_by).or_else(|| failure.and_then(TlsReason::behind));
        Self { state: via.map(|via| via.tls.clone()).unwrap_or_default(), policy, failure }
    }
}

/// What conclusions depend on besides the lease and the results.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Delays between attempts.
    pub(crate) retry: Vec<Duration>,
    /// For jitter.
    pub(crate) seed: u64,
    /// The site is down until then: no next attempt before.
    pub(crate) not_before: Millis,
    /// The receiver said when to come back, or a rule does.
    pub(crate) come_back: Option<Duration>,
    /// Not all recipients had their turn: the other ones are due at once.
    pub(crate) is_partial: bool,
    /// A stage broke: whose fault it was, for the events.
    pub(crate) blame: Option<Blame>,
    /// What was said, for the first event.
    pub(crate) conversation: Vec<ConversationLine>,
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
pub(crate) fn handed_back(lease: Arc<Lease>, next_attempt: Option<Millis>) -> AttemptResult {
    let settlement = Settlement {
        lease,
        recipients: Vec::new(),
        next_attempt,
        last: None,
        reasons: Vec::new(),
        events: Vec::new(),
    };
    AttemptResult { settlement, records: Vec::new() }
}

/// The same failure for every pending recipient.
pub(crate) fn all_failed(lease: &Lease, failure: &Failure, via: Option<&Arc<Via>>) -> Vec<RecipientResult> {
    pending(lease).map(|r| RecipientResult::new(r.index, Err(failure.clone()), via.cloned())).collect()
}

/// A delivery whose time is over before it was tried once more. What is told is what was learnt
/// last; where there was no attempt, `obstacle` is what stood in its way.
pub(crate) fn expire(
    lease: Arc<Lease>,
    obstacle: Option<&Failure>,
    classify: &dyn Classify,
    now: Millis,
) -> AttemptResult {
    let facts = |index| {
        lease.delivery.reason(index).cloned().unwrap_or_else(|| match obstacle {
            Some(failure) => disposition_of(Err(failure.clone()), None, now).1,
            None if lease.delivery.held => own_words("it was held and not released in time"),
            None => own_words("it was never attempted"),
        })
    };
    let expired = |recipient: &Recipient| {
        let last = facts(recipient.index);
        RecipientReport {
            index: recipient.index,
            address: recipient.address.clone(),
            disposition: Disposition::Expired,
            classification: of_last(classify, &last, &[]),
            facts: LastAttempt { status: EXPIRED.to_string(), ..last },
            tls: TlsFacts::default(),
            is_dsn_handed_on: false,
            is_relay_told: false,
        }
    };
    let reports = pending(&lease).map(expired).collect();
    assemble(lease, reports, now, None, (None, &[]))
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

/// What the results of an attempt come to. Recipients without a finding stay as they are.
pub(crate) fn conclude(
    lease: Arc<Lease>,
    results: Vec<RecipientResult>,
    rules: &Rules,
    now: Millis,
) -> AttemptResult {
    let attempt = lease.delivery.attempts.saturating_add(1);
    let delay = delay(&lease, attempt, rules, &results);
    let next = now.saturating_add(schedule::millis(delay)).max(rules.not_before).min(lease.meta.expires_at);
    let mut reports = Vec::with_capacity(results.len());
    for RecipientResult { index, result, via, classification } in results {
        let Some(recipient) = pending(&lease).find(|r| r.index == index) else { continue };
        let tls = TlsFacts::of(&result, via.as_deref());
        let (disposition, mut facts) = disposition_of(result, via.as_deref(), now);
        let mut disposition = disposition;
        if disposition == Disposition::Delayed && is_expired(&lease, now) {
            disposition = Disposition::Expired;
            facts.status = EXPIRED.to_string();
        }
        let is_dsn_handed_on =
            disposition == Disposition::Delivered && via.as_ref().is_some_and(|via| via.takes_dsn);
        let is_relay_told =
            disposition == Disposition::Delivered && is_relay_told(&lease, recipient, via.as_deref(), now);
        let address = recipient.address.clone();
        reports.push(RecipientReport {
            index,
            address,
            disposition,
            facts,
            tls,
            is_dsn_handed_on,
            is_relay_told,
            classification,
        });
    }
    assemble(lease, reports, now, Some(next), (rules.blame.as_ref(), &rules.conversation))
}

/// The time until the next attempt. What a receiver announced counts for the first attempts,
/// afterwards the longer one: a receiver that says the same for ever is not asked as often.
fn delay(lease: &Lease, attempt: u32, rules: &Rules, results: &[RecipientResult]) -> Duration {
    if rules.is_partial && results.iter().all(|result| result.result.is_ok()) {
        return Duration::ZERO;
    }
    let usual = schedule::delay(&rules.retry, attempt, lease.delivery.id, rules.seed);
    match rules.come_back {
        Some(announced) if attempt <= ANNOUNCED_ATTEMPTS => announced.saturating_add(AFTER_ANNOUNCED),
        Some(announced) => usual.max(announced),
        None => usual,
    }
}

fn disposition_of(
    result: Result<RemoteReply, Failure>,
    via: Option<&Via>,
    now: Millis,
) -> (Disposition, LastAttempt) {
    let mut facts = LastAttempt {
        at: now,
        host: via.map(|v| remote_text(&v.host)),
        ip: via.map(|v| v.ip),
        ..LastAttempt::default()
    };
    match result {
        Ok(reply) => {
            facts.status = reply.enhanced.unwrap_or(EnhancedCode::new(2, 0, 0)).to_string();
            facts.code = Some(reply.code);
            facts.text = remote_text(&reply.text);
            (Disposition::Delivered, facts)
        }
        Err(failure) => {
            let failure = with_class(failure);
            facts.status = failure.status.to_string();
            facts.code = failure.reply.as_ref().map(|r| r.code);
            facts.text = match &failure.reply {
                Some(reply) if !reply.text.trim().is_empty() => remote_text(&reply.text),
                _ => remote_text(&failure.detail),
            };
            let disposition =
                match (failure.permanent, failure.reply.is_some() || failure.status.subject == 1) {
                    (true, false) if failure.status == SUPPRESSED => Disposition::Suppressed,
                    (false, _) => Disposition::Delayed,
                    (true, true) => Disposition::Bounced,
                    (true, false) => Disposition::Failed,
                };
            (disposition, facts)
        }
    }
}

fn assemble(
    lease: Arc<Lease>,
    records: Vec<RecipientReport>,
    now: Millis,
    next: Option<Millis>,
    (blame, mut conversation): (Option<&Blame>, &[ConversationLine]),
) -> AttemptResult {
    // Nobody is told: what happened counts as reported at once.
    let silent = lease.meta.no_bounce || lease.meta.is_bounce || lease.meta.sender.is_empty();
    let mut recipients = Vec::with_capacity(records.len());
    let mut events = Vec::with_capacity(records.len());
    for record in &records {
        match record.disposition {
            Disposition::Delivered if record.is_relay_told && !silent => {
                recipients.push((record.index, RecipientState::Relayed));
            }
            Disposition::Delivered => recipients.push((record.index, RecipientState::Delivered)),
            Disposition::Delayed => {}
            Disposition::Bounced | Disposition::Failed | Disposition::Expired | Disposition::Suppressed => {
                let recipient = pending(&lease).find(|recipient| recipient.index == record.index);
                let reported = silent || recipient.is_some_and(|recipient| !recipient.dsn.wants_failure());
                recipients.push((record.index, RecipientState::Failed { reported }));
            }
        }
        if !is_known_fault(&lease, record) {
            // An attempt may have many recipients, and one conversation.
            let conversation = std::mem::take(&mut conversation);
            events.push(event(&lease, record, (now, next), blame, conversation));
        }
    }
    let left = pending(&lease).any(|r| !recipients.iter().any(|(index, _)| *index == r.index));
    // What stands for the whole delivery is the worst; what differs is kept for each recipient.
    let last = records.iter().max_by_key(|r| severity(r.disposition)).map(|r| r.facts.clone());
    let is_kept = |r: &RecipientReport| r.disposition != Disposition::Delivered || r.is_relay_told;
    let differs = |r: &&RecipientReport| is_kept(r) && last.as_ref() != Some(&r.facts);
    let reasons = records.iter().filter(differs).map(|r| (r.index, r.facts.clone())).collect();
    let next_attempt = next.filter(|_| left);
    let settlement = Settlement { lease, recipients, next_attempt, last, reasons, events };
    AttemptResult { settlement, records }
}

/// Returns true if the copy cannot be made and could not be made at the attempt before either. A
/// failure of our own code or configuration is an event once, not at every attempt.
fn is_known_fault(lease: &Lease, record: &RecipientReport) -> bool {
    let no_copy = |facts: &LastAttempt| facts.code.is_none() && facts.text == NO_COPY;
    record.disposition == Disposition::Delayed
        && no_copy(&record.facts)
        && lease.delivery.last.as_ref().is_some_and(no_copy)
}

fn severity(disposition: Disposition) -> u8 {
    match disposition {
        Disposition::Delivered => 0,
        Disposition::Delayed => 1,
        Disposition::Expired => 2,
        Disposition::Failed | Disposition::Suppressed => 3,
        Disposition::Bounced => 4,
    }
}

fn event(
    lease: &Lease,
    record: &RecipientReport,
    (now, next): (Millis, Option<Millis>),
    blame: Option<&Blame>,
    conversation: &[ConversationLine],
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
        tls: record.tls.state.cipher.clone(),
        tls_verified: record.tls.state.verified,
        tls_policy: record.tls.policy.and_then(TlsReason::name).map(str::to_owned),
        tls_failure: record.tls.failure.map(|failure| failure.result_type().to_owned()),
        code: facts.code,
        status: facts.status.clone(),
        reply,
        reason,
        classification: record.classification.as_deref().cloned(),
        attempt: lease.delivery.attempts.saturating_add(1),
        delay_ms: now.saturating_sub(lease.meta.accepted_at),
        report: None,
        next_attempt: next.filter(|_| record.disposition == Disposition::Delayed),
        // What broke here delayed or ended it; it neither delivered nor refused it.
        blame: blame
            .filter(|_| !matches!(record.disposition, Disposition::Delivered | Disposition::Bounced))
            .cloned(),
        conversation: conversation.to_vec(),
    };
    NewEvent::about(lease.delivery.id.item, &lease.meta, now, record.disposition.event(attempt))
}

/// One line for each recipient.
pub(crate) fn log(conclusion: &AttemptResult, now: Millis) {
    let lease = &conclusion.settlement.lease;
    for record in &conclusion.records {
        let facts = &record.facts;
        tracing::info!(
            target: "relevo::attempt",
            id = %lease.delivery.id.item,
            tenant = %lease.meta.tenant,
            from = %remote_text(&lease.meta.sender),
            to = %remote_text(&record.address),
            mx = facts.host.as_deref().unwrap_or("-"),
            ip = %facts.ip.map_or_else(|| "-".to_owned(), |ip| ip.to_string()),
            tls = record.tls.state.cipher.as_deref().unwrap_or("none"),
            tls_policy = record.tls.policy.and_then(TlsReason::name),
            tls_failure = record.tls.failure.map(TlsFailure::result_type),
            outcome = record.disposition.name(),
            dsn_handed_on = record.is_dsn_handed_on.then_some(true),
            code = facts.code.unwrap_or(0),
            status = %facts.status,
            reply = %facts.text,
            category = record.classification.as_ref().map_or("-", |c| &c.category),
            explanation = record.classification.as_ref().map_or("-", |c| &c.explanation.en),
            attempt = lease.delivery.attempts.saturating_add(1),
            delay_ms = now.saturating_sub(lease.meta.accepted_at),
            "attempt"
        );
    }
}
