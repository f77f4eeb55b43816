//! Counts of the shards of other nodes, some seconds old: what asks for them waits for nobody.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use parking_lot::Mutex;
use relevo_queue::QueueStats;
use tokio::time::Instant;

use super::calls::MAX_ENTRIES;
use crate::engine::ShardId;

/// How often other nodes are asked.
pub(super) const COUNTS: Duration = Duration::from_secs(5);
/// A tenant is asked about for this long after somebody wanted to know.
const WANTED: Duration = Duration::from_secs(60);

/// What a shard said last.
#[derive(Debug, Default)]
struct ShardCounts {
    stats: QueueStats,
    held: HashMap<String, u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct RemoteCounts {
    shards: Mutex<BTreeMap<ShardId, ShardCounts>>,
    wanted: Mutex<HashMap<String, Instant>>,
}

impl RemoteCounts {
    /// What other nodes hold of a tenant. It is asked for from now on; before that it is 0.
    pub(super) fn held(&self, tenant: &str, is_here: impl Fn(ShardId) -> bool) -> u64 {
        let mut wanted = self.wanted.lock();
        let has_room = wanted.len() < usize::try_from(MAX_ENTRIES).unwrap_or(0);
        match wanted.get_mut(tenant) {
            Some(at) => *at = Instant::now(),
            None if has_room => drop(wanted.insert(tenant.to_owned(), Instant::now())),
            None => {}
        }
        drop(wanted);
        let shards = self.shards.lock();
        let others = shards.iter().filter(|(shard, _)| !is_here(**shard));
        others.filter_map(|(_, counts)| counts.held.get(tenant)).sum()
    }

    /// `stats` with those of other nodes.
    pub(super) fn add_to(&self, mut stats: QueueStats, is_here: impl Fn(ShardId) -> bool) -> QueueStats {
        for (shard, ShardCounts { stats: more, .. }) in &*self.shards.lock() {
            if is_here(*shard) {
                continue;
            }
            stats.items += more.items;
            stats.deliveries += more.deliveries;
            stats.due += more.due;
            stats.leased += more.leased;
            stats.held += more.held;
            stats.oldest_due = [stats.oldest_due, more.oldest_due].into_iter().flatten().min();
            stats.quarantined += more.quarantined;
        }
        stats
    }

    /// The tenants that somebody wanted to know of lately.
    pub(super) fn wanted(&self) -> Vec<String> {
        let mut wanted = self.wanted.lock();
        wanted.retain(|_, at| at.elapsed() < WANTED);
        wanted.keys().cloned().collect()
    }

    /// Takes note of an answer. A shard that does not answer is counted as it was.
    pub(super) fn note(&self, shard: ShardId, stats: QueueStats, tenants: &[String], held: Vec<u64>) {
        let held = tenants.iter().cloned().zip(held).collect();
        self.shards.lock().insert(shard, ShardCounts { stats, held });
    }
}
