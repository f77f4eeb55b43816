//! What workers ask and tell: what to do next, and how their connections are doing.

use std::sync::Arc;

use relevo_queue::Millis;
use relevo_smtp::client::Failure;
use tokio::sync::Notify;

use super::{SiteId, Table};
use crate::delivery::hosts::Way;
use crate::delivery::site::{Health, Seat, Taken, WorkerId};

/// Deliveries after which a worker gives up its place when places are short.
const FAIR_SHARE: usize = 20;

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
    /// Lease one delivery of these: a second one would wait behind the first, and its tenant with it.
    Lease(Vec<Taken>, Way, Seat),
    /// Nothing waits: keep the connection for a while, until notified.
    Idle(Arc<Notify>),
    /// The site is down, or the place is wanted by another site.
    Leave,
}

impl Table {
    /// What a worker of `id` does next.
    pub(crate) fn turn(&mut self, id: &SiteId, worker: &WorkerState, now: Millis) -> Turn {
        let short = self.is_short();
        let Some(site) = self.sites.get_mut(id) else { return Turn::Leave };
        if worker.fresh {
            site.starting = site.starting.saturating_sub(1);
        }
        let fair_share = if site.active > 1 { FAIR_SHARE } else { FAIR_SHARE * 5 };
        let too_many = site.active > site.limit(now, self.limits.per_site);
        if worker.generation != self.generation || too_many || (short && worker.served >= fair_share) {
            return Turn::Leave;
        }
        if site.is_waiting() {
            let (way, seat) = (site.way.clone(), site.seat(worker.id));
            return Turn::Lease(site.take(), way, seat);
        }
        if short || !worker.connected {
            return Turn::Leave;
        }
        // Under the same lock: mail that comes now finds it idle.
        let notify = Arc::new(Notify::new());
        site.idlers.push((worker.id, notify.clone()));
        Turn::Idle(notify)
    }

    /// One was leased of what was taken: there may be more.
    pub(crate) fn leased(&mut self, id: &SiteId, taken: Vec<Taken>, now: Millis) {
        if let Some(site) = self.sites.get_mut(id) {
            site.put_back(taken, 1);
        }
        self.want_more(id, now);
    }

    /// A lease failed: what was taken waits again.
    pub(crate) fn not_leased(&mut self, id: &SiteId, taken: Vec<Taken>) {
        if let Some(site) = self.sites.get_mut(id) {
            site.put_back(taken, 0);
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
            site.standing.remove(&worker);
            site.leave_seat(worker);
        }
        self.want_more(id, now);
    }

    /// A worker has a connection.
    pub(crate) fn connected(&mut self, id: &SiteId, worker: WorkerId, now: Millis) {
        if let Some(site) = self.sites.get_mut(id) {
            site.connected(self.limits.per_site);
            site.standing.insert(worker);
        }
        self.want_more(id, now);
    }

    /// It has none any more.
    pub(crate) fn disconnected(&mut self, id: &SiteId, worker: WorkerId) {
        if let Some(site) = self.sites.get_mut(id) {
            site.standing.remove(&worker);
        }
    }

    /// A transaction went through.
    pub(crate) fn transacted(&mut self, id: &SiteId, now: Millis) {
        if let Some(site) = self.sites.get_mut(id) {
            site.transacted(self.limits.per_site);
        }
        self.want_more(id, now);
    }

    /// A worker found no address of the site to answer. Returns until when the site counts as down; none when it does not.
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
        if site.is_waiting() && !site.deferring {
            site.deferring = true;
            self.deferrals.push_back(id.clone());
        }
        match site.health {
            Health::Failing { until, .. } => Some(until),
            Health::Unproven | Health::Proven => None,
        }
    }
}
