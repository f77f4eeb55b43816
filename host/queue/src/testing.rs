//! A queue for the tests of other crates: the embedded store on a disk in memory. It remembers what
//! it was asked, and can be told to fail.

#![allow(clippy::expect_used, reason = "a test ends where it finds something amiss")]

mod time;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use relevo_mailkit::source::Source;
use tokio::sync::Notify;

use self::time::{TimeHold, block_on};
use crate::disk::FaultyDisk;
use crate::shard_log::ShardLog;
use crate::shard_log::memory::MemoryLog;
use crate::{
    Acted, Backlog, Delivery, DeliveryId, DomainItems, DueQueue, EmbeddedStore, EventError, EventHistory,
    EventLog, IdempotentRequest, ItemId, ItemMeta, ItemPage, ItemView, Lease, LeaseHold, LogBinding, Millis,
    NewDelivery, NewEvent, NewItem, OpenError, OperatorAction, Queue, QueueKey, QueueStats, QueuedDelivery,
    RecipientState, ReportKey, ReportKind, Settlement, Spool, StoreConfig, StoreError, StoredEvent,
    Unreported,
};

/// Calls that can be told to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailingCall {
    /// [`Queue::spool`] and [`Queue::ready`].
    Spool,
    /// [`Queue::accept`].
    Accept,
    /// [`Queue::settle`].
    Settle,
    /// [`EventLog::append`] and [`EventLog::append_expendable`].
    Append,
}

/// An item as it was accepted.
#[derive(Clone)]
pub struct AcceptedItem {
    /// Its id.
    pub id: ItemId,
    /// Its facts.
    pub meta: Arc<ItemMeta>,
    /// Its body.
    pub body: Arc<dyn Source>,
    /// Its deliveries.
    pub deliveries: Vec<NewDelivery>,
}

impl AcceptedItem {
    /// A lease of one of its deliveries, as it would be given for the first attempt. The store
    /// knows nothing of it.
    #[must_use]
    pub fn lease(&self, number: usize) -> Lease {
        let new = self.deliveries[number].clone();
        let delivery = Delivery {
            id: DeliveryId { item: self.id, number: u32::try_from(number).unwrap_or(u32::MAX) },
            key: new.key,
            hold_reason: new.hold_reason,
            priority: new.priority,
            recipients: new.recipients,
            due_at: new.due_at,
            held: new.held,
            attempts: 0,
            last: new.last,
            reasons: Vec::new(),
        };
        Lease { delivery, meta: self.meta.clone(), token: 0, hold: LeaseHold::default() }
    }
}

/// What a [`TestQueue`] was asked.
#[derive(Default)]
struct Record {
    items: Vec<AcceptedItem>,
    events: Vec<NewEvent>,
    reports: Vec<(ItemId, usize)>,
    states: BTreeMap<(DeliveryId, u32), RecipientState>,
    faults: HashMap<FailingCall, fn() -> StoreError>,
}

/// See the module. While it works, simulated time stands still, as if it took none.
pub struct TestQueue {
    store: Arc<EmbeddedStore>,
    record: Mutex<Record>,
    looks: AtomicU64,
    stored: Notify,
    answers: tokio::sync::Mutex<()>,
}

impl TestQueue {
    /// An empty one.
    ///
    /// # Errors
    /// Those of [`EmbeddedStore::open_on`].
    pub fn open() -> Result<Self, OpenError> {
        let config = StoreConfig { min_free: 0, reserve: 0, ..StoreConfig::default() };
        let store = EmbeddedStore::open_on(Arc::new(FaultyDisk::new()), Path::new("/queue"), config)?;
        Ok(Self {
            store,
            record: Mutex::default(),
            looks: AtomicU64::new(0),
            stored: Notify::new(),
            answers: tokio::sync::Mutex::default(),
        })
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock()
    }

    /// Makes a call fail from now on.
    pub fn fail(&self, call: FailingCall, error: fn() -> StoreError) {
        self.record().faults.insert(call, error);
    }

    /// Ends [`Self::fail`].
    pub fn heal(&self, call: FailingCall) {
        self.record().faults.remove(&call);
    }

    /// Keeps calls of [`Queue::accept`] and [`Queue::accept_request`] waiting, whose items are on
    /// disk by then, until the guard is dropped.
    pub async fn hold_answers(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.answers.lock().await
    }

    /// Resolves when items were stored since the last call.
    pub async fn stored(&self) {
        self.stored.notified().await;
    }

    async fn answer(&self) {
        self.stored.notify_one();
        drop(self.answers.lock().await);
    }

    fn check(&self, call: FailingCall) -> Result<(), StoreError> {
        self.record().faults.get(&call).map_or(Ok(()), |error| Err(error()))
    }

    /// Items that were accepted, bounces included, in order.
    #[must_use]
    pub fn items(&self) -> Vec<AcceptedItem> {
        self.record().items.clone()
    }

    /// The item that was accepted last.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn last_item(&self) -> AcceptedItem {
        self.record().items.last().cloned().expect("an item")
    }

    /// The event that was written last.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn last_event(&self) -> NewEvent {
        self.record().events.last().cloned().expect("an event")
    }

    /// The same in its JSON form.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn last_event_json(&self) -> serde_json::Value {
        serde_json::to_value(self.last_event().event).expect("an object")
    }

    /// Names of the events that were written, in order.
    #[must_use]
    pub fn kinds(&self) -> Vec<String> {
        self.record().events.iter().map(|e| e.event.name().to_owned()).collect()
    }

    /// Events that were written, in order.
    #[must_use]
    pub fn events(&self) -> Vec<NewEvent> {
        self.record().events.clone()
    }

    /// Items whose failures were reported, and how many recipients each time.
    #[must_use]
    pub fn reports(&self) -> Vec<(ItemId, usize)> {
        self.record().reports.clone()
    }

    /// The states of an item's recipients, also after it has left the queue.
    #[must_use]
    pub fn states(&self, item: ItemId) -> Vec<RecipientState> {
        let (first, last) = (DeliveryId { item, number: 0 }, DeliveryId { item, number: u32::MAX });
        self.record().states.range((first, 0)..=(last, u32::MAX)).map(|(_, state)| state.clone()).collect()
    }

    /// Calls of [`Queue::due`].
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }

    /// As [`Queue::accept`] with one item, for callers that cannot wait.
    ///
    /// # Errors
    /// As there.
    pub fn accept_now(&self, item: NewItem) -> Result<(), StoreError> {
        // The task that calls this does not yield: without this, its budget would run out.
        block_on(Box::pin(tokio::task::unconstrained(self.accept(vec![item], Vec::new()))))
    }

    fn remember_items(&self, items: Vec<AcceptedItem>) {
        let mut record = self.record();
        for item in &items {
            for (number, delivery) in (0..).zip(&item.deliveries) {
                let id = DeliveryId { item: item.id, number };
                let states = delivery.recipients.iter().map(|r| ((id, r.index), r.state.clone()));
                record.states.extend(states);
            }
        }
        record.items.extend(items);
    }
}

fn as_accepted(item: &NewItem) -> AcceptedItem {
    AcceptedItem {
        id: item.id,
        meta: Arc::new(item.meta.clone()),
        body: item.body.source.clone(),
        deliveries: item.deliveries.clone(),
    }
}

#[async_trait]
impl Queue for TestQueue {
    async fn spool(&self) -> Result<Box<dyn Spool>, StoreError> {
        self.check(FailingCall::Spool)?;
        self.store.spool().await
    }

    async fn accept(&self, items: Vec<NewItem>, events: Vec<NewEvent>) -> Result<(), StoreError> {
        self.check(FailingCall::Accept)?;
        let _hold = TimeHold::new();
        let accepted = items.iter().map(as_accepted).collect();
        self.store.accept(items, events.clone()).await?;
        self.remember_items(accepted);
        self.record().events.extend(events);
        self.answer().await;
        Ok(())
    }

    async fn accept_request(
        &self,
        request: IdempotentRequest,
        items: Vec<NewItem>,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        self.check(FailingCall::Accept)?;
        let _hold = TimeHold::new();
        let accepted = items.iter().map(as_accepted).collect();
        self.store.accept_request(request, items, events.clone()).await?;
        self.remember_items(accepted);
        self.record().events.extend(events);
        self.answer().await;
        Ok(())
    }

    async fn accepted_request(
        &self,
        tenant: &str,
        key: &str,
        now: Millis,
    ) -> Result<Option<IdempotentRequest>, StoreError> {
        let _hold = TimeHold::new();
        self.store.accepted_request(tenant, key, now).await
    }

    async fn due(
        &self,
        now: Millis,
        skip: &(dyn for<'d> Fn(&'d QueueKey) -> bool + Sync),
        max: usize,
    ) -> Result<Vec<DueQueue>, StoreError> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.store.due(now, skip, max).await
    }

    async fn next_due(&self, now: Millis) -> Option<Millis> {
        self.store.next_due(now).await
    }

    async fn hasten(&self, keys: &std::collections::HashSet<QueueKey>, until: Millis, now: Millis) {
        self.store.hasten(keys, until, now).await;
    }

    async fn changed(&self) {
        self.store.changed().await;
    }

    async fn lease(
        &self,
        keys: &[QueueKey],
        now: Millis,
        until: Millis,
        max: usize,
    ) -> Result<Vec<Lease>, StoreError> {
        let _hold = TimeHold::new();
        self.store.lease(keys, now, until, max).await
    }

    async fn settle(&self, settlements: Vec<Arc<Settlement>>, items: Vec<NewItem>) -> Result<(), StoreError> {
        self.check(FailingCall::Settle)?;
        let _hold = TimeHold::new();
        for settlement in &settlements {
            let wakes_at = settlement.next_attempt.unwrap_or(Millis::MIN);
            assert!(wakes_at <= settlement.lease.meta.expires_at, "sleeps past its expiry");
        }
        let accepted = items.iter().map(as_accepted).collect();
        self.store.settle(settlements.clone(), items).await?;
        self.remember_items(accepted);
        let mut record = self.record();
        for settlement in &settlements {
            let id = settlement.lease.delivery.id;
            record.events.extend(settlement.events.iter().cloned());
            record.states.extend(settlement.recipients.iter().map(|(index, s)| ((id, *index), s.clone())));
        }
        Ok(())
    }

    async fn unreported(
        &self,
        now: Millis,
        max: usize,
    ) -> Result<Vec<(ItemId, Arc<ItemMeta>, Vec<Unreported>)>, StoreError> {
        let _hold = TimeHold::new();
        self.store.unreported(now, max).await
    }

    async fn report(
        &self,
        item: ItemId,
        recipients: Vec<ReportKey>,
        bounce: Option<NewItem>,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        let _hold = TimeHold::new();
        let accepted = bounce.iter().map(as_accepted).collect();
        self.store.report(item, recipients.clone(), bounce, events.clone()).await?;
        self.remember_items(accepted);
        let mut record = self.record();
        record.reports.push((item, recipients.len()));
        let state = |report: &ReportKey| match report.kind {
            ReportKind::Failed => Some(RecipientState::Failed { reported: true }),
            ReportKind::Relayed => Some(RecipientState::Delivered),
            ReportKind::Delayed => None,
        };
        let told = recipients.iter().filter_map(|r| Some(((r.delivery, r.index), state(r)?)));
        record.states.extend(told);
        record.events.extend(events);
        Ok(())
    }

    async fn body(&self, item: ItemId) -> Result<Option<Arc<dyn Source>>, StoreError> {
        let _hold = TimeHold::new();
        self.store.body(item).await
    }

    async fn item(&self, item: ItemId) -> Result<Option<ItemView>, StoreError> {
        let _hold = TimeHold::new();
        self.store.item(item).await
    }

    async fn list(&self, after: Option<ItemId>, max: usize) -> Result<ItemPage, StoreError> {
        let _hold = TimeHold::new();
        self.store.list(after, max).await
    }

    async fn act(
        &self,
        item: ItemId,
        action: OperatorAction,
        now: Millis,
        events: Vec<NewEvent>,
    ) -> Result<Acted, StoreError> {
        let _hold = TimeHold::new();
        let acted = self.store.act(item, action, now, events.clone()).await?;
        self.record().events.extend(events);
        Ok(acted)
    }

    async fn act_on_domain(
        &self,
        item: ItemId,
        domain: &str,
        action: OperatorAction,
        now: Millis,
    ) -> Result<Acted, StoreError> {
        let _hold = TimeHold::new();
        self.store.act_on_domain(item, domain, action, now).await
    }

    async fn backlog(&self, now: Millis, looks: usize) -> Backlog {
        let _hold = TimeHold::new();
        self.store.backlog(now, looks).await
    }

    async fn items_to(&self, domain: &str, after: Option<ItemId>, looks: usize, max: usize) -> DomainItems {
        let _hold = TimeHold::new();
        self.store.items_to(domain, after, looks, max).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<QueuedDelivery>, StoreError> {
        let _hold = TimeHold::new();
        self.store.delivery(id).await
    }

    fn stats(&self) -> QueueStats {
        self.store.stats()
    }

    fn held(&self, tenant: &str) -> u64 {
        self.store.held(tenant)
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.check(FailingCall::Spool)?;
        self.store.ready()
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

#[async_trait]
impl EventLog for TestQueue {
    async fn append(&self, events: Vec<NewEvent>) -> Result<(), StoreError> {
        self.check(FailingCall::Append)?;
        let _hold = TimeHold::new();
        self.store.append(events.clone()).await?;
        self.record().events.extend(events);
        Ok(())
    }

    async fn append_expendable(&self, events: Vec<NewEvent>) -> Result<(), StoreError> {
        self.append(events).await
    }

    async fn events(
        &self,
        tenant: Option<&str>,
        after: u64,
        max: usize,
    ) -> Result<Vec<StoredEvent>, EventError> {
        let _hold = TimeHold::new();
        self.store.events(tenant, after, max).await
    }

    async fn events_before(
        &self,
        tenant: &str,
        before: u64,
        max: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let _hold = TimeHold::new();
        self.store.events_before(tenant, before, max).await
    }

    async fn messages_before(
        &self,
        tenant: &str,
        before: u64,
        max: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let _hold = TimeHold::new();
        self.store.messages_before(tenant, before, max).await
    }

    async fn events_of(&self, item: ItemId, after: u64, max: usize) -> Result<Vec<StoredEvent>, StoreError> {
        let _hold = TimeHold::new();
        self.store.events_of(item, after, max).await
    }

    async fn wait_after(&self, after: u64) -> u64 {
        self.store.wait_after(after).await
    }

    async fn prune(&self, before: Millis, max_octets: u64) -> Result<usize, StoreError> {
        let _hold = TimeHold::new();
        self.store.prune(before, max_octets).await
    }
}

impl EventHistory for TestQueue {}

/// A log in memory as a store is bound to it.
#[must_use]
pub fn binding(log: &MemoryLog, owner: &str, trim_at: u64) -> LogBinding {
    binding_of(Arc::new(log.clone()), owner, trim_at)
}

/// A log as a store is bound to it, with a runtime that lasts as long as the process.
#[must_use]
pub fn binding_of(log: Arc<dyn ShardLog>, owner: &str, trim_at: u64) -> LogBinding {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        let built = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        built.expect("a runtime")
    });
    LogBinding { log, runtime: runtime.handle().clone(), owner: owner.to_owned(), trim_at }
}

/// A new log in memory.
#[must_use]
pub fn memory_binding() -> LogBinding {
    binding(&MemoryLog::new(), "test", 1 << 20)
}
