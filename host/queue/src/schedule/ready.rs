//! Deliveries that are due and free: by queue key, and within it by tenant, in the order of their
//! ranks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Slot;
use crate::Millis;

#[derive(Debug, Default)]
struct OfKey {
    /// By due time.
    all: BTreeSet<(Millis, Slot)>,
    /// By rank.
    tenants: BTreeMap<u32, BTreeSet<(Millis, Slot)>>,
}

/// Where a delivery stands in time: when it fell due, and the moment that it is leased by
/// (`PRIORITY_STEP`).
#[derive(Debug, Clone, Copy)]
pub(super) struct DueOrder {
    pub(super) due: Millis,
    pub(super) rank: Millis,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ready {
    keys: HashMap<u32, OfKey>,
    /// Keys by the due time of their first.
    order: BTreeSet<(Millis, u32)>,
    len: usize,
}

impl Ready {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn oldest(&self) -> Option<Millis> {
        self.order.first().map(|(at, _)| *at)
    }

    pub(super) fn insert(&mut self, key: u32, tenant: u32, order: DueOrder, slot: Slot) {
        let here = self.keys.entry(key).or_default();
        let before = here.all.first().copied();
        if here.all.insert((order.due, slot)) {
            self.len += 1;
        }
        here.tenants.entry(tenant).or_default().insert((order.rank, slot));
        let after = here.all.first().copied();
        self.reorder(key, before, after);
    }

    pub(super) fn remove(&mut self, key: u32, tenant: u32, order: DueOrder, slot: Slot) {
        let Some(here) = self.keys.get_mut(&key) else { return };
        let before = here.all.first().copied();
        if here.all.remove(&(order.due, slot)) {
            self.len -= 1;
        }
        if let Some(theirs) = here.tenants.get_mut(&tenant) {
            theirs.remove(&(order.rank, slot));
            if theirs.is_empty() {
                here.tenants.remove(&tenant);
            }
        }
        let after = here.all.first().copied();
        if after.is_none() {
            self.keys.remove(&key);
        }
        self.reorder(key, before, after);
    }

    fn reorder(&mut self, key: u32, before: Option<(Millis, Slot)>, after: Option<(Millis, Slot)>) {
        let (before, after) = (before.map(|b| b.0), after.map(|a| a.0));
        if before == after {
            return;
        }
        if let Some(at) = before {
            self.order.remove(&(at, key));
        }
        if let Some(at) = after {
            self.order.insert((at, key));
        }
    }

    /// Keys with something due at `now`, those that wait longest first.
    pub(super) fn due(&self, now: Millis) -> impl Iterator<Item = u32> {
        self.order.iter().take_while(move |(at, _)| *at <= now).map(|(_, key)| *key)
    }

    /// How many of a key are due, counted to `limit`.
    pub(super) fn count(&self, key: u32, now: Millis, limit: usize) -> usize {
        self.keys.get(&key).map_or(0, |d| d.all.iter().take(limit).take_while(|(at, _)| *at <= now).count())
    }

    /// Tenants with something of a key.
    pub(super) fn tenants(&self, key: u32) -> impl Iterator<Item = u32> {
        self.keys.get(&key).into_iter().flat_map(|d| d.tenants.keys().copied())
    }

    /// A tenant's first by rank of a key, with that rank.
    pub(super) fn first(&self, key: u32, tenant: u32) -> Option<(Millis, Slot)> {
        self.keys.get(&key)?.tenants.get(&tenant)?.first().copied()
    }
}
