//! How many nodes there are: what base shares are computed from. Pure: no clock, no IO.
//!
//! Views differ for some seconds when a node comes or goes. So a node that uses its base share counts
//! the most nodes of the last minute, an allotter the least. The base shares of all nodes and what
//! allotters hand out then never exceed a cap together. A node that comes, or was away for so long
//! that others have ceased to count it, waits until all have seen it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::lease::{LAPSES, RENEWED};

/// Views differ for less than this.
pub const REMEMBERS: Duration = Duration::from_secs(60);
/// Others count a node for [`LAPSES`] after its last renewal. It stops before.
const COUNTS: Duration = Duration::from_secs(LAPSES.as_secs() - RENEWED.as_secs());
/// Within this time, each node that may use anything has looked.
pub const SETTLES: Duration = Duration::from_secs(LAPSES.as_secs() + RENEWED.as_secs());

/// What a node saw of late.
#[derive(Debug, Default)]
pub struct Census {
    looks: VecDeque<(Duration, u32)>,
    /// The first look of those without a gap.
    since: Option<Duration>,
    /// The node's own entry was seen to be renewed after this time.
    renewed: Option<Duration>,
}

impl Census {
    /// A look that began at `now` found this many nodes alive. `is_renewed`: the node's own entry has
    /// changed since the look before.
    pub fn looked(&mut self, now: Duration, nodes: u32, is_renewed: bool) {
        let before = self.looks.back().map(|(at, _)| *at);
        if is_renewed && let Some(before) = before {
            if self.renewed.is_none_or(|renewed| now.saturating_sub(renewed) >= LAPSES) {
                self.since = Some(now);
            }
            self.renewed = Some(before);
        }
        self.looks.push_back((now, nodes.max(1)));
        while self.looks.front().is_some_and(|(at, _)| now.saturating_sub(*at) > REMEMBERS) {
            self.looks.pop_front();
        }
    }

    /// Returns true if others count this node, and have for long enough.
    #[must_use]
    pub fn is_settled(&self, now: Duration) -> bool {
        let is_counted = self.renewed.is_some_and(|renewed| now.saturating_sub(renewed) < COUNTS);
        is_counted && self.since.is_some_and(|since| now.saturating_sub(since) >= SETTLES)
    }

    /// The most nodes of late; none: this node may use no base share now.
    #[must_use]
    pub fn most(&self, now: Duration) -> Option<u32> {
        let most = self.looks.iter().map(|(_, nodes)| *nodes).max();
        most.filter(|_| self.is_settled(now))
    }

    /// The least nodes of late.
    #[must_use]
    pub fn least(&self) -> u32 {
        self.looks.iter().map(|(_, nodes)| *nodes).min().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_node_waits_until_others_count_it_and_stops_before_they_cease_to() {
        let mut census = Census::default();
        for look in 0..7 {
            assert_eq!(census.most(at(3 * look)), None);
            census.looked(at(3 * look), 3, look > 0);
        }
        census.looked(at(21), 2, true);
        assert_eq!((census.most(at(21)), census.least()), (Some(3), 2));
        // The engine is away: the entry is not seen to be renewed.
        assert_eq!((census.most(at(29)), census.most(at(30))), (Some(3), None));
        census.looked(at(45), 3, true);
        assert_eq!(census.most(at(45)), None, "others may have ceased to count it");
        // The renewals that these two looks saw may be more than a lapse apart.
        for look in 16..22 {
            census.looked(at(3 * look), 3, true);
            assert_eq!(census.most(at(3 * look)), None);
        }
        census.looked(at(66), 3, true);
        assert_eq!(census.most(at(66)), Some(3));
    }

    #[test]
    fn looks_are_forgotten() {
        let mut census = Census::default();
        for look in 0..100 {
            census.looked(at(3 * look), if look < 50 { 5 } else { 2 }, true);
        }
        assert_eq!((census.most(at(297)), census.least(), census.looks.len()), (Some(2), 2, 21));
    }
}
