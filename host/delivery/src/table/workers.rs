//! What workers ask and tell: what to do next, and how their connections are doing.

use std::sync::Arc;

use relevo_queue::{Millis, QueueKey};
use relevo_smtp::client::Failure;
use tokio::sync::Notify;

use super::SiteTable;
use crate::hosts::NextHopPath;
use crate::shaper::{Health, TransactionSummary};
use crate::shaping::{ChosenSources, ShapingHold};
use crate::site::WorkerId;
use crate::site_id::SiteId;

/// Deliveries after which a worker gives up its place when places are short.
const FAIR_SHARE: usize = 20;
/// The longest pause with a connection: as long as one is kept that has no mail.
const PAUSE: Millis = 2000;
/// The pause until the store knows of the next counts of warm-up.
const UNSTORED: Millis = 100;

/// What the table asks of a worker that wants to know what to do next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerState {
    /// Its name.
    pub(crate) id: WorkerId,
    /// The settings it was started under.
    pub(crate) generation: u64,
    /// Deliveries so far.
    pub(crate) served: usize,
    /// It has a connection.
    pub(crate) connected: bool,
    /// It was started or woken since it last asked.
    pub(crate) fresh: bool,
}

/// What a worker does next.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Lease one delivery of these keys: a second one would wait behind the first, and its tenant
    /// with it.
    Lease(Arc<Vec<QueueKey>>, NextHopPath, ChosenSources),
    /// The provider's rate lets nothing go: ask again after so many milliseconds.
    Pause(Millis),
    /// Nothing waits: keep the connection for a while, until notified.
    Idle(Arc<Notify>),
    /// The site is down, or the place is wanted by another site.
    Leave,
}

impl SiteTable {
    /// What a worker of `id` does next.
    pub(crate) fn turn(&mut self, id: &SiteId, worker: &WorkerState, now: Millis) -> Turn {
        let path = self.sites.get(id).map(|site| site.path.shaping.key.clone());
        let has_too_many = self.has_too_many(id, now);
        let short = self.is_short() || path.is_some_and(|path| self.is_wanted(&path));
        let Some(site) = self.sites.get_mut(id) else { return Turn::Leave };
        if worker.fresh {
            site.starting = site.starting.saturating_sub(1);
        }
        let fair_share = if site.active > 1 { FAIR_SHARE } else { FAIR_SHARE * 5 };
        let too_many = has_too_many || site.active > site.limit(now, self.limits.per_site);
        if worker.generation != self.generation || too_many || (short && worker.served >= fair_share) {
            return Turn::Leave;
        }
        if site.is_waiting() {
            return self.next_lease(id, worker, now);
        }
        if short || !worker.connected {
            return Turn::Leave;
        }
        // Under the same lock: mail that comes now finds it idle.
        let notify = Arc::new(Notify::new());
        site.idlers.push((worker.id, notify.clone()));
        Turn::Idle(notify)
    }

    fn next_lease(&mut self, id: &SiteId, worker: &WorkerState, now: Millis) -> Turn {
        let Some(place) = self.sites.get_mut(id).map(|site| site.place(worker.id)) else {
            return Turn::Leave;
        };
        match self.take(id, place, now) {
            Ok(chosen) => match self.sites.get_mut(id) {
                Some(site) => Turn::Lease(site.candidates(), site.path.clone(), chosen),
                None => Turn::Leave,
            },
            Err(ShapingHold::Rate { left, .. }) if left <= PAUSE => Turn::Pause(left),
            Err(ShapingHold::Unstored) => Turn::Pause(UNSTORED),
            Err(_) => Turn::Leave,
        }
    }

    /// A delivery of `key` was leased for a site: there may be more.
    pub(crate) fn leased(&mut self, id: &SiteId, key: &QueueKey, now: Millis) {
        if let Some(site) = self.sites.get_mut(id) {
            site.leased(key);
        }
        self.queue_site(id, now);
    }

    /// The queue had nothing due of these keys of a site. What became due since is found by the
    /// next look at the queue.
    pub(crate) fn exhausted(&mut self, id: &SiteId, keys: &[QueueKey]) {
        if let Some(site) = self.sites.get_mut(id) {
            site.exhausted(keys);
        }
    }

    /// It stops waiting. False: it was woken already.
    pub(crate) fn stops_idling(&mut self, id: &SiteId, worker: WorkerId) -> bool {
        let Some(site) = self.sites.get_mut(id) else { return false };
        let before = site.idlers.len();
        site.idlers.retain(|(other, _)| *other != worker);
        site.idlers.len() < before
    }

    /// A worker is gone. Whatever waits wants another one.
    pub(crate) fn exited(&mut self, id: &SiteId, worker: WorkerId, now: Millis) {
        self.active = self.active.saturating_sub(1);
        self.stops_idling(id, worker);
        if let Some(site) = self.sites.get_mut(id) {
            site.active = site.active.saturating_sub(1);
            site.starting = site.starting.min(site.active);
            site.connected_workers.remove(&worker);
            site.leave_slot(worker);
            let path = site.path.shaping.key.clone();
            self.connection_freed(&path, now);
            self.note_open(id);
        }
        self.queue_site(id, now);
    }

    /// A worker has a connection.
    pub(crate) fn connected(&mut self, id: &SiteId, worker: WorkerId, now: Millis) {
        if let Some(site) = self.sites.get_mut(id) {
            site.connected(self.limits.per_site);
            site.connected_workers.insert(worker);
        }
        self.queue_site(id, now);
    }

    /// It has none any more.
    pub(crate) fn disconnected(&mut self, id: &SiteId, worker: WorkerId) {
        if let Some(site) = self.sites.get_mut(id) {
            site.connected_workers.remove(&worker);
        }
    }

    /// A transaction ended like this.
    pub(crate) fn learned(&mut self, id: &SiteId, result: TransactionSummary, now: Millis) {
        if let Some(site) = self.sites.get_mut(id) {
            site.learned(result, self.limits.per_site);
        }
        self.queue_site(id, now);
    }

    /// A worker found no address of the site to answer. Returns until when the site counts as down;
    /// none when it does not.
    pub(crate) fn refused(
        &mut self,
        id: &SiteId,
        failure: Failure,
        random: u64,
        now: Millis,
    ) -> Option<Millis> {
        let site = self.sites.get_mut(id)?;
        if !site.refused(now, &self.retry, random, failure) {
            return None;
        }
        let health = site.shaper.health.clone();
        self.defer(id);
        match health {
            Health::Failing { until, .. } => Some(until),
            Health::Unproven | Health::Proven => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{FoundSite, Plan, SiteLimits};
    use super::*;
    use crate::hosts::NextHop;

    fn limits() -> SiteLimits {
        SiteLimits { per_site: 5, total: 50, usual: Default::default() }
    }

    fn found(site: &str) -> FoundSite {
        let route = relevo_resolve::MailRoute {
            hosts: vec![],
            site: site.into(),
            ttl: Duration::from_secs(300),
            implicit: false,
        };
        let path = NextHopPath::new(NextHop::Mx(Arc::new(route)), None, &site.into(), &Default::default());
        FoundSite { site: site.into(), path, ttl: Duration::from_secs(300), spill: None }
    }

    /// A table in which a worker of the site `old` is about to lease what `a.test` has due.
    fn leasing() -> (SiteTable, WorkerState, QueueKey) {
        let (mut table, key) =
            (SiteTable::new(1, limits(), vec![Duration::from_secs(60)]), QueueKey::of_domain("a.test"));
        assert!(matches!(table.due(&key, 100, vec![], 0), Plan::Route));
        table.routed(&key, 1, found("old"), 0);
        let start = table.next_start(0).expect("a worker");
        while table.next_start(0).is_some() {}
        let worker =
            WorkerState { id: 1, generation: start.generation, served: 0, connected: false, fresh: true };
        let Turn::Lease(keys, ..) = table.turn(&"old".into(), &worker, 0) else {
            unreachable!("it waits");
        };
        assert_eq!(*keys, std::slice::from_ref(&key)[..]);
        (table, worker, key)
    }

    #[test]
    fn what_is_leased_while_settings_change_does_not_wait_for_the_old_route() {
        for nothing in [false, true] {
            let (mut table, worker, key) = leasing();
            table.reconfigure(2, limits(), &[Duration::from_secs(60)], &Arc::default());
            match nothing {
                true => table.exhausted(&"old".into(), std::slice::from_ref(&key)),
                false => table.leased(&"old".into(), &key, 0),
            }
            table.exited(&"old".into(), worker.id, 0);
            assert!(table.next_start(0).is_none(), "a worker with the old route");
            // It is looked up under the settings in force, and goes there.
            assert!(!table.is_attended(&key));
            assert!(matches!(table.due(&key, 99, vec![], 0), Plan::Route));
            table.routed(&key, 2, found("new"), 0);
            assert_eq!(table.next_start(0).map(|s| (s.site, s.generation)), Some(("new".into(), 2)));
        }
    }

    #[test]
    fn what_is_left_after_a_lease_waits_again() {
        let (mut table, worker, key) = leasing();
        // Also when the answer of the lookup is not believed any more.
        table.sweep(1_000_000);
        table.leased(&"old".into(), &key, 0);
        assert!(table.is_attended(&key));
        assert!(matches!(table.turn(&"old".into(), &worker, 0), Turn::Lease(..)));
        table.exhausted(&"old".into(), std::slice::from_ref(&key));
        assert!(!table.is_attended(&key));
    }
}
