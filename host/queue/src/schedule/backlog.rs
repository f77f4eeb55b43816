//! What waits, for operators: looked at in steps, so that the lock is never held for long.

use std::collections::HashMap;

use super::{QueueState, Schedule};
use crate::{DeliveryId, DomainItems, ItemId, KeyBacklog, Millis, QueueKey};

/// Counts by queue key, while they are made.
#[derive(Debug, Default)]
pub(crate) struct BacklogCounts {
    keys: HashMap<QueueKey, KeyBacklog>,
    /// The next entry to look at.
    at: usize,
    counted: usize,
}

impl BacklogCounts {
    pub(crate) fn into_keys(self) -> Vec<KeyBacklog> {
        self.keys.into_values().collect()
    }
}

impl Schedule {
    /// Counts up to `step` more entries. Returns true if there are more.
    pub(crate) fn count_backlog(&self, counts: &mut BacklogCounts, step: usize, now: Millis) -> bool {
        let end = counts.at.saturating_add(step).min(self.entries.capacity());
        for entry in (counts.at..end).filter_map(|slot| self.entries.get(slot)) {
            let Some(key) = self.keys.name(entry.key) else { continue };
            counts.counted += 1;
            let of = counts.keys.entry(key.clone()).or_insert_with(|| KeyBacklog {
                key: key.clone(),
                deliveries: 0,
                recipients: 0,
                due: 0,
                leased: 0,
                held: 0,
                next_due: None,
                oldest: entry.id,
            });
            of.deliveries += 1;
            of.recipients += u64::from(entry.recipients);
            of.oldest = of.oldest.min(entry.id);
            match (entry.state, entry.held) {
                (QueueState::Leased, _) => of.leased += 1,
                (_, true) => of.held += 1,
                (state, false) => {
                    of.due += u64::from(state == QueueState::Ready || entry.wakes_at <= now);
                    of.next_due = Some(of.next_due.map_or(entry.wakes_at, |at| at.min(entry.wakes_at)));
                }
            }
        }
        counts.at = end;
        end < self.entries.capacity() && counts.counted < self.entries.len()
    }

    /// Adds items after `after` with something pending to a domain, until there are `max` of them.
    /// Looks at no more than `step` deliveries; returns true if there are more.
    pub(crate) fn items_to(
        &self,
        domain: &str,
        (after, step): (Option<ItemId>, usize),
        max: usize,
        found: &mut DomainItems,
    ) -> bool {
        let from = after.map(|item| DeliveryId { item, number: u32::MAX });
        let range =
            (from.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded), std::ops::Bound::Unbounded);
        for (looked, (id, slot)) in self.by_id.range(range).enumerate() {
            // An item is looked at as a whole: the next step begins after it.
            let is_next = found.next != Some(id.item);
            if is_next && (looked >= step || found.items.len() >= max) {
                return true;
            }
            found.next = Some(id.item);
            let Some(entry) = self.entry(*slot) else { continue };
            let is_to = self.keys.name(entry.key).is_some_and(|key| key.domain == domain);
            if is_to && found.items.last().is_none_or(|(last, _)| *last != id.item) {
                let tenant = self.tenants.name(entry.tenant).cloned().unwrap_or_default();
                found.items.push((id.item, tenant));
            }
        }
        found.next = None;
        false
    }
}
