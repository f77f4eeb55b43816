//! The events of a node's shards.

use std::collections::BTreeMap;

use async_trait::async_trait;
use relevo_queue::{
    EventError, EventHistory, EventLog, ItemId, MailStore, Millis, NewEvent, StoreError, StoredEvent,
};

use super::Shards;
use crate::engine::ShardId;

impl Shards {
    async fn append_all(&self, events: Vec<NewEvent>, are_expendable: bool) -> Result<(), StoreError> {
        let mut by_shard: BTreeMap<ShardId, Vec<NewEvent>> = BTreeMap::new();
        for event in events {
            let shard = event.item.map(ItemId::shard).filter(|shard| self.get(*shard).is_some());
            by_shard.entry(shard.unwrap_or(self.home)).or_default().push(event);
        }
        if by_shard.is_empty() {
            by_shard.insert(self.home, Vec::new());
        }
        for (shard, events) in by_shard {
            match are_expendable {
                true => self.store(shard)?.append_expendable(events).await?,
                false => self.store(shard)?.append(events).await?,
            }
        }
        Ok(())
    }
}

/// The events of the home. Those of a shard that was taken over are read from its own store, by
/// readers that keep its id with their places. What is about a message goes to the log of its shard if
/// that is here, and else to that of the home.
#[async_trait]
impl EventLog for Shards {
    async fn append(&self, events: Vec<NewEvent>) -> Result<(), StoreError> {
        self.append_all(events, false).await
    }

    async fn append_expendable(&self, events: Vec<NewEvent>) -> Result<(), StoreError> {
        self.append_all(events, true).await
    }

    async fn events(
        &self,
        tenant: Option<&str>,
        after: u64,
        max: usize,
    ) -> Result<Vec<StoredEvent>, EventError> {
        self.own()?.events(tenant, after, max).await
    }

    async fn events_before(
        &self,
        tenant: &str,
        before: u64,
        max: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.own()?.events_before(tenant, before, max).await
    }

    async fn messages_before(
        &self,
        tenant: &str,
        before: u64,
        max: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.own()?.messages_before(tenant, before, max).await
    }

    async fn events_of(
        &self,
        message: ItemId,
        after: u64,
        max: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.of(message)?.events_of(message, after, max).await
    }

    async fn wait_after(&self, after: u64) -> u64 {
        loop {
            let home = self.when_home().await;
            let mut changes = self.changes();
            changes.mark_unchanged();
            // A home that goes says nothing more.
            tokio::select! {
                newest = home.wait_after(after) => return newest,
                _ = changes.changed() => {}
            }
        }
    }

    async fn prune(&self, before: Millis, max: u64) -> Result<usize, StoreError> {
        let mut pruned = 0;
        for store in self.stores() {
            pruned += store.prune(before, max).await?;
        }
        Ok(pruned)
    }
}

impl EventHistory for Shards {}

impl MailStore for Shards {
    /// That of the home; 0 before it was here for the first time.
    fn id(&self) -> u64 {
        self.id.get().copied().unwrap_or_default()
    }
}
