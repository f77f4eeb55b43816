//! Messages that were accepted and not sent yet: canceled, or given another time.

use relevo_mailkit::event::{Canceled as CanceledEvent, Event, Rescheduled};
use relevo_mailkit::labels::Tag;
use relevo_mailkit::text::escaped;
use relevo_queue::{Acted, ItemId, ItemView, Millis, NewEvent, OperatorAction, RecipientState};

use super::{MAX_ADDRESS, SendRefusal, Sending};
use crate::clock::timestamp;

/// Messages of a request, of a batch of requests: ids in a row.
pub(super) const MAX_MESSAGES: u32 = 100_000;
/// Items that are read at once.
const PAGE: usize = 500;

/// Which messages are canceled: those that have all that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CancelFilter {
    /// A batch.
    pub batch_id: Option<ItemId>,
    /// A tag; a tag without value stands for all values.
    pub tag: Option<Tag>,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Canceled {
    /// Messages that are not sent.
    pub canceled: u64,
    /// Messages that matched, and of which an attempt has begun or was made.
    pub too_late: u64,
}

impl Sending {
    /// Cancels the messages of a request of which nothing was attempted.
    ///
    /// # Errors
    /// There is no such request, or all of it has been attempted.
    pub async fn cancel(&self, tenant: &str, id: ItemId) -> Result<(), SendRefusal> {
        let mut outcome = Canceled::default();
        for item in self.messages_of(tenant, id).await? {
            self.cancel_one(&item, &mut outcome).await?;
        }
        self.conclude(tenant, id, outcome.canceled).await
    }

    /// Gives the messages of a request another time of sending.
    ///
    /// # Errors
    /// There is no such request, or all of it has been attempted.
    pub async fn reschedule(&self, tenant: &str, id: ItemId, at: Millis) -> Result<(), SendRefusal> {
        let mut moved = 0;
        for item in self.messages_of(tenant, id).await? {
            let now = self.now();
            let event = Event::Rescheduled(Rescheduled {
                scheduled_at: timestamp(at),
                previous: timestamp(item.meta.released_at()),
            });
            let events = vec![NewEvent::about(item.id, &item.meta, now, event)];
            let action = OperatorAction::Reschedule(at.max(now));
            let acted = self.pipeline.queue.act(item.id, action, now, events).await;
            if acted.map_err(|error| SendRefusal::stored(&error))? == Acted::Done {
                moved += 1;
            }
        }
        self.conclude(tenant, id, moved).await
    }

    /// Cancels all messages of a tenant that match and of which nothing was attempted.
    ///
    /// # Errors
    /// The store's. Messages before that are canceled.
    pub async fn cancel_all(&self, tenant: &str, filter: &CancelFilter) -> Result<Canceled, SendRefusal> {
        let mut outcome = Canceled::default();
        let mut after = filter.batch_id.map(|batch| batch.before());
        loop {
            let page = self.pipeline.queue.list(after, PAGE).await;
            let page = page.map_err(|error| SendRefusal::stored(&error))?;
            let Some(last) = page.last().map(|item| item.id) else { return Ok(outcome) };
            for item in page {
                if filter.batch_id.is_some_and(|batch| item.id > batch.nth(MAX_MESSAGES)) {
                    return Ok(outcome);
                }
                if item.meta.tenant == tenant && filter.concerns(&item) {
                    self.cancel_one(&item, &mut outcome).await?;
                }
            }
            after = Some(last);
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
            Acted::BeingAttempted | Acted::Begun => outcome.too_late += 1,
            Acted::NotFound => {}
        }
        Ok(())
    }

    /// The messages of a request that are still queued.
    async fn messages_of(&self, tenant: &str, id: ItemId) -> Result<Vec<ItemView>, SendRefusal> {
        let stored = |error| SendRefusal::stored(&error);
        let (last, name) = (id.nth(MAX_MESSAGES), id.to_string());
        let mut found = Vec::new();
        let mut after = Some(id.before());
        loop {
            let page = self.pipeline.queue.list(after, PAGE).await.map_err(stored)?;
            after = page.last().map(|item| item.id);
            let is_whole = page.len() < PAGE || after.is_none_or(|last_read| last_read > last);
            let is_of = |item: &ItemView| {
                item.meta.tenant == tenant && (item.id == id || item.meta.labels.email_id == name)
            };
            // Ids of a request stand in a row.
            let count = found.len();
            found.extend(page.into_iter().filter(is_of));
            if is_whole || found.len() == count {
                return Ok(found);
            }
        }
    }

    /// Nothing was changed: says why.
    async fn conclude(&self, tenant: &str, id: ItemId, changed: u64) -> Result<(), SendRefusal> {
        if changed > 0 {
            return Ok(());
        }
        let known = self.events.events_of(id, 0, 1).await.map_err(|error| SendRefusal::stored(&error))?;
        match known.first() {
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
