//! What the index holds: CBOR records between a version octet and a checksum that covers their key
//! too.
//!
//! Fields have numbers. A reader skips numbers that it does not know, and a field that is missing
//! has its default. So a field can be added or left out without a new version.

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use relevo_mailkit::labels::Labels;
use relevo_mailkit::source::CHUNK;

use crate::api::own_or_last;
use crate::checked::ChunkSums;
use crate::schedule::Belongs;
use crate::{
    Delivery, DeliveryId, ItemId, ItemMeta, LastAttempt, Millis, NewDelivery, NewEvent, Priority, QueueKey,
    Recipient, RecipientState, ReportKind, Settlement,
};

/// The first octet of a record. It changes only when the encoding itself does.
const VERSION: u8 = 3;

/// Bodies up to this size wait in memory and are written with their group; larger ones get a file
/// of their own.
pub(crate) const INLINE: usize = CHUNK;

/// The largest that do so while there is room for more than that.
pub(crate) const LARGEST_IN_SEGMENT: usize = 4 * CHUNK;

/// Encodes a record for its key.
pub(crate) fn seal<T: Encode<()>>(key: &[u8], value: &T) -> Result<Vec<u8>, String> {
    let mut bytes = vec![VERSION];
    minicbor::encode(value, &mut bytes).map_err(|e| e.to_string())?;
    let sum = checksum(key, &bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    Ok(bytes)
}

/// Decodes a record, or says what is wrong with it.
pub(crate) fn unseal<'b, T: Decode<'b, ()>>(key: &[u8], bytes: &'b [u8]) -> Result<T, String> {
    let Some((content, sum)) = bytes.split_last_chunk::<4>() else { return Err("cut short".into()) };
    if checksum(key, content) != u32::from_le_bytes(*sum) {
        return Err("checksum does not match".into());
    }
    match content.split_first() {
        Some((&VERSION, rest)) => minicbor::decode(rest).map_err(|e| e.to_string()),
        Some((other, _)) => Err(format!("record version {other} is not known")),
        None => Err("empty".into()),
    }
}

fn checksum(key: &[u8], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(content);
    hasher.finalize()
}

/// The key of a delivery: its item, then its number, so that an item's deliveries stand together.
pub(crate) fn delivery_key(id: DeliveryId) -> [u8; 20] {
    let mut key = [0; 20];
    key[..16].copy_from_slice(&id.item.0);
    key[16..].copy_from_slice(&id.number.to_be_bytes());
    key
}

/// Reads such a key.
pub(crate) fn delivery_id(key: &[u8]) -> Option<DeliveryId> {
    let (item, number) = key.split_first_chunk::<16>()?;
    Some(DeliveryId { item: ItemId(*item), number: u32::from_be_bytes(number.try_into().ok()?) })
}

/// Reads the key of an item.
pub(crate) fn item_id(key: &[u8]) -> Option<ItemId> {
    Some(ItemId(key.try_into().ok()?))
}

/// Where octets lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) enum BlobLocation {
    /// In a segment, from this offset.
    #[n(0)]
    Segment {
        #[n(0)]
        segment: u32,
        #[n(1)]
        offset: u64,
    },
    /// In `bodies/`, named after the item and the commit that it came with.
    #[n(1)]
    File {
        #[n(0)]
        sequence: u64,
    },
}

/// Octets beside the index, with their checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Blob {
    #[n(0)]
    pub(crate) location: BlobLocation,
    #[n(1)]
    pub(crate) size: u64,
    #[n(2)]
    pub(crate) crc: u32,
}

/// An item, under its id. Written once, and again when its blobs move to another segment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct ItemRecord {
    /// Without its recipe when that lies beside the body.
    #[n(0)]
    pub(crate) meta: ItemMeta,
    #[n(1)]
    pub(crate) body: Blob,
    #[n(2)]
    pub(crate) recipe: Option<Blob>,
    /// Of a body that is a file; empty for one in a segment.
    #[n(3)]
    #[cbor(skip_if = "ChunkSums::is_empty")]
    pub(crate) sums: ChunkSums,
    /// What recovery needs when the index is lost: see [`EnvelopeRecord`].
    #[n(4)]
    pub(crate) envelope: Option<Blob>,
}

impl ItemRecord {
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Blob> {
        std::iter::once(self.body).chain(self.recipe).chain(self.envelope)
    }
}

/// A message as it was accepted, in a segment beside its body. Only `recover` reads it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct EnvelopeRecord {
    #[n(0)]
    pub(crate) meta: ItemMeta,
    #[n(1)]
    pub(crate) deliveries: Vec<DeliveryRecord>,
    #[n(2)]
    #[cbor(skip_if = "ChunkSums::is_empty")]
    pub(crate) sums: ChunkSums,
}

/// A delivery, under its id. Rewritten by every settle; kept until the item is gone.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct DeliveryRecord {
    #[n(0)]
    pub(crate) key: QueueKey,
    #[n(1)]
    pub(crate) hold_reason: Option<String>,
    #[n(2)]
    #[cbor(default)]
    pub(crate) priority: Priority,
    #[n(3)]
    pub(crate) recipients: Vec<Recipient>,
    #[n(4)]
    pub(crate) due_at: Millis,
    #[n(5)]
    #[cbor(default)]
    pub(crate) held: bool,
    #[n(6)]
    #[cbor(default)]
    pub(crate) attempts: u32,
    #[n(7)]
    pub(crate) last: Option<LastAttempt>,
    /// What was learnt about recipients that are pending or whose end is not reported, where it is
    /// not `last`.
    #[n(8)]
    #[cbor(skip_if = "Vec::is_empty")]
    pub(crate) reasons: Vec<(u32, LastAttempt)>,
}

impl DeliveryRecord {
    pub(crate) fn new(delivery: NewDelivery) -> Self {
        Self {
            key: delivery.key,
            hold_reason: delivery.hold_reason,
            priority: delivery.priority,
            recipients: delivery.recipients,
            due_at: delivery.due_at,
            held: delivery.held,
            attempts: 0,
            last: delivery.last,
            reasons: Vec::new(),
        }
    }

    /// For the schedule.
    pub(crate) fn belongs(&self, tenant: &str) -> Belongs {
        Belongs { key: self.key.clone(), tenant: tenant.to_owned(), priority: self.priority }
    }

    pub(crate) fn pending(&self) -> bool {
        self.recipients.iter().any(|r| r.state == RecipientState::Pending)
    }

    pub(crate) fn count_pending(&self) -> u32 {
        let pending = self.recipients.iter().filter(|r| r.state == RecipientState::Pending);
        u32::try_from(pending.count()).unwrap_or(u32::MAX)
    }

    pub(crate) fn unreported(&self) -> u32 {
        let unreported = self.recipients.iter().filter(|r| r.state.is_unreported());
        u32::try_from(unreported.count()).unwrap_or(u32::MAX)
    }

    /// When the first report of delay is due.
    pub(crate) fn delay_report_at(&self) -> Option<Millis> {
        let pending = self.recipients.iter().filter(|r| r.state == RecipientState::Pending);
        pending.filter_map(|r| r.delay_report_at).min()
    }

    /// When the scheduler must look at it: nothing sleeps past its item's expiry, held or not.
    pub(crate) fn wakes_at(&self, expires_at: Millis) -> Millis {
        if self.held { expires_at } else { self.due_at.min(expires_at) }
    }

    /// What was learnt last about a recipient.
    pub(crate) fn reason(&self, index: u32) -> Option<&LastAttempt> {
        own_or_last(&self.reasons, self.last.as_ref(), index)
    }

    /// Applies what an attempt found.
    pub(crate) fn settle(&mut self, settlement: &Settlement) {
        if let Some(last) = &settlement.last {
            self.attempts = self.attempts.saturating_add(1);
            self.learn(last, &settlement.reasons);
        }
        for (index, state) in &settlement.recipients {
            self.advance(*index, state);
        }
        self.due_at = settlement.next_attempt.unwrap_or(self.due_at);
    }

    /// An attempt for all that are pending found this. Those whose end is not reported keep what
    /// was learnt then.
    fn learn(&mut self, last: &LastAttempt, found: &[(u32, LastAttempt)]) {
        let mut reasons = Vec::new();
        for recipient in &self.recipients {
            let learnt = match recipient.state {
                RecipientState::Pending => own_or_last(found, Some(last), recipient.index),
                RecipientState::Failed { reported: false } | RecipientState::Relayed => {
                    self.reason(recipient.index)
                }
                RecipientState::Failed { reported: true } | RecipientState::Delivered => None,
            };
            reasons.extend(learnt.filter(|l| *l != last).map(|l| (recipient.index, l.clone())));
        }
        (self.reasons, self.last) = (reasons, Some(last.clone()));
    }

    /// Moves a recipient forward; never back.
    pub(crate) fn advance(&mut self, index: u32, state: &RecipientState) {
        let Some(recipient) = self.recipients.iter_mut().find(|r| r.index == index) else { return };
        let forward = match recipient.state {
            RecipientState::Pending => *state != RecipientState::Pending,
            RecipientState::Failed { reported: false } => *state == RecipientState::Failed { reported: true },
            RecipientState::Relayed => *state == RecipientState::Delivered,
            RecipientState::Failed { reported: true } | RecipientState::Delivered => false,
        };
        if !forward {
            return;
        }
        recipient.state = state.clone();
        if !state.is_unreported() {
            self.reasons.retain(|(of, _)| *of != index);
        }
    }

    /// Notes that a report was made. False: it is not due any more.
    pub(crate) fn mark_reported(&mut self, index: u32, kind: ReportKind) -> bool {
        let Some(recipient) = self.recipients.iter_mut().find(|r| r.index == index) else { return false };
        if recipient.due_report(Millis::MAX) != Some(kind) {
            return false;
        }
        match kind {
            ReportKind::Failed => self.advance(index, &RecipientState::Failed { reported: true }),
            ReportKind::Relayed => self.advance(index, &RecipientState::Delivered),
            ReportKind::Delayed => recipient.delay_report_at = None,
        }
        true
    }

    /// Nothing of it is to be attempted or reported any more.
    pub(crate) fn give_up(&mut self) {
        let all: Vec<u32> = self.recipients.iter().map(|r| r.index).collect();
        for index in all {
            self.advance(index, &RecipientState::Failed { reported: true });
            self.advance(index, &RecipientState::Delivered);
        }
    }

    pub(crate) fn into_delivery(self, id: DeliveryId) -> Delivery {
        Delivery {
            id,
            key: self.key,
            hold_reason: self.hold_reason,
            recipients: self.recipients,
            due_at: self.due_at,
            priority: self.priority,
            held: self.held,
            attempts: self.attempts,
            last: self.last,
            reasons: self.reasons,
        }
    }
}

/// An event, under its cursor. Type and data are JSON text.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct EventRecord {
    #[n(0)]
    tenant: String,
    #[n(1)]
    at: Millis,
    #[n(2)]
    item: Option<ByteArray<16>>,
    #[n(3)]
    event: String,
    #[n(4)]
    #[cbor(with = "crate::api::json", skip_if = "Labels::is_empty")]
    labels: Labels,
    /// It is in the index of messages.
    #[n(5)]
    #[cbor(default, skip_if = "std::ops::Not::not")]
    lists_message: bool,
}

impl TryFrom<&NewEvent> for EventRecord {
    type Error = serde_json::Error;

    fn try_from(new: &NewEvent) -> Result<Self, Self::Error> {
        let event = serde_json::to_string(&new.event)?;
        let item = new.item.map(|item| item.0.into());
        let (tenant, labels) = (new.tenant.clone(), new.labels.clone());
        let lists_message = new.item.is_some() && new.event.lists_message();
        Ok(Self { tenant, at: new.at, item, event, labels, lists_message })
    }
}

impl EventRecord {
    pub(crate) fn tenant(&self) -> &str {
        &self.tenant
    }

    pub(crate) fn at(&self) -> Millis {
        self.at
    }

    pub(crate) fn lists_message(&self) -> bool {
        self.lists_message
    }

    pub(crate) fn item(&self) -> Option<ItemId> {
        self.item.map(|item| ItemId(item.into()))
    }

    pub(crate) fn into_event(self) -> Result<NewEvent, String> {
        let event = serde_json::from_str(&self.event).map_err(|e| e.to_string())?;
        let item = self.item();
        Ok(NewEvent { tenant: self.tenant, at: self.at, item, labels: self.labels, event })
    }
}

#[cfg(test)]
mod tests;
