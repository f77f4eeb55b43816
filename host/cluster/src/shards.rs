//! The shards of a node as one queue. Mail comes into the node's home; what is due is due from all.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{join_all, select_all};
use parking_lot::RwLock;
use relevo_mailkit::source::Source;
use relevo_queue::{
    Acted, Backlog, DeliveryId, DomainItems, DueQueue, EmbeddedStore, IdempotentRequest, ItemId, ItemMeta,
    ItemPage, ItemView, Lease, MailStore, Millis, NewEvent, NewItem, OperatorAction, Queue, QueueKey,
    QueueStats, QueuedDelivery, ReportKey, Settlement, Spool, StoreError, Unreported,
};
use tokio::sync::{RwLock as AsyncRwLock, watch};

use crate::engine::ShardId;
use crate::peers::merge;

mod events;

/// Until outcomes that could not be stored are stored again.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two looks whether attempts are settled.
const LOOK: Duration = Duration::from_millis(20);

type Stores = BTreeMap<ShardId, Arc<EmbeddedStore>>;

/// See the module. Shards come and go; a call about one that is not here fails with
/// [`StoreError::Unavailable`].
#[derive(Debug)]
pub struct Shards {
    home: ShardId,
    stores: RwLock<Stores>,
    /// Counts what came and went.
    changes: watch::Sender<u64>,
    /// Shards of which no attempt begins any more.
    resting: RwLock<HashSet<ShardId>>,
    /// Held while leases are granted: whoever writes knows that no attempt begins unseen.
    leasing: AsyncRwLock<()>,
    /// Of the home's event log, once it was here.
    id: OnceLock<u64>,
    /// The shards are about to go: nothing new begins.
    is_draining: AtomicBool,
}

impl Shards {
    /// Of a node that is at home there. No shard is here yet.
    #[must_use]
    pub fn new(home: ShardId) -> Self {
        let (stores, resting, leasing) = (RwLock::default(), RwLock::default(), AsyncRwLock::default());
        let (changes, is_draining) = (watch::Sender::new(0), AtomicBool::new(false));
        Self { home, stores, changes, resting, leasing, id: OnceLock::new(), is_draining }
    }

    /// From now on nothing is accepted and no attempt begins, or again.
    pub fn set_draining(&self, is_draining: bool) {
        self.is_draining.store(is_draining, Ordering::Release);
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// The home, if it takes mail.
    fn taking(&self) -> Result<Arc<EmbeddedStore>, StoreError> {
        match self.is_draining() {
            true => Err(StoreError::Unavailable("the node is draining: its shards go to other nodes".into())),
            false => self.own(),
        }
    }

    /// The shard that mail of this node goes to.
    #[must_use]
    pub fn home(&self) -> ShardId {
        self.home
    }

    /// A shard is served here from now on.
    pub fn add(&self, shard: ShardId, store: Arc<EmbeddedStore>) {
        if shard == self.home {
            // A shard has the same store for ever.
            let _ = self.id.set(store.id());
        }
        self.resting.write().remove(&shard);
        self.stores.write().insert(shard, store);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// A shard is no longer served here; its store, if it was.
    pub fn remove(&self, shard: ShardId) -> Option<Arc<EmbeddedStore>> {
        let store = self.stores.write().remove(&shard);
        self.changes.send_modify(|changes| *changes += 1);
        store
    }

    /// No attempt is under way, and none is about to begin.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.leasing.try_write().is_ok() && self.stores().iter().all(|store| store.stats().leased == 0)
    }

    /// No attempt of a shard begins any more. Returns when those that are under way are settled, or
    /// after this time.
    pub async fn rest(&self, shard: ShardId, longest: Duration) {
        self.resting.write().insert(shard);
        let settled = async {
            drop(self.leasing.write().await);
            while self.get(shard).is_some_and(|store| store.stats().leased > 0) {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(longest, settled).await.is_err() {
            tracing::warn!(target: "relevo::cluster", shard, "attempts are under way still: they may be repeated");
        }
    }

    /// Learns that shards came or went.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The shards that are here, with their stores.
    #[must_use]
    pub fn all(&self) -> BTreeMap<ShardId, Arc<EmbeddedStore>> {
        self.stores.read().clone()
    }

    /// The store of a shard, if it is served here.
    #[must_use]
    pub fn get(&self, shard: ShardId) -> Option<Arc<EmbeddedStore>> {
        self.stores.read().get(&shard).cloned()
    }

    fn of(&self, item: ItemId) -> Result<Arc<EmbeddedStore>, StoreError> {
        self.store(item.shard())
    }

    fn store(&self, shard: ShardId) -> Result<Arc<EmbeddedStore>, StoreError> {
        let away = || StoreError::Unavailable(format!("shard {shard:04x} is not served by this node now"));
        self.get(shard).ok_or_else(away)
    }

    fn own(&self) -> Result<Arc<EmbeddedStore>, StoreError> {
        self.store(self.home)
    }

    fn stores(&self) -> Vec<Arc<EmbeddedStore>> {
        self.stores.read().values().cloned().collect()
    }

    /// Those of which attempts may begin.
    fn at_work(&self) -> Vec<Arc<EmbeddedStore>> {
        if self.is_draining() {
            return Vec::new();
        }
        let (stores, resting) = (self.stores.read(), self.resting.read());
        stores.iter().filter(|(shard, _)| !resting.contains(shard)).map(|(_, store)| store.clone()).collect()
    }

    /// Settles in one shard until it is done, or the shard is served elsewhere. What the shard no longer
    /// holds for this node is left out, as the caller would: whoever holds it attempts it again.
    async fn settle_rest(&self, shard: ShardId, mut settlements: Vec<Arc<Settlement>>) {
        while let Some(store) = self.get(shard) {
            match store.settle(settlements.clone(), Vec::new()).await {
                Ok(()) => return,
                Err(StoreError::LeaseLost(id)) => {
                    tracing::warn!(target: "relevo::cluster", ?id, "a lease lapsed before it was settled: it may be repeated");
                    settlements.retain(|settlement| settlement.lease.delivery.id != id);
                }
                Err(error) => {
                    tracing::error!(target: "relevo::cluster", shard, %error, "outcomes cannot be stored");
                    tokio::time::sleep(AGAIN).await;
                }
            }
            if settlements.is_empty() {
                return;
            }
        }
    }

    /// The home, as soon as it is here.
    pub async fn when_home(&self) -> Arc<EmbeddedStore> {
        let mut changes = self.changes();
        loop {
            if let Ok(store) = self.own() {
                return store;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[async_trait]
impl Queue for Shards {
    async fn spool(&self) -> Result<Box<dyn Spool>, StoreError> {
        self.taking()?.spool().await
    }

    async fn accept(&self, items: Vec<NewItem>, events: Vec<NewEvent>) -> Result<(), StoreError> {
        self.taking()?.accept(items, events).await
    }

    async fn accept_request(
        &self,
        request: IdempotentRequest,
        items: Vec<NewItem>,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        self.taking()?.accept_request(request, items, events).await
    }

    async fn accepted_request(
        &self,
        tenant: &str,
        key: &str,
        now: Millis,
    ) -> Result<Option<IdempotentRequest>, StoreError> {
        self.own()?;
        // Also one that was accepted by a node which is gone.
        for store in self.stores() {
            if let Some(request) = store.accepted_request(tenant, key, now).await? {
                return Ok(Some(request));
            }
        }
        Ok(None)
    }

    async fn due(
        &self,
        now: Millis,
        skip: &(dyn for<'d> Fn(&'d QueueKey) -> bool + Sync),
        max: usize,
    ) -> Result<Vec<DueQueue>, StoreError> {
        let mut merged: Vec<DueQueue> = Vec::new();
        let mut places: HashMap<QueueKey, usize> = HashMap::new();
        for store in self.at_work() {
            // A store that ends must not hold up the others.
            let Ok(due) = store.due(now, skip, max).await else { continue };
            for queue in due {
                match places.get(&queue.key).and_then(|place| merged.get_mut(*place)) {
                    Some(known) => {
                        known.ready += queue.ready;
                        let new = queue.tenants.into_iter().filter(|tenant| !known.tenants.contains(tenant));
                        let new: Vec<_> = new.collect();
                        known.tenants.extend(new);
                    }
                    None => {
                        places.insert(queue.key.clone(), merged.len());
                        merged.push(queue);
                    }
                }
            }
        }
        merged.truncate(max);
        Ok(merged)
    }

    async fn next_due(&self, now: Millis) -> Option<Millis> {
        let stores = self.at_work();
        join_all(stores.iter().map(|store| store.next_due(now))).await.into_iter().flatten().min()
    }

    async fn hasten(&self, keys: &HashSet<QueueKey>, until: Millis, now: Millis) {
        for store in self.stores() {
            store.hasten(keys, until, now).await;
        }
    }

    async fn changed(&self) {
        let stores = self.stores();
        let mut changes = self.changes();
        let moved = Box::pin(async move { drop(changes.changed().await) });
        let waits = stores.iter().map(|store| store.changed()).chain([moved as _]);
        select_all(waits).await;
    }

    async fn lease(
        &self,
        keys: &[QueueKey],
        now: Millis,
        until: Millis,
        max: usize,
    ) -> Result<Vec<Lease>, StoreError> {
        let mut leases = Vec::new();
        let _granting = self.leasing.read().await;
        for store in self.at_work() {
            if leases.len() >= max {
                break;
            }
            // Leases that were granted must not be lost with an error of another store.
            if let Ok(more) = store.lease(keys, now, until, max - leases.len()).await {
                leases.extend(more);
            }
        }
        Ok(leases)
    }

    async fn settle(&self, settlements: Vec<Arc<Settlement>>, items: Vec<NewItem>) -> Result<(), StoreError> {
        let mut groups: BTreeMap<ShardId, (Vec<Arc<Settlement>>, Vec<NewItem>)> = BTreeMap::new();
        for settlement in settlements {
            groups.entry(settlement.lease.delivery.id.item.shard()).or_default().0.push(settlement);
        }
        for item in items {
            groups.entry(item.id.shard()).or_default().1.push(item);
        }
        // The first shard may refuse the call. What it has settled must not be handed back after that:
        // its leases are gone. Items can be tried once only, so their shard is the first.
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(_, (_, items))| items.is_empty());
        if groups.iter().skip(1).any(|(_, (_, items))| !items.is_empty()) {
            return Err(StoreError::Io("items of several shards cannot be queued by one commit".into()));
        }
        let mut is_begun = false;
        for (shard, (settlements, items)) in groups {
            if is_begun {
                self.settle_rest(shard, settlements).await;
                continue;
            }
            match self.get(shard) {
                Some(store) => store.settle(settlements, items).await?,
                // Whoever has the shard now attempts it again.
                None => match settlements.first() {
                    Some(settlement) => return Err(StoreError::LeaseLost(settlement.lease.delivery.id)),
                    None => return Err(StoreError::Unavailable(format!("shard {shard:04x} is gone"))),
                },
            }
            is_begun = true;
        }
        Ok(())
    }

    async fn unreported(
        &self,
        now: Millis,
        max: usize,
    ) -> Result<Vec<(ItemId, Arc<ItemMeta>, Vec<Unreported>)>, StoreError> {
        let mut found = Vec::new();
        for store in self.stores() {
            found.extend(store.unreported(now, max).await.unwrap_or_default());
        }
        Ok(found)
    }

    async fn report(
        &self,
        item: ItemId,
        recipients: Vec<ReportKey>,
        bounce: Option<NewItem>,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        self.of(item)?.report(item, recipients, bounce, events).await
    }

    async fn body(&self, item: ItemId) -> Result<Option<Arc<dyn Source>>, StoreError> {
        self.of(item)?.body(item).await
    }

    async fn item(&self, item: ItemId) -> Result<Option<ItemView>, StoreError> {
        self.of(item)?.item(item).await
    }

    /// A shard that cannot be read does not keep the others from being shown.
    async fn list(&self, after: Option<ItemId>, max: usize) -> Result<ItemPage, StoreError> {
        let (mut items, mut unavailable_shards, mut failed) = (Vec::new(), Vec::new(), None);
        let stores = self.all();
        for (shard, store) in &stores {
            match store.list(after, max).await {
                Ok(page) => items.extend(page.items),
                Err(error) => {
                    unavailable_shards.push(*shard);
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) if unavailable_shards.len() == stores.len() => return Err(error),
            _ => {}
        }
        items.sort_by_key(|item| item.id);
        items.truncate(max);
        Ok(ItemPage { items, unavailable_shards })
    }

    async fn items_from(&self, first: ItemId, max: usize) -> Result<Vec<ItemView>, StoreError> {
        self.of(first)?.items_from(first, max).await
    }

    async fn act(
        &self,
        item: ItemId,
        action: OperatorAction,
        now: Millis,
        events: Vec<NewEvent>,
    ) -> Result<Acted, StoreError> {
        self.of(item)?.act(item, action, now, events).await
    }

    async fn act_on_domain(
        &self,
        item: ItemId,
        domain: &str,
        action: OperatorAction,
        now: Millis,
    ) -> Result<Acted, StoreError> {
        self.of(item)?.act_on_domain(item, domain, action, now).await
    }

    async fn backlog(&self, now: Millis, looks: usize) -> Backlog {
        let stores = self.stores();
        merge::backlogs(join_all(stores.iter().map(|store| store.backlog(now, looks))).await)
    }

    async fn items_to(&self, domain: &str, after: Option<ItemId>, looks: usize, max: usize) -> DomainItems {
        let stores = self.stores();
        let found = stores.iter().map(|store| store.items_to(domain, after, looks, max));
        merge::items_to(join_all(found).await, max)
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<QueuedDelivery>, StoreError> {
        self.of(id.item)?.delivery(id).await
    }

    fn stats(&self) -> QueueStats {
        let mut all = QueueStats::default();
        for (position, store) in self.stores().iter().enumerate() {
            let stats = store.stats();
            all.items += stats.items;
            all.deliveries += stats.deliveries;
            all.due += stats.due;
            all.leased += stats.leased;
            all.held += stats.held;
            all.oldest_due = [all.oldest_due, stats.oldest_due].into_iter().flatten().min();
            all.quarantined += stats.quarantined;
            all.commits += stats.commits;
            all.committed += stats.committed;
            // All lie on one disk.
            if position == 0 {
                (all.free_octets, all.free_inodes) = (stats.free_octets, stats.free_inodes);
            }
        }
        all
    }

    fn held(&self, tenant: &str) -> u64 {
        self.stores().iter().map(|store| store.held(tenant)).sum()
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.taking()?.ready()
    }

    async fn close(&self) {
        for store in self.stores() {
            store.close().await;
        }
    }
}
