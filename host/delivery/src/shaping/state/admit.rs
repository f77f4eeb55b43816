//! What may go now.

use std::net::IpAddr;
use std::sync::Arc;

use relevo_queue::Millis;

use super::{ChosenSources, HOUR, PathKey, Shaping, ShapingHold, Sources, WarmupKey, WarmupSpan};
use crate::shaping::rules::Provider;
use crate::shaping::suspension::{Suspended, Suspension};
use crate::shaping::warmup::{Warmup, WarmupClaim, WarmupCount, WarmupHold};

/// Until a node that has no share of a rate looks again. A connection is not kept for so long.
const NO_SHARE: Millis = 2500;

impl Shaping {
    /// Whether one more connection may be opened.
    ///
    /// # Errors
    /// Why not.
    pub fn may_connect(
        &self,
        path: &PathKey,
        provider: &Provider,
        sources: &Sources<'_>,
    ) -> Result<(), ShapingHold> {
        let Some(limit) = self.connections(path, provider, sources) else { return Ok(()) };
        let open = self.open(path);
        if open < limit {
            return Ok(());
        }
        Err(ShapingHold::Connections { provider: provider.name.clone(), limit, open })
    }

    /// Connections of a pool to a provider, open or being opened.
    #[must_use]
    pub fn open(&self, path: &PathKey) -> u32 {
        self.paths.get(path).map_or(0, |state| state.open)
    }

    /// Whether a message may go, and from which addresses: over the connection with the number
    /// `slot` of its site.
    ///
    /// A suspended address is not replaced: the mail of a site waits while the address of its first
    /// connection is suspended, and further connections leave suspended addresses out. An address
    /// that has used up its cap of warm-up is replaced by the next one of the pool.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(
        &self,
        path: &PathKey,
        provider: &Provider,
        sources: &Sources<'_>,
        slot: u64,
        now: Millis,
    ) -> Result<ChosenSources, ShapingHold> {
        let chosen = self.choose(provider, sources, slot, now)?;
        let configured = self.configured(path, provider, sources);
        if configured == Some(0) {
            return Err(ShapingHold::Rate { left: NO_SHARE, per_minute: 0, slowed: None });
        }
        if let Some(state) = self.paths.get(path) {
            let left = state.pace.wait(configured, now);
            if left > 0 {
                let per_minute = state.pace.rate(configured).unwrap_or(0);
                return Err(ShapingHold::Rate { left, per_minute, slowed: state.pace.slowed().cloned() });
            }
        }
        Ok(chosen)
    }

    /// The suspension of a tenant at a provider.
    #[must_use]
    pub fn suspension_of_tenant(
        &self,
        provider: &str,
        tenant: &str,
        now: Millis,
    ) -> Option<&Arc<Suspension>> {
        self.suspension(provider, now, |subject| matches!(subject, Suspended::Tenant(id) if id == tenant))
    }

    /// A message goes.
    pub fn take(&mut self, path: &Arc<PathKey>, provider: &Provider, sources: &Sources<'_>, now: Millis) {
        let configured = self.configured(path, provider, sources);
        let state = self.paths.entry(path.clone()).or_default();
        state.pace.recover(now);
        state.pace.take(configured, now);
    }

    /// A message did not go after all.
    pub fn refund(&mut self, path: &PathKey, provider: &Provider, sources: &Sources<'_>) {
        let configured = self.configured(path, provider, sources);
        if let Some(state) = self.paths.get_mut(path) {
            state.pace.refund(configured);
        }
    }

    fn choose(
        &self,
        provider: &Provider,
        sources: &Sources<'_>,
        slot: u64,
        now: Millis,
    ) -> Result<ChosenSources, ShapingHold> {
        let pool = |subject: &Suspended| matches!(subject, Suspended::Pool(name) if name == sources.pool);
        if let Some(suspension) = self.suspension(&provider.name, now, pool) {
            return Err(ShapingHold::Suspended(suspension.clone()));
        }
        let of = |addresses: &[IpAddr]| self.choose_of(addresses, provider, sources, slot, now);
        let ipv4 = if sources.families.0 { of(sources.ipv4) } else { Ok(None) };
        let ipv6 = if sources.families.1 { of(sources.ipv6) } else { Ok(None) };
        let wants = |family: bool, addresses: &[IpAddr]| family && !addresses.is_empty();
        match (ipv4, ipv6) {
            (Ok(ipv4), Ok(ipv6)) => Ok(ChosenSources { ipv4, ipv6 }),
            (Err(hold @ ShapingHold::Suspended(_)), _) | (_, Err(hold @ ShapingHold::Suspended(_))) => {
                Err(hold)
            }
            (Ok(ipv4), Err(_)) if wants(sources.families.0, sources.ipv4) => {
                Ok(ChosenSources { ipv4, ipv6: None })
            }
            (Err(_), Ok(ipv6)) if wants(sources.families.1, sources.ipv6) => {
                Ok(ChosenSources { ipv4: None, ipv6 })
            }
            (Err(hold), Err(other)) if ends_before(&other, &hold) => Err(other),
            (Err(hold), _) | (_, Err(hold)) => Err(hold),
        }
    }

    /// The address of one family. None: the system's choice.
    fn choose_of(
        &self,
        addresses: &[IpAddr],
        provider: &Provider,
        sources: &Sources<'_>,
        slot: u64,
        now: Millis,
    ) -> Result<Option<IpAddr>, ShapingHold> {
        let suspended = |ip: Option<IpAddr>| {
            self.suspension(
                &provider.name,
                now,
                |subject| matches!(subject, Suspended::Source(source) if *source == ip),
            )
        };
        let at = |number: u64| {
            let turn = sources.first.wrapping_add(number).checked_rem(addresses.len() as u64)?;
            addresses.get(usize::try_from(turn).ok()?).copied()
        };
        let Some(home) = at(0) else {
            // In a pool, there is no address of this family.
            return match suspended(None).filter(|_| sources.pool.is_empty()) {
                Some(suspension) => Err(ShapingHold::Suspended(suspension.clone())),
                None => Ok(None),
            };
        };
        if let Some(suspension) = suspended(Some(home)) {
            return Err(ShapingHold::Suspended(suspension.clone()));
        }
        let mut hold: Option<ShapingHold> = None;
        for number in 0..addresses.len() as u64 {
            let Some(ip) = at(slot.wrapping_add(number)) else { continue };
            if suspended(Some(ip)).is_some() {
                continue;
            }
            match self.warmup_hold(ip, provider, sources) {
                None => return Ok(Some(ip)),
                Some(other) if hold.as_ref().is_none_or(|hold| ends_before(&other, hold)) => {
                    hold = Some(other);
                }
                Some(_) => {}
            }
        }
        Err(hold.unwrap_or(ShapingHold::Unstored))
    }

    fn suspension(
        &self,
        provider: &str,
        now: Millis,
        is_it: impl Fn(&Suspended) -> bool,
    ) -> Option<&Arc<Suspension>> {
        if self.suspensions.is_empty() {
            return None;
        }
        let time_of_day = self.time_of_day(now);
        let of = self.suspensions.get(provider)?;
        of.iter().find(|suspension| suspension.until > time_of_day && is_it(&suspension.subject))
    }

    fn warmup_hold(&self, ip: IpAddr, provider: &Provider, sources: &Sources<'_>) -> Option<ShapingHold> {
        if !sources.warmup {
            return None;
        }
        let key = WarmupKey { address: ip, provider: provider.name.clone() };
        let Some((warmup, _)) = self.warmups.get(&key) else { return Some(ShapingHold::Unstored) };
        if warmup.hour() < self.hour {
            return Some(ShapingHold::Unstored);
        }
        let next = warmup.hour().saturating_add(1);
        let (cap, span, next) = match warmup.allowance(&provider.warmup) {
            Ok(_) => return None,
            Err(WarmupHold::Unstored) => return Some(ShapingHold::Unstored),
            Err(WarmupHold::Hour(cap)) => (cap, WarmupSpan::Hour, next),
            Err(WarmupHold::Day(cap)) => (cap, WarmupSpan::Day, start_of_next_day(warmup)),
        };
        let until = next.saturating_mul(HOUR);
        Some(ShapingHold::Warmup { address: ip, provider: provider.name.clone(), cap, span, until })
    }

    /// Makes the counts of the addresses of a pool that is warmed up, and begins their hour.
    pub fn begin_hour(&mut self, provider: &Arc<Provider>, sources: &Sources<'_>) {
        if !sources.warmup {
            return;
        }
        for address in sources.ipv4.iter().chain(sources.ipv6) {
            let key = WarmupKey { address: *address, provider: provider.name.clone() };
            let stored = self.stored_warmups.remove(&key);
            let is_shared = self.shares.is_some();
            let (warmup, of) = self.warmups.entry(key).or_insert_with(|| {
                let stored = stored.unwrap_or_default();
                let of = if is_shared { Warmup::of_many_nodes } else { Warmup::stored };
                (of(stored), provider.clone())
            });
            if !Arc::ptr_eq(of, provider) {
                *of = provider.clone();
            }
            warmup.roll(self.hour, &provider.warmup);
        }
    }

    /// Sets recipients of a message aside in the caps of the addresses that it may leave from.
    /// Returns how many of `recipients` it may have, and the hour that they are counted for.
    pub fn reserve(&mut self, provider: &Provider, chosen: &ChosenSources, recipients: u32) -> (u32, i64) {
        let addresses = [chosen.ipv4, chosen.ipv6].into_iter().flatten();
        let keys: Vec<_> =
            addresses.map(|address| WarmupKey { address, provider: provider.name.clone() }).collect();
        let allowed = keys.iter().filter_map(|key| self.warmups.get(key));
        let allowed = allowed.map(|(warmup, _)| warmup.allowance(&provider.warmup).unwrap_or(0));
        let reserved = allowed.min().unwrap_or(recipients).min(recipients);
        let mut hour = self.hour;
        for key in &keys {
            if let Some((warmup, _)) = self.warmups.get_mut(key) {
                warmup.reserve(reserved, &provider.warmup);
                hour = hour.min(warmup.hour());
            }
        }
        (reserved, hour)
    }

    /// Of `reserved` recipients, set aside in `hour`, those that may have got the message did from
    /// `source`: `sent` of them.
    pub fn release(
        &mut self,
        provider: &Provider,
        chosen: &ChosenSources,
        (reserved, hour): (u32, i64),
        (source, sent): (Option<IpAddr>, u32),
    ) {
        for address in [chosen.ipv4, chosen.ipv6].into_iter().flatten() {
            let key = WarmupKey { address, provider: provider.name.clone() };
            if let Some((warmup, _)) = self.warmups.get_mut(&key) {
                let sent = if source == Some(address) { sent } else { 0 };
                warmup.release(reserved, sent, hour, &provider.warmup);
            }
        }
    }

    /// Counts of warm-up that are to be stored before more can be sent.
    #[must_use]
    pub fn unstored(&self) -> Vec<(WarmupKey, WarmupCount)> {
        let unstored = self
            .warmups
            .iter()
            .filter_map(|(key, (warmup, provider))| Some((key.clone(), warmup.unstored(&provider.warmup)?)));
        unstored.collect()
    }

    /// The counts as they are, for a stop after which nothing is sent.
    #[must_use]
    pub fn final_counts(&self) -> Vec<(WarmupKey, WarmupCount)> {
        self.warmups.iter().map(|(key, (warmup, _))| (key.clone(), warmup.count().clone())).collect()
    }

    /// Whose counts are to be changed in the store by [`Self::claim`], where nodes share addresses.
    /// `is_last`: nothing is sent any more.
    pub fn claims_wanted(&mut self, is_last: bool) -> Vec<WarmupKey> {
        if self.shares.is_none() {
            return Vec::new();
        }
        let wanted = self.warmups.iter_mut().filter_map(|(key, (warmup, provider))| {
            warmup.wants_claim(&provider.warmup, is_last).then(|| key.clone())
        });
        wanted.collect()
    }

    /// What is to become of the counts that the store has.
    pub fn claim(
        &mut self,
        key: &WarmupKey,
        row: Option<&WarmupCount>,
        is_last: bool,
    ) -> Option<WarmupClaim> {
        let (warmup, provider) = self.warmups.get_mut(key)?;
        warmup.claim(row, &provider.warmup, is_last)
    }

    /// The store has made the change, or it has not, as another node was faster.
    pub fn claimed(&mut self, key: &WarmupKey, claim: &WarmupClaim, is_made: bool) {
        match self.warmups.get_mut(key) {
            Some((warmup, _)) if is_made => warmup.claimed(claim),
            Some((warmup, _)) => warmup.refused(claim),
            None => {}
        }
    }

    /// The store has these.
    pub fn wrote(&mut self, stored: &[(WarmupKey, WarmupCount)]) {
        for (key, count) in stored {
            if let Some((warmup, _)) = self.warmups.get_mut(key) {
                warmup.wrote(count);
            }
        }
    }
}

/// In hours since 1970.
fn start_of_next_day(warmup: &Warmup) -> i64 {
    warmup.count().day.saturating_add(1).saturating_mul(24)
}

/// Of two holds of warm-up, whether the first one ends before the second.
fn ends_before(one: &ShapingHold, other: &ShapingHold) -> bool {
    let until = |hold: &ShapingHold| match hold {
        ShapingHold::Warmup { until, .. } => *until,
        _ => Millis::MIN,
    };
    until(one) < until(other)
}
