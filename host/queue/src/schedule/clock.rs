//! A clock that went back. Due times lie in the future then, by as much as it went back, and mail
//! would wait for nothing.
//!
//! A delivery waits for a time after it was accepted or attempted last. When that moment lies in
//! the future, the clock went back since, and the delivery waits for that time from now on. What
//! had fallen due stays due.

use super::{QueueState, Schedule, ScheduledDelivery, Slot};
use crate::Millis;

/// Clocks are corrected by less than this.
pub(super) const TOLERANCE: Millis = 60_000;
/// A lease is shorter. One that lapses later was granted before the clock went back.
const LONGEST_LEASE: Millis = 600_000;

impl Schedule {
    /// Looks at everything, after a start or when the clock went back.
    pub(super) fn clock_changed(&mut self, now: Millis) {
        let slots: Vec<Slot> = self.by_id.values().copied().collect();
        for slot in slots {
            let Some(entry) = self.entry(slot).filter(|e| !e.locked && !e.held) else { continue };
            let wakes_at = match entry.state {
                QueueState::Ready => entry.wakes_at.min(now),
                QueueState::Waiting | QueueState::Leased => entry.wakes_by(now),
            };
            if wakes_at != entry.wakes_at {
                self.leave(slot);
                if let Some(entry) = self.entry_mut(slot) {
                    entry.wakes_at = wakes_at;
                }
                self.enter(slot);
            }
        }
        let late: Vec<Slot> =
            self.lapses.iter().filter(|(at, _)| *at > now + LONGEST_LEASE).map(|l| l.1).collect();
        for slot in late {
            let Some(lease) = self.leases.get_mut(&slot) else { continue };
            self.lapses.remove(&(lease.until, slot));
            lease.until = now + LONGEST_LEASE;
            self.lapses.insert((lease.until, slot));
        }
    }

    /// Corrects when an entry wakes, if what it waits after lies in the future. It must be in no
    /// set.
    pub(super) fn adjust(&mut self, slot: Slot) {
        let Some(now) = self.clock else { return };
        if let Some(entry) = self.entry_mut(slot).filter(|e| !e.held) {
            entry.wakes_at = entry.wakes_by(now);
        }
    }
}

impl ScheduledDelivery {
    /// When it wakes by a clock that says `now`.
    fn wakes_by(&self, now: Millis) -> Millis {
        let delay = Millis::from(self.delay) * 1000;
        let since = self.wakes_at.saturating_sub(delay);
        if since > now.saturating_add(TOLERANCE) { now.saturating_add(delay) } else { self.wakes_at }
    }
}
