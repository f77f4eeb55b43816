//! From requests to drafts: what each kind of request changes. Reads go through the tables of the
//! group's transaction, so a request sees those that came before it in the group.

mod idempotency;
mod quarantine;
mod report;

pub(crate) use idempotency::{is_old, request_key};

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use redb::{ReadableTable, ReadableTableMetadata};

use crate::draft::{self, Draft, Effect, Put, Tally};
use crate::index::{self, IndexError, Tables};
use crate::inner::{RecordState, StoreCore, delivery_rows, get_delivery, get_item};
use crate::record::{self, DeliveryRecord, EventRecord, ItemRecord};
use crate::request::{Op, StagedItem, WriteOutcome};
use crate::schedule::LeaseKey;
use crate::seeded::SeededBug;
use crate::shard_log::capture::LoggedTable;
use crate::{Acted, DeliveryId, ItemId, Millis, OperatorAction, Settlement, StoreError};

/// Events that one call of `prune` removes.
const PRUNED_AT_ONCE: usize = 1000;

/// Plans the requests of one group, one after the other.
pub(crate) struct Planner<'a, 't> {
    pub(super) inner: &'a StoreCore,
    pub(super) tables: Tables<'t>,
    sequence: u64,
    cursor: u64,
    tallies: HashMap<ItemId, Tally>,
    settled: HashSet<DeliveryId>,
    locked: HashSet<DeliveryId>,
    effects: Vec<Effect>,
    damaged: Vec<(DeliveryId, String)>,
}

/// What a group leads to.
pub(crate) struct GroupPlan {
    pub(crate) effects: Vec<Effect>,
    pub(crate) locked: HashSet<DeliveryId>,
    /// Cursor of the last event.
    pub(crate) newest_event: u64,
    /// Deliveries whose record turned out to be damaged.
    pub(crate) damaged: Vec<(DeliveryId, String)>,
}

impl<'a, 't> Planner<'a, 't> {
    pub(crate) fn new(inner: &'a StoreCore, tables: Tables<'t>) -> Result<Self, IndexError> {
        let sequence = tables.meta.get(index::SEQUENCE)?.map_or(0, |v| v.value()) + 1;
        let cursor = tables.meta.get(index::CURSOR)?.map_or(0, |v| v.value());
        Ok(Self {
            inner,
            tables,
            sequence,
            cursor,
            tallies: HashMap::new(),
            settled: HashSet::new(),
            locked: HashSet::new(),
            effects: Vec::new(),
            damaged: Vec::new(),
        })
    }

    /// The items as this group sees them.
    pub(crate) fn items(&self) -> &LoggedTable<'t, &'static [u8], &'static [u8]> {
        &self.tables.items
    }

    /// Writes one row on the store's own account.
    pub(crate) fn put(&mut self, put: Put, effects: Vec<Effect>) -> Result<(), IndexError> {
        self.apply(Draft { puts: vec![put], effects, ..Draft::default() })
    }

    /// Ends the group; its rows are in the transaction.
    pub(crate) fn finish(mut self) -> Result<GroupPlan, IndexError> {
        self.tables.meta.insert(index::SEQUENCE, self.sequence)?;
        self.tables.meta.insert(index::CURSOR, self.cursor)?;
        let newest_event = self.cursor;
        Ok(GroupPlan { effects: self.effects, locked: self.locked, newest_event, damaged: self.damaged })
    }

    /// Releases what was locked; the group does not happen.
    pub(crate) fn locked(&self) -> impl Iterator<Item = DeliveryId> {
        self.locked.iter().copied()
    }

    /// Does a request, or refuses it without a trace. The outer error ends the whole group.
    pub(crate) fn request(
        &mut self,
        op: &mut Op,
        staged: &[StagedItem],
    ) -> Result<Result<WriteOutcome, StoreError>, IndexError> {
        let mut draft = Draft::default();
        let planned = self.plan(op, staged, &mut draft);
        match planned {
            Ok(()) => {
                let answer = draft.answer;
                self.apply(draft)?;
                Ok(Ok(answer))
            }
            Err(PlanError::Request(error)) => {
                self.unlock(&draft);
                Ok(Err(error))
            }
            Err(PlanError::Group(error)) => {
                self.unlock(&draft);
                Err(error)
            }
        }
    }

    fn plan(&mut self, op: &mut Op, staged: &[StagedItem], draft: &mut Draft) -> Result<(), PlanError> {
        for item in staged {
            self.add(draft, item)?;
        }
        match op {
            Op::Accept { events, request, .. } => {
                draft.write_events(events)?;
                if let Some(request) = request.take() {
                    self.remember(draft, request)?;
                }
            }
            Op::Append { events } => draft.write_events(events)?,
            Op::Settle { settlements, .. } => self.settle(draft, settlements)?,
            Op::Report { item, recipients, events, .. } => {
                self.report(draft, *item, recipients)?;
                draft.write_events(events)?;
            }
            Op::Act { item, domain, action, now, events } => {
                let acted = self.act(draft, (*item, domain.as_deref()), *action, *now)?;
                draft.answer = WriteOutcome::Acted(acted);
                if !matches!(draft.answer, WriteOutcome::Acted(Acted::NotFound | Acted::Begun)) {
                    draft.write_events(events)?;
                }
            }
            Op::Prune { before, max } => draft.answer = WriteOutcome::Pruned(self.prune(*before, *max)?),
            Op::Adopt { items } => {
                for (id, record, deliveries) in items.drain(..) {
                    draft.add(id, &record, deliveries)?;
                }
            }
            Op::Quarantine { what, why } => self.quarantine(draft, what, why)?,
            Op::Piece(_) => {}
        }
        self.remove_finished(draft)
    }

    fn add(&self, draft: &mut Draft, staged: &StagedItem) -> Result<(), PlanError> {
        let known =
            draft.added.contains(&staged.id) || self.tables.items.get(staged.id.0.as_slice())?.is_some();
        if known {
            return Err(StoreError::Io(format!("{} is queued already", staged.id)).into());
        }
        Ok(draft.add(staged.id, &staged.record, staged.deliveries.clone())?)
    }

    /// Takes leased deliveries for this group, all or none.
    fn take_leases(&mut self, draft: &mut Draft, settlements: &[Arc<Settlement>]) -> Result<(), StoreError> {
        let mut schedule = self.inner.schedule();
        for settlement in settlements {
            let id = settlement.lease.delivery.id;
            let key = LeaseKey { id, token: settlement.lease.token };
            if self.settled.contains(&id) || !draft.settled.insert(id) || !schedule.holds(key) {
                return Err(StoreError::LeaseLost(id));
            }
        }
        for id in &draft.settled {
            if !self.locked.contains(id) && schedule.lock_delivery(*id).is_some() {
                draft.locked.push(*id);
            }
        }
        Ok(())
    }

    fn settle(&mut self, draft: &mut Draft, settlements: &[Arc<Settlement>]) -> Result<(), PlanError> {
        self.take_leases(draft, settlements)?;
        for settlement in settlements {
            let id = settlement.lease.delivery.id;
            let before = self.delivery(id)?;
            let mut after = before.clone();
            after.settle(settlement);
            self.know(draft, id.item);
            let is_chosen = id.item.0[9] % 32 == 0 && before.attempts == 0;
            if is_chosen && SeededBug::RepeatedAttempt.is_made() {
                after = DeliveryRecord { attempts: 1, ..before.clone() };
                draft.rewrite(id, &before, &after, &settlement.lease.meta, true)?;
                continue;
            }
            if is_chosen && SeededBug::EventTwice.is_made() {
                draft.write_events(&settlement.events)?;
            }
            draft.rewrite(id, &before, &after, &settlement.lease.meta, true)?;
            draft.write_events(&settlement.events)?;
        }
        Ok(())
    }

    fn act(
        &mut self,
        draft: &mut Draft,
        (item, domain): (ItemId, Option<&str>),
        action: OperatorAction,
        now: Millis,
    ) -> Result<Acted, PlanError> {
        let Some(mut record) = self.item(item)? else { return Ok(Acted::NotFound) };
        let mut acted = Acted::Done;
        self.know(draft, item);
        let ids: Vec<DeliveryId> = delivery_rows(&*self.tables.deliveries, item)?
            .iter()
            .filter_map(|(key, _)| record::delivery_id(key))
            .collect();
        let only_unsent = matches!(action, OperatorAction::Cancel | OperatorAction::Reschedule(_));
        if only_unsent && self.has_begun(draft, &ids)? {
            return Ok(Acted::Begun);
        }
        if let OperatorAction::Reschedule(at) = action {
            record.meta.move_to(at);
            draft.puts.push(Put::Item(item, Some(draft::seal(&item.0, &record)?)));
            draft.effects.push(Effect::ItemChanged(item));
        }
        for id in ids {
            let before = self.delivery(id)?;
            if domain.is_some_and(|domain| before.key.domain != domain) {
                continue;
            }
            let leased = self.lock(draft, id);
            let mut after = before.clone();
            match action {
                OperatorAction::Retry if leased => {}
                OperatorAction::Retry => after.due_at = now,
                OperatorAction::Hold => after.held = true,
                OperatorAction::Release => {
                    after.held = false;
                    after.hold_reason = None;
                    after.due_at = if leased { after.due_at } else { now };
                }
                OperatorAction::Drop if leased => {
                    acted = Acted::BeingAttempted;
                    continue;
                }
                OperatorAction::Drop | OperatorAction::Cancel => after.give_up(),
                OperatorAction::Reschedule(at) => after.due_at = at,
            }
            if before.pending() || matches!(action, OperatorAction::Drop | OperatorAction::Cancel) {
                draft.rewrite(id, &before, &after, &record.meta, false)?;
            }
        }
        Ok(acted)
    }

    /// Whether an attempt of one of these has begun or was made.
    fn has_begun(&mut self, draft: &mut Draft, ids: &[DeliveryId]) -> Result<bool, PlanError> {
        for id in ids {
            let leased = self.lock(draft, *id);
            let delivery = self.delivery(*id)?;
            if leased || delivery.attempts > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Keeps a delivery from being leased until the group is decided. Tells whether it is leased
    /// now.
    fn lock(&mut self, draft: &mut Draft, id: DeliveryId) -> bool {
        let mut schedule = self.inner.schedule();
        if !self.locked.contains(&id) && schedule.lock_delivery(id).is_some() {
            draft.locked.push(id);
        }
        schedule.leased_until(id).is_some() && !self.settled.contains(&id)
    }

    /// Deletes the items of the draft with nothing left to do.
    fn remove_finished(&mut self, draft: &mut Draft) -> Result<(), PlanError> {
        let finished: Vec<ItemId> =
            draft.tallies.iter().filter(|(_, tally)| tally.nothing_left()).map(|(item, _)| *item).collect();
        for item in finished {
            for (key, _) in delivery_rows(&*self.tables.deliveries, item)? {
                if let Some(id) = record::delivery_id(&key) {
                    draft.puts.push(Put::Delivery(id, None));
                }
            }
            let RecordState::Good(record) = get_item(&*self.tables.items, item)? else { continue };
            draft.puts.push(Put::Item(item, None));
            draft.effects.push(Effect::ItemRemoved(record.blobs().collect(), item));
        }
        Ok(())
    }

    /// Removes events from the front of the log. Its rows go into the transaction at once: it
    /// cannot be refused later.
    fn prune(&mut self, before: Millis, max: u64) -> Result<usize, IndexError> {
        let mut surplus = self.tables.events.len()?.saturating_sub(max);
        let mut old = Vec::new();
        for row in self.tables.events.iter()?.take(PRUNED_AT_ONCE) {
            let (cursor, value) = row?;
            let cursor = cursor.value();
            let event = match record::unseal::<EventRecord>(&cursor.to_be_bytes(), value.value()) {
                Ok(event) if event.at() >= before && surplus == 0 => break,
                Ok(event) => Some(event),
                Err(_) => None,
            };
            old.push((cursor, event));
            surplus = surplus.saturating_sub(1);
        }
        for (cursor, event) in &old {
            self.tables.events.remove(cursor)?;
            if let Some(event) = event {
                let key = tenant_key(event.tenant(), *cursor);
                self.tables.tenant_events.remove(key.as_slice())?;
                if event.lists_message() {
                    self.tables.tenant_messages.remove(key.as_slice())?;
                }
            }
            if let Some(item) = event.as_ref().and_then(EventRecord::item) {
                self.tables.message_events.remove(message_key(item, *cursor).as_slice())?;
            }
            self.tables.meta.insert(index::PRUNED, *cursor)?;
        }
        Ok(old.len())
    }

    /// Makes an item's tally known to the draft.
    fn know(&self, draft: &mut Draft, item: ItemId) {
        if draft.tallies.contains_key(&item) {
            return;
        }
        let tally = self.tallies.get(&item).copied().unwrap_or_else(|| {
            let schedule = self.inner.schedule();
            let pending = u32::try_from(schedule.pending_of(item).count()).unwrap_or(u32::MAX);
            Tally { pending, unreported: schedule.unreported_of(item) }
        });
        draft.tallies.insert(item, tally);
    }

    fn item(&self, item: ItemId) -> Result<Option<ItemRecord>, PlanError> {
        match get_item(&*self.tables.items, item)? {
            RecordState::Good(record) => Ok(Some(record)),
            RecordState::Absent => Ok(None),
            RecordState::Damaged(why) => Err(StoreError::Corrupt(format!("{item}: {why}")).into()),
        }
    }

    fn delivery(&mut self, id: DeliveryId) -> Result<DeliveryRecord, PlanError> {
        let why = match get_delivery(&*self.tables.deliveries, id)? {
            RecordState::Good(record) => return Ok(record),
            RecordState::Damaged(why) => why,
            RecordState::Absent => "its record is gone".to_owned(),
        };
        let error = StoreError::Corrupt(format!("{}.{}: {why}", id.item, id.number));
        self.damaged.push((id, why));
        Err(error.into())
    }

    fn unlock(&self, draft: &Draft) {
        let mut schedule = self.inner.schedule();
        for id in &draft.locked {
            schedule.unlock(*id);
        }
    }

    /// Writes a draft's rows into the transaction.
    fn apply(&mut self, draft: Draft) -> Result<(), IndexError> {
        self.locked.extend(draft.locked);
        self.settled.extend(draft.settled);
        self.tallies.extend(draft.tallies);
        self.effects.extend(draft.effects);
        for put in draft.puts {
            match put {
                Put::Item(id, Some(value)) => {
                    drop(self.tables.items.insert(id.0.as_slice(), value.as_slice())?)
                }
                Put::Item(id, None) => drop(self.tables.items.remove(id.0.as_slice())?),
                Put::Delivery(id, value) => {
                    let key = record::delivery_key(id);
                    match value {
                        Some(value) => drop(self.tables.deliveries.insert(key.as_slice(), value.as_slice())?),
                        None => drop(self.tables.deliveries.remove(key.as_slice())?),
                    }
                }
                Put::Request(request) => self.put_request(&request)?,
                Put::Quarantine(name, value) => {
                    self.tables.quarantine.insert(name.as_str(), value.as_slice())?;
                }
            }
        }
        for event in draft.events {
            self.append(&event)?;
        }
        Ok(())
    }

    fn append(&mut self, record: &EventRecord) -> Result<(), IndexError> {
        self.cursor = (self.cursor + 1).max(self.sequence << 16);
        let value = record::seal(&self.cursor.to_be_bytes(), record)
            .map_err(|why| IndexError::Other(format!("event: {why}")))?;
        self.tables.events.insert(self.cursor, value.as_slice())?;
        if !record.tenant().is_empty() {
            let key = tenant_key(record.tenant(), self.cursor);
            self.tables.tenant_events.insert(key.as_slice(), ())?;
            if record.lists_message() {
                self.tables.tenant_messages.insert(key.as_slice(), ())?;
            }
        }
        if let Some(item) = record.item() {
            self.tables.message_events.insert(message_key(item, self.cursor).as_slice(), ())?;
        }
        Ok(())
    }
}

/// The key of an event in its message's index.
pub(crate) fn message_key(message: ItemId, cursor: u64) -> Vec<u8> {
    [message.0.as_slice(), &cursor.to_be_bytes()].concat()
}

/// The key of an event in its tenant's index.
pub(crate) fn tenant_key(tenant: &str, cursor: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(tenant.len() + 9);
    key.extend_from_slice(tenant.as_bytes());
    key.push(0);
    key.extend_from_slice(&cursor.to_be_bytes());
    key
}

/// Who bears an error: the request, or the group with it.
pub(crate) enum PlanError {
    Request(StoreError),
    Group(IndexError),
}

impl From<StoreError> for PlanError {
    fn from(error: StoreError) -> Self {
        Self::Request(error)
    }
}

impl From<IndexError> for PlanError {
    fn from(error: IndexError) -> Self {
        Self::Group(error)
    }
}

impl From<redb::StorageError> for PlanError {
    fn from(error: redb::StorageError) -> Self {
        Self::Group(error.into())
    }
}
