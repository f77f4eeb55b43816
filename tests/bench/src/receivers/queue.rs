//! The queue of a simulation: in memory, and done with each call before it returns. So nothing
//! depends on other threads, and the same month comes out each time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use relevo_mailkit::source::Source;
use relevo_queue::{
    Acted, Backlog, Delivery, DeliveryId, DomainItems, DueQueue, IdempotentRequest, ItemId, ItemMeta,
    ItemPage, ItemView, Lease, LeaseHold, Millis, NewEvent, NewItem, OperatorAction, Queue, QueueKey,
    QueueStats, QueuedDelivery, Recipient, ReportKey, Settlement, Spool, StoreError, Unreported,
};
use tokio::sync::Notify;

/// Of the deliveries that are due, so many are counted: as the store does.
const COUNTED: usize = 1000;

#[derive(Default)]
struct QueueState {
    /// By the time when they are due, and in the order in which they came.
    waiting: BTreeMap<(Millis, u64), (Delivery, Arc<ItemMeta>)>,
    leased: HashMap<DeliveryId, u64>,
    /// Of the deliveries and leases so far.
    number: u64,
    expired: Vec<Millis>,
}

impl QueueState {
    fn push(&mut self, delivery: Delivery, meta: Arc<ItemMeta>) {
        self.number += 1;
        self.waiting.insert((delivery.due_at, self.number), (delivery, meta));
    }

    fn first_due(&self) -> Option<Millis> {
        self.waiting.first_key_value().map(|((due, _), _)| *due)
    }

    /// Those due from `from` to `to`, as they are in the map.
    fn due(&self, from: Millis, to: Millis) -> impl Iterator<Item = (Millis, u64)> {
        self.waiting.range((from, 0)..=(to, u64::MAX)).map(|(at, _)| *at)
    }
}

/// Mail of one key.
pub(super) struct SimulatedQueue {
    key: QueueKey,
    tenant: String,
    state: Mutex<QueueState>,
    changed: Notify,
}

impl SimulatedQueue {
    pub(super) fn new(key: QueueKey) -> Self {
        Self { tenant: key.tenant.clone(), key, state: Mutex::default(), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock()
    }

    /// Accepts messages to one recipient each.
    pub(super) fn add(&self, recipients: impl Iterator<Item = String>, meta: &Arc<ItemMeta>) {
        let mut state = self.state();
        for address in recipients {
            let mut id = [0; 10];
            id[2..].copy_from_slice(&state.number.to_be_bytes());
            let delivery = Delivery {
                id: DeliveryId { item: ItemId::new(meta.accepted_at, id), number: 0 },
                key: self.key.clone(),
                recipients: vec![Recipient::pending(0, address)],
                due_at: meta.accepted_at,
                priority: 0,
                held: false,
                hold_reason: None,
                attempts: 0,
                last: None,
                reasons: Vec::new(),
            };
            state.push(delivery, meta.clone());
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Messages that wait or are being attempted.
    pub(super) fn waiting(&self) -> usize {
        let state = self.state();
        state.waiting.len() + state.leased.len()
    }

    /// When messages were given up because their time was over.
    pub(super) fn expired(&self) -> Vec<Millis> {
        self.state().expired.clone()
    }
}

fn unused<T>() -> Result<T, StoreError> {
    Err(StoreError::Io("no part of the simulation".to_owned()))
}

#[async_trait]
impl Queue for SimulatedQueue {
    async fn act_on_domain(
        &self,
        _: ItemId,
        _: &str,
        _: OperatorAction,
        _: Millis,
    ) -> Result<Acted, StoreError> {
        unused()
    }

    async fn backlog(&self, _: Millis, _: usize) -> Backlog {
        Backlog::default()
    }

    async fn items_to(&self, _: &str, _: Option<ItemId>, _: usize, _: usize) -> DomainItems {
        DomainItems::default()
    }

    async fn delivery(&self, _: DeliveryId) -> Result<Option<QueuedDelivery>, StoreError> {
        unused()
    }

    async fn spool(&self) -> Result<Box<dyn Spool>, StoreError> {
        unused()
    }

    async fn accept(&self, _: Vec<NewItem>, _: Vec<NewEvent>) -> Result<(), StoreError> {
        unused()
    }

    async fn accept_request(
        &self,
        _: IdempotentRequest,
        _: Vec<NewItem>,
        _: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        unused()
    }

    async fn accepted_request(
        &self,
        _: &str,
        _: &str,
        _: Millis,
    ) -> Result<Option<IdempotentRequest>, StoreError> {
        Ok(None)
    }

    async fn due(
        &self,
        now: Millis,
        skip: &(dyn for<'d> Fn(&'d QueueKey) -> bool + Sync),
        _: usize,
    ) -> Result<Vec<DueQueue>, StoreError> {
        if skip(&self.key) {
            return Ok(Vec::new());
        }
        let ready = self.state().due(Millis::MIN, now).take(COUNTED).count();
        let due = DueQueue { key: self.key.clone(), ready, tenants: vec![self.tenant.clone()] };
        Ok(if ready == 0 { Vec::new() } else { vec![due] })
    }

    async fn next_due(&self, now: Millis) -> Option<Millis> {
        self.state().due(now + 1, Millis::MAX).next().map(|(due, _)| due)
    }

    async fn hasten(&self, keys: &HashSet<QueueKey>, until: Millis, now: Millis) {
        let mut state = self.state();
        let from = if keys.contains(&self.key) { now + 1 } else { until };
        let hastened: Vec<_> = state.due(from, until).collect();
        for at in &hastened {
            if let Some((mut delivery, meta)) = state.waiting.remove(at) {
                delivery.due_at = now;
                state.push(delivery, meta);
            }
        }
        drop(state);
        if !hastened.is_empty() {
            self.changed.notify_one();
        }
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    async fn lease(
        &self,
        keys: &[QueueKey],
        now: Millis,
        _: Millis,
        max: usize,
    ) -> Result<Vec<Lease>, StoreError> {
        let mut state = self.state();
        let mut leases = Vec::new();
        while keys.contains(&self.key)
            && leases.len() < max
            && state.first_due().is_some_and(|due| due <= now)
        {
            let Some((_, (delivery, meta))) = state.waiting.pop_first() else { break };
            state.number += 1;
            let token = state.number;
            state.leased.insert(delivery.id, token);
            leases.push(Lease { delivery, meta, token, hold: LeaseHold::default() });
        }
        Ok(leases)
    }

    async fn settle(&self, settlements: Vec<Arc<Settlement>>, _: Vec<NewItem>) -> Result<(), StoreError> {
        let mut state = self.state();
        for settlement in settlements {
            let Settlement { lease, recipients, next_attempt, last, events, .. } = &*settlement;
            let id = lease.delivery.id;
            if state.leased.remove(&id) != Some(lease.token) {
                return Err(StoreError::LeaseLost(id));
            }
            let expired = events.iter().filter(|event| event.event.name() == "email.expired");
            state.expired.extend(expired.map(|event| event.at));
            if recipients.is_empty() {
                let mut delivery = lease.delivery.clone();
                delivery.due_at = next_attempt.unwrap_or(delivery.due_at);
                delivery.attempts += u32::from(last.is_some());
                delivery.last = last.clone().or(delivery.last);
                state.push(delivery, lease.meta.clone());
            }
        }
        drop(state);
        self.changed.notify_one();
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
        _: Vec<ReportKey>,
        _: Option<NewItem>,
        _: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        unused()
    }

    async fn body(&self, _: ItemId) -> Result<Option<Arc<dyn Source>>, StoreError> {
        Ok(None)
    }

    async fn item(&self, _: ItemId) -> Result<Option<ItemView>, StoreError> {
        Ok(None)
    }

    async fn list(&self, _: Option<ItemId>, _: usize) -> Result<ItemPage, StoreError> {
        Ok(ItemPage::default())
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

    fn stats(&self) -> QueueStats {
        QueueStats::default()
    }

    fn held(&self, _: &str) -> u64 {
        0
    }

    fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&self) {}
}
