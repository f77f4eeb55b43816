//! What one request would change: rows, and what follows in memory. A draft is complete before the
//! first of its rows is written, so a request that is refused leaves no trace in the group it came
//! with.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::record::{self, Blob, DeliveryRecord, EventRecord, ItemRecord};
use crate::request::WriteOutcome;
use crate::schedule::{Belongs, ScheduleChange};
use crate::{DeliveryId, IdempotentRequest, ItemId, ItemMeta, NewEvent, StoreError};

/// A row to write; no value: to delete.
#[derive(Debug)]
pub(crate) enum Put {
    Item(ItemId, Option<Vec<u8>>),
    Delivery(DeliveryId, Option<Vec<u8>>),
    Quarantine(String, Vec<u8>),
    /// A request under its idempotency key.
    Request(Box<IdempotentRequest>),
}

/// What becomes of memory and files once the commit is durable.
#[derive(Debug)]
pub(crate) enum Effect {
    Insert(ScheduleChange, Belongs),
    Update(ScheduleChange),
    Remove(DeliveryId),
    Unreported(ItemId, u32),
    ItemAdded(Vec<Blob>),
    ItemRemoved(Vec<Blob>, ItemId),
    /// Its facts are others now.
    ItemChanged(ItemId),
    Moved {
        from: Blob,
        to: Blob,
    },
    Quarantined,
}

/// What is left to do of an item.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Deliveries with pending recipients.
    pub(crate) pending: u32,
    /// Recipients whose end is still to be told.
    pub(crate) unreported: u32,
}

impl Tally {
    pub(crate) fn nothing_left(self) -> bool {
        self.pending == 0 && self.unreported == 0
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) puts: Vec<Put>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) tallies: HashMap<ItemId, Tally>,
    pub(crate) settled: HashSet<DeliveryId>,
    pub(crate) locked: Vec<DeliveryId>,
    pub(crate) events: Vec<EventRecord>,
    /// Items that were added by this draft.
    pub(crate) added: BTreeSet<ItemId>,
    pub(crate) answer: WriteOutcome,
}

/// Seals a record; one that cannot be encoded is refused.
pub(crate) fn seal<T: minicbor::Encode<()>>(key: &[u8], value: &T) -> Result<Vec<u8>, StoreError> {
    record::seal(key, value).map_err(|e| StoreError::Io(format!("record: {e}")))
}

impl Draft {
    /// Adds events to the log.
    pub(crate) fn write_events(&mut self, events: &[NewEvent]) -> Result<(), StoreError> {
        for event in events {
            let record = EventRecord::try_from(event).map_err(|e| StoreError::Io(format!("event: {e}")))?;
            self.events.push(record);
        }
        Ok(())
    }

    /// Writes a delivery's new state. `tally` must be known for its item.
    pub(crate) fn rewrite(
        &mut self,
        id: DeliveryId,
        before: &DeliveryRecord,
        after: &DeliveryRecord,
        meta: &ItemMeta,
        settled: bool,
    ) -> Result<(), StoreError> {
        let tally = self.tallies.entry(id.item).or_default();
        tally.unreported = tally.unreported.saturating_sub(before.unreported()) + after.unreported();
        if before.pending() && !after.pending() {
            tally.pending = tally.pending.saturating_sub(1);
            self.effects.push(Effect::Remove(id));
        } else if after.pending() {
            self.effects.push(Effect::Update(change(id, after, meta, settled)));
        }
        let unreported = tally.unreported;
        if before.unreported() != after.unreported() {
            self.effects.push(Effect::Unreported(id.item, unreported));
        }
        self.puts.push(Put::Delivery(id, Some(seal(&record::delivery_key(id), after)?)));
        Ok(())
    }

    /// Adds an item with its deliveries.
    pub(crate) fn add(
        &mut self,
        id: ItemId,
        item: &ItemRecord,
        deliveries: Vec<crate::NewDelivery>,
    ) -> Result<(), StoreError> {
        self.puts.push(Put::Item(id, Some(seal(&id.0, item)?)));
        self.effects.push(Effect::ItemAdded(item.blobs().collect()));
        self.added.insert(id);
        let mut tally = Tally::default();
        for (number, new) in deliveries.into_iter().enumerate() {
            let number = u32::try_from(number).map_err(|_| StoreError::Io("too many deliveries".into()))?;
            let id = DeliveryId { item: id, number };
            let record = DeliveryRecord::new(new);
            self.puts.push(Put::Delivery(id, Some(seal(&record::delivery_key(id), &record)?)));
            tally.unreported += record.unreported();
            if record.pending() {
                tally.pending += 1;
                let change = change(id, &record, &item.meta, false);
                self.effects.push(Effect::Insert(change, record.belongs(&item.meta.tenant)));
            }
        }
        if tally.nothing_left() {
            return Err(StoreError::Io(format!("{id} has no pending recipient")));
        }
        if tally.unreported > 0 {
            self.effects.push(Effect::Unreported(id, tally.unreported));
        }
        self.tallies.insert(id, tally);
        Ok(())
    }
}

pub(crate) fn change(
    id: DeliveryId,
    record: &DeliveryRecord,
    meta: &ItemMeta,
    settled: bool,
) -> ScheduleChange {
    ScheduleChange {
        id,
        wakes_at: record.wakes_at(meta.expires_at),
        since: record.last.as_ref().map_or(meta.accepted_at, |last| last.at),
        held: record.held,
        settled,
        recipients: record.count_pending(),
        delay_report_at: record.delay_report_at(),
    }
}
