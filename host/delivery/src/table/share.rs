//! What this node may use of caps that nodes share.

use std::sync::Arc;

use relevo_queue::Millis;

use super::SiteTable;
use crate::hosts::PathShaping;
use crate::limits::{LimitShares, LimitUse, SharedLimit};
use crate::site_id::SiteId;

fn count(connections: usize) -> u32 {
    u32::try_from(connections).unwrap_or(u32::MAX)
}

impl SiteTable {
    /// Has caps divided among nodes by `shares`.
    pub(crate) fn share_limits(&mut self, shares: Arc<dyn LimitShares>) {
        self.shaping.share_limits(shares);
    }

    /// Finds out what this node may use for a site with mail.
    pub(super) fn update_shares(&mut self, id: &SiteId, now: Millis) {
        let Some(shares) = self.shaping.shares().cloned() else { return };
        let Some(site) = self.sites.get(id) else { return };
        let PathShaping { key, provider, .. } = &*site.path.shaping;
        let sources = site.sources(&self.limits.usual);
        let cap = count(site.cap(self.limits.per_site));
        let of = LimitUse { in_use: count(site.active), wanted: count(site.wanted()).min(cap) };
        let share = shares.share(&SharedLimit::Site(&id.to_string(), &sources), cap, of);
        if site.is_waiting() {
            self.shaping.update_rate(key, provider, &sources, now);
        }
        if let Some(site) = self.sites.get_mut(id) {
            site.share = Some(usize::try_from(share).unwrap_or(usize::MAX));
        }
    }

    /// A worker is to leave: other nodes got its connection.
    pub(super) fn has_too_many(&mut self, id: &SiteId, now: Millis) -> bool {
        if self.shaping.shares().is_none() {
            return false;
        }
        self.update_shares(id, now);
        let Some(site) = self.sites.get(id) else { return false };
        let PathShaping { key, provider, .. } = &*site.path.shaping;
        let is_beyond = site.share.is_some_and(|share| site.active > share);
        is_beyond || self.shaping.has_too_many(key, provider, &site.sources(&self.limits.usual))
    }

    /// A worker of a site is gone: other nodes may have its connection.
    pub(super) fn note_open(&self, id: &SiteId) {
        let (Some(shares), Some(site)) = (self.shaping.shares(), self.sites.get(id)) else { return };
        let PathShaping { key, provider, .. } = &*site.path.shaping;
        let sources = site.sources(&self.limits.usual);
        let of = LimitUse { in_use: count(site.active), wanted: 0 };
        let cap = count(site.cap(self.limits.per_site));
        shares.share(&SharedLimit::Site(&id.to_string(), &sources), cap, of);
        self.shaping.note_open(key, provider, &sources);
    }
}
