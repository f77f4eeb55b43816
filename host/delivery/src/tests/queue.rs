//! A queue in memory with the promises of the real one, as far as delivery relies on them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use relevo_mailkit::source::Source;
use relevo_queue::*;
use tokio::sync::Notify;

pub(super) struct Row {
    pub(super) meta: Arc<ItemMeta>,
    pub(super) delivery: Delivery,
    leased: Option<(u64, Millis)>,
}

#[derive(Default)]
pub(super) struct Store {
    pub(super) rows: BTreeMap<DeliveryId, Row>,
    pub(super) bodies: BTreeMap<ItemId, Arc<dyn Source>>,
    pub(super) events: Vec<NewEvent>,
    pub(super) reports: Vec<(ItemId, usize)>,
    turns: VecDeque<String>,
}

#[derive(Default)]
pub(super) struct MemoryQueue {
    store: Mutex<Store>,
    token: AtomicU64,
    changed: Notify,
    pub(super) settle_fails: AtomicBool,
    pub(super) looks: AtomicU64,
    /// What the keys of new mail have beside their domain.
    pub(super) key: Mutex<QueueKeyParts>,
}

impl MemoryQueue {
    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().expect("no test panics with it")
    }

    pub(super) fn add(
        &self,
        id: ItemId,
        meta: ItemMeta,
        body: &[u8],
        deliveries: &[(&str, &[&str])],
        now: Millis,
    ) {
        let meta = Arc::new(meta);
        let mut store = self.store();
        store.bodies.insert(id, Arc::new(body.to_vec()));
        let mut index = 0;
        for (number, (domain, recipients)) in deliveries.iter().enumerate() {
            let id = DeliveryId { item: id, number: u32::try_from(number).expect("few") };
            let recipients = recipients
                .iter()
                .map(|address| {
                    index += 1;
                    Recipient {
                        index: index - 1,
                        address: (*address).to_owned(),
                        state: RecipientState::Pending,
                    }
                })
                .collect();
            let delivery = Delivery {
                id,
                key: QueueKeyParts { domain: (*domain).to_owned(), ..self.key.lock().expect("lock").clone() }
                    .into(),
                hold_reason: None,
                recipients,
                due_at: now,
                priority: 0,
                held: false,
                attempts: 0,
                last: None,
                reasons: Vec::new(),
            };
            store.rows.insert(id, Row { meta: meta.clone(), delivery, leased: None });
        }
        drop(store);
        self.changed.notify_one();
    }

    /// Kinds of the events about an item, in order.
    pub(super) fn kinds(&self, item: ItemId) -> Vec<String> {
        self.store()
            .events
            .iter()
            .filter(|e| e.item == Some(item))
            .map(|e| e.event.name().to_owned())
            .collect()
    }
}

fn is_pending(delivery: &Delivery) -> bool {
    delivery.recipients.iter().any(|r| r.state == RecipientState::Pending)
}

/// An entry for each recipient that was attempted.
fn learn(delivery: &mut Delivery, last: &LastAttempt, found: &[(u32, LastAttempt)]) {
    for recipient in delivery.recipients.iter().filter(|r| r.state == RecipientState::Pending) {
        let own = found.iter().find(|(index, _)| *index == recipient.index).map_or(last, |(_, own)| own);
        delivery.reasons.retain(|(index, _)| *index != recipient.index);
        delivery.reasons.push((recipient.index, own.clone()));
    }
}

impl Row {
    fn wakes_at(&self) -> Millis {
        if self.delivery.held { self.meta.expires_at } else { self.delivery.due_at.min(self.meta.expires_at) }
    }

    fn is_due(&self, now: Millis) -> bool {
        is_pending(&self.delivery)
            && self.leased.is_none_or(|(_, until)| until <= now)
            && self.wakes_at() <= now
    }
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
impl Queue for MemoryQueue {
    async fn spool(&self) -> Result<Box<dyn Spool>, StoreError> {
        Ok(Box::new(MemorySpool(Vec::new())))
    }

    async fn accept(&self, items: Vec<NewItem>, events: Vec<NewEvent>) -> Result<(), StoreError> {
        for item in items {
            let mut store = self.store();
            store.bodies.insert(item.id, item.body.source);
            let meta = Arc::new(item.meta);
            for (number, new) in (0..).zip(item.deliveries) {
                let id = DeliveryId { item: item.id, number };
                let NewDelivery { key, recipients, due_at, priority, held, hold_reason, last } = new;
                let delivery = Delivery {
                    id,
                    key,
                    hold_reason,
                    recipients,
                    due_at,
                    priority,
                    held,
                    attempts: 0,
                    last,
                    reasons: Vec::new(),
                };
                store.rows.insert(id, Row { meta: meta.clone(), delivery, leased: None });
            }
        }
        self.store().events.extend(events);
        self.changed.notify_one();
        Ok(())
    }

    async fn due(
        &self,
        now: Millis,
        skip: &(dyn for<'d> Fn(&'d QueueKey) -> bool + Sync),
        max: usize,
    ) -> Result<Vec<DueQueue>, StoreError> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        let store = self.store();
        let mut found: BTreeMap<&QueueKey, (Millis, usize, BTreeSet<String>)> = BTreeMap::new();
        for row in store.rows.values().filter(|r| r.is_due(now) && !skip(&r.delivery.key)) {
            let entry = found.entry(&row.delivery.key).or_insert((Millis::MAX, 0, BTreeSet::new()));
            entry.0 = entry.0.min(row.delivery.due_at);
            entry.1 += 1;
            entry.2.insert(row.meta.tenant.clone());
        }
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by_key(|(_, (at, _, _))| *at);
        Ok(found
            .into_iter()
            .take(max)
            .map(|(key, (_, ready, tenants))| DueQueue {
                key: key.clone(),
                ready: ready.min(1000),
                tenants: tenants.into_iter().collect(),
            })
            .collect())
    }

    async fn next_due(&self, now: Millis) -> Option<Millis> {
        let store = self.store();
        let rows = store.rows.values().filter(|r| is_pending(&r.delivery));
        rows.map(|r| r.leased.map_or(r.wakes_at(), |(_, until)| until)).filter(|at| *at > now).min()
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    async fn lease(
        &self,
        keys: &[QueueKey],
        now: Millis,
        until: Millis,
        max: usize,
    ) -> Result<Vec<Lease>, StoreError> {
        let mut store = self.store();
        let mut leases = Vec::new();
        while leases.len() < max {
            let due = store.rows.values().filter(|r| r.is_due(now) && keys.contains(&r.delivery.key));
            let turn = |t: &str| store.turns.iter().position(|x| x == t).map_or(0, |p| p + 1);
            let next = due.min_by_key(|r| (turn(&r.meta.tenant), r.delivery.due_at, r.delivery.id));
            let Some((id, tenant)) = next.map(|r| (r.delivery.id, r.meta.tenant.clone())) else { break };
            store.turns.retain(|t| *t != tenant);
            store.turns.push_back(tenant);
            let token = self.token.fetch_add(1, Ordering::Relaxed);
            let row = store.rows.get_mut(&id).expect("found above");
            row.leased = Some((token, until));
            leases.push(Lease { delivery: row.delivery.clone(), meta: row.meta.clone(), until, token });
        }
        Ok(leases)
    }

    async fn extend(&self, leases: &[Lease], until: Millis) -> Result<Vec<DeliveryId>, StoreError> {
        let mut store = self.store();
        let mut held = Vec::new();
        for lease in leases {
            if let Some(row) = store.rows.get_mut(&lease.delivery.id)
                && row.leased.is_some_and(|(token, _)| token == lease.token)
            {
                row.leased = Some((lease.token, until));
                held.push(lease.delivery.id);
            }
        }
        Ok(held)
    }

    async fn settle(
        &self,
        settlements: Vec<Settlement>,
        items: Vec<NewItem>,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        if self.settle_fails.load(Ordering::Relaxed) {
            return Err(StoreError::Io("broken".into()));
        }
        assert!(items.is_empty(), "bounces go through report");
        let mut store = self.store();
        for Settlement { lease, .. } in &settlements {
            let id = lease.delivery.id;
            let held = store.rows.get(&id).and_then(|r| r.leased);
            if held.is_none_or(|(token, _)| token != lease.token) {
                return Err(StoreError::LeaseLost(id));
            }
        }
        for Settlement { lease, recipients, next_attempt, last, reasons } in settlements {
            let row = store.rows.get_mut(&lease.delivery.id).expect("held");
            row.leased = None;
            if let Some(last) = &last {
                learn(&mut row.delivery, last, &reasons);
            }
            for recipient in &mut row.delivery.recipients {
                if let Some((_, state)) = recipients.iter().find(|(index, _)| *index == recipient.index) {
                    recipient.state = state.clone();
                }
            }
            row.delivery.due_at = next_attempt.unwrap_or(row.delivery.due_at);
            if last.is_some() {
                row.delivery.attempts += 1;
                row.delivery.last = last;
            }
            assert!(
                !is_pending(&row.delivery) || row.delivery.due_at <= row.meta.expires_at,
                "sleeps past its expiry"
            );
        }
        store.events.extend(events);
        drop(store);
        self.changed.notify_one();
        Ok(())
    }

    async fn unreported(
        &self,
        now: Millis,
        max: usize,
    ) -> Result<Vec<(ItemId, Arc<ItemMeta>, Vec<Unreported>)>, StoreError> {
        let store = self.store();
        let mut items: BTreeMap<ItemId, (Arc<ItemMeta>, Vec<Unreported>, bool)> = BTreeMap::new();
        for row in store.rows.values() {
            let entry =
                items.entry(row.delivery.id.item).or_insert_with(|| (row.meta.clone(), Vec::new(), true));
            entry.2 &= !is_pending(&row.delivery) || (row.leased.is_none() && row.delivery.due_at > now);
            for recipient in &row.delivery.recipients {
                if recipient.state == (RecipientState::Failed { reported: false }) {
                    entry.1.push(Unreported {
                        delivery: row.delivery.id,
                        recipient: recipient.clone(),
                        last: row.delivery.reason(recipient.index).cloned().unwrap_or_default(),
                    });
                }
            }
        }
        let over = items.into_iter().filter(|(_, (_, failed, over))| *over && !failed.is_empty());
        Ok(over.take(max).map(|(id, (meta, failed, _))| (id, meta, failed)).collect())
    }

    async fn report(
        &self,
        item: ItemId,
        recipients: Vec<(DeliveryId, u32)>,
        bounce: Option<NewItem>,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        {
            let mut store = self.store();
            store.reports.push((item, recipients.len()));
            for (id, index) in recipients {
                let row = store.rows.get_mut(&id).expect("reported");
                for recipient in row.delivery.recipients.iter_mut().filter(|r| r.index == index) {
                    recipient.state = RecipientState::Failed { reported: true };
                }
            }
        }
        self.accept(bounce.into_iter().collect(), events).await
    }

    async fn body(&self, item: ItemId) -> Result<Option<Arc<dyn Source>>, StoreError> {
        Ok(self.store().bodies.get(&item).cloned())
    }

    async fn item(&self, item: ItemId) -> Result<Option<ItemView>, StoreError> {
        let store = self.store();
        let rows: Vec<&Row> = store.rows.values().filter(|r| r.delivery.id.item == item).collect();
        Ok(rows.first().map(|first| ItemView {
            id: item,
            meta: first.meta.clone(),
            deliveries: rows
                .iter()
                .map(|r| DeliveryView {
                    delivery: r.delivery.clone(),
                    leased_until: r.leased.map(|(_, until)| until),
                })
                .collect(),
        }))
    }

    async fn list(&self, _: Option<ItemId>, _: usize) -> Result<Vec<ItemView>, StoreError> {
        Ok(Vec::new())
    }

    async fn act(
        &self,
        item: ItemId,
        action: OperatorAction,
        now: Millis,
        _: Vec<NewEvent>,
    ) -> Result<Acted, StoreError> {
        for row in self.store().rows.values_mut().filter(|r| r.delivery.id.item == item) {
            match action {
                OperatorAction::Hold => row.delivery.held = true,
                OperatorAction::Release | OperatorAction::Retry => {
                    row.delivery.held = false;
                    row.delivery.due_at = now;
                }
                OperatorAction::Drop => return Ok(Acted::NotFound),
            }
        }
        self.changed.notify_one();
        Ok(Acted::Done)
    }

    fn held(&self, tenant: &str) -> u64 {
        self.store().rows.values().filter(|r| r.meta.tenant == tenant && r.delivery.held).count() as u64
    }

    fn stats(&self) -> QueueStats {
        QueueStats::default()
    }

    fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&self) {}
}
