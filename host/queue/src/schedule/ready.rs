//! Deliveries that are due and free: by domain, and within it by tenant, the longest due first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Slot;
use crate::Millis;

#[derive(Debug, Default)]
struct Domain {
    all: BTreeSet<(Millis, Slot)>,
    tenants: BTreeMap<u32, BTreeSet<(Millis, Slot)>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ready {
    domains: HashMap<u32, Domain>,
    /// Domains by the due time of their first.
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

    pub(super) fn insert(&mut self, domain: u32, tenant: u32, at: Millis, slot: Slot) {
        let here = self.domains.entry(domain).or_default();
        let before = here.all.first().copied();
        if here.all.insert((at, slot)) {
            self.len += 1;
        }
        here.tenants.entry(tenant).or_default().insert((at, slot));
        let after = here.all.first().copied();
        self.reorder(domain, before, after);
    }

    pub(super) fn remove(&mut self, domain: u32, tenant: u32, at: Millis, slot: Slot) {
        let Some(here) = self.domains.get_mut(&domain) else { return };
        let before = here.all.first().copied();
        if here.all.remove(&(at, slot)) {
            self.len -= 1;
        }
        if let Some(theirs) = here.tenants.get_mut(&tenant) {
            theirs.remove(&(at, slot));
            if theirs.is_empty() {
                here.tenants.remove(&tenant);
            }
        }
        let after = here.all.first().copied();
        if after.is_none() {
            self.domains.remove(&domain);
        }
        self.reorder(domain, before, after);
    }

    fn reorder(&mut self, domain: u32, before: Option<(Millis, Slot)>, after: Option<(Millis, Slot)>) {
        let (before, after) = (before.map(|b| b.0), after.map(|a| a.0));
        if before == after {
            return;
        }
        if let Some(at) = before {
            self.order.remove(&(at, domain));
        }
        if let Some(at) = after {
            self.order.insert((at, domain));
        }
    }

    /// Domains with something due at `now`, those that wait longest first.
    pub(super) fn due(&self, now: Millis) -> impl Iterator<Item = u32> {
        self.order.iter().take_while(move |(at, _)| *at <= now).map(|(_, domain)| *domain)
    }

    /// How many of a domain are due, counted to `limit`.
    pub(super) fn count(&self, domain: u32, now: Millis, limit: usize) -> usize {
        self.domains
            .get(&domain)
            .map_or(0, |d| d.all.iter().take(limit).take_while(|(at, _)| *at <= now).count())
    }

    /// Tenants with something in a domain.
    pub(super) fn tenants(&self, domain: u32) -> impl Iterator<Item = u32> {
        self.domains.get(&domain).into_iter().flat_map(|d| d.tenants.keys().copied())
    }

    /// A tenant's longest due in a domain.
    pub(super) fn first(&self, domain: u32, tenant: u32) -> Option<(Millis, Slot)> {
        self.domains.get(&domain)?.tenants.get(&tenant)?.first().copied()
    }
}
