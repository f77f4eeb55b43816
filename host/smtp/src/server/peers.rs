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
        self.admit_unknown().filter(|place| place.counts_for(peer)).map(|mut place| {
            place.peer = Some(peer);
            place
        })
    }

    /// A place for a connection through a proxy that has not said yet whose it is.
    pub(crate) fn admit_unknown(self: &Arc<Self>) -> Option<Place> {
        let (total, _) = &mut *self.counts.lock();
        if *total >= self.total {
            return None;
        }
        *total += 1;
        Some(Place { peers: Arc::clone(self), peer: None })
    }
}

/// A counted connection.
#[derive(Debug)]
pub(crate) struct Place {
    peers: Arc<Peers>,
    peer: Option<PeerKey>,
}

impl Place {
    /// The connection is one of `peer`. Returns false if that has too many.
    pub(crate) fn identify(&mut self, peer: PeerKey) -> bool {
        self.release();
        let is_admitted = self.counts_for(peer);
        self.peer = is_admitted.then_some(peer);
        is_admitted
    }

    fn counts_for(&self, peer: PeerKey) -> bool {
        let (_, by_peer) = &mut *self.peers.counts.lock();
        let of_peer = by_peer.entry(peer).or_insert(0);
        let is_admitted = *of_peer < self.peers.per_peer;
        *of_peer += usize::from(is_admitted);
        if *of_peer == 0 {
            by_peer.remove(&peer);
        }
        is_admitted
    }

    fn release(&mut self) {
        let Some(peer) = self.peer.take() else { return };
        let (_, by_peer) = &mut *self.peers.counts.lock();
        if let Some(count) = by_peer.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                by_peer.remove(&peer);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.release();
        let (total, _) = &mut *self.peers.counts.lock();
        *total = total.saturating_sub(1);
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

    #[test]
    fn proxies_say_later_whose_a_connection_is() {
        let peers = Arc::new(Peers::new(3, 1));
        let (a, b) = (key("192.0.2.1"), key("192.0.2.2"));
        let (mut first, mut second) = (peers.admit_unknown().unwrap(), peers.admit_unknown().unwrap());
        assert!(first.identify(a));
        assert!(!second.identify(a), "per peer");
        assert!(second.identify(b));
        let _third = peers.admit_unknown().unwrap();
        assert!(peers.admit_unknown().is_none(), "total");
        assert!(first.identify(a), "its own place");
        drop((first, second));
        assert!(peers.admit(a).is_some());
    }
}
