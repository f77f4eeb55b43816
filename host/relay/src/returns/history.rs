//! What is known of a recipient whose mail came back.

use relevo_mailkit::event::{Attempt, Event};
use relevo_mailkit::labels::Labels;
use relevo_queue::{ItemId, NewEvent, StoreError};

use super::Returns;

/// Events of a message that are read: those of the largest message, and some more.
const MAX_EVENTS: usize = 10_000;
const PAGE: usize = 500;

/// Which recipient of a message is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom<'a> {
    /// The one at this position.
    Index(u32),
    /// The one with this address; without an address, the only one.
    Address(Option<&'a str>),
}

/// A recipient of a message, from the event log and the queue.
#[derive(Debug, Clone, Default)]
pub(super) struct RecipientHistory {
    pub(super) tenant: String,
    pub(super) labels: Labels,
    /// The last attempt, or what would be in its event.
    pub(super) attempt: Attempt,
    /// There is an event that ends the recipient, and is no delivery.
    pub(super) has_failed: bool,
    /// A report has told of a delay.
    pub(super) is_delayed: bool,
    pub(super) has_complained: bool,
}

impl Returns {
    /// The history of a recipient. None: neither event log nor queue know it, or it is nobody's.
    pub(super) async fn history(
        &self,
        message: ItemId,
        whom: Whom<'_>,
    ) -> Result<Option<RecipientHistory>, StoreError> {
        let events = self.events_of(message).await?;
        let index = match whom {
            Whom::Index(index) => Some(index),
            Whom::Address(address) => index_of(&events, address),
        };
        let Some(index) = index else { return Ok(None) };
        let mut history = self.queued(message, index).await?;
        for NewEvent { tenant, labels, event, .. } in events {
            if let Some(attempt) = event.attempt().filter(|attempt| attempt.recipient_index == index) {
                let history = history.get_or_insert_default();
                (history.tenant, history.labels) = (tenant, labels);
                let is_reported = attempt.report.is_some();
                history.has_failed |=
                    matches!(event, Event::Bounced(_) | Event::Expired(_) | Event::Failed(_));
                history.is_delayed |= is_reported && matches!(event, Event::DeliveryDelayed(_));
                if !is_reported {
                    history.attempt = attempt.clone();
                }
            } else if let Event::Complained(complained) = &event
                && complained.recipient_index == index
            {
                history.get_or_insert_default().has_complained = true;
            }
        }
        Ok(history.filter(|history| !history.tenant.is_empty() && !history.attempt.recipient.is_empty()))
    }

    async fn events_of(&self, message: ItemId) -> Result<Vec<NewEvent>, StoreError> {
        let (mut after, mut events) = (0, Vec::new());
        while events.len() < MAX_EVENTS {
            let page = self.parts.events.events_of(message, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.cursor;
            events.extend(page.into_iter().map(|stored| stored.event));
        }
        Ok(events)
    }

    /// A report can be faster than the event of the delivery. The queue knows the recipient then.
    async fn queued(&self, message: ItemId, index: u32) -> Result<Option<RecipientHistory>, StoreError> {
        let Some(view) = self.parts.queue.item(message).await? else { return Ok(None) };
        let found = view.deliveries.iter().find_map(|view| {
            let recipient = view.delivery.recipients.iter().find(|recipient| recipient.index == index)?;
            Some((&view.delivery, recipient))
        });
        let Some((delivery, recipient)) = found else { return Ok(None) };
        Ok(Some(RecipientHistory {
            tenant: view.meta.tenant.clone(),
            labels: view.meta.labels.clone(),
            attempt: Attempt {
                delivery_id: delivery.id.to_string(),
                recipient: recipient.address.clone(),
                recipient_index: index,
                sender: view.meta.sender.clone(),
                message_id_header: view.meta.message_id.clone(),
                attempt: delivery.attempts.max(1),
                ..Attempt::default()
            },
            ..RecipientHistory::default()
        }))
    }
}

/// The recipient with this address. Without an address there is only one, or none is meant.
fn index_of(events: &[NewEvent], address: Option<&str>) -> Option<u32> {
    let attempts = || events.iter().filter_map(|event| event.event.attempt());
    if let Some(address) = address {
        let found = attempts().find(|attempt| attempt.recipient.eq_ignore_ascii_case(address))?;
        return Some(found.recipient_index);
    }
    let queued = events.iter().find_map(|event| match &event.event {
        Event::Queued(queued) => Some(queued.recipients.len()),
        _ => None,
    });
    let first = attempts().next()?.recipient_index;
    (queued == Some(1)).then_some(first)
}
