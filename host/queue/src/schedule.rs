//! What is due, in memory: every delivery with pending recipients, where it waits, and who holds
//! it.
//!
//! A delivery that is not due costs an entry (48 octets), its place in `by_id` and in `waiting`,
//! and a share of its queue key. It enters the structures by key only when it falls due.

mod backlog;
mod clock;
mod delays;
mod lease;
mod ready;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Weak;

use crate::names::NameTable;
use crate::{DeliveryId, ItemId, MAX_PRIORITY, Millis, PRIORITY_STEP, Priority, QueueKey};
use delays::DelayReports;
use ready::{DueOrder, Ready};
use slab::Slab;

pub(crate) use backlog::BacklogCounts;
pub(crate) use lease::{LeaseGrant, LeaseKey};

/// Memory for so many entries is kept when the queue runs empty.
const KEPT: usize = 1024;

/// Index of an entry.
pub(crate) type Slot = u32;

#[derive(Debug)]
struct ScheduledDelivery {
    id: DeliveryId,
    key: u32,
    tenant: u32,
    wakes_at: Millis,
    priority: Priority,
    state: QueueState,
    /// A request of the group being committed touches it: it is in no set until that is decided.
    locked: bool,
    held: bool,
    /// Seconds from what it waits after (acceptance or the last attempt) to `wakes_at`.
    delay: u32,
    /// Recipients that are pending.
    recipients: u32,
}

impl ScheduledDelivery {
    fn order(&self) -> DueOrder {
        let steps = Millis::from(self.priority.clamp(-MAX_PRIORITY, MAX_PRIORITY));
        DueOrder { due: self.wakes_at, rank: self.wakes_at.saturating_sub(steps * PRIORITY_STEP) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QueueState {
    Waiting,
    Ready,
    Leased,
}

#[derive(Debug)]
struct Held {
    token: u64,
    until: Millis,
    /// For how long it was given.
    term: Millis,
    /// Whether anybody still has it.
    holder: Weak<()>,
}

/// What a commit made of a delivery.
#[derive(Debug, Clone)]
pub(crate) struct ScheduleChange {
    pub(crate) id: DeliveryId,
    pub(crate) wakes_at: Millis,
    /// When it was accepted, or attempted last.
    pub(crate) since: Millis,
    pub(crate) held: bool,
    /// Its lease was settled.
    pub(crate) settled: bool,
    /// Recipients that are pending.
    pub(crate) recipients: u32,
    /// When the first report of delay about one of them is due.
    pub(crate) delay_report_at: Option<Millis>,
}

/// What never changes of a delivery.
#[derive(Debug, Clone)]
pub(crate) struct Belongs {
    pub(crate) key: QueueKey,
    pub(crate) tenant: String,
    pub(crate) priority: Priority,
}

/// Seconds that a delivery waits.
fn delay(change: &ScheduleChange) -> u32 {
    let seconds = change.wakes_at.saturating_sub(change.since).max(0) / 1000;
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// The scheduler's memory.
#[derive(Debug)]
pub(crate) struct Schedule {
    entries: Slab<ScheduledDelivery>,
    by_id: BTreeMap<DeliveryId, Slot>,
    keys: NameTable<QueueKey>,
    tenants: NameTable<String>,
    waiting: BTreeSet<(Millis, Slot)>,
    ready: Ready,
    leases: HashMap<Slot, Held>,
    lapses: BTreeSet<(Millis, Slot)>,
    unreported: BTreeMap<ItemId, u32>,
    unreported_from: Option<ItemId>,
    delays: DelayReports,
    held: u64,
    /// The same by tenant; those with none are not in it.
    held_of: HashMap<u32, u64>,
    next_token: u64,
    last_tenant: u32,
    /// The latest `now` that was heard.
    clock: Option<Millis>,
}

impl Schedule {
    /// An empty one; the tokens of its leases begin with the boot epoch.
    pub(crate) fn new(epoch: u32) -> Self {
        Self {
            entries: Slab::new(),
            by_id: BTreeMap::new(),
            keys: NameTable::default(),
            tenants: NameTable::default(),
            waiting: BTreeSet::new(),
            ready: Ready::default(),
            leases: HashMap::new(),
            lapses: BTreeSet::new(),
            unreported: BTreeMap::new(),
            unreported_from: None,
            delays: DelayReports::default(),
            held: 0,
            held_of: HashMap::new(),
            next_token: u64::from(epoch) << 32,
            last_tenant: 0,
            clock: None,
        }
    }

    fn entry(&self, slot: Slot) -> Option<&ScheduledDelivery> {
        self.entries.get(slot as usize)
    }

    fn entry_mut(&mut self, slot: Slot) -> Option<&mut ScheduledDelivery> {
        self.entries.get_mut(slot as usize)
    }

    /// Adds a delivery that became durable.
    pub(crate) fn insert(&mut self, change: &ScheduleChange, belongs: &Belongs) {
        let tenant = self.tenants.acquire(&belongs.tenant);
        let key = self.entries.insert(ScheduledDelivery {
            id: change.id,
            key: self.keys.acquire(&belongs.key),
            tenant,
            wakes_at: change.wakes_at,
            priority: belongs.priority,
            state: QueueState::Waiting,
            locked: false,
            held: change.held,
            delay: delay(change),
            recipients: change.recipients,
        });
        let slot = Slot::try_from(key).unwrap_or(Slot::MAX);
        self.count_held(tenant, false, change.held);
        self.by_id.insert(change.id, slot);
        self.delays.set(change.id, change.delay_report_at);
        self.adjust(slot);
        self.enter(slot);
    }

    /// Applies what a commit made of a delivery, and frees it for others.
    pub(crate) fn update(&mut self, change: &ScheduleChange) {
        let Some(slot) = self.by_id.get(&change.id).copied() else { return };
        self.lock(slot);
        self.delays.set(change.id, change.delay_report_at);
        let Some(entry) = self.entry_mut(slot) else { return };
        let was_held = std::mem::replace(&mut entry.held, change.held);
        entry.wakes_at = change.wakes_at;
        entry.delay = delay(change);
        entry.recipients = change.recipients;
        entry.locked = false;
        let tenant = entry.tenant;
        let leased = entry.state == QueueState::Leased && !change.settled;
        if !leased {
            entry.state = QueueState::Waiting;
        }
        self.count_held(tenant, was_held, change.held);
        if !leased {
            self.leases.remove(&slot);
        }
        self.adjust(slot);
        self.enter(slot);
    }

    /// Forgets a delivery that has nothing pending any more.
    pub(crate) fn remove(&mut self, id: DeliveryId) {
        let Some(slot) = self.by_id.remove(&id) else { return };
        self.delays.set(id, None);
        self.leave(slot);
        self.leases.remove(&slot);
        if let Some(entry) = self.entries.try_remove(slot as usize) {
            self.count_held(entry.tenant, entry.held, false);
            self.keys.release(entry.key);
            self.tenants.release(entry.tenant);
        }
        if self.entries.is_empty() && self.entries.capacity() > KEPT {
            self.entries = Slab::new();
        }
    }

    fn count_held(&mut self, tenant: u32, was: bool, is: bool) {
        if was == is {
            return;
        }
        let of = self.held_of.entry(tenant).or_default();
        if is {
            (self.held, *of) = (self.held + 1, *of + 1);
        } else {
            (self.held, *of) = (self.held.saturating_sub(1), of.saturating_sub(1));
            if *of == 0 {
                self.held_of.remove(&tenant);
            }
        }
    }

    /// Deliveries of a tenant that are held.
    pub(crate) fn held_by(&self, tenant: &str) -> u64 {
        self.tenants.find(tenant).and_then(|tenant| self.held_of.get(&tenant)).copied().unwrap_or(0)
    }

    /// Takes a delivery out of every set while a commit decides about it.
    fn lock(&mut self, slot: Slot) {
        self.leave(slot);
        if let Some(entry) = self.entry_mut(slot) {
            entry.locked = true;
        }
    }

    /// As [`Self::lock`], by name. None when nothing of it is pending.
    pub(crate) fn lock_delivery(&mut self, id: DeliveryId) -> Option<()> {
        let slot = self.by_id.get(&id).copied()?;
        self.lock(slot);
        Some(())
    }

    /// Puts a locked delivery back as it was: the commit did not happen, or did not concern it
    /// after all.
    pub(crate) fn unlock(&mut self, id: DeliveryId) {
        let Some(slot) = self.by_id.get(&id).copied() else { return };
        let Some(entry) = self.entry_mut(slot).filter(|e| e.locked) else { return };
        entry.locked = false;
        self.enter(slot);
    }

    /// As [`Self::unlock`], for many.
    pub(crate) fn unlock_all(&mut self, ids: impl IntoIterator<Item = DeliveryId>) {
        for id in ids {
            self.unlock(id);
        }
    }

    /// After a fault of the writer, who alone locks: nobody knows any more what it had in hand.
    pub(crate) fn unlock_everything(&mut self) {
        let locked: Vec<DeliveryId> =
            self.entries.iter().filter(|(_, e)| e.locked).map(|(_, e)| e.id).collect();
        self.unlock_all(locked);
    }

    /// Puts an entry into the set of its state.
    fn enter(&mut self, slot: Slot) {
        let Some(entry) = self.entry(slot) else { return };
        match entry.state {
            QueueState::Waiting => {
                self.waiting.insert((entry.wakes_at, slot));
            }
            QueueState::Ready => self.ready.insert(entry.key, entry.tenant, entry.order(), slot),
            QueueState::Leased => {
                if let Some(lease) = self.leases.get(&slot) {
                    self.lapses.insert((lease.until, slot));
                }
            }
        }
    }

    /// Takes an entry out of the set of its state.
    fn leave(&mut self, slot: Slot) {
        let Some(entry) = self.entry(slot).filter(|e| !e.locked) else { return };
        match entry.state {
            QueueState::Waiting => {
                self.waiting.remove(&(entry.wakes_at, slot));
            }
            QueueState::Ready => self.ready.remove(entry.key, entry.tenant, entry.order(), slot),
            QueueState::Leased => {
                if let Some(lease) = self.leases.get(&slot) {
                    self.lapses.remove(&(lease.until, slot));
                }
            }
        }
    }

    /// Moves what fell due, and what lapsed, to where it belongs at `now`.
    pub(crate) fn advance(&mut self, now: Millis) {
        if self.clock.replace(now).is_none_or(|before| now < before - clock::TOLERANCE) {
            self.clock_changed(now);
        }
        while let Some((until, slot)) = self.lapses.first().copied().filter(|(until, _)| *until <= now) {
            self.lapses.remove(&(until, slot));
            self.end_of_term(slot, now);
        }
        while let Some((at, slot)) = self.waiting.first().copied().filter(|(at, _)| *at <= now) {
            self.waiting.remove(&(at, slot));
            if let Some(entry) = self.entry_mut(slot) {
                entry.state = QueueState::Ready;
            }
            self.enter(slot);
        }
    }

    /// Makes due at `now` what waits for `until`, and what of `keys` waits for no longer. Held
    /// deliveries stay. Returns how many.
    pub(crate) fn hasten(&mut self, keys: &HashSet<QueueKey>, until: Millis, now: Millis) -> usize {
        let keys: HashSet<u32> = keys.iter().filter_map(|key| self.keys.find(key)).collect();
        let from = if keys.is_empty() { until } else { Millis::MIN };
        let waiting = self.waiting.range((from, 0)..=(until, Slot::MAX));
        let found: Vec<Slot> = waiting
            .filter(|(at, slot)| {
                let entry = self.entry(*slot);
                entry.is_some_and(|e| !e.held && (*at == until || keys.contains(&e.key)))
            })
            .map(|(_, slot)| *slot)
            .collect();
        for slot in &found {
            self.leave(*slot);
            if let Some(entry) = self.entry_mut(*slot) {
                entry.wakes_at = entry.wakes_at.min(now);
            }
            self.enter(*slot);
        }
        found.len()
    }

    /// The next moment at which [`Self::advance`] has something to move.
    pub(crate) fn next_due(&mut self, now: Millis) -> Option<Millis> {
        self.advance(now);
        let waiting = self.waiting.first().map(|(at, _)| *at);
        let lapse = self.lapses.first().map(|(at, _)| *at);
        waiting.into_iter().chain(lapse).min()
    }

    /// Deliveries of an item with something pending.
    pub(crate) fn pending_of(&self, item: ItemId) -> impl Iterator<Item = DeliveryId> {
        let (from, to) = (DeliveryId { item, number: 0 }, DeliveryId { item, number: u32::MAX });
        self.by_id.range(from..=to).map(|(id, _)| *id)
    }

    /// Recipients of an item whose end is still to be told.
    pub(crate) fn unreported_of(&self, item: ItemId) -> u32 {
        self.unreported.get(&item).copied().unwrap_or(0)
    }

    /// Sets that number.
    pub(crate) fn set_unreported(&mut self, item: ItemId, count: u32) {
        if count == 0 {
            self.unreported.remove(&item);
        } else {
            self.unreported.insert(item, count);
        }
    }

    /// Items whose round is over: recipients to report, and no delivery leased or due at `now`. Goes round through all of them over several calls, looking at no more than `looks` in
    /// each.
    pub(crate) fn rounds_over(&mut self, now: Millis, max: usize, looks: usize) -> Vec<ItemId> {
        self.advance(now);
        let from = self.unreported_from.take().unwrap_or(ItemId([0; 16]));
        let round: Vec<ItemId> = self
            .unreported
            .range(from..)
            .chain(self.unreported.range(..from))
            .take(looks)
            .map(|(id, _)| *id)
            .collect();
        let mut over = Vec::new();
        for item in round {
            if over.len() == max {
                self.unreported_from = Some(item);
                break;
            }
            self.unreported_from = Some(item);
            if self.pending_of(item).all(|id| self.waits(id)) {
                over.push(item);
            }
        }
        over
    }

    /// Items of which a report of delay is due at `now`, looking at no more than `looks`
    /// deliveries. A delivery that is being attempted may be delivered at this moment: it is left
    /// out until it waits again.
    pub(crate) fn delayed(&self, now: Millis, max: usize, looks: usize) -> Vec<ItemId> {
        let mut items: Vec<ItemId> = Vec::new();
        for id in self.delays.due(now).take(looks) {
            let entry = self.by_id.get(&id).and_then(|slot| self.entry(*slot));
            let is_idle = entry.is_some_and(|e| e.state != QueueState::Leased && !e.locked);
            if is_idle && !items.contains(&id.item) {
                items.push(id.item);
            }
            if items.len() == max {
                break;
            }
        }
        items
    }

    fn waits(&self, id: DeliveryId) -> bool {
        let entry = self.by_id.get(&id).and_then(|slot| self.entry(*slot));
        entry.is_some_and(|e| e.state == QueueState::Waiting && !e.locked)
    }

    /// Deliveries, due ones, leased ones, held ones, and the oldest due time.
    pub(crate) fn counts(&self) -> (u64, u64, u64, u64, Option<Millis>) {
        let ready = self.ready.len() as u64;
        (self.by_id.len() as u64, ready, self.leases.len() as u64, self.held, self.ready.oldest())
    }
}
