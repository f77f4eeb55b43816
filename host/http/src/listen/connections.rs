//! The open connections of a listener, and which of them gives way to a new one.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use relevo_relay::settings::{Network, any_contains};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::ConnectionLimits;
use crate::metrics::ListenerMetrics;

/// The side that a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client, since then.
    Waiting(Instant),
    /// A handler of ours.
    Handling,
}

/// The open connections of one listener.
#[derive(Debug)]
pub(super) struct Connections {
    limits: ConnectionLimits,
    metrics: ListenerMetrics,
    table: Mutex<ConnectionTable>,
}

#[derive(Debug, Default)]
struct ConnectionTable {
    /// The last number given to a connection or to a wait.
    last: u64,
    open: HashMap<u64, OpenConnection>,
    /// Connections that wait for their client, longest first.
    waiting: BTreeMap<u64, u64>,
    by_client: HashMap<Network, usize>,
}

#[derive(Debug)]
struct OpenConnection {
    /// None for a trusted proxy.
    client: Option<Network>,
    /// The key in `waiting`.
    wait: Option<u64>,
    give_way: Arc<Notify>,
}

/// An admitted connection. It is counted until it is dropped or has given way.
#[derive(Debug)]
pub(super) struct Admitted {
    id: u64,
    connections: Arc<Connections>,
    phase: Arc<watch::Sender<Phase>>,
    give_way: Arc<Notify>,
}

impl Connections {
    pub(super) fn new(limits: ConnectionLimits, metrics: ListenerMetrics) -> Self {
        Self { limits, metrics, table: Mutex::default() }
    }

    /// Admits a connection of `peer`. At a limit, the connection that has waited longest for its
    /// client is closed: one of the same client at the client's own limit. None when all are in a
    /// handler.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Admitted> {
        let trusted = any_contains(&self.limits.trusted_proxies, peer);
        let client = (!trusted).then(|| Network::of_client(peer));
        let mut table = self.table();
        let of_client = client.and_then(|client| table.by_client.get(&client)).copied().unwrap_or(0);
        let at_own_limit = of_client >= self.limits.per_client;
        if at_own_limit && !table.close_longest_waiting(|entry| entry.client == client) {
            self.metrics.refused("client");
            return None;
        }
        if table.open.len() >= self.limits.total && !table.close_longest_waiting(|_| true) {
            self.metrics.refused("total");
            return None;
        }
        let id = table.next();
        let give_way = Arc::new(Notify::new());
        table.open.insert(id, OpenConnection { client, wait: None, give_way: give_way.clone() });
        table.begin_wait(id);
        if let Some(client) = client {
            *table.by_client.entry(client).or_default() += 1;
        }
        drop(table);
        self.metrics.opened();
        let phase = Arc::new(watch::Sender::new(Phase::waiting()));
        Some(Admitted { id, connections: self.clone(), phase, give_way })
    }

    fn table(&self) -> MutexGuard<'_, ConnectionTable> {
        self.table.lock()
    }
}

impl ConnectionTable {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn begin_wait(&mut self, id: u64) {
        let wait = self.next();
        if let Some(entry) = self.open.get_mut(&id) {
            entry.wait = Some(wait);
            self.waiting.insert(wait, id);
        }
    }

    fn end_wait(&mut self, id: u64) {
        if let Some(wait) = self.open.get_mut(&id).and_then(|entry| entry.wait.take()) {
            self.waiting.remove(&wait);
        }
    }

    fn close_longest_waiting(&mut self, fits: impl Fn(&OpenConnection) -> bool) -> bool {
        let found = self.waiting.values().find(|id| self.open.get(id).is_some_and(&fits)).copied();
        let Some(entry) = found.and_then(|id| self.remove(id)) else { return false };
        entry.give_way.notify_one();
        true
    }

    fn remove(&mut self, id: u64) -> Option<OpenConnection> {
        self.end_wait(id);
        let entry = self.open.remove(&id)?;
        if let Some(client) = entry.client
            && let Some(count) = self.by_client.get_mut(&client)
        {
            *count -= 1;
            if *count == 0 {
                self.by_client.remove(&client);
            }
        }
        Some(entry)
    }
}

impl Admitted {
    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(super) fn client_timeout(&self) -> Duration {
        self.connections.limits.client_timeout
    }

    pub(super) fn metrics(&self) -> &ListenerMetrics {
        &self.connections.metrics
    }

    /// Returns when the connection has to give way to another one.
    pub(super) async fn gave_way(&self) {
        self.give_way.notified().await;
    }

    /// Says when a handler begins and ends.
    pub(super) fn activity(&self) -> Activity {
        Activity { id: self.id, connections: self.connections.clone(), phase: self.phase.clone() }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.connections.table().remove(self.id);
        self.connections.metrics.ended();
    }
}

/// Notes the requests of a connection.
#[derive(Debug, Clone)]
pub(super) struct Activity {
    id: u64,
    connections: Arc<Connections>,
    phase: Arc<watch::Sender<Phase>>,
}

impl Activity {
    /// A request header is complete. The connection waits for its client again when the answer is
    /// dropped.
    pub(super) fn begin(&self) -> Handling {
        self.connections.table().end_wait(self.id);
        self.phase.send_replace(Phase::Handling);
        Handling(self.clone())
    }

    /// The client has taken a part of an answer: its wait begins anew.
    pub(super) fn progress(&self) {
        let Self { id, connections, phase } = self;
        let mut table = connections.table();
        table.end_wait(*id);
        table.begin_wait(*id);
        drop(table);
        phase.send_replace(Phase::waiting());
    }
}

/// A request that is in its handler.
#[derive(Debug)]
pub(super) struct Handling(Activity);

impl Drop for Handling {
    fn drop(&mut self) {
        let Activity { id, connections, phase } = &self.0;
        connections.table().begin_wait(*id);
        phase.send_replace(Phase::waiting());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::HttpMetrics;
    use crate::router::Listener;

    fn connections(total: usize, per_client: usize) -> Arc<Connections> {
        let trusted_proxies = vec![Network { addr: ip("192.0.2.200"), prefix: 32 }];
        let limits = ConnectionLimits { total, per_client, trusted_proxies, ..ConnectionLimits::default() };
        Arc::new(Connections::new(limits, HttpMetrics::default().of(Listener::Api)))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Reads and clears the sign.
    fn gave_way(admitted: &Admitted) -> bool {
        let mut notified = std::pin::pin!(admitted.give_way.notified());
        notified.as_mut().enable()
    }

    #[test]
    fn the_longest_waiting_gives_way() {
        let all = connections(3, 3);
        let [a, b, c] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|peer| all.admit(ip(peer)).unwrap());
        // A request of `a` ends: it has waited for the shortest time now.
        drop(a.activity().begin());
        let d = all.admit(ip("192.0.2.4")).unwrap();
        assert!(gave_way(&b) && !gave_way(&a) && !gave_way(&c));
        let _e = all.admit(ip("192.0.2.5")).unwrap();
        assert!(gave_way(&c) && !gave_way(&a) && !gave_way(&d));
    }

    #[test]
    fn a_client_that_takes_its_answer_has_not_waited() {
        let all = connections(2, 2);
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|peer| all.admit(ip(peer)).unwrap());
        let phase = a.phase();
        a.activity().progress();
        assert!(phase.has_changed().unwrap(), "the deadline is a new one");
        let _c = all.admit(ip("192.0.2.3")).unwrap();
        assert!(gave_way(&b) && !gave_way(&a));
    }

    #[test]
    fn a_connection_in_a_handler_never_gives_way() {
        let all = connections(2, 2);
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|peer| all.admit(ip(peer)).unwrap());
        let (_a, b_handling) = (a.activity().begin(), b.activity().begin());
        assert!(all.admit(ip("192.0.2.3")).is_none());
        drop(b_handling);
        assert!(all.admit(ip("192.0.2.3")).is_some());
        assert!(gave_way(&b) && !gave_way(&a));
    }

    #[test]
    fn a_client_at_its_limit_closes_its_own() {
        let all = connections(10, 2);
        let other = all.admit(ip("2001:db8:1::1")).unwrap();
        let [first, second] = ["2001:db8::1", "2001:db8::2"].map(|peer| all.admit(ip(peer)).unwrap());
        let _third = all.admit(ip("2001:db8::3")).unwrap();
        assert!(gave_way(&first) && !gave_way(&second) && !gave_way(&other));
        let _handling = second.activity().begin();
        let fourth = all.admit(ip("2001:db8::4")).unwrap();
        let _handling = fourth.activity().begin();
        assert!(all.admit(ip("2001:db8::5")).is_none(), "both are in a handler");
        assert!(all.admit(ip("2001:db8:1::1")).is_some());
    }

    #[test]
    fn a_proxy_is_bound_by_the_total_only() {
        let all = connections(4, 1);
        let mut proxied: Vec<_> = (0..4).map(|_| all.admit(ip("192.0.2.200")).unwrap()).collect();
        assert!(!proxied.iter().any(gave_way));
        proxied.push(all.admit(ip("192.0.2.200")).unwrap());
        assert!(gave_way(&proxied[0]));
    }

    #[test]
    fn nothing_is_left_of_those_that_are_gone() {
        let all = connections(2, 1);
        for peer in ["192.0.2.1", "192.0.2.2", "192.0.2.1", "2001:db8::1"] {
            let admitted = all.admit(ip(peer)).unwrap();
            let handling = admitted.activity().begin();
            drop(admitted);
            drop(handling);
        }
        let table = all.table();
        assert!(table.open.is_empty() && table.waiting.is_empty() && table.by_client.is_empty());
    }
}
