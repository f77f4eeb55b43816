//! Failed logins cost time, more with each one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::peers::PeerKey;

/// After each of the first failures: what a person who mistypes notices least.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// Failures before the delay begins to double.
const PATIENCE: u32 = 4;
/// Doublings; the largest delay is 8 seconds.
const MAX_DOUBLINGS: u32 = 5;
/// A peer with this much delay ahead of it is turned away.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// After this much quiet a peer is forgotten.
const FORGET: Duration = Duration::from_secs(900);
/// Peers that are remembered.
const MAX_PEERS: usize = 10_000;

#[derive(Debug, Clone, Copy)]
struct Record {
    failures: u32,
    /// The next attempt is looked at then.
    open: Instant,
}

/// Remembers peers (an IPv4 address, an IPv6 /64) that failed to log in. Share one among the
/// listeners. Bounded memory.
#[derive(Debug, Default)]
pub struct AuthThrottle {
    records: Mutex<HashMap<PeerKey, Record>>,
}

impl AuthThrottle {
    /// How long an attempt from `peer` must wait before it is looked at; `None`: turn it away with
    /// 454.
    pub(crate) fn wait(&self, peer: IpAddr, now: Instant) -> Option<Duration> {
        let records = self.records.lock();
        let open = records.get(&PeerKey::of(peer)).map_or(now, |r| r.open);
        let wait = open.saturating_duration_since(now);
        (wait <= MAX_WAIT).then_some(wait)
    }

    /// A failed attempt: how long the answer is kept back.
    pub(crate) fn failed(&self, peer: IpAddr, now: Instant) -> Duration {
        let mut records = self.records.lock();
        if records.len() >= MAX_PEERS {
            records.retain(|_, r| r.open + FORGET > now);
        }
        if records.len() >= MAX_PEERS {
            // Still full: somebody has very many addresses. Everyone starts anew rather than memory
            // growing.
            records.clear();
        }
        let record = records.entry(PeerKey::of(peer)).or_insert(Record { failures: 0, open: now });
        if record.open + FORGET <= now {
            record.failures = 0;
        }
        let delay = FIRST_DELAY * 2_u32.pow(record.failures.saturating_sub(PATIENCE - 1).min(MAX_DOUBLINGS));
        record.failures = record.failures.saturating_add(1);
        record.open = record.open.max(now) + delay;
        record.open.saturating_duration_since(now).min(MAX_WAIT)
    }

    /// A successful attempt. It does not wipe the record: one valid password must not buy free
    /// guesses at others.
    pub(crate) fn succeeded(&self, peer: IpAddr) {
        let mut records = self.records.lock();
        if let Some(record) = records.get_mut(&PeerKey::of(peer)) {
            record.failures /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_fade() {
        let throttle = AuthThrottle::default();
        let peer = "192.0.2.1".parse().unwrap();
        let mut now = Instant::now();
        assert_eq!(throttle.wait(peer, now), Some(Duration::ZERO));
        let delays: Vec<u128> = (0..11)
            .map(|_| {
                let delay = throttle.failed(peer, now);
                now += delay;
                delay.as_millis()
            })
            .collect();
        assert_eq!(delays, [250, 250, 250, 250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
        assert_eq!(
            throttle.wait("192.0.2.2".parse().unwrap(), now),
            Some(Duration::ZERO),
            "others do not wait"
        );
        assert_eq!(throttle.failed(peer, now + FORGET * 2), FIRST_DELAY);
    }

    #[test]
    fn parallel_guesses_add_up() {
        let throttle = AuthThrottle::default();
        let peer = "2001:db8::1".parse().unwrap();
        let now = Instant::now();
        for _ in 0..20 {
            throttle.failed(peer, now);
        }
        assert_eq!(throttle.wait("2001:db8::2".parse().unwrap(), now), None);
    }
}
