//! What became of messages: read from the event log, also when the queue has forgotten them.

mod budget;
mod filter;

use std::sync::Arc;

use relevo_mailkit::event::{Attempt, Event, EventEntry, Queued};
use relevo_mailkit::labels::Labels;
use relevo_queue::{
    EventHistory, EventPosition, HistoryError, ItemId, ItemView, ListedEvents, Millis, NewEvent, PlacedEvent,
    RecipientState, StoreError, StoredEvent,
};

pub(crate) use self::budget::Budget;
pub use self::filter::EmailFilter;
use crate::clock::timestamp;

/// Events of one message that are read. A message that has more was opened very often.
const MAX_EVENTS: usize = 10_000;
/// Messages of one request.
const MAX_MESSAGES: u32 = 1_000;
/// Messages that one call of [`Emails::list`] looks at.
const MAX_LOOKS: usize = 20_000;
/// Events that are read at once.
const PAGE: usize = 1_000;

/// Reads what became of messages. Cheap to clone.
#[derive(Clone)]
pub struct Emails {
    events: Arc<dyn EventHistory>,
    budget: Budget,
}

/// A message, or several of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    /// The id of the message, or of the request.
    pub id: ItemId,
    /// When it was accepted.
    pub created_at: Millis,
    /// What the sender attached to it.
    pub labels: Labels,
    /// The reverse-path.
    pub sender: String,
    /// What was accepted; absent when every recipient was suppressed or discarded.
    pub queued: Option<Queued>,
    /// The recipients, each once.
    pub recipients: Vec<EmailRecipient>,
    /// The newest event that tells of sending, without `email.`; `scheduled` before that.
    pub last_event: String,
    /// When it is sent, RFC 3339; absent: at once.
    pub scheduled_at: Option<String>,
    /// Everything that happened, oldest first.
    pub timeline: Vec<EventEntry>,
    /// More happened than one answer has room for: the newest events are left out, or messages at the
    /// end of the request. Also set when the message waits for longer than events are kept.
    pub truncated: bool,
}

/// A recipient of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailRecipient {
    /// The address.
    pub address: String,
    /// The message.
    pub message: ItemId,
    /// The newest event that tells of sending, without `email.`; `scheduled` before that.
    pub last_event: String,
    /// When that was.
    pub at: Millis,
    /// The delivery, once it was attempted.
    pub delivery_id: Option<String>,
    /// The reply or the reason that goes with it.
    pub detail: Option<String>,
}

/// A page of [`Emails::list`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailPage {
    /// The newest first.
    pub emails: Vec<Email>,
    /// Where the next page begins; absent at the end.
    pub next: Option<EventPosition>,
    /// Shards that could not be asked. Their messages follow when the list goes on from [`Self::next`].
    pub unavailable_shards: Vec<u16>,
}

impl EmailPage {
    fn of(emails: Vec<Email>, next: Option<EventPosition>, unavailable_shards: Vec<u16>) -> Self {
        Self { emails, next, unavailable_shards }
    }
}

impl Emails {
    /// Over this log.
    #[must_use]
    pub fn new(events: Arc<dyn EventHistory>) -> Self {
        Self { events, budget: Budget::default() }
    }

    /// A message of a tenant, with the other messages of its request if it is the first of them.
    ///
    /// # Errors
    /// The store's.
    pub async fn find(&self, tenant: &str, id: ItemId) -> Result<Option<Email>, StoreError> {
        let mut budget = self.budget;
        let Some(mut email) = self.message(tenant, id, &mut budget).await? else { return Ok(None) };
        if !email.labels.email_id.is_empty() {
            return Ok(Some(email));
        }
        let name = id.to_string();
        for number in 1..MAX_MESSAGES {
            if budget.is_used_up() {
                email.truncated = true;
                break;
            }
            let Some(other) = self.message(tenant, id.nth(number), &mut budget).await? else { break };
            if other.labels.email_id != name {
                break;
            }
            email.join(other);
        }
        Ok(Some(email))
    }

    /// The position of a message in the log, for a list that goes on behind it.
    ///
    /// # Errors
    /// The store's.
    pub async fn position(&self, tenant: &str, id: ItemId) -> Result<Option<EventPosition>, StoreError> {
        match self.first(tenant, id).await? {
            Some(first) => self.events.position_at(tenant, &first).await.map(Some),
            None => Ok(None),
        }
    }

    /// Returns true if something is known of a message of a tenant.
    ///
    /// # Errors
    /// The store's.
    pub async fn is_known(&self, tenant: &str, id: ItemId) -> Result<bool, StoreError> {
        Ok(self.first(tenant, id).await?.is_some())
    }

    /// The first event about a message that is kept.
    async fn first(&self, tenant: &str, id: ItemId) -> Result<Option<StoredEvent>, StoreError> {
        let first = self.events.events_of(id, 0, 1).await?;
        Ok(first.into_iter().next().filter(|stored| stored.event.tenant == tenant))
    }

    /// Up to `max` messages of a tenant that match, the newest first, before a position. A page may
    /// have fewer although there are more: one call looks at a bounded number of messages.
    ///
    /// # Errors
    /// The store's, or the position is none of this relay.
    pub async fn list(
        &self,
        tenant: &str,
        filter: &EmailFilter,
        mut before: EventPosition,
        max: usize,
    ) -> Result<EmailPage, HistoryError> {
        let (mut emails, mut looks, mut budget) = (Vec::new(), 0, self.budget);
        // All that is wanted may be there at once; where a filter leaves most out, more is read.
        let mut at_once = max.clamp(1, PAGE);
        if let Some(stored) = self.named(tenant, filter, &mut budget).await? {
            let place = before.place(stored.event.item.map(ItemId::shard));
            if stored.cursor < place && filter.is_in_time(&stored.event) {
                emails.extend(self.matching(tenant, filter, stored, &mut budget).await?);
            }
            return Ok(EmailPage::of(emails, None, Vec::new()));
        }
        let begin = before.clone();
        // What could not be asked may have more. A page on which nothing is would begin again for ever.
        let rest = |before: EventPosition, away: &[u16]| {
            Some(before).filter(|before| !away.is_empty() && *before != begin)
        };
        let mut away = Vec::new();
        while looks < MAX_LOOKS {
            let messages = ListedEvents::Messages;
            let page = self.events.history_before(tenant, messages, &before, at_once).await?;
            away = page.unavailable_shards;
            if page.events.is_empty() {
                let next = rest(before, &away);
                return Ok(EmailPage::of(emails, next, away));
            }
            looks += page.events.len();
            at_once = (at_once * 4).min(PAGE);
            for event in page.events {
                if !filter.is_in_time(&event.stored.event) {
                    let next = rest(before, &away);
                    return Ok(EmailPage::of(emails, next, away));
                }
                if budget.is_used_up() {
                    return Ok(EmailPage::of(emails, Some(before), away));
                }
                let place = before.clone();
                before = before.at(&event);
                let PlacedEvent { stored, .. } = event;
                let email = self.matching(tenant, filter, stored, &mut budget).await?;
                if budget.events == 0 && !emails.is_empty() {
                    // Perhaps it was not read to its end: it begins the next page.
                    return Ok(EmailPage::of(emails, Some(place), away));
                }
                let Some(email) = email else { continue };
                emails.push(email);
                if emails.len() == max {
                    return Ok(EmailPage::of(emails, Some(before), away));
                }
            }
        }
        Ok(EmailPage::of(emails, Some(before), away))
    }

    /// The event that lists the message whose id is searched for: it is found however old it is.
    async fn named(
        &self,
        tenant: &str,
        filter: &EmailFilter,
        budget: &mut Budget,
    ) -> Result<Option<StoredEvent>, StoreError> {
        match filter.search_id() {
            Some(id) => self.listed_by(tenant, id, filter, budget).await,
            None => Ok(None),
        }
    }

    /// The first event of a message for which the filter lists it.
    async fn listed_by(
        &self,
        tenant: &str,
        id: ItemId,
        filter: &EmailFilter,
        budget: &mut Budget,
    ) -> Result<Option<StoredEvent>, StoreError> {
        let first = self.events.events_of(id, 0, PAGE).await?;
        budget.events = budget.events.saturating_sub(first.len());
        Ok(first.into_iter().find(|stored| stored.event.tenant == tenant && filter.concerns(&stored.event)))
    }

    async fn matching(
        &self,
        tenant: &str,
        filter: &EmailFilter,
        stored: StoredEvent,
        budget: &mut Budget,
    ) -> Result<Option<Email>, StoreError> {
        let Some(id) = stored.event.item.filter(|_| filter.concerns(&stored.event)) else {
            return Ok(None);
        };
        let is_listed = match (&stored.event.event, filter.matches_several()) {
            (Event::Discarded(_), _) => {
                self.first(tenant, id).await?.is_some_and(|first| first.cursor == stored.cursor)
            }
            (_, true) => {
                let first = self.listed_by(tenant, id, filter, budget).await?;
                first.is_none_or(|first| first.cursor == stored.cursor)
            }
            (_, false) => true,
        };
        if !is_listed {
            return Ok(None);
        }
        let email = self.message(tenant, id, budget).await?;
        let wanted = |email: &Email| filter.last_event.as_ref().is_none_or(|last| *last == email.last_event);
        Ok(email.filter(wanted))
    }

    /// A message of a tenant, alone.
    pub(crate) async fn message(
        &self,
        tenant: &str,
        id: ItemId,
        budget: &mut Budget,
    ) -> Result<Option<Email>, StoreError> {
        let (mut email, mut after) = (None::<Email>, 0);
        let mut left = budget.events.min(MAX_EVENTS);
        while left > 0 {
            let page = self.events.events_of(id, after, left.min(PAGE)).await?;
            let Some(last) = page.last() else { return Ok(email) };
            after = last.cursor;
            left = left.saturating_sub(page.len());
            budget.events = budget.events.saturating_sub(page.len());
            for stored in page.into_iter().filter(|stored| stored.event.tenant == tenant) {
                email.get_or_insert_with(|| Email::new(id, &stored.event)).add(stored, budget);
            }
        }
        if let Some(email) = &mut email {
            email.truncated |= !self.events.events_of(id, after, 1).await?.is_empty();
        }
        Ok(email)
    }
}

impl Email {
    fn new(id: ItemId, first: &NewEvent) -> Self {
        Self {
            id,
            created_at: first.at,
            labels: first.labels.clone(),
            sender: String::new(),
            queued: None,
            recipients: Vec::new(),
            last_event: "queued".to_owned(),
            scheduled_at: None,
            timeline: Vec::new(),
            truncated: false,
        }
    }

    /// Messages of a request that wait in the queue, for longer than their events are kept.
    pub(crate) fn waiting(items: &[ItemView]) -> Option<Self> {
        let first = items.first()?;
        let meta = &first.meta;
        let state = if meta.scheduled_at.is_some() { "scheduled" } else { "queued" };
        let recipients = |item: &ItemView| -> Vec<EmailRecipient> {
            let all = item.deliveries.iter().flat_map(|view| &view.delivery.recipients);
            all.map(|recipient| EmailRecipient {
                address: recipient.address.clone(),
                message: item.id,
                last_event: match recipient.state {
                    RecipientState::Pending => state,
                    RecipientState::Delivered | RecipientState::Relayed => "delivered",
                    RecipientState::Failed { .. } => "bounced",
                }
                .to_owned(),
                at: item.meta.accepted_at,
                delivery_id: None,
                detail: None,
            })
            .collect()
        };
        let recipients: Vec<EmailRecipient> = items.iter().flat_map(recipients).collect();
        let scheduled_at = meta.scheduled_at.map(timestamp);
        Some(Self {
            id: first.id,
            created_at: meta.accepted_at,
            labels: meta.labels.clone(),
            sender: meta.sender.clone(),
            queued: Some(Queued {
                sender: meta.sender.clone(),
                recipients: recipients.iter().map(|recipient| recipient.address.clone()).collect(),
                size: meta.size,
                subject: meta.subject.clone(),
                message_id_header: meta.message_id.clone(),
                source: meta.source.clone(),
                scheduled_at: scheduled_at.clone(),
                ..Queued::default()
            }),
            recipients,
            last_event: state.to_owned(),
            scheduled_at,
            timeline: Vec::new(),
            truncated: true,
        })
    }

    /// The state follows every event; what is kept of them is bounded.
    fn add(&mut self, stored: StoredEvent, budget: &mut Budget) {
        let (at, name) = (stored.event.at, short_name(&stored.event.event));
        match &stored.event.event {
            Event::Queued(queued) => {
                let state = if queued.scheduled_at.is_some() { "scheduled" } else { "queued" };
                self.last_event = state.to_owned();
                self.scheduled_at.clone_from(&queued.scheduled_at);
                for address in &queued.recipients {
                    self.happened(address, at, state, None);
                }
                self.sender.clone_from(&queued.sender);
                self.queued = Some(queued.clone());
            }
            Event::Rescheduled(moved) => self.scheduled_at = Some(moved.scheduled_at.clone()),
            Event::Canceled(canceled) => {
                for address in &canceled.recipients {
                    self.happened(address, at, name, None);
                }
                self.last_event = name.to_owned();
            }
            Event::Rejected(refusal) => {
                for address in &refusal.recipients {
                    self.happened(address, at, name, Some(&refusal.reply));
                }
                self.sender.clone_from(&refusal.sender);
            }
            Event::Held(held) | Event::Discarded(held) => {
                for address in &held.recipients {
                    self.happened(address, at, name, Some(&held.reason));
                }
                self.sender.clone_from(&held.sender);
                self.last_event = name.to_owned();
            }
            Event::Suppressed(suppressed) => {
                self.happened(&suppressed.recipient, at, name, Some(&suppressed.reason));
                self.sender.clone_from(&suppressed.sender);
                // Beside a recipient that is sent to it tells nothing of sending.
                if self.queued.is_none() || suppressed.delivery_id.is_some() {
                    self.last_event = name.to_owned();
                }
            }
            Event::Opened(relevo_mailkit::event::Opened { recipient: Some(address), .. })
            | Event::Clicked(relevo_mailkit::event::Clicked { recipient: Some(address), .. }) => {
                self.happened(address, at, name, None);
                self.last_event = name.to_owned();
            }
            other => {
                if let Some(attempt) = other.attempt() {
                    self.attempted(attempt, at, name);
                    self.last_event = name.to_owned();
                }
            }
        }
        let entry = whole_entry(stored);
        match budget.keep(&entry) {
            true => self.timeline.push(entry),
            false => self.truncated = true,
        }
    }

    fn attempted(&mut self, attempt: &Attempt, at: Millis, name: &str) {
        let detail = attempt.reply.as_ref().or(attempt.reason.as_ref());
        self.happened(&attempt.recipient, at, name, detail.map(String::as_str));
        if let Some(known) = self.recipients.iter_mut().find(|known| known.address == attempt.recipient) {
            known.delivery_id = Some(attempt.delivery_id.clone());
        }
    }

    fn happened(&mut self, address: &str, at: Millis, name: &str, detail: Option<&str>) {
        let known = self.recipients.iter_mut().find(|known| known.address == address);
        let (last_event, detail) = (name.to_owned(), detail.map(str::to_owned));
        match known {
            Some(known) => (known.last_event, known.at, known.detail) = (last_event, at, detail),
            None => self.recipients.push(EmailRecipient {
                address: address.to_owned(),
                message: self.id,
                last_event,
                at,
                delivery_id: None,
                detail,
            }),
        }
    }

    /// Takes the recipients of another message of the same request.
    fn join(&mut self, other: Self) {
        self.recipients.extend(other.recipients);
        self.queued = self.queued.take().or(other.queued);
        self.scheduled_at = self.scheduled_at.take().or(other.scheduled_at);
        if other.timeline.last().map(|e| &e.created_at) > self.timeline.last().map(|e| &e.created_at) {
            self.last_event = other.last_event;
        }
        self.timeline.extend(other.timeline);
        let cursor = |entry: &EventEntry| entry.cursor.parse::<u64>().unwrap_or(0);
        self.timeline.sort_by_key(cursor);
        self.truncated |= other.truncated;
    }
}

/// `delivered` of `email.delivered`.
fn short_name(event: &Event) -> &'static str {
    let name = event.name();
    name.strip_prefix("email.").unwrap_or(name)
}

/// An event as readers of the log get it: without what was said by SMTP. Its cursor is `position`, where
/// a reader goes on behind it.
#[must_use]
pub fn entry(mut stored: StoredEvent, position: &EventPosition) -> EventEntry {
    stored.event.event = stored.event.event.without_conversation();
    EventEntry { cursor: position.to_string(), ..whole_entry(stored) }
}

/// An event with all that it has.
fn whole_entry(stored: StoredEvent) -> EventEntry {
    let NewEvent { at, item, labels, event, .. } = stored.event;
    EventEntry {
        cursor: stored.cursor.to_string(),
        created_at: timestamp(at),
        message_id: item.map(|id| id.to_string()),
        labels,
        event,
    }
}

#[cfg(test)]
mod tests;
