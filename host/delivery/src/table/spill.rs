//! Mail beyond the caps of warm-up goes over another pool or route, where there is one for it.

use std::collections::HashMap;

use relevo_queue::{Millis, QueueKey};

use super::{KeyState, SiteTable};
use crate::shaping::ShapingHold;
use crate::site::Site;
use crate::site_id::SiteId;

/// Whether mail of `key` waits at the site `id`, or at the one that takes what is beyond its caps.
pub(super) fn waits_at(sites: &HashMap<SiteId, Site>, id: &SiteId, key: &QueueKey) -> bool {
    let Some(site) = sites.get(id) else { return false };
    let spill = site.spill.as_ref().and_then(|spill| sites.get(spill));
    site.has(key) || spill.is_some_and(|spill| spill.has(key))
}

impl SiteTable {
    /// The site that serves the mail of the site `id` now.
    pub(super) fn site_in_use<'t>(&'t self, id: &'t SiteId) -> &'t SiteId {
        let site = self.sites.get(id).filter(|site| site.is_spilling);
        let spill = site.and_then(|site| site.spill.as_ref());
        spill.filter(|spill| self.sites.contains_key(*spill)).unwrap_or(id)
    }

    /// As [`Self::site_in_use`], after a look at the caps.
    pub(super) fn choose_site(&mut self, id: &SiteId, now: Millis) -> SiteId {
        let is_full = self.is_beyond_caps(id, now);
        if let Some(site) = self.sites.get_mut(id) {
            site.is_spilling = is_full;
        }
        self.site_in_use(id).clone()
    }

    /// Whether the caps of the site are used up, and another site can take what is beyond them.
    pub(super) fn is_beyond_caps(&self, id: &SiteId, now: Millis) -> bool {
        let Some(site) = self.sites.get(id) else { return false };
        let spill = site.spill.as_ref().and_then(|spill| self.sites.get(spill));
        spill.is_some_and(|spill| self.can_take(spill, now))
            && matches!(self.shaping_hold(site, now), Some(ShapingHold::Warmup { .. }))
    }

    /// Hands over what waits at a site whose caps are used up. Returns false if it is to wait.
    pub(super) fn spill_over(&mut self, id: &SiteId, now: Millis) -> bool {
        if !self.is_beyond_caps(id, now) {
            return false;
        }
        let to = self.choose_site(id, now);
        let Some(site) = self.sites.get_mut(id).filter(|_| to != *id) else { return false };
        site.deferring = false;
        for (key, (ready, tenants)) in site.take_keys() {
            self.wait(&to, &key, ready, &tenants, now);
        }
        true
    }

    /// Has the queue asked anew for mail that went another way while caps were used up.
    pub(super) fn end_spills(&mut self, now: Millis) {
        let spilling = self.sites.iter().filter(|(_, site)| site.is_spilling).map(|(id, _)| id.clone());
        for id in spilling.collect::<Vec<_>>() {
            let from = self.site_in_use(&id).clone();
            if self.choose_site(&id, now) == id
                && let Some(site) = self.sites.get_mut(&from)
            {
                site.forget_keys();
            }
        }
    }

    /// What takes the mail of a key instead of its site, whose caps of warm-up are used up.
    pub(crate) fn spill_of(&self, key: &QueueKey) -> Option<&SiteId> {
        let Some(KeyState::Routed(id, _)) = self.domains.get(key) else { return None };
        Some(self.site_in_use(id)).filter(|spill| *spill != id)
    }
}
