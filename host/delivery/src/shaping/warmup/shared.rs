//! Warm-up of an address that several nodes send from. The row of the store has the counts of all
//! nodes. A node takes slices of the day's cap and of the hour's, which the row counts from then on: it
//! never says less than may have been sent. A slice that is not used is given back; that of a node
//! that dies is lost to its day.

use super::{Warmup, WarmupCount, WarmupHold, day_of};
use crate::shaping::rules::WarmupRules;

/// A slice that was not used at so many looks of the store's keeper is given back: some 10 s.
const IDLE_LOOKS: u32 = 20;
/// A node whose slices are used up looks at the row at every so many looks of the keeper.
const LOOKS_AGAIN: u32 = 20;

/// What a node knows beside its own counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NodePart {
    /// Of all nodes, at the last claim.
    row: WarmupCount,
    /// The row was read on the day of [`Warmup::hour`].
    is_known: bool,
    /// The slice of the day that is left, and that of the hour.
    day_left: u32,
    hour_left: u32,
    /// Learned since the last claim.
    accepted: u32,
    deferred: u32,
    complaints: u32,
    idle_looks: u32,
    /// Without a slice.
    empty_looks: u32,
}

/// A change of the row, which counts when the store has made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmupClaim {
    /// The row as it is to be.
    pub after: WarmupCount,
    /// Given back, of the day and of the hour.
    day_back: u32,
    hour_back: u32,
    day_slice: u32,
    hour_slice: u32,
    accepted: u32,
    deferred: u32,
    complaints: u32,
}

fn portion(cap: u32) -> u32 {
    (cap / 10).max(10)
}

impl NodePart {
    /// `caps`: of the day and of the hour; none: the address is warm.
    pub(super) fn allowance(&self, caps: Option<(u32, u32)>) -> Result<u32, WarmupHold> {
        if !self.is_known {
            return Err(WarmupHold::Unstored);
        }
        let Some((cap, hour_cap)) = caps else { return Ok(u32::MAX) };
        match self.day_left.min(self.hour_left) {
            0 if self.day_left == 0 && self.row.used >= cap => Err(WarmupHold::Day(cap)),
            0 if self.hour_left == 0 && self.row.in_hour >= hour_cap => Err(WarmupHold::Hour(hour_cap)),
            0 => Err(WarmupHold::Unstored),
            left => Ok(left),
        }
    }

    pub(super) fn reserve(&mut self, recipients: u32) {
        self.day_left = self.day_left.saturating_sub(recipients);
        self.hour_left = self.hour_left.saturating_sub(recipients);
    }

    /// Not sent after all, of this day and of this hour.
    pub(super) fn release(&mut self, back: u32, is_of_hour: bool) {
        self.day_left = self.day_left.saturating_add(back);
        if is_of_hour {
            self.hour_left = self.hour_left.saturating_add(back);
        }
    }

    pub(super) fn learned(&mut self, accepted: u32, deferred: u32, complaints: u32) {
        self.accepted = self.accepted.saturating_add(accepted);
        self.deferred = self.deferred.saturating_add(deferred);
        self.complaints = self.complaints.saturating_add(complaints);
    }

    /// Mail waits. Maybe another hour begins, and another day, of which the row is to be read first.
    pub(super) fn roll(&mut self, is_new_hour: bool, is_new_day: bool) {
        self.idle_looks = 0;
        if is_new_hour {
            self.hour_left = 0;
            self.row.in_hour = 0;
        }
        if is_new_day {
            self.day_left = 0;
            self.is_known = false;
        }
    }
}

impl Warmup {
    /// As the store has it, for an address that other nodes send from, too.
    #[must_use]
    pub fn of_many_nodes(count: WarmupCount) -> Self {
        let part = NodePart { row: count.clone(), ..NodePart::default() };
        Self { count, part: Some(Box::new(part)), ..Self::default() }
    }

    /// Returns true if the row of the store is to be changed by [`Self::claim`]. Called every half
    /// second or so.
    pub fn wants_claim(&mut self, rules: &WarmupRules, is_last: bool) -> bool {
        let (cap, hour_cap) = (self.cap(rules), self.hour_cap(rules));
        let Some(part) = &mut self.part else { return false };
        part.idle_looks = part.idle_looks.saturating_add(1);
        let has_learned = part.accepted + part.deferred + part.complaints > 0;
        let (Some(cap), Some(hour_cap)) = (cap, hour_cap) else { return has_learned || !part.is_known };
        let has_slice = part.day_left > 0;
        if is_last || part.idle_looks > IDLE_LOOKS {
            return has_learned || has_slice;
        }
        let has_room = part.row.in_hour < hour_cap && (part.row.used < cap || part.day_left > part.hour_left);
        let is_short = has_room && part.hour_left <= portion(cap) / 2;
        // Others may have given something back.
        part.empty_looks = if part.hour_left == 0 { part.empty_looks.saturating_add(1) } else { 0 };
        let is_short = is_short || part.empty_looks % LOOKS_AGAIN == LOOKS_AGAIN - 1;
        !part.is_known || has_learned || is_short
    }

    /// What is to become of the row, which is `row` now. Slices that are given back are not used from
    /// here on.
    pub fn claim(
        &mut self,
        row: Option<&WarmupCount>,
        rules: &WarmupRules,
        is_last: bool,
    ) -> Option<WarmupClaim> {
        let hour = self.hour;
        let part = self.part.as_mut()?;
        let mut row = row.cloned().unwrap_or_default();
        // What was learned of the day that the row is about decides its next step.
        let (accepted, deferred, complaints) = (part.accepted, part.deferred, part.complaints);
        row.accepted = row.accepted.saturating_add(accepted);
        row.deferred = row.deferred.saturating_add(deferred);
        row.complaints = row.complaints.saturating_add(complaints);
        let mut claim = WarmupClaim {
            after: WarmupCount::default(),
            day_back: 0,
            hour_back: 0,
            day_slice: 0,
            hour_slice: 0,
            accepted,
            deferred,
            complaints,
        };
        let is_idle = is_last || part.idle_looks > IDLE_LOOKS;
        if is_idle {
            if part.is_known && row.day == part.row.day {
                claim.day_back = std::mem::take(&mut part.day_left);
                row.used = row.used.saturating_sub(claim.day_back);
                if row.hour == hour {
                    claim.hour_back = std::mem::take(&mut part.hour_left);
                    row.in_hour = row.in_hour.saturating_sub(claim.hour_back);
                }
            } else {
                part.day_left = 0;
            }
            return Some(WarmupClaim { after: row, ..claim });
        }
        let mut of_all = Self::stored(row);
        of_all.roll(hour, rules);
        let mut after = of_all.count;
        if after.hour < hour {
            (after.hour, after.in_hour) = (hour, 0);
        }
        let of_all = Self::stored(after.clone());
        if let (Some(cap), Some(hour_cap)) = (of_all.cap(rules), of_all.hour_cap(rules)) {
            let is_same_day = after.day == part.row.day && part.is_known;
            let (day_left, hour_left) = if is_same_day { (part.day_left, part.hour_left) } else { (0, 0) };
            let hour_left = if after.hour == hour { hour_left } else { 0 };
            let share = portion(cap);
            let (day_room, hour_room) =
                (cap.saturating_sub(after.used), hour_cap.saturating_sub(after.in_hour));
            let of_day = day_left.saturating_add(day_room).saturating_sub(hour_left);
            claim.hour_slice = share.saturating_sub(hour_left).min(hour_room).min(of_day);
            // No more of the day than the hour lets go.
            claim.day_slice = (hour_left + claim.hour_slice).saturating_sub(day_left);
            after.used += claim.day_slice;
            after.in_hour += claim.hour_slice;
        }
        Some(WarmupClaim { after, ..claim })
    }

    /// The store has not made the change: another node was faster.
    pub fn refused(&mut self, claim: &WarmupClaim) {
        let (hour, Some(part)) = (self.hour, &mut self.part) else { return };
        if part.is_known && part.row.day == claim.after.day {
            part.day_left = part.day_left.saturating_add(claim.day_back);
            if claim.after.hour == hour {
                part.hour_left = part.hour_left.saturating_add(claim.hour_back);
            }
        }
    }

    /// The store has made the change.
    pub fn claimed(&mut self, claim: &WarmupClaim) {
        let (hour, day) = (self.hour, day_of(self.hour));
        let Some(part) = &mut self.part else { return };
        part.accepted = part.accepted.saturating_sub(claim.accepted);
        part.deferred = part.deferred.saturating_sub(claim.deferred);
        part.complaints = part.complaints.saturating_sub(claim.complaints);
        // A slice of another day or hour, by then, is lost to it. A node whose clock is ahead has begun
        // the next one: what the row says then is for this node, too.
        if claim.after.day >= day {
            if !(part.is_known && part.row.day == claim.after.day) {
                (part.day_left, part.hour_left) = (0, 0);
            }
            part.is_known = true;
            part.day_left = part.day_left.saturating_add(claim.day_slice);
            if claim.after.hour >= hour {
                if claim.after.hour != part.row.hour {
                    part.hour_left = 0;
                }
                part.hour_left = part.hour_left.saturating_add(claim.hour_slice);
            }
            part.row = claim.after.clone();
            if claim.after.hour < hour {
                part.row.in_hour = 0;
            }
            self.count = claim.after.clone();
            self.hour = hour.max(claim.after.hour);
        }
    }

    /// Recipients that were sent to or set aside, of all nodes as far as this one knows.
    #[must_use]
    pub fn used(&self) -> u32 {
        let left = self.part.as_ref().map_or(0, |part| part.day_left);
        self.count.used.saturating_sub(left)
    }
}

#[cfg(test)]
mod tests;
