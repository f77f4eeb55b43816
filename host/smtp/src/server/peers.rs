//! How many connections each peer has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// An IPv4 address, or the /64 of an IPv6 address: what one customer usually has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PeerKey(u128);

impl PeerKey {
    pub(crate) fn of(addr: IpAddr) -> Self {
        match addr.to_canonical() {
            IpAddr::V4(v4) => Self(u128::from(v4.to_bits())),
            // The marker keeps `::/64` apart from IPv4.
            IpAddr::V6(v6) => Self((v6.to_bits() >> 64) | 1 << 64),
        }
    }
}

/// Counts connections and admits up to a limit.
#[derive(Debug)]
pub(crate) struct Peers {
    total: usize,
    per_peer: usize,
    counts: Mutex<(usize, HashMap<PeerKey, usize>)>,
}

impl Peers {
    pub(crate) fn new(total: usize, per_peer: usize) -> Self {
        Self { total, per_peer, counts: Mutex::default() }
    }

    /// A place for a connection of `peer`, held until dropped.
    pub(crate) fn admit(self: &Arc<Self>, peer: PeerKey) -> Option<Place> {
        let mut counts = self.counts.lock();
        let (total, by_peer) = &mut *counts;
        let of_peer = by_peer.get(&peer).copied().unwrap_or(0);
        if *total >= self.total || of_peer >= self.per_peer {
            return None;
        }
        *total += 1;
        by_peer.insert(peer, of_peer + 1);
        Some(Place { peers: Arc::clone(self), peer })
    }
}

/// A counted connection.
#[derive(Debug)]
pub(crate) struct Place {
    peers: Arc<Peers>,
    peer: PeerKey,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.peers.counts.lock();
        let (total, by_peer) = &mut *counts;
        *total = total.saturating_sub(1);
        if let Some(count) = by_peer.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                by_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> PeerKey {
        PeerKey::of(text.parse().unwrap())
    }

    #[test]
    fn keys() {
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("::1"), key("0.0.0.0"));
    }

    #[test]
    fn places_are_given_back() {
        let peers = Arc::new(Peers::new(3, 2));
        let (a, b) = (key("192.0.2.1"), key("192.0.2.2"));
        let first = peers.admit(a).unwrap();
        let _second = peers.admit(a).unwrap();
        assert!(peers.admit(a).is_none(), "per peer");
        let _third = peers.admit(b).unwrap();
        assert!(peers.admit(b).is_none(), "total");
        drop(first);
        assert!(peers.admit(b).is_some());
    }
}
