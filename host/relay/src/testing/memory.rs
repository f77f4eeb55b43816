//! A queue and event log in memory.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use relevo_mailkit::source::Source;
use relevo_queue::{
    Acted, Delivery, DeliveryId, DueQueue, EventError, EventLog, ItemId, ItemMeta, ItemView, Lease, Millis,
    NewEvent, NewItem, OperatorAction, Queue, QueueKey, QueueStats, Settlement, Spool, SpooledBody,
    StoreError, StoredEvent, Unreported,
};
use relevo_queue::{DeliveryView, NewDelivery};

/// An item as it was accepted.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) id: ItemId,
    pub(crate) meta: Arc<ItemMeta>,
    pub(crate) body: Arc<dyn Source>,
    pub(crate) deliveries: Vec<NewDelivery>,
}

impl Stored {
    pub(crate) fn lease(&self, number: usize) -> Lease {
        Lease { delivery: self.delivery(number), meta: Arc::clone(&self.meta), until: i64::MAX, token: 1 }
    }

    fn delivery(&self, number: usize) -> Delivery {
        let new = &self.deliveries[number];
        Delivery {
            id: DeliveryId { item: self.id, number: u32::try_from(number).expect("few") },
            key: new.key.clone(),
            hold_reason: new.hold_reason.clone(),
            priority: new.priority,
            recipients: new.recipients.clone(),
            due_at: new.due_at,
            held: new.held,
            attempts: 0,
            last: new.last.clone(),
            reasons: Vec::new(),
        }
    }
}

/// What fails, and how: `StoreError` is not `Clone`.
type Failure = fn() -> StoreError;

/// Accepts until it is told to fail. What these tests do not need is not there.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) items: Mutex<Vec<Stored>>,
    pub(crate) events: Mutex<Vec<NewEvent>>,
    pub(crate) fail_accept: Mutex<Option<Failure>>,
    pub(crate) fail_spool: Mutex<Option<Failure>>,
    pub(crate) fail_append: Mutex<Option<Failure>>,
}

impl Memory {
    pub(crate) fn kinds(&self) -> Vec<String> {
        self.events.lock().expect("lock").iter().map(|e| e.event.name().to_owned()).collect()
    }

    pub(crate) fn event(&self) -> NewEvent {
        self.events.lock().expect("lock").last().cloned().expect("an event")
    }

    /// The last event in its JSON form.
    pub(crate) fn event_json(&self) -> serde_json::Value {
        serde_json::to_value(self.event().event).expect("an object")
    }

    pub(crate) fn item(&self) -> Stored {
        self.items.lock().expect("lock").last().cloned().expect("an item")
    }

    pub(crate) fn count(&self) -> usize {
        self.items.lock().expect("lock").len()
    }
}

fn check(failure: &Mutex<Option<Failure>>) -> Result<(), StoreError> {
    failure.lock().expect("lock").map_or(Ok(()), |f| Err(f()))
}

struct MemorySpool(Vec<u8>);

#[async_trait]
impl Spool for MemorySpool {
    async fn write(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        self.0.extend_from_slice(chunk);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<SpooledBody, StoreError> {
        Ok(SpooledBody { source: Arc::new(self.0), handle: None })
    }
}

#[async_trait]
impl Queue for Memory {
    async fn spool(&self) -> Result<Box<dyn Spool>, StoreError> {
        check(&self.fail_spool)?;
        Ok(Box::new(MemorySpool(Vec::new())))
    }

    async fn accept(&self, items: Vec<NewItem>, events: Vec<NewEvent>) -> Result<(), StoreError> {
        check(&self.fail_accept)?;
        let stored = items.into_iter().map(|i| Stored {
            id: i.id,
            meta: Arc::new(i.meta),
            body: i.body.source,
            deliveries: i.deliveries,
        });
        self.items.lock().expect("lock").extend(stored);
        self.events.lock().expect("lock").extend(events);
        Ok(())
    }

    async fn body(&self, item: ItemId) -> Result<Option<Arc<dyn Source>>, StoreError> {
        let items = self.items.lock().expect("lock");
        Ok(items.iter().find(|i| i.id == item).map(|i| Arc::clone(&i.body)))
    }

    async fn item(&self, item: ItemId) -> Result<Option<ItemView>, StoreError> {
        let items = self.items.lock().expect("lock");
        Ok(items.iter().find(|i| i.id == item).map(|i| ItemView {
            id: i.id,
            meta: Arc::clone(&i.meta),
            deliveries: (0..i.deliveries.len())
                .map(|n| DeliveryView { delivery: i.delivery(n), leased_until: None })
                .collect(),
        }))
    }

    fn held(&self, tenant: &str) -> u64 {
        let items = self.items.lock().expect("lock");
        let held = items.iter().filter(|i| i.meta.tenant == tenant).flat_map(|i| &i.deliveries);
        held.filter(|d| d.held).count() as u64
    }

    fn stats(&self) -> QueueStats {
        let items = self.items.lock().expect("lock");
        QueueStats { items: items.len() as u64, oldest_due: Some(0), ..QueueStats::default() }
    }

    fn ready(&self) -> Result<(), StoreError> {
        check(&self.fail_spool)
    }

    async fn close(&self) {}

    async fn due(
        &self,
        _: Millis,
        _: &(dyn for<'d> Fn(&'d QueueKey) -> bool + Sync),
        _: usize,
    ) -> Result<Vec<DueQueue>, StoreError> {
        Ok(Vec::new())
    }

    async fn next_due(&self, _: Millis) -> Option<Millis> {
        None
    }

    async fn changed(&self) {}

    async fn lease(&self, _: &[QueueKey], _: Millis, _: Millis, _: usize) -> Result<Vec<Lease>, StoreError> {
        Ok(Vec::new())
    }

    async fn extend(&self, _: &[Lease], _: Millis) -> Result<Vec<DeliveryId>, StoreError> {
        Ok(Vec::new())
    }

    async fn settle(&self, _: Vec<Settlement>, _: Vec<NewItem>, _: Vec<NewEvent>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn unreported(
        &self,
        _: Millis,
        _: usize,
    ) -> Result<Vec<(ItemId, Arc<ItemMeta>, Vec<Unreported>)>, StoreError> {
        Ok(Vec::new())
    }

    async fn report(
        &self,
        _: ItemId,
        _: Vec<(DeliveryId, u32)>,
        _: Option<NewItem>,
        _: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    async fn list(&self, _: Option<ItemId>, _: usize) -> Result<Vec<ItemView>, StoreError> {
        Ok(Vec::new())
    }

    async fn act(
        &self,
        _: ItemId,
        _: OperatorAction,
        _: Millis,
        _: Vec<NewEvent>,
    ) -> Result<Acted, StoreError> {
        Ok(Acted::NotFound)
    }
}

#[async_trait]
impl EventLog for Memory {
    async fn append(&self, events: Vec<NewEvent>) -> Result<(), StoreError> {
        check(&self.fail_append)?;
        self.events.lock().expect("lock").extend(events);
        Ok(())
    }

    async fn append_expendable(&self, events: Vec<NewEvent>) -> Result<(), StoreError> {
        self.append(events).await
    }

    async fn events(&self, _: Option<&str>, _: u64, _: usize) -> Result<Vec<StoredEvent>, EventError> {
        Ok(Vec::new())
    }

    async fn events_of(&self, item: ItemId, after: u64, max: usize) -> Result<Vec<StoredEvent>, StoreError> {
        let events = self.events.lock().expect("lock");
        let numbered = (1..).zip(events.iter());
        let found = numbered.filter(|(cursor, event)| *cursor > after && event.item == Some(item));
        Ok(found.take(max).map(|(cursor, event)| StoredEvent { cursor, event: event.clone() }).collect())
    }

    async fn wait_after(&self, after: u64) -> u64 {
        after
    }

    async fn prune(&self, _: Millis, _: u64) -> Result<usize, StoreError> {
        Ok(0)
    }
}
