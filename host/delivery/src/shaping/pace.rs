//! The rate from one pool to one provider: what the rules allow, and what refusals made of it.

use std::sync::Arc;
use std::time::Duration;

use relevo_queue::Millis;

use crate::schedule::millis;

const MINUTE: Millis = 60_000;
/// A node asks for this much of a shared rate at least: messages in a minute.
const LEAST_WANTED: u32 = 10;
/// The share of a minute's messages that may go at once: those of two seconds, one at least.
const BURST: u32 = 30;
/// A rate that was slowed down ends when it is back at that of before, or at this if that was less.
const LEAST_CEILING: u32 = 60;
/// Answers that come so soon after the last reduction are about what was under way then.
const SETTLING: Millis = 30_000;

/// Why a rate is lower than it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowDown {
    /// The reply rule.
    pub rule: String,
    /// The words that led to it.
    pub reply: String,
    /// Messages in a minute, now.
    pub per_minute: u32,
    /// Messages in a minute at which it ends.
    pub ceiling: u32,
    /// When the next step up comes.
    pub next_step: Millis,
    /// Time between two steps.
    step: Millis,
    reduced_at: Millis,
}

/// The rate of one pool at one provider. Times are of the clock that never goes back.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// Where the next message would stand if they went one by one, in microseconds.
    next: i64,
    slowed: Option<Arc<SlowDown>>,
    /// What this node may use of a rate that nodes share.
    share: Option<u32>,
    /// Messages of the minute that began at `minute`, and of the one before.
    minute: Millis,
    count: u32,
    before: u32,
}

impl Pace {
    /// Messages in a minute: the least of what is configured and what is left after refusals.
    #[must_use]
    pub fn rate(&self, configured: Option<u32>) -> Option<u32> {
        let slowed = self.slowed.as_ref().map(|slowed| slowed.per_minute);
        configured.into_iter().chain(slowed).min()
    }

    /// Why the rate is lower than it was.
    #[must_use]
    pub fn slowed(&self) -> Option<&Arc<SlowDown>> {
        self.slowed.as_ref()
    }

    /// How long the next message has to wait; zero: it may go.
    #[must_use]
    pub fn wait(&self, configured: Option<u32>, now: Millis) -> Millis {
        let Some(rate) = self.rate(configured) else { return 0 };
        let interval = interval(rate);
        // A slower rate counts from now on, not for the messages before.
        let next = self.next.min(micros(now).saturating_add(interval.saturating_mul(burst(rate))));
        let wait = next.saturating_sub(interval.saturating_mul(burst(rate) - 1)).saturating_sub(micros(now));
        if wait <= 0 { 0 } else { wait.saturating_add(999) / 1000 }
    }

    /// A message goes.
    pub fn take(&mut self, configured: Option<u32>, now: Millis) {
        self.roll(now);
        self.count = self.count.saturating_add(1);
        if let Some(rate) = self.rate(configured) {
            let latest = micros(now).saturating_add(interval(rate).saturating_mul(burst(rate)));
            self.next = self.next.min(latest).max(micros(now)).saturating_add(interval(rate));
        }
    }

    /// A message did not go after all.
    pub fn refund(&mut self, configured: Option<u32>) {
        self.count = self.count.saturating_sub(1);
        if let Some(rate) = self.rate(configured) {
            self.next = self.next.saturating_sub(interval(rate));
        }
    }

    /// A refusal asks for less: half of what it is.
    pub fn slow_down(
        &mut self,
        (rule, reply): (&str, &str),
        step: Duration,
        configured: Option<u32>,
        now: Millis,
    ) {
        self.roll(now);
        let step = millis(step).max(1000);
        let settling = self.slowed.as_ref().is_some_and(|s| now < s.reduced_at.saturating_add(SETTLING));
        let seen = self.count.max(self.before).max(1);
        let (base, ceiling) = match &self.slowed {
            Some(slowed) => (slowed.per_minute, slowed.ceiling),
            None => {
                let base = configured.map_or(seen, |configured| configured.min(seen));
                (base, configured.unwrap_or(0).max(seen).max(LEAST_CEILING))
            }
        };
        let reduced = if settling { base } else { (base / 2).max(1) };
        self.slowed = Some(Arc::new(SlowDown {
            rule: rule.to_owned(),
            reply: reply.to_owned(),
            per_minute: reduced,
            ceiling,
            next_step: now.saturating_add(step),
            step,
            reduced_at: if settling { self.slowed.as_ref().map_or(now, |s| s.reduced_at) } else { now },
        }));
        self.next = self.next.max(micros(now).saturating_add(interval(reduced)));
    }

    /// What this node may use of a rate that nodes share; none: it was never asked for.
    #[must_use]
    pub fn share(&self) -> Option<u32> {
        self.share
    }

    /// What this node could use of a rate that nodes share.
    #[must_use]
    pub fn wanted(&self, now: Millis) -> u32 {
        if self.next > micros(now) {
            return u32::MAX;
        }
        let since = now.saturating_sub(self.minute);
        let recent = if since < 2 * MINUTE { self.count.max(self.before) } else { 0 };
        recent.saturating_mul(2).max(LEAST_WANTED)
    }

    /// From now on this node may use so much of a rate that nodes share. Messages that the share before
    /// would have let go at once still may; a share does not begin with any.
    pub fn set_share(&mut self, share: u32, now: Millis) {
        let before = self.share.replace(share).unwrap_or(0);
        if before == share || share == 0 {
            return;
        }
        let behind = self.next.saturating_sub(micros(now)).max(0);
        // In thousandths of a message.
        let spare = match before {
            0 => 0,
            rate => {
                let full = burst(rate).saturating_mul(interval(rate));
                full.saturating_sub(behind).max(0).saturating_mul(1000) / interval(rate).max(1)
            }
        };
        let missing = burst(share).saturating_mul(1000).saturating_sub(spare).max(0);
        let next = micros(now).saturating_add(missing.saturating_mul(interval(share)) / 1000);
        self.next = if self.slowed.is_some() { self.next.max(next) } else { next };
    }

    /// An operator wants the usual rate.
    pub fn reset(&mut self) {
        self.slowed = None;
        self.next = 0;
    }

    /// Takes the steps up that are due: half as much again each, until it is as before.
    pub fn recover(&mut self, now: Millis) {
        while let Some(slowed) = &self.slowed
            && slowed.next_step <= now
        {
            let per_minute = slowed.per_minute.saturating_add(slowed.per_minute.div_ceil(2));
            if per_minute >= slowed.ceiling {
                self.slowed = None;
                return;
            }
            let next_step = slowed.next_step.saturating_add(slowed.step);
            self.slowed = Some(Arc::new(SlowDown { per_minute, next_step, ..SlowDown::clone(slowed) }));
        }
    }

    /// Whether nothing is lost by forgetting it.
    #[must_use]
    pub fn is_forgettable(&self, now: Millis) -> bool {
        self.slowed.is_none() && self.next <= micros(now) && now.saturating_sub(self.minute) > 2 * MINUTE
    }

    fn roll(&mut self, now: Millis) {
        self.recover(now);
        let minute = now - now.rem_euclid(MINUTE);
        if minute > self.minute {
            self.before = if minute == self.minute + MINUTE { self.count } else { 0 };
            (self.minute, self.count) = (minute, 0);
        }
    }
}

fn micros(time: Millis) -> i64 {
    time.saturating_mul(1000)
}

/// Microseconds between two messages.
fn interval(rate: u32) -> i64 {
    MINUTE * 1000 / i64::from(rate.max(1))
}

fn burst(rate: u32) -> i64 {
    i64::from((rate / BURST).max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STEP: Duration = Duration::from_secs(600);

    proptest! {
        #[test]
        fn a_rate_is_never_exceeded_and_every_wait_ends(
            rate in 1_u32..5000,
            steps in proptest::collection::vec((0_i64..5000, any::<bool>()), 1..300),
        ) {
            let (mut pace, mut now, mut sent) = (Pace::default(), 0, Vec::new());
            for (later, slow) in steps {
                now += later;
                pace.recover(now);
                if slow && sent.len() % 7 == 3 {
                    pace.slow_down(("r", "t"), STEP, Some(rate), now);
                }
                let wait = pace.wait(Some(rate), now);
                prop_assert!((0..=60_000 + 1).contains(&wait), "{wait}");
                if wait == 0 {
                    pace.take(Some(rate), now);
                    sent.push(now);
                } else {
                    prop_assert_eq!(pace.wait(Some(rate), now + wait), 0, "it ends as it says");
                }
            }
            for (at, begin) in sent.iter().enumerate() {
                let within = sent[at..].iter().take_while(|time| **time < begin + MINUTE).count();
                prop_assert!(within <= (rate + rate / BURST + 1) as usize, "{within} of {rate}");
            }
        }
    }

    proptest! {
        /// However a rate moves between nodes: they exceed it by no more than one node would, and a
        /// message for each further node.
        #[test]
        fn nodes_that_share_a_rate_do_not_exceed_it(
            rate in 3_u32..100_000,
            steps in proptest::collection::vec((1_i64..3000, 0_u32..4, 0_u32..4, 0_u32..4), 1..200),
        ) {
            let (mut nodes, mut now, mut sent) = (vec![Pace::default(); 3], 0, Vec::new());
            for (later, a, b, c) in steps {
                let parts = (a + b + c).max(1);
                for (node, part) in nodes.iter_mut().zip([a, b, c]) {
                    node.set_share(rate / parts * part, now);
                }
                // Each sends as fast as it may, with a look every 500 ms.
                for look in (0..later).step_by(500) {
                    let mut messages = 0;
                    for node in nodes.iter_mut().filter(|node| node.share() > Some(0)) {
                        while node.wait(node.share(), now + look) == 0 {
                            node.take(node.share(), now + look);
                            messages += 1;
                        }
                    }
                    sent.push((now + look, messages));
                }
                now += later;
            }
            for (at, (begin, _)) in sent.iter().enumerate() {
                let within = sent[at..].iter().take_while(|(time, _)| *time < begin + MINUTE);
                let sum: u32 = within.map(|(_, messages)| messages).sum();
                prop_assert!(sum <= rate + rate / BURST + 1 + 3, "{sum} of {rate}");
            }
        }
    }

    #[test]
    fn a_share_begins_without_a_burst_and_keeps_what_it_had() {
        let mut pace = Pace::default();
        pace.set_share(600, 1000);
        assert_eq!(pace.wait(Some(600), 1000), 100);
        assert_eq!(pace.wait(Some(600), 1100), 0);
        // Twenty messages that it could have sent at once, of a share that is gone and comes back.
        pace.set_share(6, 10_000);
        assert_eq!(pace.wait(Some(6), 10_000), 0);
        pace.take(Some(6), 10_000);
        pace.set_share(600, 10_000);
        assert_eq!(pace.wait(Some(600), 10_000), 100);
        pace.set_share(0, 20_000);
        pace.set_share(60_000_000, 20_000);
        assert_eq!(pace.wait(Some(60_000_000), 20_000), 1);
    }

    #[test]
    fn a_slower_rate_recovers_step_by_step() {
        let mut pace = Pace::default();
        for _ in 0..200 {
            pace.take(None, 1000);
        }
        assert_eq!((pace.rate(None), pace.wait(None, 1000)), (None, 0));
        pace.slow_down(("slow-down", "421 slow down"), STEP, None, 2000);
        assert_eq!(pace.rate(None), Some(100));
        // What was under way says the same thing.
        pace.slow_down(("slow-down", "421 slow down"), STEP, None, 3000);
        assert_eq!(pace.rate(None), Some(100));
        pace.slow_down(("slow-down", "421 slow down"), STEP, None, 40_000);
        assert_eq!(pace.rate(None), Some(50));
        let mut rates = Vec::new();
        for step in 1..6 {
            pace.recover(40_000 + step * 600_000);
            rates.push(pace.rate(None));
        }
        assert_eq!(rates, [Some(75), Some(113), Some(170), None, None]);
        assert!(pace.is_forgettable(10_000_000));
    }

    #[test]
    fn a_configured_rate_is_the_ceiling() {
        let mut pace = Pace::default();
        for _ in 0..30 {
            pace.take(Some(600), 0);
        }
        pace.slow_down(("r", "t"), STEP, Some(600), 1000);
        assert_eq!(pace.rate(Some(600)), Some(15));
        assert!(pace.wait(Some(600), 1000) <= 4000);
        pace.recover(1000 + 600_000 * 20);
        assert_eq!((pace.rate(Some(600)), pace.slowed()), (Some(600), None));
    }
}
