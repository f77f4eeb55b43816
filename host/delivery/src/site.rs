//! What is known of one site: who waits for it, how many connections it gets, whether it is down.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use relevo_queue::{Millis, QueueKey};
use relevo_smtp::client::Failure;
use tokio::sync::Notify;

use super::failure;
use super::hosts::{NextHopPath, UsualSources};
use super::round_robin::RoundRobin;
use super::schedule;
use super::shaper::{Admission, Health, Hold, MAX_BACKOFF, Shaper, SiteShaper, TransactionSummary};
use super::shaping::Sources;
use super::site_id::SiteId;

/// Queue keys that one lease may be chosen from.
const KEYS_PER_LEASE: usize = 256;

/// Names a worker.
pub(crate) type WorkerId = u64;

/// The number of a worker among those of its site: the lowest that was free when it began.
pub(crate) type SourceSlot = usize;

/// One site.
#[derive(Debug)]
pub(crate) struct Site {
    /// How it is reached.
    pub(crate) path: NextHopPath,
    /// Keys with something due: how much at most, and of which tenants.
    ready: HashMap<QueueKey, (usize, Vec<String>)>,
    /// The sum of what they have due.
    work: usize,
    /// Of these keys, those that leases are chosen from. Workers share them: they stay while one
    /// delivery is leased.
    candidates: Arc<Vec<QueueKey>>,
    /// The other ones, round-robin by tenant.
    waiting: RoundRobin<QueueKey>,
    /// Workers, idle ones too.
    pub(crate) active: usize,
    /// Workers that were started or woken and have not asked for work yet.
    pub(crate) starting: usize,
    /// Workers that wait for mail on an open connection, and how to wake them.
    pub(crate) idlers: Vec<(WorkerId, Arc<Notify>)>,
    /// Workers that have a connection.
    pub(crate) connected_workers: HashSet<WorkerId>,
    /// Who has which slot.
    slots: Vec<Option<WorkerId>>,
    /// By how much slots are moved on among the addresses of the pool: past those that cannot be
    /// sent from.
    source_offset: usize,
    /// When it gets another connection.
    pub(crate) shaper: SiteShaper,
    /// A task puts off what is due.
    pub(crate) deferring: bool,
    /// What takes its mail that is beyond the caps of warm-up.
    pub(crate) spill: Option<SiteId>,
    /// It does so now.
    pub(crate) is_spilling: bool,
    /// The sites whose mail beyond the caps it takes.
    pub(crate) origins: Vec<SiteId>,
    /// Connections that this node may have of those that nodes share; none: all.
    pub(crate) share: Option<usize>,
}

impl Site {
    /// Of which nothing is known but where it is.
    pub(crate) fn new(path: NextHopPath) -> Self {
        Self {
            path,
            ready: HashMap::new(),
            work: 0,
            candidates: Arc::default(),
            waiting: RoundRobin::default(),
            active: 0,
            starting: 0,
            idlers: Vec::new(),
            connected_workers: HashSet::new(),
            slots: Vec::new(),
            source_offset: 0,
            shaper: SiteShaper::default(),
            deferring: false,
            spill: None,
            is_spilling: false,
            origins: Vec::new(),
            share: None,
        }
    }

    /// `key` has `ready` deliveries due, of `tenants`.
    pub(crate) fn register(&mut self, key: &QueueKey, ready: usize, tenants: &[String]) {
        self.work += ready;
        match self.ready.insert(key.clone(), (ready, tenants.to_vec())) {
            Some((before, _)) => self.work -= before,
            None => self.waiting.push(key, tenants),
        }
    }

    /// Returns true if the scheduler knows already that the key has something due.
    pub(crate) fn has(&self, key: &QueueKey) -> bool {
        self.ready.contains_key(key)
    }

    /// Returns true if anything waits.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether nothing would be lost by forgetting it.
    pub(crate) fn is_forgettable(&self, now: Millis) -> bool {
        let quiet = self.active == 0 && !self.deferring && !self.is_waiting();
        quiet
            && match self.shaper.health {
                Health::Failing { until, .. } => {
                    until.saturating_add(schedule::millis(MAX_BACKOFF) * 4) < now
                }
                Health::Unproven | Health::Proven => true,
            }
    }

    /// The number of a worker, which it keeps until it leaves.
    pub(crate) fn place(&mut self, worker: WorkerId) -> usize {
        let taken = self.slots.iter().position(|of| *of == Some(worker));
        let slot = taken.or_else(|| self.slots.iter().position(Option::is_none)).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(worker);
        slot
    }

    /// The number that the next worker would have.
    pub(crate) fn next_place(&self) -> SourceSlot {
        self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len())
    }

    /// The addresses that its mail may leave from.
    pub(crate) fn sources<'a>(&'a self, usual: &'a UsualSources) -> Sources<'a> {
        self.path.sources(usual, self.source_offset)
    }

    /// The worker is gone.
    pub(crate) fn leave_slot(&mut self, worker: WorkerId) {
        for slot in self.slots.iter_mut().filter(|of| **of == Some(worker)) {
            *slot = None;
        }
        let used = self.slots.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.slots.truncate(used);
    }

    /// Connections that all nodes may ever have: what its pool says, or else `most`.
    pub(crate) fn cap(&self, most: usize) -> usize {
        self.path.pool.as_ref().and_then(|pool| pool.connections_per_site).unwrap_or(most)
    }

    /// Connections it may ever have on this node.
    fn most(&self, most: usize) -> usize {
        let cap = self.cap(most);
        self.share.map_or(cap, |share| share.min(cap))
    }

    /// Connections that it could use now, of those that nodes share.
    pub(crate) fn wanted(&self) -> usize {
        self.shaper.wanted().min(self.active + self.work.saturating_sub(self.starting))
    }

    /// Connections it may have now, of at most `most`.
    pub(crate) fn limit(&self, now: Millis, most: usize) -> usize {
        if self.share == Some(0) { 0 } else { self.shaper.limit(now, self.most(most)) }
    }

    /// Whether it may have one more connection, of at most `most`.
    pub(crate) fn admit(&self, now: Millis, most: usize) -> Admission {
        match self.share {
            Some(0) => Admission::Wait(Hold::Connections { limit: 0, open: self.active }),
            _ => self.shaper.admit(self.active, self.most(most), now),
        }
    }

    /// Some of the tenants that wait.
    pub(crate) fn tenants(&self) -> Vec<String> {
        self.ready.values().take(4).flat_map(|(_, tenants)| tenants.iter().take(4).cloned()).collect()
    }

    /// What waits, which another site takes over.
    pub(crate) fn take_keys(&mut self) -> HashMap<QueueKey, (usize, Vec<String>)> {
        let ready = std::mem::take(&mut self.ready);
        self.forget_keys();
        ready
    }

    /// Nothing is known of what waits: the scheduler asks the queue again.
    pub(crate) fn forget_keys(&mut self) {
        self.ready.clear();
        self.work = 0;
        self.candidates = Arc::default();
        self.waiting = RoundRobin::default();
    }

    /// Nothing waits any more; idle workers wake up.
    pub(crate) fn clear(&mut self) {
        self.forget_keys();
        for (_, idler) in self.idlers.drain(..) {
            idler.notify_one();
        }
    }

    /// How many more workers there is work for.
    pub(crate) fn connections_needed(&self, now: Millis, most: usize) -> usize {
        let busy = self.active.saturating_sub(self.idlers.len());
        self.limit(now, most).saturating_sub(busy).min(self.work.saturating_sub(self.starting))
    }

    /// The keys that the next lease is chosen from.
    pub(crate) fn candidates(&mut self) -> Arc<Vec<QueueKey>> {
        if self.candidates.len() < KEYS_PER_LEASE && !self.waiting.is_empty() {
            let candidates = Arc::make_mut(&mut self.candidates);
            while candidates.len() < KEYS_PER_LEASE
                && let Some(key) = self.waiting.pop()
            {
                candidates.push(key);
            }
        }
        self.candidates.clone()
    }

    /// A delivery of `key` was leased; there may be more. If other keys wait, it stands behind
    /// them.
    pub(crate) fn leased(&mut self, key: &QueueKey) {
        let Some((ready, tenants)) = self.ready.get_mut(key) else { return };
        if *ready > 1 {
            *ready -= 1;
            self.work -= 1;
        }
        if !self.waiting.is_empty()
            && let Some(at) = self.candidates.iter().position(|candidate| candidate == key)
        {
            Arc::make_mut(&mut self.candidates).swap_remove(at);
            self.waiting.push(key, tenants);
        }
    }

    /// The queue has nothing due of these candidates.
    pub(crate) fn exhausted(&mut self, keys: &[QueueKey]) {
        for key in keys {
            if let Some((ready, _)) = self.ready.remove(key) {
                self.work -= ready;
            }
        }
        let ready = &self.ready;
        Arc::make_mut(&mut self.candidates).retain(|key| ready.contains_key(key));
    }

    /// A connection succeeded: the window opens.
    pub(crate) fn connected(&mut self, most: usize) {
        self.shaper.connected(self.most(most));
    }

    /// A transaction ended like this.
    pub(crate) fn learned(&mut self, result: TransactionSummary, most: usize) {
        self.shaper.learned(result, self.most(most));
    }

    /// No connection could be made, on none of its addresses. Returns true if the site is down:
    /// other connections that stand show that it only wants fewer.
    pub(crate) fn refused(&mut self, now: Millis, retry: &[Duration], random: u64, failure: Failure) -> bool {
        // Whoever has the slot next is to leave from another address. One step for each strike
        // comes to every address of the pool; workers that failed together count once.
        if !self.shaper.is_backing_off(now) && failure::is_misconfigured(&failure) {
            self.source_offset = self.source_offset.wrapping_add(1);
        }
        self.shaper.refused(self.connected_workers.len(), now, retry, random, failure)
    }
}

#[cfg(test)]
mod tests {
    use super::super::hosts::NextHop;
    use super::*;

    fn site() -> Site {
        let smarthost = crate::settings::SmarthostSettings {
            host: "h".into(),
            port: 25,
            tls: relevo_smtp::client::TlsPolicy::None,
            auth: None,
        };
        let next_hop = NextHop::Smarthost(Arc::new(smarthost), Arc::new([]));
        Site::new(NextHopPath::new(next_hop, None, &"s".into(), &Default::default()))
    }

    /// The number of the worker among the addresses of the pool.
    fn slot(site: &mut Site, worker: WorkerId) -> SourceSlot {
        site.place(worker).wrapping_add(site.source_offset)
    }

    #[test]
    fn a_slot_is_kept_and_the_lowest_free_one_is_given() {
        let mut s = site();
        assert_eq!([7, 8, 9, 8].map(|worker| slot(&mut s, worker)), [0, 1, 2, 1]);
        s.leave_slot(7);
        s.leave_slot(9);
        assert_eq!([8, 10, 11].map(|worker| slot(&mut s, worker)), [1, 0, 2]);
    }

    fn down() -> Failure {
        failure::ours(failure::NO_ANSWER, "down")
    }

    const RETRY: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(24 * 3600)];

    #[test]
    fn a_failing_site_gets_one_probe_after_its_backoff() {
        let mut s = site();
        s.register(&QueueKey::of_domain("a.test"), 500, &[]);
        assert_eq!(s.connections_needed(0, 20), 2);
        assert!(s.refused(0, &RETRY, 100, down()));
        assert_eq!(s.limit(59_999, 20), 0);
        assert_eq!((s.limit(60_000, 20), s.connections_needed(60_000, 20)), (1, 1));
        assert!(s.refused(60_000, &RETRY, 100, down()));
        // The second delay of the schedule, but never more than a quarter of an hour.
        assert_eq!((s.limit(60_000 + 899_999, 20), s.limit(60_000 + 900_000, 20)), (0, 1));
        s.connected(20);
        assert_eq!(s.limit(60_000, 20), 2);
    }

    #[test]
    fn after_a_source_that_cannot_be_used_the_next_one_is_tried() {
        let mut s = site();
        let cannot = || failure::ours(failure::MISCONFIGURED, "cannot send from 192.0.2.1");
        assert_eq!([7, 8].map(|worker| slot(&mut s, worker)), [0, 1]);
        s.refused(0, &RETRY, 100, cannot());
        s.refused(5, &RETRY, 100, cannot());
        s.leave_slot(7);
        s.leave_slot(8);
        assert_eq!(slot(&mut s, 9), 1, "they failed together: one step");
        s.connected(20);
        s.leave_slot(9);
        assert_eq!(slot(&mut s, 10), 1, "it is not tried again because another one works");
        s.refused(60_000, &RETRY, 100, down());
        let mut said = cannot();
        said.reply = Some(relevo_smtp::client::RemoteReply { code: 421, enhanced: None, text: "".into() });
        s.refused(300_000, &RETRY, 100, said);
        assert_eq!(slot(&mut s, 10), 1, "what is the remote's says nothing about our addresses");
        // Beside connections that stand, too: that slot would be lost to the site.
        s.connected(20);
        s.connected_workers.insert(10);
        assert!(!s.refused(400_000, &RETRY, 100, cannot()));
        assert_eq!(slot(&mut s, 11), 3);
    }

    #[test]
    fn workers_that_fail_together_are_one_strike() {
        let mut s = site();
        s.refused(0, &RETRY, 100, down());
        s.refused(5, &RETRY, 100, down());
        assert!(matches!(s.shaper.health, Health::Failing { strikes: 1, .. }));
    }

    #[test]
    fn a_refusal_beside_standing_connections_only_narrows_the_window() {
        let mut s = site();
        s.connected(20);
        for _ in 0..10 {
            s.learned(TransactionSummary::Accepted, 20);
        }
        assert!(s.limit(0, 20) > 8);
        s.connected_workers.extend([1, 2, 3]);
        assert!(!s.refused(0, &RETRY, 0, down()));
        assert_eq!((s.limit(0, 20), s.shaper.health.clone()), (3, Health::Proven));
    }

    #[test]
    fn a_key_waits_until_the_queue_has_nothing_of_it() {
        let mut s = site();
        let key = QueueKey::of_domain("a.test");
        s.register(&key, 2, &["t".into()]);
        for _ in 0..3 {
            assert_eq!(*s.candidates(), std::slice::from_ref(&key)[..]);
            s.leased(&key);
        }
        assert!(s.has(&key) && s.connections_needed(0, 20) == 1);
        s.exhausted(std::slice::from_ref(&key));
        assert!(!s.has(&key) && s.candidates().is_empty() && s.connections_needed(0, 20) == 0);
    }

    #[test]
    fn a_key_that_was_served_makes_room_for_those_that_wait() {
        let mut s = site();
        let key = |n: usize| QueueKey::of_domain(format!("{n}.test"));
        for n in 0..KEYS_PER_LEASE + 2 {
            s.register(&key(n), 5, &["t".into()]);
        }
        let candidates = s.candidates();
        assert!(candidates.len() == KEYS_PER_LEASE && !candidates.contains(&key(KEYS_PER_LEASE)));
        s.leased(&key(7));
        let candidates = s.candidates();
        assert!(candidates.len() == KEYS_PER_LEASE && candidates.contains(&key(KEYS_PER_LEASE)));
        assert!(!candidates.contains(&key(7)) && s.has(&key(7)), "it waits behind the others");
        s.exhausted(&candidates);
        assert_eq!(*s.candidates(), [key(KEYS_PER_LEASE + 1), key(7)]);
    }
}
