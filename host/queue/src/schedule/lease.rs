//! Leases: the right to attempt a delivery, held in memory and named by a token. They lapse into
//! due.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Held, QueueState, Schedule, Slot};
use crate::{DeliveryId, DueQueue, LeaseHold, Millis, QueueKey};

/// Names a lease: its delivery, and its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseKey {
    pub(crate) id: DeliveryId,
    pub(crate) token: u64,
}

/// A lease that was given, with what shows that somebody has it.
#[derive(Debug, Clone)]
pub(crate) struct LeaseGrant {
    pub(crate) key: LeaseKey,
    pub(crate) hold: LeaseHold,
}

/// Ready deliveries are counted to this.
const COUNTED: usize = 1000;

impl Schedule {
    /// Queue keys with something due, those that wait longest first.
    pub(crate) fn due(&mut self, now: Millis, skip: &dyn Fn(&QueueKey) -> bool, max: usize) -> Vec<DueQueue> {
        self.advance(now);
        let named = self.ready.due(now).filter_map(|number| Some((number, self.keys.name(number)?)));
        let wanted = named.filter(|(_, key)| !skip(key)).take(max);
        wanted
            .map(|(number, key)| DueQueue {
                key: key.clone(),
                ready: self.ready.count(number, now, COUNTED),
                tenants: self.ready.tenants(number).filter_map(|t| self.tenants.name(t).cloned()).collect(),
            })
            .collect()
    }

    /// Leases up to `max` of what is due of these keys: round-robin by tenant, also from one call
    /// to the next, and within a tenant the first by rank.
    ///
    /// This is no queue of entries by tenant: which tenants wait depends on the keys that the
    /// caller names, and the first of a tenant changes with every delivery that falls due. So the
    /// tenant that was served last is all that is remembered.
    pub(crate) fn lease(
        &mut self,
        keys: &[QueueKey],
        now: Millis,
        until: Millis,
        max: usize,
    ) -> Vec<LeaseGrant> {
        self.advance(now);
        let keys: BTreeSet<u32> = keys.iter().filter_map(|key| self.keys.find(key)).collect();
        let tenants: BTreeSet<u32> = keys.iter().flat_map(|s| self.ready.tenants(*s)).collect();
        let mut turns: Vec<u32> = tenants.range(self.last_tenant + 1..).copied().collect();
        turns.extend(tenants.range(..=self.last_tenant));
        let mut granted = Vec::new();
        while granted.len() < max && !turns.is_empty() {
            turns.retain(|tenant| {
                if granted.len() == max {
                    return true;
                }
                let firsts = keys.iter().filter_map(|s| self.ready.first(*s, *tenant));
                let Some((_, slot)) = firsts.min() else { return false };
                if self.entry(slot).is_none_or(|e| e.wakes_at > now) {
                    // The clock went back. What is not due any more may be of the highest rank: it
                    // makes room for what is.
                    self.wait(slot);
                    return true;
                }
                self.last_tenant = *tenant;
                granted.extend(self.grant(slot, now, until));
                true
            });
        }
        granted
    }

    fn grant(&mut self, slot: Slot, now: Millis, until: Millis) -> Option<LeaseGrant> {
        self.leave(slot);
        self.next_token += 1;
        let token = self.next_token;
        let entry = self.entry_mut(slot)?;
        entry.state = QueueState::Leased;
        let id = entry.id;
        let hold = LeaseHold::default();
        let term = until.saturating_sub(now).max(1);
        self.leases.insert(slot, Held { token, until, term, holder: Arc::downgrade(&hold.0) });
        self.enter(slot);
        Some(LeaseGrant { key: LeaseKey { id, token }, hold })
    }

    fn wait(&mut self, slot: Slot) {
        self.leave(slot);
        if let Some(entry) = self.entry_mut(slot) {
            entry.state = QueueState::Waiting;
        }
        self.enter(slot);
    }

    /// Whether this lease is still held.
    pub(crate) fn holds(&self, granted: LeaseKey) -> bool {
        self.held_slot(granted).is_some()
    }

    fn held_slot(&self, granted: LeaseKey) -> Option<Slot> {
        let slot = self.by_id.get(&granted.id).copied()?;
        (self.leases.get(&slot)?.token == granted.token).then_some(slot)
    }

    /// The term of a lease is over. It begins anew if somebody still has the lease; else the
    /// delivery waits again.
    pub(super) fn end_of_term(&mut self, slot: Slot, now: Millis) {
        if let Some(lease) = self.leases.get_mut(&slot)
            && lease.holder.strong_count() > 0
        {
            lease.until = now.saturating_add(lease.term);
            self.lapses.insert((lease.until, slot));
            return;
        }
        self.leases.remove(&slot);
        if let Some(entry) = self.entry_mut(slot) {
            entry.state = QueueState::Waiting;
        }
        self.enter(slot);
    }

    /// Gives a lease back at once, without a commit: its holder could not begin.
    pub(crate) fn hand_back(&mut self, granted: LeaseKey) {
        let Some(slot) = self.held_slot(granted) else { return };
        self.leave(slot);
        self.leases.remove(&slot);
        if let Some(entry) = self.entry_mut(slot) {
            entry.state = QueueState::Waiting;
            if !entry.locked {
                self.enter(slot);
            }
        }
    }

    /// Until when a delivery is leased.
    pub(crate) fn leased_until(&self, id: DeliveryId) -> Option<Millis> {
        Some(self.leases.get(self.by_id.get(&id)?)?.until)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::{Belongs, ScheduleChange};
    use super::*;
    use crate::{ItemId, PRIORITY_STEP};

    fn add(schedule: &mut Schedule, n: u8, wakes_at: Millis, since: Millis, priority: i8) -> DeliveryId {
        let id = DeliveryId { item: ItemId([n; 16]), number: 0 };
        let belongs = Belongs { key: QueueKey::of_domain("s"), tenant: "t".into(), priority };
        let change = ScheduleChange {
            id,
            wakes_at,
            since,
            held: n == 9,
            settled: false,
            recipients: 1,
            delay_report_at: None,
        };
        schedule.insert(&change, &belongs);
        id
    }

    fn lease(schedule: &mut Schedule, now: Millis) -> Vec<DeliveryId> {
        let granted = schedule.lease(&[QueueKey::of_domain("s")], now, now + 1000, 9);
        granted.into_iter().map(|g| g.key.id).collect()
    }

    #[test]
    fn what_had_fallen_due_stays_due_after_the_clock_went_back() {
        let mut schedule = Schedule::new(1);
        let now = 100 * PRIORITY_STEP;
        let urgent = add(&mut schedule, 1, now, now, 3);
        let usual = add(&mut schedule, 2, now - PRIORITY_STEP, now - PRIORITY_STEP, 0);
        let later = add(&mut schedule, 3, now, now, 2);
        assert_eq!(schedule.due(now, &|_| false, 9)[0].ready, 3);
        let day_before = now - 24 * PRIORITY_STEP;
        assert_eq!(schedule.due(day_before, &|_| false, 9)[0].ready, 3);
        assert_eq!(lease(&mut schedule, day_before), [urgent, later, usual]);
    }

    /// After a jump, and after a start with an earlier clock.
    #[test]
    fn a_delay_counts_from_now_when_the_clock_went_back() {
        let now = 100 * PRIORITY_STEP;
        let day_before = now - 24 * PRIORITY_STEP;
        for start in [false, true] {
            let mut schedule = Schedule::new(1);
            let retry = add(&mut schedule, 1, now + 60_000, now, 0);
            let held = add(&mut schedule, 9, now + 120_000, now, 0);
            if !start {
                assert_eq!(schedule.next_due(now), Some(now + 60_000));
            }
            assert_eq!(schedule.next_due(day_before), Some(day_before + 60_000));
            assert_eq!(lease(&mut schedule, day_before + 60_000), [retry]);
            // Settled by the time of before: it waits no longer than it should.
            let change = ScheduleChange {
                id: retry,
                wakes_at: now + 90_000,
                since: now,
                held: false,
                settled: true,
                recipients: 1,
                delay_report_at: None,
            };
            schedule.update(&change);
            assert_eq!(schedule.next_due(day_before + 60_000), Some(day_before + 150_000));
            // What is held waits for its expiry, which is a time of day.
            assert!(!lease(&mut schedule, day_before + 120_000).contains(&held));
        }
    }

    #[test]
    fn what_was_put_off_is_due_at_once_when_the_reason_is_gone() {
        let mut schedule = Schedule::new(1);
        let [put_off, sooner, later] =
            [(1, 9000), (2, 5000), (3, 9001)].map(|(n, at)| add(&mut schedule, n, at, 0, 0));
        let held = add(&mut schedule, 9, 9000, 0, 0);
        assert_eq!(schedule.hasten(&HashSet::new(), 9000, 10), 1);
        assert_eq!(lease(&mut schedule, 10), [put_off]);
        assert_eq!(schedule.hasten(&[QueueKey::of_domain("s")].into(), 9000, 10), 1);
        assert_eq!(lease(&mut schedule, 10), [sooner]);
        assert_eq!(schedule.hasten(&[QueueKey::of_domain("s")].into(), 9000, 10), 0, "what is held stays");
        assert!(lease(&mut schedule, 9001).ends_with(&[held, later]));
    }

    #[test]
    fn small_corrections_of_the_clock_change_nothing() {
        let mut schedule = Schedule::new(1);
        let now = 100 * PRIORITY_STEP;
        let id = add(&mut schedule, 1, now, now - 1000, 0);
        let urgent = add(&mut schedule, 2, now, now - 1000, 3);
        assert_eq!(schedule.due(now, &|_| false, 9)[0].ready, 2);
        assert!(lease(&mut schedule, now - 30_000).is_empty());
        assert_eq!(schedule.next_due(now - 30_000), Some(now));
        assert_eq!(lease(&mut schedule, now), [urgent, id]);
    }

    #[test]
    fn a_lease_does_not_outlast_a_clock_that_went_back() {
        let mut schedule = Schedule::new(1);
        let now = 100 * PRIORITY_STEP;
        let id = add(&mut schedule, 1, now, now, 0);
        assert_eq!(lease(&mut schedule, now), [id]);
        let day_before = now - 24 * PRIORITY_STEP;
        assert!(lease(&mut schedule, day_before).is_empty());
        assert_eq!(lease(&mut schedule, day_before + 600_000), [id]);
    }
}
