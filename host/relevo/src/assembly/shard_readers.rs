//! Readers of the events of shards that were taken over. They go on where those of the node before
//! ended: their places are in the store of control-plane data, by the id of the shard's store.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use relevo_cluster::engine::ShardId;
use relevo_cluster::shards::Shards;
use relevo_queue::EmbeddedStore;
use relevo_relay::clock::Clock;
use relevo_relay::settings::SettingsHandle;
use relevo_relay::suppressions::Suppressions;
use relevo_relay::validation::RecentBounces;
use relevo_resolve::Resolve;
use relevo_store::ControlStore;
use tokio::task::JoinSet;

use super::{statistics_reader, suppression, webhooks};
use crate::config::ServerParts;

/// What readers are made of.
pub(super) struct ShardReaders {
    pub(super) shards: Arc<Shards>,
    pub(super) parts: ServerParts,
    pub(super) settings: SettingsHandle,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: Arc<ControlStore>,
    pub(super) suppressions: Arc<Suppressions>,
    pub(super) bounces: Arc<RecentBounces>,
    pub(super) resolve: Arc<dyn Resolve>,
}

impl ShardReaders {
    /// Reads of every shard that is here and is not the home, as long as it is here.
    pub(super) async fn run(self) {
        let mut changes = self.shards.changes();
        let mut reading: BTreeMap<ShardId, JoinSet<()>> = BTreeMap::new();
        loop {
            changes.mark_unchanged();
            let here = self.shards.all();
            reading.retain(|shard, _| here.contains_key(shard));
            for (shard, store) in here {
                if shard != self.shards.home() && !reading.contains_key(&shard) {
                    reading.insert(shard, self.of(&store));
                }
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// The readers of one store. They end when they are dropped. Their counters are not shown: those
    /// of the home are.
    fn of(&self, store: &Arc<EmbeddedStore>) -> JoinSet<()> {
        let (mut tasks, mut registry) = (JoinSet::new(), Registry::default());
        let of_store = (&self.store, store.clone() as _);
        tasks.spawn(statistics_reader(self.clock.clone(), of_store, &mut registry).run());
        let (node, all) = ((&self.parts, self.settings.clone()), (&self.suppressions, store.clone() as _));
        tasks.spawn(suppression::rules(node, &self.store, all, &mut registry).run());
        let (bounces, events) = (self.bounces.clone(), store.clone());
        tasks.spawn(async move { bounces.run(events).await });
        let (node, of_store) = ((&self.parts, self.clock.clone()), (&self.store, store.clone() as _));
        match webhooks::webhooks(node, of_store, self.resolve.clone(), &mut registry) {
            Ok(webhooks) => drop(tasks.spawn(async move { webhooks.run().await })),
            Err(error) => tracing::error!(%error, "webhooks of a shard that was taken over are not sent"),
        }
        tasks
    }
}
