//! Messages of the queue, as they are answered.

use std::str::FromStr;

use relevo_delivery::clock::timestamp;
use relevo_queue::{DeliveryView, ItemView, LastAttempt, Millis, Priority, RecipientState};
use serde::Serialize;

use super::pending;

/// Domains of a message that are listed.
const MAX_LISTED: usize = 10;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageView {
    /// The queue id.
    pub id: String,
    /// Id of the tenant; empty: mail of trusted peers.
    pub tenant: String,
    /// The reverse-path; empty: the null reverse-path.
    pub from: String,
    /// The first 200 octets of it.
    pub subject: String,
    /// Octets as stored.
    pub size: u64,
    /// RFC 3339, as all times here.
    pub accepted_at: String,
    /// When what is left is given up.
    pub expires_at: String,
    /// Recipients that are still to be delivered to.
    pub pending: usize,
    /// The first of its deliveries. None: there will be none, or not before it is released.
    pub next_attempt: Option<String>,
    /// A part of it is held.
    pub held: bool,
}

impl From<&ItemView> for MessageView {
    fn from(view: &ItemView) -> Self {
        let meta = &view.meta;
        Self {
            id: view.id.to_string(),
            tenant: meta.tenant.clone(),
            from: meta.sender.clone(),
            subject: meta.subject.clone(),
            size: meta.size,
            accepted_at: timestamp(meta.accepted_at),
            expires_at: timestamp(meta.expires_at),
            pending: open(view).map(pending).sum(),
            next_attempt: open(view).filter_map(next_attempt).min().map(timestamp),
            held: open(view).any(|view| view.delivery.held),
        }
    }
}

/// How a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageState {
    /// A part of it is due, or being attempted.
    Due,
    /// It waits for its next attempt.
    Waiting,
    /// All that is left is held.
    Held,
}

impl FromStr for MessageState {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "due" => Ok(Self::Due),
            "waiting" => Ok(Self::Waiting),
            "held" => Ok(Self::Held),
            _ => Err("must be `due`, `waiting` or `held`"),
        }
    }
}

/// A message that a search found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FoundMessage {
    /// Its facts.
    #[serde(flatten)]
    pub message: MessageView,
    /// How it stands.
    pub state: MessageState,
    /// Domains of pending recipients, ten at most.
    pub domains: Vec<String>,
    /// What the latest attempt of a part that is left found.
    pub last: Option<AttemptView>,
}

impl FoundMessage {
    pub(super) fn new(view: &ItemView, now: Millis) -> Self {
        let is_due = |view: &DeliveryView| {
            view.leased_until.is_some() || next_attempt(view).is_some_and(|at| at <= now)
        };
        let state = if open(view).any(is_due) {
            MessageState::Due
        } else if open(view).all(|view| view.delivery.held) {
            MessageState::Held
        } else {
            MessageState::Waiting
        };
        let mut domains: Vec<String> = Vec::new();
        for delivery in open(view) {
            let domain = &delivery.delivery.key.domain;
            if domains.len() < MAX_LISTED && !domains.contains(domain) {
                domains.push(domain.clone());
            }
        }
        let last = open(view).filter_map(|view| view.delivery.last.as_ref()).max_by_key(|last| last.at);
        Self { message: view.into(), state, domains, last: last.map(AttemptView::from) }
    }
}

/// A message with its deliveries.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MessageDetails {
    /// Its facts.
    #[serde(flatten)]
    pub message: MessageView,
    /// The Message-ID field.
    pub message_id: String,
    /// `smtp`, `http` or `bounce`.
    pub source: String,
    /// One for each domain, pool and route of recipients.
    pub deliveries: Vec<QueuedDeliveryView>,
}

impl From<&ItemView> for MessageDetails {
    fn from(view: &ItemView) -> Self {
        Self {
            message: view.into(),
            message_id: view.meta.message_id.clone(),
            source: view.meta.source.clone(),
            deliveries: view.deliveries.iter().map(QueuedDeliveryView::from).collect(),
        }
    }
}

/// A delivery.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueuedDeliveryView {
    /// The recipients' domain.
    pub domain: String,
    /// Among its tenant's mail; 0 is the usual one.
    pub priority: Priority,
    /// Attempts so far.
    pub attempts: u32,
    /// Not due until it is released.
    pub held: bool,
    /// Why a plugin holds it.
    pub hold_reason: Option<String>,
    /// None: there will be none, or not before it is released.
    pub next_attempt: Option<String>,
    /// An attempt is under way.
    pub being_attempted: bool,
    /// All of them, settled ones too.
    pub recipients: Vec<QueuedRecipientView>,
    /// What the last attempt found.
    pub last: Option<AttemptView>,
}

impl From<&DeliveryView> for QueuedDeliveryView {
    fn from(view: &DeliveryView) -> Self {
        let delivery = &view.delivery;
        let recipient = |r: &relevo_queue::Recipient| QueuedRecipientView {
            address: r.address.clone(),
            state: state(&r.state),
        };
        Self {
            domain: delivery.key.domain.clone(),
            priority: delivery.priority,
            attempts: delivery.attempts,
            held: delivery.held,
            hold_reason: delivery.hold_reason.clone(),
            next_attempt: next_attempt(view).map(timestamp),
            being_attempted: view.leased_until.is_some(),
            recipients: delivery.recipients.iter().map(recipient).collect(),
            last: delivery.last.as_ref().map(AttemptView::from),
        }
    }
}

/// A recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueuedRecipientView {
    /// Who.
    pub address: String,
    /// `pending`, `delivered` or `failed`.
    pub state: &'static str,
}

/// What an attempt found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptView {
    /// When.
    pub at: String,
    /// The host that answered.
    pub host: Option<String>,
    /// Its address.
    pub ip: Option<String>,
    /// Reply code, where a remote gave one.
    pub code: Option<u16>,
    /// Enhanced status.
    pub status: String,
    /// The words of the remote, or ours.
    pub text: String,
}

impl From<&LastAttempt> for AttemptView {
    fn from(last: &LastAttempt) -> Self {
        Self {
            at: timestamp(last.at),
            host: last.host.clone(),
            ip: last.ip.map(|ip| ip.to_string()),
            code: last.code,
            status: last.status.clone(),
            text: last.text.clone(),
        }
    }
}

/// Deliveries with pending recipients.
fn open(view: &ItemView) -> impl Iterator<Item = &DeliveryView> {
    view.deliveries.iter().filter(|view| pending(view) > 0)
}

/// None: there will be none, or not before it is released.
fn next_attempt(view: &DeliveryView) -> Option<Millis> {
    (pending(view) > 0 && !view.delivery.held).then_some(view.delivery.due_at)
}

fn state(state: &RecipientState) -> &'static str {
    match state {
        RecipientState::Pending => "pending",
        RecipientState::Delivered | RecipientState::Relayed => "delivered",
        RecipientState::Failed { .. } => "failed",
    }
}
