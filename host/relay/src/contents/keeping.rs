//! A queue that keeps the content of messages after their last delivery, for tenants that want that.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use relevo_mailkit::source::Source;
use relevo_queue::{
    Acted, Backlog, DeliveryId, DomainItems, DueQueue, IdempotentRequest, ItemId, ItemMeta, ItemPage,
    ItemView, Lease, Millis, NewEvent, NewItem, OperatorAction, Queue, QueueKey, QueueStats, QueuedDelivery,
    RecipientState, ReportKey, Settlement, Spool, StoreError, Unreported,
};

use super::kept::{KeptDelivery, KeptMessage, KeptMessages};
use crate::clock::Clock;
use crate::settings::SettingsHandle;

/// How often what is kept is looked at.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// How soon again, while there is too little room.
const PRUNE_AGAIN: Duration = Duration::from_secs(5);

/// Hands every call to another queue. What a call finishes is copied to [`KeptMessages`] if its tenant
/// has `keep_content`. This is best effort: a message that cannot be kept is logged and forgotten.
pub struct KeepingQueue {
    queue: Arc<dyn Queue>,
    kept: Arc<KeptMessages>,
    settings: SettingsHandle,
    clock: Arc<dyn Clock>,
    /// Octets that must be free for something to be kept.
    min_free: u64,
}

/// A message that a call may finish.
struct Candidate {
    message: KeptMessage,
    until: Millis,
}

impl KeepingQueue {
    /// Over `queue`. Of its `min_free` octets a quarter more must be free for something to be kept: so
    /// what is kept does not bring new mail to be refused.
    #[must_use]
    pub fn new(
        queue: Arc<dyn Queue>,
        kept: Arc<KeptMessages>,
        settings: SettingsHandle,
        clock: Arc<dyn Clock>,
        min_free: u64,
    ) -> Self {
        let min_free = min_free.saturating_add(min_free / 4);
        Self { queue, kept, settings, clock, min_free }
    }

    /// Removes what is kept for too long, and the first days while there is too little room.
    pub async fn prune(&self) {
        loop {
            let pruned = self.kept.prune(self.clock.now()).await;
            let removed = match self.is_short_of_room() {
                true => self.kept.remove_first().await,
                false => Ok(false),
            };
            match pruned.and(removed) {
                Ok(true) => {
                    tracing::warn!("content that was kept is removed: there is too little room");
                    tokio::time::sleep(PRUNE_AGAIN).await;
                }
                Ok(false) => tokio::time::sleep(PRUNE_EVERY).await,
                Err(error) => {
                    tracing::error!(%error, "content that is kept too long cannot be removed");
                    tokio::time::sleep(PRUNE_EVERY).await;
                }
            }
        }
    }

    /// Returns true if a message of this size may be kept.
    fn has_room(&self, size: u64) -> bool {
        // This asks the operating system how much is free.
        self.queue.ready().is_ok() && self.queue.stats().free_octets >= self.min_free.saturating_add(size)
    }

    /// Returns true if what is kept is to make room. A store that fails for another reason does not
    /// want any.
    fn is_short_of_room(&self) -> bool {
        match self.queue.ready() {
            Ok(()) => !self.has_room(0),
            Err(StoreError::Full | StoreError::NoInodes) => true,
            Err(_) => false,
        }
    }

    /// When content of a message is removed that is finished now; None: it is not kept.
    fn kept_until(&self, meta: &ItemMeta) -> Option<Millis> {
        let settings = self.settings.get();
        let tenant = settings.directory.tenant(&meta.tenant).filter(|_| !meta.is_bounce)?;
        let span = tenant.keep_content?;
        let span = Millis::try_from(span.as_millis()).unwrap_or(Millis::MAX);
        Some(self.clock.now().saturating_add(span))
    }

    /// The message as it is before a call that settles `settled` of it; None when it is not kept, or
    /// when another delivery goes on after the call.
    async fn candidate(&self, item: ItemId, settled: &[&Settlement]) -> Option<Candidate> {
        let view = self.queue.item(item).await.ok()??;
        let until = self.kept_until(&view.meta)?;
        let is_settled = |id: DeliveryId| settled.iter().any(|settlement| settlement.lease.delivery.id == id);
        let goes_on = view.deliveries.iter().any(|view| {
            let mut recipients = view.delivery.recipients.iter();
            let is_pending = recipients.any(|recipient| recipient.state == RecipientState::Pending);
            // One that is attempted at this moment may be finished first.
            is_pending && view.leased_until.is_none() && !is_settled(view.delivery.id)
        });
        if !settled.is_empty()
            && (goes_on || settled.iter().any(|settlement| settlement.next_attempt.is_some()))
        {
            return None;
        }
        let body = self.queue.body(item).await.ok()??;
        let mut deliveries: Vec<KeptDelivery> =
            view.deliveries.into_iter().map(|view| KeptDelivery::of(view.delivery)).collect();
        for settlement in settled {
            let number = settlement.lease.delivery.id.number;
            let delivery = deliveries.iter_mut().find(|delivery| delivery.number == number);
            for recipient in delivery.into_iter().flat_map(|delivery| &mut delivery.recipients) {
                let new = settlement.recipients.iter().find(|(index, _)| *index == recipient.index);
                if let Some((_, state)) = new {
                    recipient.state = state.clone();
                }
            }
        }
        let message = KeptMessage { id: item, meta: view.meta, deliveries, body };
        Some(Candidate { message, until })
    }

    /// Keeps a candidate if its item is gone.
    async fn keep(&self, candidate: Option<Candidate>) {
        let Some(Candidate { message, until }) = candidate else { return };
        let id = message.id;
        if !matches!(self.queue.item(id).await, Ok(None)) || !self.has_room(message.body.size()) {
            return;
        }
        if let Err(error) = self.kept.keep(message, until).await {
            tracing::warn!(%error, %id, "the content of a message is not kept");
        }
    }
}

#[async_trait]
impl Queue for KeepingQueue {
    async fn settle(&self, settlements: Vec<Arc<Settlement>>, items: Vec<NewItem>) -> Result<(), StoreError> {
        let mut by_item: HashMap<ItemId, Vec<&Settlement>> = HashMap::new();
        for settlement in &settlements {
            if self.kept_until(&settlement.lease.meta).is_some() {
                by_item.entry(settlement.lease.delivery.id.item).or_default().push(settlement);
            }
        }
        let mut candidates = Vec::with_capacity(by_item.len());
        for (item, settled) in by_item {
            candidates.push(self.candidate(item, &settled).await);
        }
        self.queue.settle(settlements, items).await?;
        for candidate in candidates {
            self.keep(candidate).await;
        }
        Ok(())
    }

    async fn report(
        &self,
        item: ItemId,
        recipients: Vec<ReportKey>,
        bounce: Option<NewItem>,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        let candidate = self.candidate(item, &[]).await;
        self.queue.report(item, recipients, bounce, events).await?;
        self.keep(candidate).await;
        Ok(())
    }

    async fn act(
        &self,
        item: ItemId,
        action: OperatorAction,
        now: Millis,
        events: Vec<NewEvent>,
    ) -> Result<Acted, StoreError> {
        let candidate = match action {
            OperatorAction::Drop | OperatorAction::Cancel => self.candidate(item, &[]).await,
            _ => None,
        };
        let acted = self.queue.act(item, action, now, events).await?;
        self.keep(candidate).await;
        Ok(acted)
    }

    async fn spool(&self) -> Result<Box<dyn Spool>, StoreError> {
        self.queue.spool().await
    }

    async fn accept(&self, items: Vec<NewItem>, events: Vec<NewEvent>) -> Result<(), StoreError> {
        self.queue.accept(items, events).await
    }

    async fn accept_request(
        &self,
        request: IdempotentRequest,
        items: Vec<NewItem>,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        self.queue.accept_request(request, items, events).await
    }

    async fn accepted_request(
        &self,
        tenant: &str,
        key: &str,
        now: Millis,
    ) -> Result<Option<IdempotentRequest>, StoreError> {
        self.queue.accepted_request(tenant, key, now).await
    }

    async fn due(
        &self,
        now: Millis,
        skip: &(dyn for<'d> Fn(&'d QueueKey) -> bool + Sync),
        max: usize,
    ) -> Result<Vec<DueQueue>, StoreError> {
        self.queue.due(now, skip, max).await
    }

    async fn next_due(&self, now: Millis) -> Option<Millis> {
        self.queue.next_due(now).await
    }

    async fn hasten(&self, keys: &HashSet<QueueKey>, until: Millis, now: Millis) {
        self.queue.hasten(keys, until, now).await;
    }

    async fn changed(&self) {
        self.queue.changed().await;
    }

    async fn lease(
        &self,
        keys: &[QueueKey],
        now: Millis,
        until: Millis,
        max: usize,
    ) -> Result<Vec<Lease>, StoreError> {
        self.queue.lease(keys, now, until, max).await
    }

    async fn unreported(
        &self,
        now: Millis,
        max: usize,
    ) -> Result<Vec<(ItemId, Arc<ItemMeta>, Vec<Unreported>)>, StoreError> {
        self.queue.unreported(now, max).await
    }

    async fn body(&self, item: ItemId) -> Result<Option<Arc<dyn Source>>, StoreError> {
        self.queue.body(item).await
    }

    async fn item(&self, item: ItemId) -> Result<Option<ItemView>, StoreError> {
        self.queue.item(item).await
    }

    async fn list(&self, after: Option<ItemId>, max: usize) -> Result<ItemPage, StoreError> {
        self.queue.list(after, max).await
    }

    async fn items_from(&self, first: ItemId, max: usize) -> Result<Vec<ItemView>, StoreError> {
        self.queue.items_from(first, max).await
    }

    async fn act_on_domain(
        &self,
        item: ItemId,
        domain: &str,
        action: OperatorAction,
        now: Millis,
    ) -> Result<Acted, StoreError> {
        let candidate = match action {
            OperatorAction::Drop => self.candidate(item, &[]).await,
            _ => None,
        };
        let acted = self.queue.act_on_domain(item, domain, action, now).await?;
        self.keep(candidate).await;
        Ok(acted)
    }

    async fn backlog(&self, now: Millis, looks: usize) -> Backlog {
        self.queue.backlog(now, looks).await
    }

    async fn items_to(&self, domain: &str, after: Option<ItemId>, looks: usize, max: usize) -> DomainItems {
        self.queue.items_to(domain, after, looks, max).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<QueuedDelivery>, StoreError> {
        self.queue.delivery(id).await
    }

    fn stats(&self) -> QueueStats {
        self.queue.stats()
    }

    fn held(&self, tenant: &str) -> u64 {
        self.queue.held(tenant)
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.queue.ready()
    }

    async fn close(&self) {
        self.queue.close().await;
    }
}
