//! The gate: what a site may do by its health, by what its provider allows, and by what refusals
//! led to.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use relevo_queue::{Lease, Millis, QueueKey};

use super::SiteTable;
use crate::hosts::{NextHopPath, PathShaping};
use crate::shaper::{Admission, Health, Hold};
use crate::shaping::{
    ChosenSources, Outcome, PathKey, Shaping, ShapingHold, ShapingReport, Suspension, WarmupReport,
    WarmupSpan,
};
use crate::site::Site;
use crate::site_id::SiteId;

/// How long a site waits for a share of a cap before it looks again.
const SHARED: Millis = 1000;
/// How long a site waits for the store to know of its counts.
const STORING: Millis = 250;
/// Mail goes another way, or its own again, within this time.
const SPILL_TIME: Millis = 60_000;

impl SiteTable {
    /// Whether a site may have one more connection, and why not.
    pub(crate) fn admission(&self, site: &Site, now: Millis) -> Admission {
        match site.admit(now, self.limits.per_site) {
            Admission::Go => match self.shaping_hold(site, now) {
                None => Admission::Go,
                Some(hold) => Admission::Wait(Hold::Shaping(hold)),
            },
            wait => wait,
        }
    }

    /// Why shaping lets a site begin nothing now.
    pub(super) fn shaping_hold(&self, site: &Site, now: Millis) -> Option<ShapingHold> {
        let PathShaping { key, provider, .. } = &*site.path.shaping;
        let sources = site.sources(&self.limits.usual);
        let next = self.shaping.admit(key, provider, &sources, site.next_place() as u64, now);
        let has_connection = !site.idlers.is_empty();
        let next = next.map(drop);
        next.and_then(|()| match has_connection {
            true => Ok(()),
            false => self.shaping.may_connect(key, provider, &sources),
        })
        .err()
    }

    /// Whether shaping lets the site begin nothing now.
    pub(super) fn is_held(&self, site: &Site, now: Millis) -> bool {
        self.shaping_hold(site, now).is_some()
    }

    /// Has a site with mail served when it may be: by a worker now, by one later, or by putting its
    /// mail off.
    pub(super) fn serve_when_possible(&mut self, id: &SiteId, tenants: Option<&[String]>, now: Millis) {
        self.update_shares(id, now);
        let Some(site) = self.sites.get(id) else { return };
        if site.connections_needed(now, self.limits.per_site) == 0 {
            if site.share == Some(0) && site.is_waiting() {
                self.wake_at(id, now.saturating_add(SHARED));
            }
            return;
        }
        match self.shaping_hold(site, now) {
            None => match tenants {
                Some(tenants) => self.sites_waiting.push(id, tenants),
                None => self.sites_waiting.push(id, &site.tenants()),
            },
            Some(hold) => self.wait_for(id, &hold, now),
        }
    }

    fn wait_for(&mut self, id: &SiteId, hold: &ShapingHold, now: Millis) {
        match hold {
            ShapingHold::Rate { left, .. } => self.wake_at(id, now.saturating_add(*left)),
            ShapingHold::Unstored => {
                self.prepare_warmup(id);
                self.wake_at(id, now.saturating_add(STORING));
            }
            ShapingHold::Connections { .. } => {
                if let Some(site) = self.sites.get(id) {
                    let key = site.path.shaping.key.clone();
                    self.blocked.entry(key).or_default().push(id, &site.tenants());
                }
                if self.shaping.shares().is_some() {
                    self.wake_at(id, now.saturating_add(SHARED));
                }
            }
            ShapingHold::Warmup { span: WarmupSpan::Hour, until, .. } => match self.is_beyond_caps(id, now) {
                true => self.defer(id),
                false => self.wake_at(id, self.shaping.steady(*until)),
            },
            ShapingHold::Suspended(_) | ShapingHold::Warmup { span: WarmupSpan::Day, .. } => self.defer(id),
        }
    }

    fn wake_at(&mut self, id: &SiteId, at: Millis) {
        self.wakes.insert(id.clone(), at);
        self.timer_changed = true;
    }

    /// Has a task put off what the site has due.
    pub(super) fn defer(&mut self, id: &SiteId) {
        if let Some(site) = self.sites.get_mut(id)
            && site.is_waiting()
            && !site.deferring
        {
            site.deferring = true;
            self.deferrals.push_back(id.clone());
        }
    }

    fn prepare_warmup(&mut self, id: &SiteId) {
        if let Some(site) = self.sites.get(id) {
            self.shaping.begin_hour(&site.path.shaping.provider, &site.sources(&self.limits.usual));
        }
    }

    /// The time of day until which the mail of a site is put off: when it may go again, here or the
    /// other way that it has because of caps of warm-up.
    pub(super) fn put_off_until(&self, id: &SiteId, now: Millis) -> Option<Millis> {
        let site = self.sites.get(id)?;
        let hold = self.shaping_hold(site, now)?;
        let own = match &hold {
            ShapingHold::Suspended(suspension) => suspension.until,
            ShapingHold::Warmup { span: WarmupSpan::Day, until, .. } => *until,
            ShapingHold::Warmup { span: WarmupSpan::Hour, .. }
            | ShapingHold::Rate { .. }
            | ShapingHold::Connections { .. }
            | ShapingHold::Unstored => return None,
        };
        let spill = site.spill.as_ref().filter(|_| matches!(hold, ShapingHold::Warmup { .. }));
        let others = spill.into_iter().chain(&site.origins).filter_map(|id| self.sites.get(id));
        let soon = self.shaping.time_of_day(now).saturating_add(SPILL_TIME);
        let ends = others.map(|other| self.hold_end(other, now).unwrap_or(soon));
        Some(ends.fold(own, Millis::min))
    }

    /// The time of day at which a hold of some length is over. None: there is none.
    fn hold_end(&self, site: &Site, now: Millis) -> Option<Millis> {
        if let Health::Failing { until, .. } = &site.shaper.health
            && *until > now
        {
            return Some(self.shaping.time_of_day(*until));
        }
        match self.shaping_hold(site, now)? {
            ShapingHold::Suspended(suspension) => Some(suspension.until),
            ShapingHold::Warmup { until, .. } => Some(until),
            ShapingHold::Rate { .. } | ShapingHold::Connections { .. } | ShapingHold::Unstored => None,
        }
    }

    /// Whether a site can take mail that is another one's: now, or as soon as a message or a connection
    /// is done.
    pub(super) fn can_take(&self, site: &Site, now: Millis) -> bool {
        self.hold_end(site, now).is_none()
    }

    /// Connections of a path are wanted by other sites of the provider.
    pub(super) fn is_wanted(&self, key: &Arc<PathKey>) -> bool {
        !self.blocked.is_empty() && self.blocked.get(key).is_some_and(|blocked| !blocked.is_empty())
    }

    /// A connection of a path was given up: the next site gets it.
    pub(super) fn connection_freed(&mut self, key: &Arc<PathKey>, now: Millis) {
        self.shaping.closed(key);
        let before = self.sites_waiting.len();
        while self.sites_waiting.len() == before
            && let Some(id) = self.blocked.get_mut(key).and_then(super::RoundRobin::pop)
        {
            let waited = self.sites.get(&id).is_some_and(|site| {
                !matches!(self.shaping_hold(site, now), Some(ShapingHold::Connections { .. }))
            });
            self.serve_when_possible(&id, None, now);
            if !waited {
                break;
            }
        }
        if self.blocked.get(key).is_some_and(super::RoundRobin::is_empty) {
            self.blocked.remove(key);
        }
    }

    /// When something that waits by shaping goes on.
    pub(crate) fn next_wake(&self) -> Option<Millis> {
        self.wakes.values().copied().chain(self.shaping.next_end()).min()
    }

    /// Whether [`Self::next_wake`] may be earlier than it was.
    pub(crate) fn take_timer_changed(&mut self) -> bool {
        std::mem::take(&mut self.timer_changed)
    }

    /// Lets go on what waited until now.
    pub(crate) fn wake(&mut self, now: Millis, time_of_day: Millis) {
        self.shaping.set_time_of_day(now, time_of_day);
        self.shaping.end_suspensions(now);
        let due: Vec<SiteId> =
            self.wakes.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect();
        for id in due {
            self.wakes.remove(&id);
            self.serve_when_possible(&id, None, now);
        }
    }

    /// Addresses for the next message of a worker, which goes. Otherwise the time until it may.
    pub(super) fn take(
        &mut self,
        id: &SiteId,
        slot: usize,
        now: Millis,
    ) -> Result<ChosenSources, ShapingHold> {
        let Some(site) = self.sites.get(id) else { return Ok(ChosenSources::default()) };
        let PathShaping { key, provider, .. } = &*site.path.shaping;
        let sources = site.sources(&self.limits.usual);
        self.shaping.begin_hour(provider, &sources);
        self.shaping.update_rate(key, provider, &sources, now);
        let chosen = self.shaping.admit(key, provider, &sources, slot as u64, now)?;
        self.shaping.take(key, provider, &sources, now);
        Ok(chosen)
    }

    /// The message of a worker did not go after all.
    pub(crate) fn refund(&mut self, id: &SiteId) {
        if let Some(site) = self.sites.get(id) {
            let PathShaping { key, provider, .. } = &*site.path.shaping;
            self.shaping.refund(key, provider, &site.sources(&self.limits.usual));
        }
    }

    /// Sets recipients aside in the caps of warm-up. Returns how many, and the hour.
    pub(crate) fn reserve(
        &mut self,
        path: &NextHopPath,
        chosen: &ChosenSources,
        recipients: usize,
    ) -> (u32, i64) {
        let recipients = u32::try_from(recipients).unwrap_or(u32::MAX);
        self.shaping.reserve(&path.shaping.provider, chosen, recipients)
    }

    /// Gives back what was set aside and not sent.
    pub(crate) fn release(
        &mut self,
        path: &NextHopPath,
        chosen: &ChosenSources,
        reserved: (u32, i64),
        sent: (Option<IpAddr>, u32),
    ) {
        self.shaping.release(&path.shaping.provider, chosen, reserved, sent);
    }

    /// What refusals of a transaction lead to. Returns how long the next attempt waits at least.
    pub(crate) fn learned_refusals(
        &mut self,
        id: &SiteId,
        outcome: &Outcome<'_>,
        now: Millis,
    ) -> Option<Duration> {
        let site = self.sites.get(id)?;
        let PathShaping { key, provider, .. } = &*site.path.shaping;
        let sources = site.sources(&self.limits.usual);
        let wait = self.shaping.learned(key, provider, &sources, outcome, now);
        self.timer_changed |= self.shaping.has_changes();
        wait
    }

    /// The suspension of the tenant of a delivery to a site.
    pub(crate) fn suspension_of_tenant(
        &self,
        path: &NextHopPath,
        tenant: &str,
        now: Millis,
    ) -> Option<&Arc<Suspension>> {
        self.shaping.suspension_of_tenant(&path.shaping.provider.name, tenant, now)
    }

    /// What mail of a key and a tenant was put off for, with the time of day until when.
    pub(crate) fn reason_to_put_off(&self, key: &QueueKey, tenant: &str, now: Millis) -> Option<ShapingHold> {
        let (id, site) = self.site_of(key)?;
        if let Some(suspension) = self.suspension_of_tenant(&site.path, tenant, now) {
            return Some(ShapingHold::Suspended(suspension.clone()));
        }
        self.put_off_until(id, now)?;
        self.shaping_hold(site, now)
    }

    /// Returns true if what was handed back for a hold, until that time of day, has no reason to
    /// wait any more.
    pub(crate) fn is_released(&self, lease: &Lease, until: Millis, now: Millis) -> bool {
        let key = &lease.delivery.key;
        let was_put_off = self.put_off.get(key).is_some_and(|at| (*at).min(lease.meta.expires_at) == until);
        was_put_off && self.reason_to_put_off(key, &lease.meta.tenant, now).is_none()
    }

    /// Keys whose mail was put off until that time of day or an earlier one.
    pub(crate) fn put_off_keys(&self, until: Millis) -> HashSet<QueueKey> {
        let keys = self.put_off.iter().filter(|(_, at)| **at <= until);
        keys.map(|(key, _)| key.clone()).collect()
    }

    /// Mail of these keys was put off until a time of day.
    pub(crate) fn note_put_off(&mut self, keys: &[QueueKey], until: Millis) {
        for key in keys {
            self.put_off.insert(key.clone(), until);
        }
    }

    /// Why shaping lets the first connection of a path begin nothing now.
    pub(crate) fn hold_of_path(&self, path: &NextHopPath, now: Millis) -> Option<ShapingHold> {
        let PathShaping { key, provider, .. } = &*path.shaping;
        let sources = path.sources(&self.limits.usual, 0);
        let next = self.shaping.admit(key, provider, &sources, 0, now).map(drop);
        next.and_then(|()| self.shaping.may_connect(key, provider, &sources)).err()
    }

    /// An operator wants the usual rate at a provider.
    pub(crate) fn reset_rates(&mut self, provider: &str, now: Millis) {
        self.shaping.reset_rates(provider);
        let waiting: Vec<SiteId> = self.wakes.keys().cloned().collect();
        for id in waiting {
            self.serve_when_possible(&id, None, now);
        }
    }

    /// What operators are shown: all providers that are sent to, and those with rules.
    pub(crate) fn shaping_report(&self, now: Millis) -> ShapingReport {
        let mut known = self.rules.named();
        known.extend(self.sites.values().map(|site| site.path.shaping.provider.clone()));
        self.shaping.report(self.rules.version(), &known, now)
    }

    /// Where each address stands that is warmed up.
    pub(crate) fn warmup_report(&self) -> Vec<WarmupReport> {
        self.shaping.warmup_report(&self.rules)
    }

    /// The state of shaping.
    pub(crate) fn shaping(&self) -> &Shaping {
        &self.shaping
    }

    /// The state of shaping, to be changed.
    pub(crate) fn shaping_mut(&mut self) -> &mut Shaping {
        self.timer_changed = true;
        &mut self.shaping
    }
}
