//! Messages that were accepted and not sent yet: canceled, or given another time.

use std::sync::Arc;

use relevo_mailkit::event::{Canceled as CanceledEvent, Event, Rescheduled};
use relevo_mailkit::labels::Tag;
use relevo_mailkit::text::escaped;
use relevo_queue::{Acted, ItemId, ItemView, Millis, NewEvent, OperatorAction, RecipientState, StoreError};

use super::{MAX_ADDRESS, SendRefusal, Sending};
use crate::clock::timestamp;
use crate::emails::{Budget, Email, Emails};

/// Messages of a request, of a batch of requests: ids in a row.
pub(super) const MAX_MESSAGES: u32 = 100_000;
/// Items that are read at once, of all tenants or of a batch.
const PAGE: usize = 500;
/// Items that are read first of a request: most have one message.
const FIRST_PAGE: usize = 4;

/// Which messages are canceled: those that have all that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CancelFilter {
    /// A batch.
    pub batch_id: Option<ItemId>,
    /// A tag; a tag without value stands for all values.
    pub tag: Option<Tag>,
}

/// What a cancellation did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Canceled {
    /// Messages that are not sent.
    pub canceled: u64,
    /// Messages that matched, and of which an attempt has begun or was made. Of a request those
    /// that have left the queue count, too.
    pub too_late: u64,
}

/// What another time of sending was given to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Messages that have the new time.
    pub rescheduled: u64,
    /// Messages of which an attempt has begun or was made.
    pub too_late: u64,
}

impl Sending {
    /// Cancels the messages of a request of which nothing was attempted.
    ///
    /// # Errors
    /// There is no such request, or nothing of it can be canceled.
    pub async fn cancel(&self, tenant: &str, id: ItemId) -> Result<Canceled, SendRefusal> {
        let mut outcome = Canceled::default();
        let queued = self.messages_of(tenant, id).await?;
        for item in &queued {
            self.cancel_one(item, &mut outcome).await?;
        }
        outcome.too_late += self.conclude(tenant, id, &queued, outcome.canceled).await?;
        Ok(outcome)
    }

    /// Gives the messages of a request another time of sending.
    ///
    /// # Errors
    /// There is no such request, nothing of it can be moved, or one of its messages expires before
    /// that time: then none is moved.
    pub async fn reschedule(&self, tenant: &str, id: ItemId, at: Millis) -> Result<Moved, SendRefusal> {
        let mut outcome = Moved::default();
        let queued = self.messages_of(tenant, id).await?;
        let released_at = at.max(self.now());
        if let Some(expiring) = queued.iter().find(|item| item.meta.expires_before(released_at)) {
            let message = format!("not before expires_at, which is {}", timestamp(expiring.meta.expires_at));
            return Err(SendRefusal::invalid("scheduled_at", message));
        }
        for item in &queued {
            let now = self.now();
            let event = Event::Rescheduled(Rescheduled {
                scheduled_at: timestamp(at),
                previous: timestamp(item.meta.released_at()),
            });
            let events = vec![NewEvent::about(item.id, &item.meta, now, event)];
            let action = OperatorAction::Reschedule(at.max(now));
            let acted = self.pipeline.queue.act(item.id, action, now, events).await;
            match acted.map_err(|error| SendRefusal::stored(&error))? {
                Acted::Done => outcome.rescheduled += 1,
                Acted::BeingAttempted | Acted::Begun | Acted::NotFound => outcome.too_late += 1,
            }
        }
        outcome.too_late += self.conclude(tenant, id, &queued, outcome.rescheduled).await?;
        Ok(outcome)
    }

    /// Cancels all messages of a tenant that match and of which nothing was attempted. With a tag
    /// alone this reads the whole queue. A tenant cancels by tag or batch once at a time.
    ///
    /// # Errors
    /// Another call of the tenant is under way; the store's. Messages before that are canceled.
    pub async fn cancel_all(&self, tenant: &str, filter: &CancelFilter) -> Result<Canceled, SendRefusal> {
        let Some(_alone) = self.cancellations.begin(tenant, "") else { return Err(SendRefusal::Busy) };
        match filter.batch_id {
            Some(batch) => self.cancel_batch(tenant, batch, filter).await,
            None => self.cancel_everywhere(tenant, filter).await,
        }
    }

    /// The messages of a batch stand in a row.
    async fn cancel_batch(
        &self,
        tenant: &str,
        batch: ItemId,
        filter: &CancelFilter,
    ) -> Result<Canceled, SendRefusal> {
        let (last, mut outcome, mut first) = (batch.nth(MAX_MESSAGES), Canceled::default(), batch);
        loop {
            let page = self.pipeline.queue.items_from(first, PAGE).await;
            let page = page.map_err(|error| SendRefusal::stored(&error))?;
            let Some(end) = page.last() else { return Ok(outcome) };
            first = end.id.nth(1);
            for item in page {
                if item.id > last {
                    return Ok(outcome);
                }
                self.cancel_if(tenant, filter, &item, &mut outcome).await?;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Reads the whole queue. If a part of it cannot be read, the rest is canceled all the same.
    async fn cancel_everywhere(&self, tenant: &str, filter: &CancelFilter) -> Result<Canceled, SendRefusal> {
        let (mut outcome, mut after, mut away) = (Canceled::default(), None, Vec::new());
        loop {
            let page = self.pipeline.queue.list(after, PAGE).await;
            let page = page.map_err(|error| SendRefusal::stored(&error))?;
            away.extend(page.unavailable_shards);
            let Some(last) = page.items.last() else { break };
            after = Some(last.id);
            for item in page.items {
                self.cancel_if(tenant, filter, &item, &mut outcome).await?;
            }
            tokio::task::yield_now().await;
        }
        match away.first() {
            None => Ok(outcome),
            Some(shard) => {
                let why = format!("the messages of shard {shard:04x} cannot be canceled now");
                Err(SendRefusal::stored(&StoreError::Unavailable(why)))
            }
        }
    }

    async fn cancel_if(
        &self,
        tenant: &str,
        filter: &CancelFilter,
        item: &ItemView,
        outcome: &mut Canceled,
    ) -> Result<(), SendRefusal> {
        match item.meta.tenant == tenant && filter.concerns(item) {
            true => self.cancel_one(item, outcome).await,
            false => Ok(()),
        }
    }

    async fn cancel_one(&self, item: &ItemView, outcome: &mut Canceled) -> Result<(), SendRefusal> {
        let all = item.deliveries.iter().flat_map(|view| &view.delivery.recipients);
        let pending = all.filter(|recipient| recipient.state == RecipientState::Pending);
        let recipients = pending.map(|recipient| escaped(&recipient.address, MAX_ADDRESS)).collect();
        let event = Event::Canceled(CanceledEvent { recipients });
        let now = self.now();
        let events = vec![NewEvent::about(item.id, &item.meta, now, event)];
        let acted = self.pipeline.queue.act(item.id, OperatorAction::Cancel, now, events).await;
        match acted.map_err(|error| SendRefusal::stored(&error))? {
            Acted::Done => outcome.canceled += 1,
            // It left the queue since it was read.
            Acted::BeingAttempted | Acted::Begun | Acted::NotFound => outcome.too_late += 1,
        }
        Ok(())
    }

    /// What is known of the messages of a request that wait in the queue: for those whose events are
    /// kept no longer.
    ///
    /// # Errors
    /// The store's.
    pub async fn waiting(&self, tenant: &str, id: ItemId) -> Result<Option<Email>, SendRefusal> {
        Ok(Email::waiting(&self.messages_of(tenant, id).await?))
    }

    /// The messages of a request that are still queued. Their ids stand in a row: the first item
    /// that is not one of them ends the search.
    async fn messages_of(&self, tenant: &str, id: ItemId) -> Result<Vec<ItemView>, SendRefusal> {
        let name = id.to_string();
        let mut found = Vec::new();
        let (mut first, mut count) = (id, FIRST_PAGE);
        loop {
            let page = self.pipeline.queue.items_from(first, count).await;
            let page = page.map_err(|error| SendRefusal::stored(&error))?;
            let is_of = |item: &ItemView| {
                item.meta.tenant == tenant && (item.id == id || item.meta.labels.email_id == name)
            };
            let (before, read) = (found.len(), page.len());
            found.extend(page.into_iter().take_while(is_of));
            match found.last() {
                Some(last) if found.len() - before == read && read > 0 => first = last.id.nth(1),
                _ => return Ok(found),
            }
            count = PAGE;
        }
    }

    /// Messages of a request that are in the queue no more, and were neither canceled nor
    /// suppressed, as far as their events can be read within the bound of one answer.
    async fn finished(&self, tenant: &str, id: ItemId, queued: &[ItemView]) -> Result<u64, SendRefusal> {
        let emails = Emails::new(Arc::clone(&self.events));
        let last = queued.last().map_or(id, |item| item.id);
        let name = id.to_string();
        let (mut count, mut budget) = (0, Budget::default());
        for this in (0..MAX_MESSAGES).map(|number| id.nth(number)) {
            if queued.binary_search_by_key(&this, |item| item.id).is_ok() {
                continue;
            }
            let email = emails
                .message(tenant, this, &mut budget)
                .await
                .map_err(|error| SendRefusal::stored(&error))?;
            match email.filter(|email| this == id || email.labels.email_id == name) {
                Some(email) => {
                    count += u64::from(!["canceled", "suppressed"].contains(&email.last_event.as_str()));
                }
                // Events of a message between others may be kept no longer.
                None if this > last => break,
                None => {}
            }
        }
        Ok(count)
    }

    /// Ends an act on the messages of a request, `queued` of which were there: returns how many
    /// others had been attempted. If nothing was changed, says why.
    async fn conclude(
        &self,
        tenant: &str,
        id: ItemId,
        queued: &[ItemView],
        changed: u64,
    ) -> Result<u64, SendRefusal> {
        if changed > 0 {
            return self.finished(tenant, id, queued).await;
        }
        let known = self.events.events_of(id, 0, 1).await.map_err(|error| SendRefusal::stored(&error))?;
        match known.first() {
            None if !queued.is_empty() => Err(SendRefusal::Conflict("this email is being sent".to_owned())),
            Some(stored) if stored.event.tenant == tenant => Err(SendRefusal::Conflict(
                "this email has been sent, is being sent, or was canceled".to_owned(),
            )),
            _ => Err(SendRefusal::NotFound(format!("there is no email {id}"))),
        }
    }
}

impl CancelFilter {
    fn concerns(&self, item: &ItemView) -> bool {
        let labels = &item.meta.labels;
        let in_batch = self.batch_id.is_none_or(|batch| labels.batch_id == batch.to_string());
        let has_tag = |wanted: &Tag| {
            let is_it = |tag: &Tag| tag.name == wanted.name && [&tag.value, ""].contains(&&*wanted.value);
            labels.tags.iter().any(is_it)
        };
        in_batch && self.tag.as_ref().is_none_or(has_tag)
    }
}
