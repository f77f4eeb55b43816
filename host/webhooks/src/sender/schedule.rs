//! What is sent next: tenants take turns, and so do the endpoints of each tenant.
//!
//! No clock, no store: `now` is an argument, and [`Schedule::next`] says what is to be read or sent.
//! Memory is bounded: an endpoint without anything to do, to wait for or under way is forgotten.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use relevo_queue::Millis;
use relevo_store::WebhookDelivery;

use crate::ConnectionBounds;
use crate::retry::millis;

/// Failures in a row after which an endpoint is left alone for a second, then for longer.
const PATIENCE: u32 = 5;
/// The longest pause of an endpoint that fails.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause that an endpoint may ask for.
const MAX_ASKED_PAUSE: Duration = Duration::from_secs(3_600);

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Pending deliveries of an endpoint are to be read and [`put`](Schedule::put).
    Read { endpoint: String, in_flight: usize },
    /// This delivery is to be sent.
    Send(WebhookDelivery),
}

#[derive(Debug, Default)]
struct EndpointQueue {
    tenant: String,
    /// Due deliveries that were read.
    due: VecDeque<WebhookDelivery>,
    /// Events of deliveries that are being sent.
    in_flight: HashSet<i64>,
    /// It is in its tenant's turn.
    is_queued: bool,
    /// Failures in a row.
    failures: u32,
    paused_until: Millis,
    timer: Option<Millis>,
}

#[derive(Debug, Default)]
struct TenantQueue {
    /// Endpoints in turn.
    endpoints: VecDeque<String>,
    in_flight: usize,
    is_queued: bool,
}

/// Endpoints that have something to do or to wait for.
#[derive(Debug)]
pub(super) struct Schedule {
    bounds: ConnectionBounds,
    endpoints: HashMap<String, EndpointQueue>,
    tenants: HashMap<String, TenantQueue>,
    /// Tenants in turn.
    turn: VecDeque<String>,
    timers: BTreeSet<(Millis, String)>,
    in_flight: usize,
}

impl Schedule {
    pub(super) fn new(bounds: ConnectionBounds) -> Self {
        Self {
            bounds,
            endpoints: HashMap::new(),
            tenants: HashMap::new(),
            turn: VecDeque::new(),
            timers: BTreeSet::new(),
            in_flight: 0,
        }
    }

    /// Has an endpoint looked at.
    pub(super) fn wake(&mut self, tenant: &str, endpoint: &str) {
        self.endpoint(tenant, endpoint);
        self.queue(endpoint);
    }

    /// Has an endpoint looked at at a time, or earlier.
    pub(super) fn wake_at(&mut self, tenant: &str, endpoint: &str, at: Millis) {
        self.endpoint(tenant, endpoint);
        self.set_timer(endpoint, at);
    }

    /// Has endpoints looked at whose time has come.
    pub(super) fn wake_due(&mut self, now: Millis) {
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, endpoint)) = self.timers.pop_first() else { return };
            if let Some(queue) = self.endpoints.get_mut(&endpoint) {
                queue.timer = None;
            }
            self.queue(&endpoint);
        }
    }

    pub(super) fn next_timer(&self) -> Option<Millis> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// What is to be done next; none: wait until something changes.
    pub(super) fn next(&mut self, now: Millis) -> Option<Step> {
        while self.in_flight < self.bounds.total {
            let tenant = self.turn.pop_front()?;
            let Some(of_tenant) = self.tenants.get_mut(&tenant) else { continue };
            of_tenant.is_queued = false;
            if of_tenant.in_flight >= self.bounds.per_tenant {
                // It comes back when one of its requests has ended.
                continue;
            }
            let Some(endpoint) = of_tenant.endpoints.pop_front() else {
                self.forget_tenant(&tenant);
                continue;
            };
            let step = self.next_of(&endpoint, now);
            self.queue_tenant(&tenant);
            if step.is_some() {
                return step;
            }
        }
        None
    }

    fn next_of(&mut self, id: &str, now: Millis) -> Option<Step> {
        let endpoint = self.endpoints.get_mut(id)?;
        endpoint.is_queued = false;
        if endpoint.paused_until > now {
            let until = endpoint.paused_until;
            self.set_timer(id, until);
            return None;
        }
        let bound = if endpoint.failures > 0 { 1 } else { self.bounds.per_endpoint };
        if endpoint.in_flight.len() >= bound {
            return None;
        }
        let Some(delivery) = endpoint.due.pop_front() else {
            return Some(Step::Read { endpoint: id.to_owned(), in_flight: endpoint.in_flight.len() });
        };
        endpoint.in_flight.insert(delivery.event);
        let tenant = endpoint.tenant.clone();
        self.in_flight += 1;
        if let Some(of_tenant) = self.tenants.get_mut(&tenant) {
            of_tenant.in_flight += 1;
        }
        self.queue(id);
        Some(Step::Send(delivery))
    }

    /// Takes what was read for an endpoint, by time.
    pub(super) fn put(&mut self, id: &str, pending: Vec<WebhookDelivery>, now: Millis) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        let mut later = None;
        for delivery in pending.into_iter().filter(|each| !endpoint.in_flight.contains(&each.event)) {
            if delivery.next_at <= now {
                endpoint.due.push_back(delivery);
            } else {
                later = Some(delivery.next_at);
                break;
            }
        }
        if !endpoint.due.is_empty() {
            self.queue(id);
        } else if let Some(at) = later {
            self.set_timer(id, at);
        } else if endpoint.in_flight.is_empty() {
            // A pause is kept until it is over.
            match endpoint.paused_until > now {
                true => {
                    let until = endpoint.paused_until;
                    self.set_timer(id, until);
                }
                false => self.forget(id),
            }
        }
    }

    /// Leaves an endpoint alone until a time.
    pub(super) fn pause(&mut self, id: &str, until: Millis) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        endpoint.paused_until = endpoint.paused_until.max(until);
        self.queue(id);
    }

    /// A request has ended and its outcome is written.
    pub(super) fn finish(
        &mut self,
        id: &str,
        event: i64,
        now: Millis,
        succeeded: bool,
        asked_pause: Option<Duration>,
    ) {
        self.remove_in_flight(id, event);
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        endpoint.failures = if succeeded { 0 } else { endpoint.failures.saturating_add(1) };
        let doubled = endpoint.failures.checked_sub(PATIENCE).map(|n| Duration::from_secs(1 << n.min(6)));
        let pause = doubled.unwrap_or_default().min(MAX_PAUSE);
        let pause = pause.max(asked_pause.unwrap_or_default().min(MAX_ASKED_PAUSE));
        let until = now.saturating_add(millis(pause));
        if until > now {
            endpoint.paused_until = endpoint.paused_until.max(until);
        }
        self.queue(id);
    }

    /// A request was not made; the delivery is pending as before.
    pub(super) fn release(&mut self, id: &str, event: i64, again: Millis) {
        self.remove_in_flight(id, event);
        self.pause(id, again);
    }

    /// Drops an endpoint that is disabled or gone. Its requests under way still count.
    pub(super) fn forget(&mut self, id: &str) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        endpoint.due.clear();
        if let Some(at) = endpoint.timer.take() {
            self.timers.remove(&(at, id.to_owned()));
        }
        if endpoint.in_flight.is_empty() && !endpoint.is_queued {
            let tenant = std::mem::take(&mut endpoint.tenant);
            self.endpoints.remove(id);
            self.forget_tenant(&tenant);
        }
    }

    fn forget_tenant(&mut self, tenant: &str) {
        if self
            .tenants
            .get(tenant)
            .is_some_and(|queue| queue.in_flight == 0 && queue.endpoints.is_empty() && !queue.is_queued)
        {
            self.tenants.remove(tenant);
        }
    }

    fn remove_in_flight(&mut self, id: &str, event: i64) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        if !endpoint.in_flight.remove(&event) {
            return;
        }
        self.in_flight -= 1;
        if let Some(of_tenant) = self.tenants.get_mut(&endpoint.tenant) {
            of_tenant.in_flight -= 1;
        }
    }

    fn endpoint(&mut self, tenant: &str, id: &str) {
        self.tenants.entry(tenant.to_owned()).or_default();
        let endpoint = self.endpoints.entry(id.to_owned()).or_default();
        if endpoint.tenant.is_empty() {
            tenant.clone_into(&mut endpoint.tenant);
        }
    }

    /// Puts an endpoint into its tenant's turn, and the tenant into that of all.
    fn queue(&mut self, id: &str) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        let tenant = endpoint.tenant.clone();
        let of_tenant = self.tenants.entry(tenant.clone()).or_default();
        if !endpoint.is_queued {
            endpoint.is_queued = true;
            of_tenant.endpoints.push_back(id.to_owned());
        }
        self.queue_tenant(&tenant);
    }

    fn queue_tenant(&mut self, tenant: &str) {
        let Some(of_tenant) = self.tenants.get_mut(tenant) else { return };
        if !of_tenant.is_queued && !of_tenant.endpoints.is_empty() {
            of_tenant.is_queued = true;
            self.turn.push_back(tenant.to_owned());
        }
    }

    fn set_timer(&mut self, id: &str, at: Millis) {
        let Some(endpoint) = self.endpoints.get_mut(id) else { return };
        if endpoint.timer.is_some_and(|set| set <= at) {
            return;
        }
        if let Some(set) = endpoint.timer.replace(at) {
            self.timers.remove(&(set, id.to_owned()));
        }
        self.timers.insert((at, id.to_owned()));
    }
}

#[cfg(test)]
mod tests;
