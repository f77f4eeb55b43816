//! Which site gets the next worker: tenants in turn, and room for the sites that work.

use relevo_queue::Millis;

use super::{SiteTable, Start};
use crate::shaper::Health;
use crate::site::Site;
use crate::site_id::SiteId;

impl SiteTable {
    /// The next worker that may be started or woken. It counts as active (or busy) from here on.
    pub(crate) fn next_start(&mut self, now: Millis) -> Option<Start> {
        let mut skipped = Vec::new();
        let mut found = None;
        for _ in 0..self.sites_waiting.len() {
            let Some(id) = self.sites_waiting.pop() else { break };
            let Some(site) = self.sites.get_mut(&id) else { continue };
            if site.connections_needed(now, self.limits.per_site) == 0 {
                continue;
            }
            if self.sites.get(&id).is_some_and(|site| self.is_held(site, now)) {
                self.serve_when_possible(&id, None, now);
                continue;
            }
            let Some(site) = self.sites.get_mut(&id) else { continue };
            if let Some((_, idler)) = site.idlers.pop() {
                idler.notify_one();
                site.starting += 1;
                found = Some(Start { site: id, generation: self.generation, woken: true });
                break;
            }
            if self.active < self.share(&id) {
                self.active += 1;
                if let Some(site) = self.sites.get_mut(&id) {
                    site.active += 1;
                    site.starting += 1;
                    self.shaping.opened(&site.path.shaping.key);
                }
                found = Some(Start { site: id, generation: self.generation, woken: false });
                break;
            }
            skipped.push(id);
            if self.active >= self.limits.total || skipped.len() >= 64 {
                break;
            }
        }
        for id in skipped {
            let tenants = self.sites.get(&id).map(Site::tenants).unwrap_or_default();
            self.sites_waiting.push(&id, &tenants);
        }
        if let Some(start) = &found {
            self.queue_site(&start.site.clone(), now);
        }
        found
    }

    /// How many connections there may be in all for one more to be opened to this site. Sites that
    /// are down or unknown leave room for those that work: the slots that a blackhole holds are
    /// never the last.
    fn share(&self, id: &SiteId) -> usize {
        let total = self.limits.total.max(1);
        match self.sites.get(id).map(|s| &s.shaper.health) {
            Some(Health::Proven) | None => total,
            Some(Health::Unproven) => total - total / 4,
            Some(Health::Failing { .. }) if self.probing() >= (total / 8).max(1) => 0,
            Some(Health::Failing { .. }) => total - total / 4,
        }
    }

    fn probing(&self) -> usize {
        self.sites
            .values()
            .filter(|s| matches!(s.shaper.health, Health::Failing { .. }))
            .map(|s| s.active)
            .sum()
    }

    pub(super) fn queue_site(&mut self, id: &SiteId, now: Millis) {
        self.serve_when_possible(id, None, now);
    }

    /// Sites want connections, and there is none left.
    pub(crate) fn is_short(&self) -> bool {
        !self.sites_waiting.is_empty() && self.active >= self.limits.total
    }

    /// Whether [`SiteTable::next_start`] or [`SiteTable::next_deferral`] may have something.
    pub(crate) fn has_work(&self) -> bool {
        !self.deferrals.is_empty() || (!self.sites_waiting.is_empty() && self.active < self.limits.total)
    }

    /// When connections are short: sends an idle worker home.
    pub(crate) fn evict(&mut self) {
        if self.is_short()
            && let Some((_, idler)) = self.sites.values_mut().find_map(|s| s.idlers.pop())
        {
            idler.notify_one();
        }
    }
}
