//! Warm-up of one source address at one provider: how many recipients it may have in a day.
//!
//! A step is a day of use. What is used is never more than the store knows of (`granted`), so a
//! relay that was killed continues with at least what it has sent.

use std::fmt;

use super::rules::WarmupRules;

mod shared;

use shared::NodePart;
pub use shared::WarmupClaim;

/// What the store keeps of an address at a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WarmupCount {
    /// The day of the counts: days since 1970 in UTC.
    pub day: i64,
    /// The step of the ladder; its length: the address is warm.
    pub step: u32,
    /// Recipients that were sent to or may have been.
    pub used: u32,
    /// Recipients that were accepted.
    pub accepted: u32,
    /// Recipients that were refused or deferred for a reason that is about the sender.
    pub deferred: u32,
    /// Complaints.
    pub complaints: u32,
    /// Where nodes share the address: the last hour of the day that slices were taken of, since 1970.
    pub hour: i64,
    /// Of `used`, what this hour has.
    pub in_hour: u32,
    /// Why the step is what it is.
    pub note: String,
}

/// Warm-up of an address at a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Warmup {
    count: WarmupCount,
    /// Hours since 1970.
    hour: i64,
    /// Of `count.used`, what this hour has. A restart forgets it.
    in_hour: u32,
    /// Of `count.used`, what the store knows of at least.
    granted: u32,
    /// Something of `count` is not stored yet.
    changed: bool,
    /// Other nodes send from the address, too: `count` is that of all nodes.
    part: Option<Box<NodePart>>,
}

/// Why an address may not be used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarmupHold {
    /// The cap of the day is used up.
    Day(u32),
    /// The part of it that this hour may have is used up.
    Hour(u32),
    /// The store does not know yet of what comes next: that takes a second or two.
    Unstored,
}

impl Warmup {
    /// As the store has it.
    #[must_use]
    pub fn stored(count: WarmupCount) -> Self {
        Self { granted: count.used, count, ..Self::default() }
    }

    /// The counts.
    #[must_use]
    pub fn count(&self) -> &WarmupCount {
        &self.count
    }

    /// The cap of this day; none: the address is warm.
    #[must_use]
    pub fn cap(&self, rules: &WarmupRules) -> Option<u32> {
        rules.ladder.get(usize::try_from(self.count.step).unwrap_or(usize::MAX)).copied()
    }

    /// What an hour may have of the cap; none: the address is warm.
    #[must_use]
    pub fn hour_cap(&self, rules: &WarmupRules) -> Option<u32> {
        // At most the cap, which is a u32.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let part = |cap: u32| (f64::from(cap) * rules.hour).ceil() as u32;
        self.cap(rules).map(|cap| part(cap).clamp(1, cap.max(1)))
    }

    /// The hour that it counts for, since 1970.
    #[must_use]
    pub fn hour(&self) -> i64 {
        self.hour
    }

    /// How many recipients may be sent to now.
    ///
    /// # Errors
    /// None, for this reason.
    pub fn allowance(&self, rules: &WarmupRules) -> Result<u32, WarmupHold> {
        let (Some(cap), Some(hour_cap)) = (self.cap(rules), self.hour_cap(rules)) else {
            return self.part.as_ref().map_or(Ok(u32::MAX), |part| part.allowance(None));
        };
        if let Some(part) = &self.part {
            return part.allowance(Some((cap, hour_cap)));
        }
        if self.count.used >= cap {
            return Err(WarmupHold::Day(cap));
        }
        let left_of_hour = hour_cap.saturating_sub(self.in_hour);
        if left_of_hour == 0 {
            return Err(WarmupHold::Hour(hour_cap));
        }
        match cap.min(self.granted).saturating_sub(self.count.used) {
            0 => Err(WarmupHold::Unstored),
            left => Ok(left.min(left_of_hour)),
        }
    }

    /// Sets up to `recipients` aside. Returns how many.
    pub fn reserve(&mut self, recipients: u32, rules: &WarmupRules) -> u32 {
        if self.cap(rules).is_none() {
            return recipients;
        }
        let reserved = self.allowance(rules).unwrap_or(0).min(recipients);
        if let Some(part) = &mut self.part {
            part.reserve(reserved);
            return reserved;
        }
        self.count.used += reserved;
        self.in_hour += reserved;
        self.changed |= reserved > 0;
        reserved
    }

    /// Of `reserved` recipients, set aside in `hour`, `sent` may have got the message.
    pub fn release(&mut self, reserved: u32, sent: u32, hour: i64, rules: &WarmupRules) {
        let back = reserved.saturating_sub(sent);
        if self.cap(rules).is_none() || day_of(hour) != self.count.day {
            return;
        }
        if let Some(part) = &mut self.part {
            return part.release(back, hour == self.hour);
        }
        self.count.used = self.count.used.saturating_sub(back);
        if hour == self.hour {
            self.in_hour = self.in_hour.saturating_sub(back);
        }
    }

    /// What an attempt found.
    pub fn learned(&mut self, accepted: u32, deferred: u32) {
        if let Some(part) = &mut self.part {
            return part.learned(accepted, deferred, 0);
        }
        self.count.accepted = self.count.accepted.saturating_add(accepted);
        self.count.deferred = self.count.deferred.saturating_add(deferred);
        self.changed |= accepted + deferred > 0;
    }

    /// Somebody complained.
    pub fn complained(&mut self) {
        if let Some(part) = &mut self.part {
            return part.learned(0, 0, 1);
        }
        self.count.complaints = self.count.complaints.saturating_add(1);
        self.changed = true;
    }

    /// Begins an hour since 1970, if it is a later one, and its day. What the last day of use was
    /// like decides the step.
    pub fn roll(&mut self, hour: i64, rules: &WarmupRules) {
        if let Some(part) = &mut self.part {
            part.roll(hour > self.hour, day_of(hour) > day_of(self.hour));
            self.hour = self.hour.max(hour);
            return;
        }
        if hour > self.hour {
            (self.hour, self.in_hour) = (hour, 0);
        }
        let day = day_of(hour);
        if day <= self.count.day {
            return;
        }
        let before = std::mem::take(&mut self.count);
        let (step, note) = match rules.ladder.get(usize::try_from(before.step).unwrap_or(usize::MAX)) {
            Some(cap) if before.used > 0 => next_step(&before, *cap, rules),
            _ => (before.step, before.note),
        };
        self.count = WarmupCount { day, step, note, ..WarmupCount::default() };
        self.granted = 0;
        self.changed = true;
    }

    /// What is to be stored so that sending goes on: with more as used than is used.
    #[must_use]
    pub fn unstored(&self, rules: &WarmupRules) -> Option<WarmupCount> {
        if self.part.is_some() {
            return None;
        }
        let Some(cap) = self.cap(rules) else {
            return self.changed.then(|| self.count.clone());
        };
        let portion = (cap / 10).max(10);
        let is_short = self.granted < cap && self.granted.saturating_sub(self.count.used) <= portion / 2;
        let used = match is_short {
            true => self.count.used.saturating_add(portion).min(cap),
            false => self.granted,
        };
        (is_short || self.changed).then(|| WarmupCount { used, ..self.count.clone() })
    }

    /// The store has this.
    pub fn wrote(&mut self, stored: &WarmupCount) {
        if stored.day == self.count.day {
            self.granted = self.granted.max(stored.used);
            let same = WarmupCount { used: self.count.used, ..stored.clone() } == self.count;
            self.changed &= !same;
        }
    }

    /// An operator sets the step.
    pub fn set_step(&mut self, step: u32, note: &str) {
        (self.count.step, self.changed) = (step, true);
        note.clone_into(&mut self.count.note);
    }
}

/// The day of an hour, both since 1970.
fn day_of(hour: i64) -> i64 {
    hour.div_euclid(24)
}

/// The step after a day of use, and why.
fn next_step(day: &WarmupCount, cap: u32, rules: &WarmupRules) -> (u32, String) {
    let attempted = day.accepted.saturating_add(day.deferred).max(1);
    let deferrals = f64::from(day.deferred) / f64::from(attempted);
    let complaints = f64::from(day.complaints) / f64::from(day.accepted.max(1));
    let share = |what: &str, of: f64, limit: f64| {
        (limit > 0.0 && of >= limit).then(|| {
            let words = format!("{:.1} % {what}, the limit is {:.1} %", of * 100.0, limit * 100.0);
            (of >= 2.0 * limit, words)
        })
    };
    let wrong =
        [share("deferred", deferrals, rules.deferrals), share("complaints", complaints, rules.complaints)];
    let on = Day(day.day);
    if let Some((back, words)) = wrong.into_iter().flatten().max_by_key(|(back, _)| *back) {
        return match back {
            true => (day.step.saturating_sub(1), format!("one step back after {on}: {words}")),
            false => (day.step, format!("held after {on}: {words}")),
        };
    }
    // What was set aside and not accepted is no use of the cap.
    if f64::from(day.accepted) < rules.used * f64::from(cap) {
        return (day.step, format!("held after {on}: {} of {cap} were used", day.accepted));
    }
    (day.step.saturating_add(1), format!("one step up after {on}"))
}

/// A day as a date.
#[derive(Debug, Clone, Copy)]
pub struct Day(pub i64);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = jiff::Timestamp::from_second(self.0.saturating_mul(86_400));
        match date {
            Ok(date) => write!(f, "{}", date.strftime("%Y-%m-%d")),
            Err(_) => write!(f, "day {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules() -> WarmupRules {
        WarmupRules { ladder: vec![50, 100, 200], hour: 1.0, ..WarmupRules::default() }
    }

    fn store(warmup: &mut Warmup, rules: &WarmupRules) {
        if let Some(count) = warmup.unstored(rules) {
            warmup.wrote(&count);
        }
    }

    /// Sends as much as it may on a day; returns how much.
    fn day(warmup: &mut Warmup, number: i64, deferred: u32, rules: &WarmupRules) -> u32 {
        let sent = send(warmup, 24 * number, rules);
        warmup.learned(sent - deferred, deferred);
        sent
    }

    /// Sends as much as it may in an hour; returns how much.
    fn send(warmup: &mut Warmup, hour: i64, rules: &WarmupRules) -> u32 {
        warmup.roll(hour, rules);
        let mut sent = 0;
        while sent < 100_000 {
            store(warmup, rules);
            match warmup.allowance(rules) {
                Ok(_) => sent += warmup.reserve(7, rules),
                Err(WarmupHold::Unstored) => {}
                Err(WarmupHold::Day(_) | WarmupHold::Hour(_)) => break,
            }
        }
        sent
    }

    #[test]
    fn days_of_use_lead_up_the_ladder_until_the_address_is_warm() {
        let (rules, mut warmup) = (rules(), Warmup::default());
        assert_eq!(day(&mut warmup, 100, 0, &rules), 50);
        assert_eq!(day(&mut warmup, 101, 2, &rules), 100);
        // A week without mail is no step.
        assert_eq!(day(&mut warmup, 108, 10, &rules), 200);
        warmup.roll(24 * 109, &rules);
        assert_eq!(warmup.cap(&rules), Some(200), "{:?}", warmup.count());
        assert!(warmup.count().note.contains("5.0 % deferred"), "{}", warmup.count().note);
        assert_eq!(day(&mut warmup, 109, 0, &rules), 200);
        warmup.roll(24 * 110, &rules);
        assert_eq!((warmup.cap(&rules), warmup.allowance(&rules)), (None, Ok(u32::MAX)));
    }

    #[test]
    fn bad_days_lead_back_and_quiet_days_nowhere() {
        let (rules, mut warmup) = (rules(), Warmup::default());
        day(&mut warmup, 1, 0, &rules);
        day(&mut warmup, 2, 20, &rules);
        warmup.roll(24 * 3, &rules);
        assert_eq!(warmup.cap(&rules), Some(50));
        assert!(warmup.count().note.starts_with("one step back after 1970-01-03"));
        store(&mut warmup, &rules);
        assert_eq!(warmup.reserve(9, &rules), 9);
        warmup.learned(9, 0);
        warmup.roll(24 * 4, &rules);
        assert_eq!(warmup.count().note, "held after 1970-01-04: 9 of 50 were used");
        day(&mut warmup, 4, 0, &rules);
        warmup.complained();
        warmup.roll(24 * 5, &rules);
        assert_eq!(warmup.count().step, 0);
        // A clock that is set back gives nothing anew.
        day(&mut warmup, 5, 0, &rules);
        warmup.roll(24 * 3, &rules);
        assert_eq!(warmup.allowance(&rules), Err(WarmupHold::Day(50)));
    }

    #[test]
    fn an_hour_has_a_part_of_the_cap() {
        let rules = WarmupRules { hour: 0.25, ..rules() };
        let mut warmup = Warmup::default();
        let hours: Vec<u32> = (0..6).map(|hour| send(&mut warmup, 240 + hour, &rules)).collect();
        assert_eq!(hours, [13, 13, 13, 11, 0, 0]);
        assert_eq!(warmup.allowance(&rules), Err(WarmupHold::Day(50)));
        // What an hour did not use is no part of the next one.
        warmup.learned(50, 0);
        assert_eq!(send(&mut warmup, 270, &rules), 25);
        assert_eq!(warmup.allowance(&rules), Err(WarmupHold::Hour(25)));
        // What was not sent is given back to its own hour.
        warmup.release(25, 20, 270, &rules);
        assert_eq!(send(&mut warmup, 270, &rules), 5);
        warmup.roll(271, &rules);
        warmup.release(5, 0, 270, &rules);
        assert_eq!((send(&mut warmup, 271, &rules), warmup.count().used), (25, 45));
        // A clock that is set back gives nothing anew.
        assert_eq!(send(&mut warmup, 265, &rules), 0);
    }

    proptest! {
        /// Whatever is sent, given back, stored or lost with a crash: no day has more than its cap.
        #[test]
        fn a_cap_is_never_exceeded_also_across_crashes(
            steps in proptest::collection::vec((0_u8..6, 1_u32..30), 1..400),
        ) {
            let rules = rules();
            let (mut warmup, mut stored) = (Warmup::default(), WarmupCount::default());
            let (mut today, mut sent, mut open) = (24, 0, Vec::new());
            warmup.roll(today, &rules);
            for (what, n) in steps {
                match what {
                    0 | 1 => {
                        let reserved = warmup.reserve(n, &rules);
                        prop_assert!(reserved <= n);
                        // It may have got there from here on, whatever happens.
                        open.push(reserved);
                    }
                    2 => if let Some(reserved) = open.pop() {
                        let accepted = reserved / 2;
                        warmup.release(reserved, accepted, today, &rules);
                        warmup.learned(accepted, 0);
                        sent += accepted;
                    },
                    3 => if let Some(count) = warmup.unstored(&rules) {
                        stored = count.clone();
                        warmup.wrote(&count);
                    },
                    4 => {
                        sent += open.drain(..).sum::<u32>();
                        warmup = Warmup::stored(stored.clone());
                        warmup.roll(today, &rules);
                    }
                    _ => if n == 1 {
                        (today, sent) = (today + 24, 0);
                        open.clear();
                        warmup.roll(today, &rules);
                    },
                }
                let cap = warmup.cap(&rules).unwrap_or(u32::MAX);
                let under_way: u32 = open.iter().sum();
                prop_assert!(sent + under_way <= cap, "{sent} + {under_way} of {cap}");
            }
        }
    }
}
