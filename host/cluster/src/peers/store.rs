//! The mail of all nodes as one queue. What is accepted, attempted and settled is this node's.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use relevo_mailkit::source::Source;
use relevo_queue::{
    Acted, Backlog, DeliveryId, DomainItems, DueQueue, IdempotentRequest, ItemId, ItemMeta, ItemPage,
    ItemView, Lease, Millis, NewEvent, NewItem, OperatorAction, Queue, QueueKey, QueueStats, QueuedDelivery,
    ReportKey, Settlement, Spool, StoreError, Unreported,
};

use super::body::BodyRoom;
use super::calls::{MAX_ENTRIES, StoreAnswer, StoreCall, id};
use super::client::{Patience, PeerError, Peers, not_expected};
use super::counts::{COUNTS, RemoteCounts};
use super::merge::{self, ItemsOf};
use crate::engine::ShardId;
use crate::shards::Shards;

/// See the module.
pub struct ClusterStore {
    pub(super) shards: Arc<Shards>,
    /// Over the shards of this node.
    local: Arc<dyn Queue>,
    pub(super) peers: Arc<Peers>,
    counts: RemoteCounts,
    pub(super) bodies: BodyRoom,
}

pub(super) fn entries(max: usize) -> u32 {
    u32::try_from(max).unwrap_or(u32::MAX).min(MAX_ENTRIES)
}

impl ClusterStore {
    /// Of a node with these shards, where `local` is a queue over them.
    #[must_use]
    pub fn new(shards: Arc<Shards>, local: Arc<dyn Queue>, peers: Arc<Peers>) -> Self {
        Self { shards, local, peers, counts: RemoteCounts::default(), bodies: BodyRoom::default() }
    }

    /// Asks other nodes for their counts until it is dropped.
    pub async fn run(&self) {
        loop {
            let tenants = self.counts.wanted();
            let call = |_| StoreCall::Counts(tenants.clone());
            let read = |answer| match answer {
                StoreAnswer::Counts { stats, held } => Some((stats, held)),
                _ => None,
            };
            for (shard, (stats, held)) in self.of_others(call, read).await.0 {
                self.counts.note(shard, stats, &tenants, held);
            }
            tokio::time::sleep(COUNTS).await;
        }
    }

    pub(super) fn is_here(&self, shard: ShardId) -> bool {
        self.shards.get(shard).is_some()
    }

    /// Returns true for a shard that nobody ever had: there is no such message.
    pub(super) fn is_nowhere(&self, shard: ShardId) -> bool {
        !self.is_here(shard) && !self.peers.shards().contains(&shard)
    }

    /// Shards of other nodes.
    pub(super) fn others(&self) -> Vec<ShardId> {
        self.peers.shards().into_iter().filter(|shard| !self.is_here(*shard)).collect()
    }

    /// Asks all other shards at once. Returns what they answered, and which did not.
    pub(super) async fn of_others<T>(
        &self,
        call: impl Fn(ShardId) -> StoreCall,
        read: impl Fn(StoreAnswer) -> Option<T>,
    ) -> (Vec<(ShardId, T)>, Vec<ShardId>) {
        let asked = self.others().into_iter().map(|shard| {
            let call = call(shard);
            async move { (shard, self.peers.call(shard, call, Patience::OfList).await) }
        });
        let (mut found, mut unavailable) = (Vec::new(), Vec::new());
        for (shard, answer) in join_all(asked).await {
            match answer.map(&read) {
                Ok(Some(value)) => found.push((shard, value)),
                _ => unavailable.push(shard),
            }
        }
        (found, unavailable)
    }

    pub(super) fn note_missing(&self, unavailable: &[ShardId]) {
        if !unavailable.is_empty() {
            self.peers.metrics().incomplete();
        }
    }

    pub(super) async fn ask(&self, shard: ShardId, call: StoreCall) -> Result<StoreAnswer, PeerError> {
        self.peers.call(shard, call, Patience::OfMessage).await
    }
}

#[async_trait]
impl Queue for ClusterStore {
    async fn spool(&self) -> Result<Box<dyn Spool>, StoreError> {
        self.local.spool().await
    }

    async fn accept(&self, items: Vec<NewItem>, events: Vec<NewEvent>) -> Result<(), StoreError> {
        self.local.accept(items, events).await
    }

    async fn accept_request(
        &self,
        request: IdempotentRequest,
        items: Vec<NewItem>,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        self.local.accept_request(request, items, events).await
    }

    /// Asks all nodes: a request that is made again may come to another one. Those that do not answer
    /// are left out.
    async fn accepted_request(
        &self,
        tenant: &str,
        key: &str,
        now: Millis,
    ) -> Result<Option<IdempotentRequest>, StoreError> {
        if let Some(request) = self.local.accepted_request(tenant, key, now).await? {
            return Ok(Some(request));
        }
        let call = |_| StoreCall::AcceptedRequest { tenant: tenant.to_owned(), key: key.to_owned(), now };
        let read = |answer| match answer {
            StoreAnswer::Request(request) => Some(request),
            _ => None,
        };
        let (found, _) = self.of_others(call, read).await;
        Ok(found.into_iter().find_map(|(_, request)| request))
    }

    async fn due(
        &self,
        now: Millis,
        skip: &(dyn for<'d> Fn(&'d QueueKey) -> bool + Sync),
        max: usize,
    ) -> Result<Vec<DueQueue>, StoreError> {
        self.local.due(now, skip, max).await
    }

    async fn next_due(&self, now: Millis) -> Option<Millis> {
        self.local.next_due(now).await
    }

    async fn hasten(&self, keys: &HashSet<QueueKey>, until: Millis, now: Millis) {
        self.local.hasten(keys, until, now).await;
    }

    async fn changed(&self) {
        self.local.changed().await;
    }

    async fn lease(
        &self,
        keys: &[QueueKey],
        now: Millis,
        until: Millis,
        max: usize,
    ) -> Result<Vec<Lease>, StoreError> {
        self.local.lease(keys, now, until, max).await
    }

    async fn settle(&self, settlements: Vec<Arc<Settlement>>, items: Vec<NewItem>) -> Result<(), StoreError> {
        self.local.settle(settlements, items).await
    }

    async fn unreported(
        &self,
        now: Millis,
        max: usize,
    ) -> Result<Vec<(ItemId, Arc<ItemMeta>, Vec<Unreported>)>, StoreError> {
        self.local.unreported(now, max).await
    }

    async fn report(
        &self,
        item: ItemId,
        recipients: Vec<ReportKey>,
        bounce: Option<NewItem>,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        self.local.report(item, recipients, bounce, events).await
    }

    async fn body(&self, item: ItemId) -> Result<Option<Arc<dyn Source>>, StoreError> {
        match self.is_here(item.shard()) {
            true => self.local.body(item).await,
            false if self.is_nowhere(item.shard()) => Ok(None),
            false => self.remote_body(item).await,
        }
    }

    async fn item(&self, item: ItemId) -> Result<Option<ItemView>, StoreError> {
        if self.is_here(item.shard()) {
            return self.local.item(item).await;
        }
        if self.is_nowhere(item.shard()) {
            return Ok(None);
        }
        match self.ask(item.shard(), StoreCall::Item(id(item))).await? {
            StoreAnswer::Item(view) => Ok(view),
            _ => Err(not_expected().into()),
        }
    }

    async fn list(&self, after: Option<ItemId>, max: usize) -> Result<ItemPage, StoreError> {
        let call = |_| StoreCall::List { after: after.map(id), max: entries(max) };
        let read = |answer| match answer {
            StoreAnswer::Items { items, is_cut } => {
                let is_cut = is_cut || items.len() >= usize::try_from(entries(max)).unwrap_or(0);
                Some(ItemsOf { items, is_cut })
            }
            _ => None,
        };
        let (own, (others, mut unavailable_shards)) =
            tokio::join!(self.local.list(after, max), self.of_others(call, read));
        let own = own?;
        unavailable_shards.extend(own.unavailable_shards);
        self.note_missing(&unavailable_shards);
        let is_cut = own.items.len() >= max;
        let mut pages: Vec<ItemsOf> = others.into_iter().map(|(_, page)| page).collect();
        pages.push(ItemsOf { items: own.items, is_cut });
        Ok(ItemPage { items: merge::items(pages, max), unavailable_shards })
    }

    async fn items_from(&self, first: ItemId, max: usize) -> Result<Vec<ItemView>, StoreError> {
        if self.is_here(first.shard()) {
            return self.local.items_from(first, max).await;
        }
        if self.is_nowhere(first.shard()) {
            return Ok(Vec::new());
        }
        let call = StoreCall::List { after: Some(id(first.before())), max: entries(max) };
        match self.ask(first.shard(), call).await? {
            StoreAnswer::Items { items, .. } => Ok(items),
            _ => Err(not_expected().into()),
        }
    }

    async fn act(
        &self,
        item: ItemId,
        action: OperatorAction,
        now: Millis,
        events: Vec<NewEvent>,
    ) -> Result<Acted, StoreError> {
        if self.is_here(item.shard()) {
            return self.local.act(item, action, now, events).await;
        }
        if self.is_nowhere(item.shard()) {
            return Ok(Acted::NotFound);
        }
        let call = StoreCall::Act { item: id(item), domain: None, action, now, events };
        match self.ask(item.shard(), call).await? {
            StoreAnswer::Acted(acted) => Ok(acted),
            _ => Err(not_expected().into()),
        }
    }

    async fn act_on_domain(
        &self,
        item: ItemId,
        domain: &str,
        action: OperatorAction,
        now: Millis,
    ) -> Result<Acted, StoreError> {
        if self.is_here(item.shard()) {
            return self.local.act_on_domain(item, domain, action, now).await;
        }
        let domain = Some(domain.to_owned());
        let call = StoreCall::Act { item: id(item), domain, action, now, events: Vec::new() };
        match self.ask(item.shard(), call).await? {
            StoreAnswer::Acted(acted) => Ok(acted),
            _ => Err(not_expected().into()),
        }
    }

    async fn backlog(&self, now: Millis, looks: usize) -> Backlog {
        let looks_at = u32::try_from(looks).unwrap_or(u32::MAX);
        let call = |_| StoreCall::Backlog { now, looks: looks_at };
        let read = |answer| match answer {
            StoreAnswer::Backlog(backlog) => Some(backlog),
            _ => None,
        };
        let (own, (others, unavailable)) =
            tokio::join!(self.local.backlog(now, looks), self.of_others(call, read));
        self.note_missing(&unavailable);
        let mut all = merge::backlogs(others.into_iter().map(|(_, backlog)| backlog).chain([own]));
        all.unavailable_shards.extend(unavailable);
        all
    }

    async fn items_to(&self, domain: &str, after: Option<ItemId>, looks: usize, max: usize) -> DomainItems {
        let looks_at = u32::try_from(looks).unwrap_or(u32::MAX);
        let call = |_| StoreCall::ItemsTo {
            domain: domain.to_owned(),
            after: after.map(id),
            looks: looks_at,
            max: entries(max),
        };
        let read = |answer| match answer {
            StoreAnswer::ItemsTo(found) => Some(found),
            _ => None,
        };
        let own = self.local.items_to(domain, after, looks, max);
        let (own, (others, unavailable)) = tokio::join!(own, self.of_others(call, read));
        self.note_missing(&unavailable);
        let mut all = merge::items_to(others.into_iter().map(|(_, found)| found).chain([own]), max);
        all.unavailable_shards.extend(unavailable);
        all
    }

    async fn delivery(&self, delivery: DeliveryId) -> Result<Option<QueuedDelivery>, StoreError> {
        if self.is_here(delivery.item.shard()) {
            return self.local.delivery(delivery).await;
        }
        if self.is_nowhere(delivery.item.shard()) {
            return Ok(None);
        }
        match self.ask(delivery.item.shard(), StoreCall::Delivery(delivery)).await? {
            StoreAnswer::Delivery(view) => Ok(view),
            _ => Err(not_expected().into()),
        }
    }

    /// Those of other nodes are some seconds old.
    fn stats(&self) -> QueueStats {
        self.counts.add_to(self.local.stats(), |shard| self.is_here(shard))
    }

    /// Those of other nodes are some seconds old, and not counted before they were asked for.
    fn held(&self, tenant: &str) -> u64 {
        self.local.held(tenant) + self.counts.held(tenant, |shard| self.is_here(shard))
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.local.ready()
    }

    async fn close(&self) {
        self.local.close().await;
    }
}
