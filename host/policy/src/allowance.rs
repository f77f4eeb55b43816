//! How much of something may be used in a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// An allowance of so much per second. What is not used is kept for one second. The use of
/// something is told when it is known, so more than what is left may be used at once; then nothing
/// is left until that much time has passed.
#[derive(Debug)]
pub(crate) struct Allowance {
    per_second: u64,
    /// Until when all is used up, in nanoseconds, one second ahead of the caller's clock.
    used_until: AtomicU64,
}

impl Allowance {
    pub(crate) fn new(per_second: u64) -> Self {
        Self { per_second: per_second.max(1), used_until: AtomicU64::new(0) }
    }

    pub(crate) fn per_second(&self) -> u64 {
        self.per_second
    }

    /// Whether something is left. `now` is the time since any fixed moment.
    pub(crate) fn has_some(&self, now: Duration) -> bool {
        self.used_until.load(Ordering::Relaxed) < ahead(now)
    }

    /// Whether half of a second's worth is left: for what is to leave something to others.
    pub(crate) fn has_half(&self, now: Duration) -> bool {
        self.used_until.load(Ordering::Relaxed) + SECOND / 2 < ahead(now)
    }

    /// So much was used.
    pub(crate) fn spend(&self, amount: u64, now: Duration) {
        let time = u128::from(amount) * u128::from(SECOND) / u128::from(self.per_second);
        let time = u64::try_from(time).unwrap_or(u64::MAX);
        let oldest = ahead(now) - SECOND;
        let spent = |until: u64| Some(until.max(oldest).saturating_add(time));
        // It always has a value to store.
        let _ = self.used_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent);
    }
}

fn ahead(now: Duration) -> u64 {
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).saturating_add(SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_seconds_worth_can_be_used_at_once_and_comes_back() {
        let allowance = Allowance::new(1_000);
        assert!(allowance.has_some(ms(0)) && allowance.has_half(ms(0)), "from the start");
        allowance.spend(600, ms(0));
        assert!(allowance.has_some(ms(0)) && !allowance.has_half(ms(0)));
        assert!(!allowance.has_half(ms(100)) && allowance.has_half(ms(101)));
        allowance.spend(400, ms(0));
        assert!(!allowance.has_some(ms(0)) && allowance.has_some(ms(1)));
    }

    #[test]
    fn what_was_used_too_much_is_waited_for_and_no_more_is_saved_than_a_second() {
        let allowance = Allowance::new(1_000);
        allowance.spend(3_000, ms(5_000));
        assert!(!allowance.has_some(ms(7_000)) && allowance.has_some(ms(7_001)));
        let long = ms(3_600_000);
        allowance.spend(1_000, long);
        assert!(!allowance.has_some(long) && allowance.has_some(long + ms(1)));
    }
}
