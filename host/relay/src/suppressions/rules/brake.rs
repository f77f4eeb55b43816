//! The brake: bounces that look like an incident at a provider add no suppressions.
//!
//! It is per tenant, so that one tenant's bad list does not stop the rules for others. It knows what
//! was read since the start, and forgets it with a restart.

use std::collections::{HashMap, VecDeque};

use relevo_queue::Millis;

use super::IncidentRule;

const MINUTE: Millis = 60_000;
/// Tenants and providers that are counted. Those beyond are not held up.
const MAX_COUNTED: usize = 20_000;

/// Attempts of a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Minute {
    number: i64,
    attempts: u32,
    bounces: u32,
}

/// A tenant at a provider.
#[derive(Debug, Clone, Default)]
struct Counted {
    minutes: VecDeque<Minute>,
    paused_until: Option<Millis>,
}

/// Says whether a hard bounce may add a suppression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Brake {
    /// It may.
    Off,
    /// It looks like an incident for the first time: so many bounces of so many attempts. It may
    /// again at this time.
    Pulled { bounces: u32, attempts: u32, until: Millis },
    /// It still looks like one.
    On,
}

/// Counts attempts by tenant and provider.
#[derive(Debug, Clone)]
pub(super) struct Brakes {
    rule: IncidentRule,
    counted: HashMap<(String, String), Counted>,
}

impl Brakes {
    pub(super) fn new(rule: IncidentRule) -> Self {
        Self { rule, counted: HashMap::new() }
    }

    /// An attempt that ended otherwise than by a hard bounce about the recipient.
    pub(super) fn attempt(&mut self, tenant: &str, provider: &str, at: Millis) {
        self.count(tenant, provider, at, 0);
    }

    /// A hard bounce about the recipient.
    pub(super) fn bounce(&mut self, tenant: &str, provider: &str, at: Millis) -> Brake {
        let IncidentRule { bounces: most, percent, minutes } = self.rule;
        let Some(counted) = self.count(tenant, provider, at, 1) else { return Brake::Off };
        let sum = |of: fn(&Minute) -> u32| counted.minutes.iter().map(of).fold(0, u32::saturating_add);
        let (bounces, attempts) = (sum(|minute| minute.bounces), sum(|minute| minute.attempts));
        let share = u64::from(bounces) * 100 > u64::from(percent) * u64::from(attempts);
        let was_paused = counted.paused_until.is_some_and(|until| at < until);
        if bounces > most && share {
            let until = at.saturating_add(i64::from(minutes) * MINUTE);
            counted.paused_until = Some(until);
            return if was_paused { Brake::On } else { Brake::Pulled { bounces, attempts, until } };
        }
        if was_paused { Brake::On } else { Brake::Off }
    }

    fn count(&mut self, tenant: &str, provider: &str, at: Millis, bounces: u32) -> Option<&mut Counted> {
        if self.rule.bounces == 0 {
            return None;
        }
        let (now, oldest) = (at.div_euclid(MINUTE), at.div_euclid(MINUTE) - i64::from(self.rule.minutes));
        let key = (tenant.to_owned(), provider.to_owned());
        if self.counted.len() >= MAX_COUNTED && !self.counted.contains_key(&key) {
            self.counted.retain(|_, counted| counted.minutes.back().is_some_and(|last| last.number > oldest));
            if self.counted.len() >= MAX_COUNTED {
                return None;
            }
        }
        let counted = self.counted.entry(key).or_default();
        while counted.minutes.front().is_some_and(|first| first.number <= oldest) {
            counted.minutes.pop_front();
        }
        match counted.minutes.back_mut() {
            // An event may be written a little later than it happened.
            Some(last) if last.number >= now => {
                last.attempts = last.attempts.saturating_add(1);
                last.bounces = last.bounces.saturating_add(bounces);
            }
            _ => counted.minutes.push_back(Minute { number: now, attempts: 1, bounces }),
        }
        Some(counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: IncidentRule = IncidentRule { bounces: 3, percent: 50, minutes: 15 };

    #[test]
    fn many_bounces_that_are_most_attempts_pull_the_brake() {
        let mut brakes = Brakes::new(RULE);
        for n in 0..3 {
            assert_eq!(brakes.bounce("acme", "google", n * MINUTE), Brake::Off);
        }
        for _ in 0..4 {
            brakes.attempt("acme", "google", 3 * MINUTE);
        }
        assert_eq!(
            brakes.bounce("acme", "google", 3 * MINUTE),
            Brake::Off,
            "four of eight are not more than half"
        );
        let pulled = Brake::Pulled { bounces: 5, attempts: 9, until: 18 * MINUTE };
        assert_eq!(brakes.bounce("acme", "google", 3 * MINUTE), pulled);
        assert_eq!(brakes.bounce("acme", "google", 4 * MINUTE), Brake::On);
        assert_eq!(brakes.bounce("acme", "yahoo", 4 * MINUTE), Brake::Off, "another provider");
        assert_eq!(brakes.bounce("other", "google", 4 * MINUTE), Brake::Off, "another tenant");
        // Deliveries end what it looks like, and the pause ends some time after that.
        for _ in 0..20 {
            brakes.attempt("acme", "google", 5 * MINUTE);
        }
        assert_eq!(brakes.bounce("acme", "google", 6 * MINUTE), Brake::On);
        assert_eq!(brakes.bounce("acme", "google", 19 * MINUTE), Brake::Off);
    }

    #[test]
    fn the_window_moves() {
        let mut brakes = Brakes::new(RULE);
        for n in 0..100 {
            assert_eq!(brakes.bounce("acme", "google", n * 6 * MINUTE), Brake::Off, "three in 15 minutes");
        }
        let mut off = Brakes::new(IncidentRule { bounces: 0, ..RULE });
        assert!((0..100).all(|_| off.bounce("acme", "google", 0) == Brake::Off));
    }

    #[test]
    fn memory_is_bounded() {
        let mut brakes = Brakes::new(RULE);
        for n in 0..=MAX_COUNTED {
            brakes.attempt("acme", &n.to_string(), 0);
        }
        assert_eq!(brakes.counted.len(), MAX_COUNTED);
        brakes.attempt("acme", "later", 15 * MINUTE);
        assert_eq!(brakes.counted.len(), 1);
    }
}
