//! Recipients per hour of a credential: a token bucket. Against a stolen password.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const HOUR: f64 = 3600.0;

/// Names that are counted before those with full buckets are forgotten.
const SWEEP_ABOVE: usize = 10_000;

struct Bucket {
    left: f64,
    at: Duration,
}

/// A bucket for each name. A full bucket holds an hour's worth.
#[derive(Default)]
pub(super) struct Rates {
    buckets: Mutex<HashMap<String, Bucket>>,
}

impl Rates {
    /// Takes one from the bucket of `name`, if there is one left. `now` never goes back.
    pub(super) fn take(&self, name: &str, per_hour: u64, now: Duration) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "nobody sends 2^52 messages an hour")]
        let full = per_hour as f64;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() > SWEEP_ABOVE {
            buckets.retain(|_, b| refilled(b, full, now) < full);
        }
        if !buckets.contains_key(name) {
            buckets.insert(name.to_owned(), Bucket { left: full, at: now });
        }
        let Some(bucket) = buckets.get_mut(name) else { return false };
        bucket.left = refilled(bucket, full, now);
        bucket.at = now;
        if bucket.left < 1.0 {
            return false;
        }
        bucket.left -= 1.0;
        true
    }
}

fn refilled(bucket: &Bucket, full: f64, now: Duration) -> f64 {
    let since = now.saturating_sub(bucket.at).as_secs_f64();
    (bucket.left + since * full / HOUR).min(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn empties_and_refills() {
        let rates = Rates::default();
        let taken = (0..10).filter(|_| rates.take("a", 4, at(0))).count();
        assert_eq!(taken, 4);
        assert!(!rates.take("a", 4, at(899)));
        assert!(rates.take("a", 4, at(900)));
        assert!(!rates.take("a", 4, at(900)));
        let taken = (0..10).filter(|_| rates.take("a", 4, at(100_000))).count();
        assert_eq!(taken, 4, "a bucket holds no more than an hour's worth");
    }

    #[test]
    fn names_do_not_share() {
        let rates = Rates::default();
        assert!(rates.take("a", 1, at(0)));
        assert!(rates.take("b", 1, at(0)));
        assert!(!rates.take("a", 1, at(0)));
        assert!(!rates.take("c", 0, at(0)));
    }

    #[test]
    fn a_lower_limit_holds_at_once() {
        let rates = Rates::default();
        assert!(rates.take("a", 1000, at(0)));
        let taken = (0..10).filter(|_| rates.take("a", 2, at(0))).count();
        assert_eq!(taken, 2);
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let rates = Rates::default();
        for n in 0..=SWEEP_ABOVE {
            rates.take(&n.to_string(), 3600, at(0));
        }
        rates.take("x", 3600, at(2));
        assert_eq!(rates.buckets.lock().expect("lock").len(), 1);
    }
}
