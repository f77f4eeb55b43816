//! The queue as operators see and change it: over the control socket and over HTTP.
//!
//! Each act is written to the audit log of the message's tenant.

mod sites;
mod views;

use std::collections::BTreeSet;
use std::sync::Arc;

use relevo_delivery::{DeliveryHandle, RecipientWait};
use relevo_queue::{
    Acted, DeliveryView, ItemId, ItemView, OperatorAction, Queue, QueueStats, RecipientState, StoreError,
};

use crate::audit::{Act, AuditLog};
use crate::clock::Clock;
pub use sites::{DomainView, DomainsView, MAX_DOMAINS, SiteActed};
pub use views::{AttemptView, FoundMessage, MessageDetails, MessageState, MessageView, QueuedDeliveryView};

/// Messages that are read at once.
const PAGE: usize = 200;
/// Messages that one search looks at on disk.
const SCAN: usize = 2_000;
/// Deliveries that one search or count looks at in memory: each is some nanoseconds.
const LOOKS: usize = 250_000;

/// What an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueAction {
    /// Due at once.
    Retry,
    /// Not due until released.
    Hold,
    /// Due at once, no longer held.
    Release,
    /// Gone, without a bounce.
    Drop,
}

impl QueueAction {
    /// Its name: `retry`, `hold`, `release` or `drop`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Drop => "drop",
        }
    }

    fn ends_a_wait(self) -> bool {
        matches!(self, Self::Retry | Self::Release)
    }
}

impl From<QueueAction> for OperatorAction {
    fn from(action: QueueAction) -> Self {
        match action {
            QueueAction::Retry => Self::Retry,
            QueueAction::Hold => Self::Hold,
            QueueAction::Release => Self::Release,
            QueueAction::Drop => Self::Drop,
        }
    }
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum QueueAdminError {
    /// That is no id of a message.
    #[error("`{id}`: {why}")]
    NotAnId {
        /// As it was given.
        id: String,
        /// What is wrong.
        why: String,
    },
    /// There is no such message.
    #[error("{0} is not in the queue: it was delivered, bounced or dropped, or never here")]
    Gone(ItemId),
    /// All of it is held.
    #[error("{0} is held: `relevo queue release` lets it go")]
    Held(ItemId),
    /// It cannot be dropped now.
    #[error(
        "{0} is being attempted now, that part of it is not dropped: hold it, and drop it when the attempt is over"
    )]
    BeingAttempted(ItemId),
    /// Nothing is delivered here, so nothing is known of what a message waits for.
    #[error("nothing is delivered here")]
    NoDelivery,
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Messages to look for. None: any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageFilter {
    /// Id of the tenant.
    pub tenant: Option<String>,
    /// Domain of a recipient that is pending, in lower case A-labels.
    pub domain: Option<String>,
    /// How the message stands.
    pub state: Option<MessageState>,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundMessages {
    /// Oldest first.
    pub messages: Vec<FoundMessage>,
    /// Where to go on: after this id. None: there is nothing more. A search looks at a bounded
    /// number of messages, so it may find none and go on.
    pub next: Option<ItemId>,
    /// Shards that could not be asked: what they have is missing.
    pub unavailable_shards: Vec<u16>,
}

/// A list of messages.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct MessageList {
    /// Oldest first.
    pub messages: Vec<MessageView>,
    /// Shards that could not be asked: what they have is missing.
    pub unavailable_shards: Vec<u16>,
}

/// The queue for operators. Cheap to clone.
#[derive(Clone)]
pub struct QueueAdmin {
    queue: Arc<dyn Queue>,
    clock: Arc<dyn Clock>,
    /// None: nothing is delivered here.
    delivery: Option<DeliveryHandle>,
    audit: Arc<AuditLog>,
}

impl QueueAdmin {
    /// Over these parts. Without `delivery` nothing is said of what messages wait for.
    #[must_use]
    pub fn new(
        queue: Arc<dyn Queue>,
        clock: Arc<dyn Clock>,
        delivery: Option<DeliveryHandle>,
        audit: Arc<AuditLog>,
    ) -> Self {
        Self { queue, clock, delivery, audit }
    }

    /// Up to 200 messages after an id, oldest first.
    ///
    /// # Errors
    /// `after` is no id, or the store's.
    pub async fn list(&self, after: Option<&str>) -> Result<MessageList, QueueAdminError> {
        let after = after.map(parse).transpose()?;
        let page = self.queue.list(after, PAGE).await?;
        let messages = page.items.iter().map(MessageView::from).collect();
        Ok(MessageList { messages, unavailable_shards: page.unavailable_shards })
    }

    /// Up to `max` messages after an id, oldest first.
    ///
    /// # Errors
    /// `after` is no id, or the store's.
    pub async fn search(
        &self,
        filter: &MessageFilter,
        after: Option<&str>,
        max: usize,
    ) -> Result<FoundMessages, QueueAdminError> {
        let after = after.map(parse).transpose()?;
        match &filter.domain {
            Some(domain) => self.search_domain(filter, domain, after, max).await,
            None => self.scan(filter, after, max).await,
        }
    }

    /// By the index in memory.
    async fn search_domain(
        &self,
        filter: &MessageFilter,
        domain: &str,
        after: Option<ItemId>,
        max: usize,
    ) -> Result<FoundMessages, QueueAdminError> {
        let (mut messages, mut next, mut read) = (Vec::new(), after, 0);
        let mut away = BTreeSet::new();
        while messages.len() < max && read < SCAN {
            let found = self.queue.items_to(domain, next, LOOKS, max - messages.len()).await;
            next = found.next;
            away.extend(found.unavailable_shards);
            read += found.items.len().max(1);
            let wanted =
                found.items.into_iter().filter(|(_, of)| filter.tenant.as_ref().is_none_or(|t| t == of));
            for (id, _) in wanted {
                // What cannot be read is in quarantine soon.
                if let Ok(Some(view)) = self.queue.item(id).await {
                    messages.extend(self.found(&view, filter));
                }
            }
            if next.is_none() {
                break;
            }
        }
        Ok(FoundMessages { messages, next, unavailable_shards: away.into_iter().collect() })
    }

    async fn scan(
        &self,
        filter: &MessageFilter,
        after: Option<ItemId>,
        max: usize,
    ) -> Result<FoundMessages, QueueAdminError> {
        let (mut messages, mut next, mut read) = (Vec::new(), after, 0);
        let mut away = BTreeSet::new();
        let found = |messages, next, away: BTreeSet<u16>| {
            Ok(FoundMessages { messages, next, unavailable_shards: away.into_iter().collect() })
        };
        while messages.len() < max && read < SCAN {
            let page = self.queue.list(next, PAGE.min(SCAN - read)).await?;
            away.extend(page.unavailable_shards);
            if page.items.is_empty() {
                return found(messages, None, away);
            }
            for view in &page.items {
                (next, read) = (Some(view.id), read + 1);
                messages.extend(self.found(view, filter));
                if messages.len() == max {
                    break;
                }
            }
        }
        let more = !self.queue.list(next, 1).await?.items.is_empty();
        found(messages, next.filter(|_| more), away)
    }

    fn found(&self, view: &ItemView, filter: &MessageFilter) -> Option<FoundMessage> {
        let found = FoundMessage::new(view, self.clock.now());
        let is_wanted = filter.tenant.as_ref().is_none_or(|tenant| *tenant == view.meta.tenant)
            && filter.state.is_none_or(|state| state == found.state);
        is_wanted.then_some(found)
    }

    /// One message with its deliveries.
    ///
    /// # Errors
    /// That is no id, there is no such message, or the store's.
    pub async fn show(&self, id: &str) -> Result<MessageDetails, QueueAdminError> {
        Ok(MessageDetails::from(&self.find(id).await?))
    }

    /// What each recipient of a message waits for.
    ///
    /// # Errors
    /// That is no id, there is no such message, or the store's.
    pub async fn why(&self, id: &str) -> Result<Vec<RecipientWait>, QueueAdminError> {
        let delivery = self.delivery.as_ref().ok_or(QueueAdminError::NoDelivery)?;
        Ok(delivery.why_of(&self.find(id).await?))
    }

    /// Counts of the queue.
    #[must_use]
    pub fn stats(&self) -> QueueStats {
        self.queue.stats()
    }

    /// Deliveries of a tenant that are held.
    #[must_use]
    pub fn held(&self, tenant: &str) -> u64 {
        self.queue.held(tenant)
    }

    async fn find(&self, id: &str) -> Result<ItemView, QueueAdminError> {
        let id = parse(id)?;
        self.queue.item(id).await?.ok_or(QueueAdminError::Gone(id))
    }

    /// Acts on a message. `actor` is who asks, as the audit log names them.
    ///
    /// # Errors
    /// That is no id, there is no such message, its state forbids it, or the store's.
    pub async fn act(&self, actor: &str, id: &str, action: QueueAction) -> Result<(), QueueAdminError> {
        let id = parse(id)?;
        let found = self.queue.item(id).await;
        // A record that cannot be read says no tenant, and is dropped all the same.
        let tenant = found.as_ref().ok().and_then(|view| view.as_ref()).map(|view| view.meta.tenant.clone());
        let done = self.act_on(id, found, action).await;
        if let Some(tenant) = tenant {
            let result = done.as_ref().err().map_or_else(|| "done".to_owned(), ToString::to_string);
            let (subject, action) = (id.to_string(), format!("queue {}", action.name()));
            let act = Act { tenant: &tenant, actor, action: &action, subject: &subject, result: &result };
            self.audit.write(act).await;
        }
        done
    }

    async fn act_on(
        &self,
        id: ItemId,
        found: Result<Option<ItemView>, StoreError>,
        action: QueueAction,
    ) -> Result<(), QueueAdminError> {
        if action.ends_a_wait()
            && let Some(view) = found?
        {
            let mut open = view.deliveries.iter().filter(|view| pending(view) > 0).peekable();
            let is_held = open.peek().is_some() && open.all(|view| view.delivery.held);
            if action == QueueAction::Retry && is_held {
                return Err(QueueAdminError::Held(id));
            }
            if let Some(delivery) = &self.delivery {
                delivery.reset_backoff(view.deliveries.iter().map(|view| &view.delivery.key));
            }
        }
        let acted = self.queue.act(id, action.into(), self.clock.now(), Vec::new()).await?;
        tracing::info!(%id, ?action, ?acted, "operator");
        match acted {
            Acted::Done => Ok(()),
            Acted::BeingAttempted | Acted::Begun => Err(QueueAdminError::BeingAttempted(id)),
            Acted::NotFound => Err(QueueAdminError::Gone(id)),
        }
    }
}

fn parse(id: &str) -> Result<ItemId, QueueAdminError> {
    id.parse().map_err(|error: <ItemId as std::str::FromStr>::Err| QueueAdminError::NotAnId {
        id: id.to_owned(),
        why: error.to_string(),
    })
}

/// Recipients that are still to be delivered to.
fn pending(view: &DeliveryView) -> usize {
    view.delivery.recipients.iter().filter(|r| r.state == RecipientState::Pending).count()
}
