//! When a delivery is tried again, and when it is given up.

use std::time::Duration;

use relevo_queue::{DeliveryId, Millis};

/// Used when an empty schedule was configured.
const FALLBACK: Duration = Duration::from_secs(15 * 60);

/// A duration in the queue's unit.
pub(crate) fn millis(d: Duration) -> Millis {
    Millis::try_from(d.as_millis()).unwrap_or(Millis::MAX / 4)
}

/// The delay after attempt number `attempt` (from 1): the schedule's entry, the last one repeats;
/// with +-10 % of jitter that depends only on `seed`, the delivery and the attempt.
pub(crate) fn delay(retry: &[Duration], attempt: u32, id: DeliveryId, seed: u64) -> Duration {
    let position = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
    let base = retry.get(position).or(retry.last()).copied().unwrap_or(FALLBACK);
    jitter(base, mix(seed, id, attempt))
}

/// `base` +-10 %, by the low bits of `random`.
pub(crate) fn jitter(base: Duration, random: u64) -> Duration {
    let thousandths = 900 + u32::try_from(random % 201).unwrap_or(100);
    base.saturating_mul(thousandths) / 1000
}

/// Spreads its arguments over 64 bits (the finaliser of splitmix64). Not for secrets.
fn mix(seed: u64, id: DeliveryId, attempt: u32) -> u64 {
    let mut x = seed ^ (u64::from(id.number) << 32) ^ u64::from(attempt);
    for half in id.item.0.chunks_exact(8) {
        let mut octets = [0; 8];
        octets.copy_from_slice(half);
        x = spread(x ^ u64::from_be_bytes(octets));
    }
    x
}

/// One step of splitmix64.
pub(crate) fn spread(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use relevo_queue::ItemId;

    fn id(n: u8) -> DeliveryId {
        DeliveryId { item: ItemId([n; 16]), number: 0 }
    }

    #[test]
    fn the_last_delay_repeats_and_jitter_stays_within_a_tenth() {
        let retry = [Duration::from_secs(60), Duration::from_secs(600)];
        for n in 0..=255 {
            for (attempt, base) in [(1, 60_000), (2, 600_000), (3, 600_000), (900, 600_000)] {
                let d = millis(delay(&retry, attempt, id(n), 7));
                assert!((base * 9 / 10..=base * 11 / 10).contains(&d), "{attempt}: {d}");
            }
        }
    }

    #[test]
    fn jitter_spreads_deliveries_and_is_reproducible() {
        let retry = [Duration::from_secs(3600)];
        let delays: std::collections::BTreeSet<_> = (0..100).map(|n| delay(&retry, 1, id(n), 1)).collect();
        assert!(delays.len() > 50, "{}", delays.len());
        assert_eq!(delay(&retry, 1, id(3), 1), delay(&retry, 1, id(3), 1));
    }
}
