//! Events per second of whoever causes them: token buckets in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Buckets that are kept. Everybody beyond them shares one.
const MAX_BUCKETS: usize = 10_000;
/// A full bucket holds this many seconds' worth.
const BURST_SECONDS: f64 = 10.0;
/// The shortest time between two looks for full buckets, which are forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A bucket for each key.
#[derive(Debug)]
pub(super) struct Rates<K> {
    buckets: Mutex<Buckets<K>>,
}

#[derive(Debug)]
struct Buckets<K> {
    by_key: HashMap<K, Bucket>,
    shared: Option<Bucket>,
    swept_at: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Duration,
}

impl<K> Default for Rates<K> {
    fn default() -> Self {
        let buckets = Buckets { by_key: HashMap::new(), shared: None, swept_at: Duration::ZERO };
        Self { buckets: Mutex::new(buckets) }
    }
}

impl<K: Hash + Eq + Clone> Rates<K> {
    /// Takes one from the bucket of `key`, if there is one left. `now` never goes back.
    pub(super) fn take(&self, key: &K, per_second: u32, now: Duration) -> bool {
        let full = f64::from(per_second) * BURST_SECONDS;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let buckets = &mut *buckets;
        if buckets.by_key.len() >= MAX_BUCKETS && now.saturating_sub(buckets.swept_at) >= SWEEP_INTERVAL {
            buckets.by_key.retain(|_, bucket| bucket.refilled(full, now) < full);
            buckets.swept_at = now;
        }
        let fresh = Bucket { left: full, at: now };
        let bucket = if buckets.by_key.len() < MAX_BUCKETS || buckets.by_key.contains_key(key) {
            buckets.by_key.entry(key.clone()).or_insert(fresh)
        } else {
            buckets.shared.get_or_insert(fresh)
        };
        bucket.left = bucket.refilled(full, now);
        bucket.at = now;
        let taken = bucket.left >= 1.0;
        if taken {
            bucket.left -= 1.0;
        }
        taken
    }
}

impl Bucket {
    fn refilled(&self, full: f64, now: Duration) -> f64 {
        let since = now.saturating_sub(self.at).as_secs_f64();
        (self.left + since * full / BURST_SECONDS).min(full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_bucket_empties_and_refills() {
        let rates = Rates::default();
        assert_eq!((0..100).filter(|_| rates.take(&"a", 2, at(0))).count(), 20);
        assert!(rates.take(&"b", 2, at(0)));
        assert!(!rates.take(&"a", 2, at(499)));
        assert!(rates.take(&"a", 2, at(500)) && !rates.take(&"a", 2, at(500)));
        assert_eq!((0..100).filter(|_| rates.take(&"a", 2, at(1_000_000))).count(), 20);
        assert!(!rates.take(&"c", 0, at(0)));
    }

    #[test]
    fn memory_is_bounded() {
        let rates = Rates::default();
        for key in 0..2 * MAX_BUCKETS {
            rates.take(&key, 1, at(0));
        }
        let kept = |rates: &Rates<usize>| rates.buckets.lock().unwrap().by_key.len();
        assert_eq!(kept(&rates), MAX_BUCKETS);
        assert!(!rates.take(&usize::MAX, 1, at(1)), "the shared bucket is empty");
        assert!(rates.take(&0, 1, at(1)), "a bucket of its own is not");
        assert!(rates.take(&usize::MAX, 1, at(20_000)));
        assert!(kept(&rates) <= 2, "full buckets are forgotten");
    }
}
