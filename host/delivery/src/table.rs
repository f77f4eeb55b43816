//! What the scheduler knows: which domain belongs to which site, which site may open how many
//! connections.
//!
//! What is called a domain here is a queue key: the mail to a domain that goes over the same pool
//! and route.
//!
//! Pure: no clock, no IO. Whoever asks holds the lock for as long as a call takes.

mod shaping;
mod share;
mod spill;
mod starts;
mod workers;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use relevo_queue::{Millis, QueueKey};
use relevo_smtp::client::Failure;

use super::hosts::{NextHopPath, UsualSources};
use super::round_robin::RoundRobin;
use super::schedule::millis;
use super::shaper::Health;
use super::site::Site;
use super::site_id::SiteId;
use crate::shaping::{PathKey, Shaping, ShapingRules};

use spill::waits_at;
pub(crate) use workers::{Turn, WorkerState};

/// How long what was learnt from a failed lookup is applied to the domain's other deliveries.
const BROKEN_TTL: Duration = Duration::from_secs(30);

/// Limits from the settings in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SiteLimits {
    /// To one site.
    pub(crate) per_site: usize,
    /// In all.
    pub(crate) total: usize,
    /// Where mail leaves from that has no pool.
    pub(crate) usual: UsualSources,
}

/// What is known of a domain.
#[derive(Debug)]
enum KeyState {
    /// Its lookup is under way; these wait for it.
    Routing(usize, Vec<String>),
    /// Its site, until then.
    Routed(SiteId, Millis),
    /// There is no way; applied until then.
    Broken(Arc<Failure>, Millis, BrokenState),
}

/// Whether the deliveries of a broken domain are being dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BrokenState {
    Quiet,
    Working,
}

/// What is to be done about a domain that has something due.
#[derive(Debug, Clone)]
pub(crate) enum Plan {
    /// Look up its route, then tell [`SiteTable::routed`] or [`SiteTable::unroutable`].
    Route,
    /// It waits for its site: see [`SiteTable::next_start`] and [`SiteTable::next_deferral`].
    Wait,
    /// There is no path: conclude what is due with this failure, then call
    /// [`SiteTable::concluded`].
    Conclude(Arc<Failure>),
}

/// A worker that may be started.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    /// For which site.
    pub(crate) site: SiteId,
    /// Settings it was started under.
    pub(crate) generation: u64,
    /// An idle worker was woken instead.
    pub(crate) woken: bool,
}

/// Why what a site has due is put off.
#[derive(Debug, Clone)]
pub(crate) enum PutOff {
    /// No host can be reached, until then: an attempt that failed.
    Down(Arc<Failure>, Millis),
    /// Shaping holds it until this time of day: no attempt.
    Held(Millis),
}

/// What a lookup found.
#[derive(Debug, Clone)]
pub(crate) struct FoundSite {
    /// Its site.
    pub(crate) site: SiteId,
    /// How it is reached.
    pub(crate) path: NextHopPath,
    /// How long this may be believed.
    pub(crate) ttl: Duration,
    /// What takes the mail that is beyond the caps of warm-up.
    pub(crate) spill: Option<Box<FoundSite>>,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct SiteTable {
    domains: HashMap<QueueKey, KeyState>,
    sites: HashMap<SiteId, Site>,
    sites_waiting: RoundRobin<SiteId>,
    deferrals: VecDeque<SiteId>,
    /// What was said in the log under the settings in force.
    said: HashSet<String>,
    limits: SiteLimits,
    retry: Vec<Duration>,
    generation: u64,
    active: usize,
    /// Rates, suspensions and warm-up.
    shaping: Shaping,
    rules: Arc<ShapingRules>,
    /// When sites that wait by shaping go on.
    wakes: HashMap<SiteId, Millis>,
    timer_changed: bool,
    /// Sites that wait for a connection to their provider, by pool and provider.
    blocked: HashMap<Arc<PathKey>, RoundRobin<SiteId>>,
    /// Keys whose mail was put off by shaping, and until which time of day.
    put_off: HashMap<QueueKey, Millis>,
}

impl SiteTable {
    /// Empty.
    pub(crate) fn new(generation: u64, limits: SiteLimits, retry: Vec<Duration>) -> Self {
        Self {
            domains: HashMap::new(),
            sites: HashMap::new(),
            sites_waiting: RoundRobin::default(),
            deferrals: VecDeque::new(),
            said: HashSet::new(),
            limits,
            retry,
            generation,
            active: 0,
            shaping: Shaping::default(),
            rules: Arc::default(),
            wakes: HashMap::new(),
            timer_changed: false,
            blocked: HashMap::new(),
            put_off: HashMap::new(),
        }
    }

    /// With these rules, and what is known of an earlier run.
    pub(crate) fn shaped(mut self, rules: Arc<ShapingRules>, shaping: Shaping) -> Self {
        (self.rules, self.shaping) = (rules, shaping);
        self
    }

    /// Other settings are in force: routes are looked up again, connections end after what they are
    /// doing.
    pub(crate) fn reconfigure(
        &mut self,
        generation: u64,
        limits: SiteLimits,
        retry: &[Duration],
        rules: &Arc<ShapingRules>,
    ) {
        if generation == self.generation {
            return;
        }
        self.rules = rules.clone();
        self.wakes.clear();
        self.blocked.clear();
        (self.generation, self.limits, self.retry) = (generation, limits, retry.to_vec());
        self.said.clear();
        self.domains.retain(|_, d| matches!(d, KeyState::Routing(..)));
        for site in self.sites.values_mut() {
            site.clear();
        }
    }

    /// Whether this was not said yet under the settings in force.
    pub(crate) fn is_news(&mut self, what: String) -> bool {
        self.said.insert(what)
    }

    /// Whether what `domain` has due is being seen to, so that it need not be reported again.
    pub(crate) fn is_attended(&self, domain: &QueueKey) -> bool {
        match self.domains.get(domain) {
            Some(KeyState::Routing(..)) => true,
            Some(KeyState::Routed(site, _)) => waits_at(&self.sites, site, domain),
            Some(KeyState::Broken(_, _, state)) => *state == BrokenState::Working,
            None => false,
        }
    }

    /// `domain` has `ready` deliveries due.
    pub(crate) fn due(&mut self, domain: &QueueKey, ready: usize, tenants: Vec<String>, now: Millis) -> Plan {
        match self.domains.get_mut(domain) {
            Some(KeyState::Routing(..)) => return Plan::Wait,
            Some(KeyState::Broken(failure, until, state)) if *until > now => {
                if *state == BrokenState::Working {
                    return Plan::Wait;
                }
                *state = BrokenState::Working;
                return Plan::Conclude(failure.clone());
            }
            Some(KeyState::Routed(site, until)) if *until > now && self.sites.contains_key(site) => {
                let (site, domain) = (site.clone(), domain.clone());
                let site = self.choose_site(&site, now);
                self.wait(&site, &domain, ready, &tenants, now);
                return Plan::Wait;
            }
            _ => {}
        }
        self.domains.insert(domain.clone(), KeyState::Routing(ready, tenants));
        Plan::Route
    }

    /// The lookup of `domain`, begun under the settings of `generation`, found `site`.
    pub(crate) fn routed(&mut self, domain: &QueueKey, generation: u64, found: FoundSite, now: Millis) {
        let Some(KeyState::Routing(ready, tenants)) = self.domains.remove(domain) else { return };
        if generation != self.generation {
            return;
        }
        let FoundSite { site: id, path, ttl, spill } = found;
        let domain = domain.clone();
        self.domains.insert(domain.clone(), KeyState::Routed(id.clone(), now.saturating_add(millis(ttl))));
        let spill = spill.map(|spill| {
            self.add_site(&spill.site, spill.path);
            if let Some(site) = self.sites.get_mut(&spill.site)
                && !site.origins.contains(&id)
            {
                site.origins.push(id.clone());
            }
            spill.site
        });
        self.add_site(&id, path);
        if let Some(site) = self.sites.get_mut(&id) {
            site.spill = spill;
        }
        let id = self.choose_site(&id, now);
        self.wait(&id, &domain, ready, &tenants, now);
    }

    fn add_site(&mut self, id: &SiteId, path: NextHopPath) {
        match self.sites.get_mut(id) {
            Some(site) => {
                // The connections that stand belong to the provider as it is named now.
                for _ in 0..site.active {
                    self.shaping.closed(&site.path.shaping.key);
                    self.shaping.opened(&path.shaping.key);
                }
                site.path = path;
            }
            None => {
                self.sites.insert(id.clone(), Site::new(path));
            }
        }
    }

    /// The lookup of `domain` failed: for a while, nothing is tried.
    pub(crate) fn unroutable(&mut self, domain: &QueueKey, failure: Failure, now: Millis) -> Arc<Failure> {
        let failure = Arc::new(failure);
        let until = now.saturating_add(millis(BROKEN_TTL));
        self.domains.insert(domain.clone(), KeyState::Broken(failure.clone(), until, BrokenState::Working));
        failure
    }

    /// What a broken domain had due was dealt with.
    pub(crate) fn concluded(&mut self, domain: &QueueKey) {
        if let Some(KeyState::Broken(_, _, state)) = self.domains.get_mut(domain) {
            *state = BrokenState::Quiet;
        }
    }

    /// The lookup came to nothing (a panic): the domain is as if never heard of.
    pub(crate) fn forget(&mut self, domain: &QueueKey) {
        self.domains.remove(domain);
    }

    fn wait(&mut self, id: &SiteId, domain: &QueueKey, ready: usize, tenants: &[String], now: Millis) {
        let Some(site) = self.sites.get_mut(id) else { return };
        site.register(domain, ready, tenants);
        if site.limit(now, self.limits.per_site) == 0 {
            self.defer(id);
        } else {
            self.serve_when_possible(id, Some(tenants), now);
        }
    }

    /// The next site that is down or held and has something due.
    pub(crate) fn next_deferral(&mut self) -> Option<SiteId> {
        self.deferrals.pop_front()
    }

    /// What is put off next, and why; none ends the deferral.
    pub(crate) fn deferral(&mut self, id: &SiteId, now: Millis) -> Option<(Arc<Vec<QueueKey>>, PutOff)> {
        if self.spill_over(id, now) {
            return None;
        }
        let site = self.sites.get(id)?;
        let put_off = match &site.shaper.health {
            Health::Failing { until, failure, .. } if *until > now => {
                Some(PutOff::Down(failure.clone(), *until))
            }
            _ => self.put_off_until(id, now).map(PutOff::Held),
        };
        let site = self.sites.get_mut(id)?;
        if let Some(put_off) = put_off.filter(|_| site.is_waiting()) {
            let keys = site.candidates();
            if let PutOff::Held(until) = put_off {
                self.note_put_off(&keys, until);
            }
            return Some((keys, put_off));
        }
        site.deferring = false;
        self.queue_site(id, now);
        None
    }

    /// The task that puts off broke: another one may be started.
    pub(crate) fn deferral_died(&mut self, id: &SiteId) {
        if let Some(site) = self.sites.get_mut(id) {
            site.deferring = false;
            site.forget_keys();
        }
    }

    /// An operator wants it tried now: forget that the domain or its site failed.
    pub(crate) fn reset_backoff(&mut self, domain: &QueueKey) {
        match self.domains.get(domain) {
            Some(KeyState::Broken(_, _, BrokenState::Quiet)) => self.forget(domain),
            Some(KeyState::Routed(id, _)) => {
                let id = self.site_in_use(id).clone();
                if let Some(site) = self.sites.get_mut(&id) {
                    site.shaper.reset_backoff();
                }
            }
            _ => {}
        }
    }

    /// Forgets what is stale.
    pub(crate) fn sweep(&mut self, now: Millis) {
        self.domains.retain(|name, domain| match domain {
            KeyState::Routing(..) => true,
            KeyState::Routed(site, until) => *until > now || waits_at(&self.sites, site, name),
            KeyState::Broken(_, until, state) => *until > now || *state == BrokenState::Working,
        });
        self.end_spills(now);
        self.shaping.sweep(now);
        let time_of_day = self.shaping.time_of_day(now);
        self.put_off.retain(|_, until| *until > time_of_day);
        let used: HashSet<&SiteId> = self
            .domains
            .values()
            .filter_map(|d| if let KeyState::Routed(site, _) = d { Some(site) } else { None })
            .flat_map(|id| [Some(id), self.sites.get(id).and_then(|site| site.spill.as_ref())])
            .flatten()
            .collect();
        let is_stale = |(id, site): &(&SiteId, &Site)| !used.contains(id) && site.is_forgettable(now);
        let stale: Vec<SiteId> = self.sites.iter().filter(is_stale).map(|(id, _)| id.clone()).collect();
        for id in stale {
            self.sites.remove(&id);
        }
    }

    /// The site of a domain, as far as known.
    pub(crate) fn site_of(&self, domain: &QueueKey) -> Option<(&SiteId, &Site)> {
        match self.domains.get(domain) {
            Some(KeyState::Routed(id, _)) => self.sites.get_key_value(self.site_in_use(id)),
            _ => None,
        }
    }

    /// What was looked up of a domain: its queue keys.
    pub(crate) fn keys_of_domain(&self, domain: &str) -> Vec<QueueKey> {
        self.domains.keys().filter(|key| key.domain == domain).cloned().collect()
    }

    /// The limits of the settings in force.
    pub(crate) fn limits(&self) -> SiteLimits {
        self.limits
    }

    /// The failed lookup of a domain, while it is applied.
    pub(crate) fn broken(&self, domain: &QueueKey) -> Option<(&Failure, Millis)> {
        match self.domains.get(domain) {
            Some(KeyState::Broken(failure, until, _)) => Some((failure, *until)),
            _ => None,
        }
    }

    /// Workers by the pool of their site, as far as there are any.
    pub(crate) fn active_by_pool(&self) -> HashMap<String, usize> {
        let mut active = HashMap::new();
        for site in self.sites.values() {
            if let Some(pool) = &site.path.pool {
                *active.entry(pool.name.clone()).or_default() += site.active;
            }
        }
        active
    }

    /// Workers, idle ones among them, sites, sites that are down.
    pub(crate) fn counts(&self) -> (usize, usize, usize, usize) {
        let idle = self.sites.values().map(|s| s.idlers.len()).sum();
        let failing =
            self.sites.values().filter(|s| matches!(s.shaper.health, Health::Failing { .. })).count();
        (self.active, idle, self.sites.len(), failing)
    }
}
