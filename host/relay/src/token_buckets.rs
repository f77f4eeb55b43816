//! Token buckets in bounded memory, one for each key: rates of credentials, tenants and clients.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;

/// Buckets above which full ones are looked for and forgotten.
const SWEEP_ABOVE: usize = 10_000;
/// The shortest time between two looks for full buckets.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A bucket for each key. An empty bucket is full again after the window.
#[derive(Debug)]
pub struct TokenBuckets<K> {
    window: Duration,
    max_keys: usize,
    buckets: Mutex<BucketTable<K>>,
}

/// What a bucket holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BucketLevel {
    /// A token was taken.
    pub is_taken: bool,
    /// Tokens that are left.
    pub left: f64,
    /// Time until as many can be taken again.
    pub next_in: Duration,
    /// Time until the bucket is full.
    pub full_in: Duration,
}

#[derive(Debug)]
struct BucketTable<K> {
    by_key: HashMap<K, TokenBucket>,
    /// The bucket of all keys beyond `max_keys`.
    shared: Option<TokenBucket>,
    swept_at: Duration,
}

#[derive(Debug, Clone, Copy)]
struct TokenBucket {
    left: f64,
    at: Duration,
}

impl<K: Hash + Eq + Clone> TokenBuckets<K> {
    /// Keeps at most `max_keys` buckets. All keys beyond them share one.
    #[must_use]
    pub fn new(window: Duration, max_keys: usize) -> Self {
        let buckets = BucketTable { by_key: HashMap::new(), shared: None, swept_at: Duration::ZERO };
        Self { window, max_keys, buckets: Mutex::new(buckets) }
    }

    /// Takes one token from the bucket of `key`, if there is one left. A full bucket holds
    /// `capacity` tokens. `now` never goes back.
    pub(crate) fn take(&self, key: &K, capacity: f64, now: Duration) -> bool {
        self.spend(key, capacity, now).is_taken
    }

    /// As [`Self::take`], and tells what is left.
    pub fn spend(&self, key: &K, capacity: f64, now: Duration) -> BucketLevel {
        self.spend_many(key, capacity, 1.0, now)
    }

    /// As [`Self::spend`], for several tokens: all or none of them are taken.
    pub fn spend_many(&self, key: &K, capacity: f64, tokens: f64, now: Duration) -> BucketLevel {
        let mut buckets = self.buckets.lock();
        let BucketTable { by_key, shared, swept_at } = &mut *buckets;
        if by_key.len() >= SWEEP_ABOVE && now.saturating_sub(*swept_at) >= SWEEP_INTERVAL {
            by_key.retain(|_, bucket| bucket.refilled(capacity, self.window, now) < capacity);
            *swept_at = now;
        }
        let fresh = TokenBucket { left: capacity, at: now };
        let bucket = if by_key.len() < self.max_keys || by_key.contains_key(key) {
            by_key.entry(key.clone()).or_insert(fresh)
        } else {
            shared.get_or_insert(fresh)
        };
        bucket.left = bucket.refilled(capacity, self.window, now);
        bucket.at = now;
        let is_taken = bucket.left >= tokens;
        if is_taken {
            bucket.left -= tokens;
        }
        let left = bucket.left;
        let time_for = |tokens: f64| {
            let seconds = tokens.max(0.0) * self.window.as_secs_f64() / capacity;
            Duration::try_from_secs_f64(seconds).unwrap_or(self.window)
        };
        BucketLevel { is_taken, left, next_in: time_for(tokens - left), full_in: time_for(capacity - left) }
    }
}

impl TokenBucket {
    fn refilled(&self, capacity: f64, window: Duration, now: Duration) -> f64 {
        let since = now.saturating_sub(self.at).as_secs_f64();
        (self.left + since * capacity / window.as_secs_f64()).min(capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn taken<K: Hash + Eq + Clone>(rates: &TokenBuckets<K>, key: &K, capacity: f64, now: Duration) -> usize {
        (0..100).filter(|_| rates.take(key, capacity, now)).count()
    }

    #[test]
    fn a_bucket_empties_and_refills() {
        let rates = TokenBuckets::new(WINDOW, 10);
        assert_eq!(taken(&rates, &"a", 20.0, at(0)), 20);
        assert!(rates.take(&"b", 20.0, at(0)), "keys do not share");
        assert!(!rates.take(&"a", 20.0, at(499)));
        assert_eq!(taken(&rates, &"a", 20.0, at(500)), 1);
        assert_eq!(taken(&rates, &"a", 20.0, at(1_000_000)), 20, "a bucket holds no more than its capacity");
        assert!(!rates.take(&"c", 0.0, at(0)));
    }

    #[test]
    fn the_level_tells_when_to_come_back() {
        let rates = TokenBuckets::new(WINDOW, 10);
        let level = rates.spend(&"a", 2.0, at(0));
        let expected = BucketLevel { is_taken: true, left: 1.0, next_in: at(0), full_in: at(5_000) };
        assert_eq!(level, expected);
        assert!(rates.take(&"a", 2.0, at(0)));
        let expected = BucketLevel { is_taken: false, left: 0.0, next_in: at(5_000), full_in: at(10_000) };
        assert_eq!(rates.spend(&"a", 2.0, at(0)), expected);
        assert_eq!(rates.spend(&"b", 0.0, at(0)).next_in, WINDOW);
    }

    #[test]
    fn a_lower_capacity_holds_at_once() {
        let rates = TokenBuckets::new(WINDOW, 10);
        assert!(rates.take(&"a", 1_000.0, at(0)));
        assert_eq!(taken(&rates, &"a", 2.0, at(0)), 2);
    }

    #[test]
    fn memory_is_bounded() {
        let rates = TokenBuckets::new(WINDOW, SWEEP_ABOVE);
        for key in 0..2 * SWEEP_ABOVE {
            rates.take(&key, 10.0, at(0));
        }
        let kept = || rates.buckets.lock().by_key.len();
        assert_eq!(kept(), SWEEP_ABOVE);
        assert!(!rates.take(&usize::MAX, 10.0, at(1)), "the shared bucket is empty");
        assert!(rates.take(&0, 10.0, at(1)), "a bucket of its own is not");
        assert!(rates.take(&usize::MAX, 10.0, at(20_000)));
        assert!(kept() <= 2, "full buckets are forgotten");
    }
}
