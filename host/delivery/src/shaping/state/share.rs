//! What this node may use of caps that nodes share.

use std::sync::Arc;

use relevo_queue::Millis;

use super::{PathKey, PathState, Shaping, Sources};
use crate::limits::{LimitShares, LimitUse, SharedLimit};
use crate::shaping::rules::Provider;

impl Shaping {
    /// Has caps divided among nodes by `shares`.
    pub fn share_limits(&mut self, shares: Arc<dyn LimitShares>) {
        self.shares = Some(shares);
    }

    /// Who divides caps among nodes.
    pub(crate) fn shares(&self) -> Option<&Arc<dyn LimitShares>> {
        self.shares.as_ref()
    }

    /// Connections that a pool of this node may have to a provider.
    pub(super) fn connections(
        &self,
        path: &PathKey,
        provider: &Provider,
        sources: &Sources<'_>,
    ) -> Option<u32> {
        let cap = provider.limits.connections?.saturating_mul(sources.count());
        let Some(shares) = &self.shares else { return Some(cap) };
        let in_use = self.open(path);
        let wanted = in_use.saturating_mul(2).saturating_add(2).min(cap);
        Some(shares.share(&SharedLimit::Provider(path, sources), cap, LimitUse { in_use, wanted }))
    }

    /// More connections are open than this node may have now: other nodes got them.
    pub(crate) fn has_too_many(&self, path: &PathKey, provider: &Provider, sources: &Sources<'_>) -> bool {
        self.shares.is_some()
            && self.connections(path, provider, sources).is_some_and(|share| self.open(path) > share)
    }

    /// A connection is gone: other nodes may have its share.
    pub(crate) fn note_open(&self, path: &PathKey, provider: &Provider, sources: &Sources<'_>) {
        if let (Some(shares), Some(limit)) = (&self.shares, provider.limits.connections) {
            let of = LimitUse { in_use: self.open(path), wanted: 0 };
            shares.share(&SharedLimit::Provider(path, sources), limit.saturating_mul(sources.count()), of);
        }
    }

    /// Finds out what this node may use of the rate of a pool at a provider.
    pub(crate) fn update_rate(
        &mut self,
        path: &Arc<PathKey>,
        provider: &Provider,
        sources: &Sources<'_>,
        now: Millis,
    ) {
        let Some(shares) = &self.shares else { return };
        let Some(cap) = rate(provider, sources) else { return };
        let state = self.paths.entry(path.clone()).or_default();
        let of = LimitUse { in_use: 0, wanted: state.pace.wanted(now).min(cap) };
        let share = shares.share(&SharedLimit::Rate(path, sources), cap, of);
        state.pace.set_share(share, now);
    }

    /// Messages in a minute from a pool of this node.
    pub(super) fn configured(
        &self,
        path: &PathKey,
        provider: &Provider,
        sources: &Sources<'_>,
    ) -> Option<u32> {
        let cap = rate(provider, sources)?;
        let share = |state: &PathState| state.pace.share().unwrap_or(0);
        match self.shares {
            None => Some(cap),
            Some(_) => Some(self.paths.get(path).map_or(0, share)),
        }
    }
}

/// Messages in a minute from a pool, as the rules say.
fn rate(provider: &Provider, sources: &Sources<'_>) -> Option<u32> {
    provider.limits.messages_per_minute.map(|rate| rate.saturating_mul(sources.count()))
}
