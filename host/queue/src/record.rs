//! What the index holds: postcard records between a version octet and a checksum that covers their key too.

use relevo_mailkit::source::CHUNK;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::api::{own_or_domain, own_or_last};
use crate::schedule::Belongs;
use crate::{
    Delivery, DeliveryId, ItemId, ItemMeta, LastAttempt, Millis, NewDelivery, NewEvent, Priority, Recipient,
    RecipientState, Settlement,
};

/// Layout of the records below.
const VERSION: u8 = 2;

/// The oldest that is read.
const OLDEST: u8 = 1;

/// What is in a record, and how older layouts of it are read.
pub(crate) trait Record: DeserializeOwned {
    /// Content of an older layout. Most have not changed since the first.
    fn older(_version: u8, content: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(content)
    }
}

/// Bodies up to this size wait in memory and are written with their group; larger ones get a file of their own.
pub(crate) const INLINE: usize = CHUNK;

/// The largest that do so while there is room for more than that.
pub(crate) const LARGEST_IN_SEGMENT: usize = 4 * CHUNK;

/// Encodes a record for its key.
pub(crate) fn seal<T: Serialize>(key: &[u8], value: &T) -> Result<Vec<u8>, postcard::Error> {
    let mut bytes = postcard::to_extend(value, vec![VERSION])?;
    let sum = checksum(key, &bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    Ok(bytes)
}

/// Decodes a record, or says what is wrong with it.
pub(crate) fn unseal<T: Record>(key: &[u8], bytes: &[u8]) -> Result<T, String> {
    let Some((content, sum)) = bytes.split_last_chunk::<4>() else { return Err("cut short".into()) };
    if checksum(key, content) != u32::from_le_bytes(*sum) {
        return Err("checksum does not match".into());
    }
    match content.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|e| e.to_string()),
        Some((&older @ OLDEST..VERSION, rest)) => T::older(older, rest).map_err(|e| e.to_string()),
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    /// In a segment, from this offset.
    Segment { segment: u32, offset: u64 },
    /// In `bodies/`, named after the item.
    File,
}

/// Octets beside the index, with their checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Blob {
    pub(crate) place: Place,
    pub(crate) size: u64,
    pub(crate) crc: u32,
}

/// An item, under its id. Written once (and when its blobs move to another segment).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ItemRecord {
    /// Without its recipe when that lies beside the body.
    pub(crate) meta: ItemMeta,
    pub(crate) body: Blob,
    pub(crate) recipe: Option<Blob>,
}

impl Record for ItemRecord {}

impl ItemRecord {
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Blob> {
        std::iter::once(self.body).chain(self.recipe)
    }
}

/// A delivery, under its id. Rewritten by every settle; kept until the item is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeliveryRecord {
    pub(crate) domain: String,
    /// Since layout 2; empty for that of the domain.
    pub(crate) stream: String,
    /// Since layout 2.
    pub(crate) priority: Priority,
    pub(crate) recipients: Vec<Recipient>,
    pub(crate) due_at: Millis,
    pub(crate) held: bool,
    /// Dropped while it was attempted: goes when the attempt is settled, or its lease lapses.
    pub(crate) dropping: bool,
    pub(crate) attempts: u32,
    pub(crate) last: Option<LastAttempt>,
    /// What was learnt about recipients that are pending or failed and not reported, where it is not `last`. Older
    /// records have it for failed ones only.
    pub(crate) reasons: Vec<(u32, LastAttempt)>,
}

/// Layout 1: before there were streams and priorities.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(Serialize))]
struct FirstDeliveryRecord {
    domain: String,
    recipients: Vec<Recipient>,
    due_at: Millis,
    held: bool,
    dropping: bool,
    attempts: u32,
    last: Option<LastAttempt>,
    reasons: Vec<(u32, LastAttempt)>,
}

impl Record for DeliveryRecord {
    fn older(_version: u8, content: &[u8]) -> Result<Self, postcard::Error> {
        let first: FirstDeliveryRecord = postcard::from_bytes(content)?;
        Ok(Self {
            domain: first.domain,
            stream: String::new(),
            priority: 0,
            recipients: first.recipients,
            due_at: first.due_at,
            held: first.held,
            dropping: first.dropping,
            attempts: first.attempts,
            last: first.last,
            reasons: first.reasons,
        })
    }
}

impl DeliveryRecord {
    pub(crate) fn new(delivery: NewDelivery) -> Self {
        Self {
            domain: delivery.domain,
            stream: delivery.stream,
            priority: delivery.priority,
            recipients: delivery.recipients,
            due_at: delivery.due_at,
            held: delivery.held,
            dropping: false,
            attempts: 0,
            last: delivery.last,
            reasons: Vec::new(),
        }
    }

    /// For the schedule.
    pub(crate) fn belongs(&self, tenant: &str) -> Belongs {
        let stream = own_or_domain(&self.stream, &self.domain).to_owned();
        Belongs { stream, tenant: tenant.to_owned(), priority: self.priority }
    }

    pub(crate) fn pending(&self) -> bool {
        self.recipients.iter().any(|r| r.state == RecipientState::Pending)
    }

    pub(crate) fn unreported(&self) -> u32 {
        let failed = self.recipients.iter().filter(|r| r.state == RecipientState::Failed { reported: false });
        u32::try_from(failed.count()).unwrap_or(u32::MAX)
    }

    /// When the scheduler must look at it: nothing sleeps past its item's expiry, held or not.
    pub(crate) fn wakes_at(&self, expires_at: Millis) -> Millis {
        if self.held { expires_at } else { self.due_at.min(expires_at) }
    }

    /// What was learnt last about a recipient.
    pub(crate) fn reason(&self, index: u32) -> Option<&LastAttempt> {
        own_or_last(&self.reasons, self.last.as_ref(), index)
    }

    /// An attempt ended.
    pub(crate) fn settle(&mut self, settlement: &Settlement) {
        if let Some(last) = &settlement.last {
            self.attempts = self.attempts.saturating_add(1);
            self.learn(last, &settlement.reasons);
        }
        for (index, state) in &settlement.recipients {
            self.advance(*index, state);
        }
        self.due_at = settlement.next_attempt.unwrap_or(self.due_at);
        if self.dropping {
            self.give_up();
        }
    }

    /// An attempt for all that are pending found this. Those that failed earlier keep what was learnt then.
    fn learn(&mut self, last: &LastAttempt, found: &[(u32, LastAttempt)]) {
        let mut reasons = Vec::new();
        for recipient in &self.recipients {
            let learnt = match recipient.state {
                RecipientState::Pending => own_or_last(found, Some(last), recipient.index),
                RecipientState::Failed { reported: false } => self.reason(recipient.index),
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
            RecipientState::Failed { reported: true } | RecipientState::Delivered => false,
        };
        if !forward {
            return;
        }
        recipient.state = state.clone();
        if !matches!(state, RecipientState::Failed { reported: false }) {
            self.reasons.retain(|(of, _)| *of != index);
        }
    }

    /// Nothing of it is to be attempted or reported any more.
    pub(crate) fn give_up(&mut self) {
        let all: Vec<u32> = self.recipients.iter().map(|r| r.index).collect();
        for index in all {
            self.advance(index, &RecipientState::Failed { reported: true });
        }
    }

    pub(crate) fn into_delivery(self, id: DeliveryId) -> Delivery {
        Delivery {
            id,
            domain: self.domain,
            stream: self.stream,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EventRecord {
    tenant: String,
    at: Millis,
    item: Option<ItemId>,
    event: String,
}

impl Record for EventRecord {}

impl TryFrom<NewEvent> for EventRecord {
    type Error = serde_json::Error;

    fn try_from(new: NewEvent) -> Result<Self, Self::Error> {
        let event = serde_json::to_string(&new.event)?;
        Ok(Self { tenant: new.tenant, at: new.at, item: new.item, event })
    }
}

impl EventRecord {
    pub(crate) fn tenant(&self) -> &str {
        &self.tenant
    }

    pub(crate) fn at(&self) -> Millis {
        self.at
    }

    pub(crate) fn into_event(self) -> Result<NewEvent, String> {
        let event = serde_json::from_str(&self.event).map_err(|e| e.to_string())?;
        Ok(NewEvent { tenant: self.tenant, at: self.at, item: self.item, event })
    }
}

/// As the first version of the store wrote it.
#[cfg(test)]
pub(crate) fn seal_as_first(key: &[u8], record: DeliveryRecord) -> Vec<u8> {
    let DeliveryRecord { domain, recipients, due_at, held, dropping, attempts, last, reasons, .. } = record;
    let first = FirstDeliveryRecord { domain, recipients, due_at, held, dropping, attempts, last, reasons };
    let mut bytes = postcard::to_extend(&first, vec![OLDEST]).expect("encodes");
    let sum = checksum(key, &bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery() -> DeliveryRecord {
        let said = |text: &str| LastAttempt { text: text.into(), ..LastAttempt::default() };
        let recipient = |index, state| Recipient { index, address: format!("{index}@x.test"), state };
        DeliveryRecord {
            domain: "x.test".into(),
            stream: "a stream".into(),
            priority: 3,
            recipients: vec![
                recipient(0, RecipientState::Failed { reported: false }),
                recipient(1, RecipientState::Pending),
            ],
            due_at: 5,
            held: true,
            dropping: false,
            attempts: 1,
            last: Some(said("b")),
            reasons: vec![(0, said("b"))],
        }
    }

    #[test]
    fn a_delivery_of_the_first_layout_is_one_of_its_domain() {
        let bytes = seal_as_first(b"k", delivery());
        let record: DeliveryRecord = unseal(b"k", &bytes).expect("decodes");
        let belongs = record.belongs("acme");
        assert_eq!(
            (belongs.stream.as_str(), belongs.tenant.as_str(), belongs.priority),
            ("x.test", "acme", 0)
        );
        assert_eq!((record.due_at, record.held, record.attempts), (5, true, 1));
        let again: DeliveryRecord = unseal(b"k", &seal(b"k", &record).expect("encodes")).expect("decodes");
        assert_eq!(again, record);
    }

    #[test]
    fn a_later_layout_is_refused_by_number() {
        let mut bytes = seal(b"k", &delivery()).expect("encodes");
        bytes[0] = VERSION + 1;
        let content = bytes.len() - 4;
        let sum = checksum(b"k", &bytes[..content]);
        bytes[content..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(unseal::<DeliveryRecord>(b"k", &bytes), Err("record version 3 is not known".to_owned()));
    }

    /// They name what failed recipients were told, equal to `last` or not, and nothing of those that are pending.
    #[test]
    fn reasons_of_older_records_are_read() {
        let bytes = seal_as_first(b"k", delivery());
        let mut record: DeliveryRecord = unseal(b"k", &bytes).expect("decodes");
        record.learn(&LastAttempt { text: "c".into(), ..LastAttempt::default() }, &[]);
        let learnt = [0, 1].map(|i| record.reason(i).map(|l| l.text.clone()));
        assert_eq!(learnt, [Some("b".to_owned()), Some("c".to_owned())]);
    }
}
