//! The content of messages that were accepted: the octets, copies of recipients, their parts, and
//! what the relay changed. It is read from the queue, or from what is kept after the last delivery.

mod keeping;
mod kept;
mod readers;
mod resend;

use std::sync::Arc;

use relevo_mailkit::model::MessageParts;
use relevo_mailkit::source::Source;
use relevo_queue::{
    Delivery, DeliveryId, ItemId, ItemMeta, ItemView, Lease, LeaseHold, Millis, Queue, QueueKey, Recipient,
    RecipientState, StoreError,
};
use relevo_runtime::{Fault, FaultKind};

pub use self::keeping::KeepingQueue;
pub use self::kept::{KeptDelivery, KeptMessage, KeptMessages};
use self::readers::Readers;
pub use self::resend::ResendRefusal;
use crate::copies::{Changes, Copies, CopyError, HopAbilities};
use crate::emails::{Budget, Email, Emails};
use crate::inspection::MAX_MESSAGE;
use crate::sandbox::{Sandbox, WorkClass};

/// The copy that is shown is that for a host that takes everything.
const ALL: HopAbilities = HopAbilities { eight_bit: true, smtputf8: true };

/// Why there is no content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// There is no such message, or it is another tenant's.
    #[error("there is no email {0}")]
    NotFound(ItemId),
    /// It was delivered, and is kept no longer.
    #[error(
        "the content of this email is kept no longer: `keep_content` of the tenant says for how long it is \
         kept after the last delivery"
    )]
    Gone,
    /// It has no such recipient, or several.
    #[error("{0}")]
    Recipient(String),
    /// It cannot be read.
    #[error("{0}")]
    Message(String),
    /// Others are read at this moment.
    #[error("too many messages are taken apart at this moment, try again in a second")]
    Busy,
    /// The store or a stage failed. The log has the details.
    #[error("the content cannot be read now, try again later")]
    Unavailable,
}

/// A message whose octets are there.
#[derive(Clone)]
pub struct StoredMessage {
    /// Its id.
    pub id: ItemId,
    /// Its facts.
    pub meta: Arc<ItemMeta>,
    /// Its deliveries with their recipients.
    pub deliveries: Vec<KeptDelivery>,
    /// The octets as accepted.
    pub body: Arc<dyn Source>,
    /// It is in the queue.
    pub is_queued: bool,
    /// A plugin or an operator holds a part of it.
    pub is_held: bool,
}

/// What [`Contents`] reads from.
pub struct ContentsParts {
    /// Messages that are not finished.
    pub queue: Arc<dyn Queue>,
    /// Messages that are.
    pub kept: Arc<KeptMessages>,
    /// Makes copies again.
    pub copies: Copies,
    /// What became of messages.
    pub emails: Emails,
    /// Takes messages apart.
    pub sandbox: Sandbox,
}

/// Reads contents.
pub struct Contents {
    parts: ContentsParts,
    readers: Readers,
}

impl Contents {
    /// Over these.
    #[must_use]
    pub fn new(parts: ContentsParts) -> Self {
        Self { parts, readers: Readers::new() }
    }

    /// A message of a tenant.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub async fn find(&self, tenant: &str, id: ItemId) -> Result<StoredMessage, ContentError> {
        let unreadable = |error: StoreError| unreadable(&error);
        // The body first: an item that is finished in between is among those that are kept.
        let body = self.parts.queue.body(id).await.map_err(unreadable)?;
        let view = self.parts.queue.item(id).await.map_err(unreadable)?;
        if let (Some(body), Some(view)) = (body, view) {
            return match view.meta.tenant == tenant {
                true => Ok(StoredMessage::queued(view, body)),
                false => Err(ContentError::NotFound(id)),
            };
        }
        match self.parts.kept.find(id).await {
            Ok(Some(kept)) if kept.meta.tenant == tenant => Ok(StoredMessage::kept(kept)),
            Ok(_) => {
                let is_known = self.parts.emails.is_known(tenant, id).await.map_err(unreadable)?;
                Err(if is_known { ContentError::Gone } else { ContentError::NotFound(id) })
            }
            Err(error) => {
                tracing::error!(%error, %id, "content that is kept cannot be read");
                Err(ContentError::Unavailable)
            }
        }
    }

    /// The octets as accepted, or as the recipient gets them.
    ///
    /// # Errors
    /// There is no such recipient, or no copy.
    pub async fn source(
        &self,
        message: &StoredMessage,
        recipient: Option<&str>,
    ) -> Result<Arc<dyn Source>, ContentError> {
        let Some(recipient) = recipient else { return Ok(Arc::clone(&message.body)) };
        let lease = message.lease(Some(recipient))?;
        let copy = self.parts.copies.make_of(Arc::clone(&message.body), &lease, ALL).await;
        copy.map(|copy| copy.source).map_err(|error| no_copy(message.id, &error))
    }

    /// Takes a message of a tenant apart.
    ///
    /// # Errors
    /// It is too large, or no message.
    pub async fn parts(&self, tenant: &str, source: &Arc<dyn Source>) -> Result<MessageParts, ContentError> {
        readable(source)?;
        let _reader = self.readers.admit(tenant).await?;
        let read = self
            .parts
            .sandbox
            .run(WorkClass::Accept, tenant, source, |stages, source| stages.read_parts(source));
        answered(read.await)
    }

    /// The decoded octets of an attachment; None: there is no such one.
    ///
    /// # Errors
    /// As for [`Self::parts`].
    pub async fn attachment(
        &self,
        tenant: &str,
        source: &Arc<dyn Source>,
        number: u32,
    ) -> Result<Option<Vec<u8>>, ContentError> {
        readable(source)?;
        let _reader = self.readers.admit(tenant).await?;
        let read = self.parts.sandbox.run(WorkClass::Accept, tenant, source, move |stages, source| {
            stages.read_attachment(source, number)
        });
        answered(read.await)
    }

    /// What the relay changed for a recipient; None: for the only one.
    ///
    /// # Errors
    /// There is no such recipient, or no copy.
    pub fn changes(
        &self,
        message: &StoredMessage,
        recipient: Option<&str>,
    ) -> Result<(String, Changes), ContentError> {
        let lease = message.lease(recipient)?;
        let address = lease.delivery.recipients.first().map(|recipient| recipient.address.clone());
        let changes = self.parts.copies.changes(&lease).map_err(|error| no_copy(message.id, &error))?;
        Ok((address.unwrap_or_default(), changes))
    }

    /// What became of a message, alone.
    async fn email(&self, tenant: &str, id: ItemId) -> Result<Option<Email>, ContentError> {
        let found = self.parts.emails.message(tenant, id, &mut Budget::default()).await;
        found.map_err(|error| unreadable(&error))
    }
}

impl StoredMessage {
    fn queued(view: ItemView, body: Arc<dyn Source>) -> Self {
        Self {
            id: view.id,
            is_held: view.deliveries.iter().any(|view| view.delivery.held),
            deliveries: view.deliveries.into_iter().map(|view| KeptDelivery::of(view.delivery)).collect(),
            meta: view.meta,
            body,
            is_queued: true,
        }
    }

    fn kept(kept: KeptMessage) -> Self {
        let KeptMessage { id, meta, deliveries, body } = kept;
        Self { id, meta, deliveries, body, is_queued: false, is_held: false }
    }

    /// When it is sent for the first time, if that is later.
    fn waits_until(&self, now: Millis) -> Option<Millis> {
        self.meta.scheduled_at.filter(|at| self.is_queued && *at > now)
    }

    /// Recipients with the numbers of their deliveries.
    fn recipients(&self) -> impl Iterator<Item = (u32, &Recipient)> {
        let of = |delivery: &'_ KeptDelivery| delivery.number;
        self.deliveries.iter().flat_map(move |delivery| {
            delivery.recipients.iter().map(move |recipient| (of(delivery), recipient))
        })
    }

    /// Returns true if the recipient is still to be tried.
    fn is_pending(&self, address: &str) -> bool {
        self.is_queued
            && self.recipients().any(|(_, recipient)| {
                recipient.state == RecipientState::Pending && recipient.address.eq_ignore_ascii_case(address)
            })
    }

    /// A lease of one recipient alone: what its copy is made by.
    fn lease(&self, address: Option<&str>) -> Result<Lease, ContentError> {
        let mut matching = self
            .recipients()
            .filter(|(_, recipient)| address.is_none_or(|to| recipient.address.eq_ignore_ascii_case(to)));
        let found = matching.next();
        if address.is_none() && matching.next().is_some() {
            return Err(ContentError::Recipient("the email has several recipients: name one".to_owned()));
        }
        let (number, recipient) = found
            .ok_or_else(|| ContentError::Recipient("the email was not sent to this address".to_owned()))?;
        let delivery = Delivery {
            id: DeliveryId { item: self.id, number },
            key: QueueKey::default(),
            recipients: vec![recipient.clone()],
            due_at: 0,
            priority: 0,
            held: false,
            hold_reason: None,
            attempts: 0,
            last: None,
            reasons: Vec::new(),
        };
        Ok(Lease { delivery, meta: Arc::clone(&self.meta), token: 0, hold: LeaseHold::default() })
    }
}

/// The component takes no more.
fn readable(source: &Arc<dyn Source>) -> Result<(), ContentError> {
    match source.size() > MAX_MESSAGE as u64 {
        true => Err(ContentError::Message(format!(
            "the message has more than {MAX_MESSAGE} octets: get its `source`"
        ))),
        false => Ok(()),
    }
}

fn answered<T>(answer: Result<Result<T, String>, Fault>) -> Result<T, ContentError> {
    match answer {
        Ok(answer) => answer.map_err(ContentError::Message),
        Err(fault) => {
            tracing::warn!(%fault, "a message cannot be taken apart");
            Err(match fault.kind {
                FaultKind::Deadline | FaultKind::Memory | FaultKind::Table | FaultKind::Stack => {
                    ContentError::Message("the message takes too much memory or time to be read".to_owned())
                }
                _ => ContentError::Unavailable,
            })
        }
    }
}

fn no_copy(id: ItemId, error: &CopyError) -> ContentError {
    tracing::warn!(%id, %error, "a copy cannot be shown");
    match error {
        CopyError::NotConvertible { text, .. } => ContentError::Message(text.clone()),
        CopyError::Fault(_) => ContentError::Unavailable,
        CopyError::Host(_) => {
            ContentError::Message("the copy cannot be made any more: its domain or key is gone".to_owned())
        }
    }
}

fn unreadable(error: &StoreError) -> ContentError {
    tracing::error!(%error, "the content of a message cannot be read");
    ContentError::Unavailable
}

#[cfg(test)]
mod tests;
