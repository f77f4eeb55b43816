//! What is in the queue: items, their deliveries, recipients.

use std::fmt;
use std::net::IpAddr;

use minicbor::{Decode, Encode};
use relevo_mailkit::dsn::RecipientDsn;
use relevo_mailkit::labels::Labels;
use relevo_mailkit::options::MailOptions;

use super::{ItemId, Millis, QueueKey, SpooledBody};

/// What all deliveries of a message share. Written once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ItemMeta {
    /// The owner. Empty: mail of trusted peers that belongs to no tenant.
    #[n(0)]
    #[cbor(skip_if = "String::is_empty")]
    pub tenant: String,
    /// The reverse-path without angle brackets; empty for the null reverse-path.
    #[n(1)]
    #[cbor(skip_if = "String::is_empty")]
    pub sender: String,
    /// When it was accepted. [`Self::released_at`] is `t=` of its signatures.
    #[n(2)]
    pub accepted_at: Millis,
    /// When what is left is given up.
    #[n(3)]
    pub expires_at: Millis,
    /// Octets of the body as stored.
    #[n(4)]
    pub size: u64,
    /// A bounce of ours: never answered by another.
    #[n(5)]
    #[cbor(default)]
    pub is_bounce: bool,
    /// Set when no bounce may be sent for it: null sender, a bounce, or a reverse-path that is not
    /// tied to a tenant.
    #[n(6)]
    #[cbor(default)]
    pub no_bounce: bool,
    /// For the log, events and reports: `smtp`, `http`, `bounce`.
    #[n(7)]
    #[cbor(skip_if = "String::is_empty")]
    pub source: String,
    /// For events and bounces.
    #[n(8)]
    #[cbor(skip_if = "String::is_empty")]
    pub message_id: String,
    /// For listings; at most 200 octets.
    #[n(9)]
    #[cbor(skip_if = "String::is_empty")]
    pub subject: String,
    /// The relay's own serialised recipe: how copies are made. Opaque here. Large recipes are kept
    /// beside the body.
    #[n(10)]
    #[cbor(with = "minicbor::bytes", skip_if = "Vec::is_empty")]
    pub recipe: Vec<u8>,
    /// What plugins attached to the message: names and values.
    #[n(11)]
    #[cbor(skip_if = "Vec::is_empty")]
    pub attributes: Vec<(String, String)>,
    /// What the sender attached to the message.
    #[n(12)]
    #[cbor(with = "super::json", skip_if = "Labels::is_empty")]
    pub labels: Labels,
    /// When it is sent, if not at once; also `t=` of its signatures and its Date.
    #[n(13)]
    pub scheduled_at: Option<Millis>,
    /// Only over a verified TLS connection.
    #[n(14)]
    #[cbor(default)]
    pub enforce_tls: bool,
    /// Set when `expires_at` is the sender's: it stays when the message gets another time.
    #[n(15)]
    #[cbor(default)]
    pub is_expiry_given: bool,
    /// What the sender asked of the way of the message.
    #[n(16)]
    #[cbor(with = "super::json", skip_if = "MailOptions::is_empty")]
    pub options: MailOptions,
    /// The sender wants it delivered also where policies of the recipient domain would stop it (RFC 8689
    /// section 5).
    #[n(17)]
    #[cbor(default, skip_if = "std::ops::Not::not")]
    pub tls_optional: bool,
}

impl ItemMeta {
    /// When the message is sent for the first time: `t=` of its signatures.
    #[must_use]
    pub fn released_at(&self) -> Millis {
        self.scheduled_at.unwrap_or(self.accepted_at)
    }

    /// Whether a message that is sent at `at` has expired by then. An expiry that the sender did
    /// not give moves along.
    #[must_use]
    pub fn expires_before(&self, at: Millis) -> bool {
        self.is_expiry_given && self.expires_at <= at
    }

    /// Gives the message another time of sending.
    pub(crate) fn move_to(&mut self, at: Millis) {
        if !self.is_expiry_given {
            let later = at.saturating_sub(self.released_at());
            self.expires_at = self.expires_at.saturating_add(later);
        }
        self.scheduled_at = Some(at);
    }
}

/// One recipient of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Recipient {
    /// Position in the envelope as accepted, from 0: what tracking tokens and events refer to.
    #[n(0)]
    pub index: u32,
    /// The forward-path without angle brackets.
    #[n(1)]
    pub address: String,
    /// As far as it got.
    #[n(2)]
    pub state: RecipientState,
    /// The reports that the sender asked for.
    #[n(3)]
    #[cbor(with = "super::json", skip_if = "RecipientDsn::is_empty")]
    pub dsn: RecipientDsn,
    /// When its sender is told that it still waits. None: no such report was asked for, or it was
    /// queued.
    #[n(4)]
    pub delay_report_at: Option<Millis>,
}

impl Recipient {
    /// A recipient that is not settled yet, and for whom no reports were asked for.
    #[must_use]
    pub fn pending(index: u32, address: impl Into<String>) -> Self {
        let (address, dsn) = (address.into(), RecipientDsn::default());
        Self { index, address, state: RecipientState::Pending, dsn, delay_report_at: None }
    }

    /// The report about it that is due at `now`.
    #[must_use]
    pub fn due_report(&self, now: Millis) -> Option<ReportKind> {
        match self.state {
            RecipientState::Pending => {
                self.delay_report_at.filter(|at| *at <= now).map(|_| ReportKind::Delayed)
            }
            RecipientState::Relayed => Some(ReportKind::Relayed),
            RecipientState::Failed { reported: false } => Some(ReportKind::Failed),
            RecipientState::Failed { reported: true } | RecipientState::Delivered => None,
        }
    }
}

/// Where a recipient stands. Kept until the item is gone.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum RecipientState {
    /// Not settled yet.
    #[n(0)]
    Pending,
    /// The next hop took responsibility.
    #[n(1)]
    Delivered,
    /// Given up for good; `reported` once its bounce was queued or none is due.
    #[n(2)]
    Failed {
        /// Set when the bounce is written or none is due.
        #[n(0)]
        reported: bool,
    },
    /// The next hop took responsibility, and a report of that is due. Delivered once the report was
    /// queued.
    #[n(3)]
    Relayed,
}

impl RecipientState {
    /// Returns true if the end of this recipient is still to be told to its sender.
    #[must_use]
    pub fn is_unreported(&self) -> bool {
        matches!(self, Self::Failed { reported: false } | Self::Relayed)
    }
}

/// A report about a recipient: the Action of a delivery status (RFC 3464 section 2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReportKind {
    /// It was given up.
    Failed,
    /// It still waits.
    Delayed,
    /// The next hop has it, and may not report what becomes of it.
    Relayed,
}

impl ReportKind {
    /// The value of Action.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Relayed => "relayed",
        }
    }
}

/// Names a report that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportKey {
    /// Where the recipient stands.
    pub delivery: DeliveryId,
    /// Its position in the envelope.
    pub index: u32,
    /// The state that is reported.
    pub kind: ReportKind,
}

/// What was learnt from the last attempt; for `why`, bounces and events.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct LastAttempt {
    /// When.
    #[n(0)]
    #[cbor(default)]
    pub at: Millis,
    /// The remote's literal reply or our own words; at most 1 KB, control characters removed.
    #[n(1)]
    #[cbor(skip_if = "String::is_empty")]
    pub text: String,
    /// The enhanced status code (RFC 3463), such as `4.4.1`: class 4 or 5, subject and detail. The
    /// remote's, or ours where it gave none; empty before anything was learnt.
    #[n(2)]
    #[cbor(skip_if = "String::is_empty")]
    pub status: String,
    /// Reply code, where a remote gave one.
    #[n(3)]
    pub code: Option<u16>,
    /// The host that answered.
    #[n(4)]
    pub host: Option<String>,
    /// Its address.
    #[n(5)]
    pub ip: Option<IpAddr>,
}

/// A delivery to be queued.
///
/// Recipients that were refused when the message was accepted come as failed and unreported: they
/// are never attempted, and their sender is told as if the next hop had refused them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewDelivery {
    /// What it is scheduled by; its domain is that of all recipients.
    pub key: QueueKey,
    /// They share one copy and one transaction.
    pub recipients: Vec<Recipient>,
    /// When the first attempt is due.
    pub due_at: Millis,
    /// Of what is due, this goes before that of the same tenant with a lower one, within limits:
    /// see [`PRIORITY_STEP`].
    pub priority: Priority,
    /// Not due until somebody releases it.
    pub held: bool,
    /// Why a plugin holds it. Not for its sender.
    pub hold_reason: Option<String>,
    /// The reply for recipients that were refused when the message was accepted.
    pub last: Option<LastAttempt>,
}

/// A message to be queued.
pub struct NewItem {
    /// Unique; made by the caller.
    pub id: ItemId,
    /// What its deliveries share.
    pub meta: ItemMeta,
    /// The bytes, from [`Queue::spool`].
    pub body: SpooledBody,
    /// At least one.
    pub deliveries: Vec<NewDelivery>,
}

/// How urgent a delivery is among those of its tenant: -9 to 9, 0 is the usual one (as MT-PRIORITY,
/// RFC 6710 section 3).
pub type Priority = i8;

/// The highest priority; its negative is the lowest.
pub const MAX_PRIORITY: Priority = 9;

/// A delivery is leased as if it had become due this much earlier for each step of its priority
/// (later, for negative ones). So one of low priority waits behind what becomes due up to as much
/// later, and behind nothing else: none starves.
pub const PRIORITY_STEP: Millis = 60 * 60 * 1000;

/// Names a delivery of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct DeliveryId {
    /// The item.
    #[n(0)]
    #[cbor(with = "super::cbor::item_id")]
    pub item: ItemId,
    /// Its number within the item.
    #[n(1)]
    pub number: u32,
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.item, self.number)
    }
}

/// A delivery as stored.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Delivery {
    /// Its name.
    #[n(0)]
    pub id: DeliveryId,
    /// As in [`NewDelivery`].
    #[n(1)]
    pub key: QueueKey,
    /// All of them, settled ones too.
    #[n(2)]
    pub recipients: Vec<Recipient>,
    /// When the next attempt is due.
    #[n(3)]
    pub due_at: Millis,
    /// As in [`NewDelivery`].
    #[n(4)]
    pub priority: Priority,
    /// Not due until released.
    #[n(5)]
    pub held: bool,
    /// Why a plugin holds it, until it is released. Not for its sender.
    #[n(6)]
    pub hold_reason: Option<String>,
    /// Attempts so far.
    #[n(7)]
    pub attempts: u32,
    /// What the last one found; of several recipients, the worst.
    #[n(8)]
    pub last: Option<LastAttempt>,
    /// What was learnt about single recipients that are pending or not reported yet, by index,
    /// where it is not `last`.
    #[n(9)]
    pub reasons: Vec<(u32, LastAttempt)>,
}

impl Delivery {
    /// What was learnt last about this recipient.
    #[must_use]
    pub fn reason(&self, index: u32) -> Option<&LastAttempt> {
        own_or_last(&self.reasons, self.last.as_ref(), index)
    }
}

/// The entry of a recipient, or what holds for all that have none.
pub(crate) fn own_or_last<'a>(
    reasons: &'a [(u32, LastAttempt)],
    last: Option<&'a LastAttempt>,
    index: u32,
) -> Option<&'a LastAttempt> {
    reasons.iter().find(|(of, _)| *of == index).map(|(_, own)| own).or(last)
}
