//! What is known of the recipient that an event is about.

use std::time::Duration;

use relevo_mailkit::event::Event;
use relevo_mailkit::labels::Labels;
use relevo_mailkit::visitor::Timing;
use relevo_queue::{ItemId, Millis, RecipientState};

use super::TrackingEndpoint;
use super::repeats::TrackingEvent;
use crate::events;

/// Events of a message that are read: the attempts of the largest message, and some more.
const MAX_EVENTS_READ: usize = 1_200;

/// The recipient of an event. Nothing is known when neither queue nor event log have the message.
#[derive(Debug, Default)]
pub(super) struct Subject {
    pub(super) address: Option<String>,
    pub(super) labels: Labels,
    /// The recipient is in the queue and has not got the message.
    waits: bool,
    delivered_at: Option<Millis>,
    /// No open, or no click on this link, is in the event log, and the log was read to its end.
    pub(super) first: bool,
}

impl Subject {
    pub(super) fn timing(&self, now: Millis) -> Timing {
        match self.delivered_at {
            Some(at) => Timing::After(Duration::from_millis(now.saturating_sub(at).try_into().unwrap_or(0))),
            None if self.waits => Timing::BeforeDelivery,
            None => Timing::Unknown,
        }
    }

    /// Of events that repeat one that was written before: the time of each is not known any more.
    pub(super) fn repeated(self) -> Self {
        Self { waits: false, delivered_at: None, first: false, ..self }
    }
}

impl TrackingEndpoint {
    /// What is known of the recipient of an event that is about to be written.
    pub(super) async fn subject(&self, event: &TrackingEvent) -> Subject {
        self.known(event.item, event.recipient, Some(event)).await.unwrap_or_default()
    }

    /// The queue has the address until the message is delivered, then the event log. The log also
    /// tells whether there was such an `event` before.
    pub(super) async fn known(
        &self,
        item: ItemId,
        index: u32,
        event: Option<&TrackingEvent>,
    ) -> Option<Subject> {
        let mut subject = self.queued(item, index).await;
        let (mut after, mut read, mut repeats) = (0, 0, false);
        let is_whole = loop {
            if read >= MAX_EVENTS_READ {
                break false;
            }
            let Ok(page) = self.events.events_of(item, after, MAX_EVENTS_READ - read).await else {
                break false;
            };
            let Some(last) = page.last() else { break true };
            after = last.cursor;
            read += page.len();
            for stored in page {
                repeats |= event.is_some_and(|event| is_same(&stored.event.event, event));
                if let Some(attempt) = stored.event.event.attempt().filter(|a| a.recipient_index == index) {
                    let subject = subject.get_or_insert_default();
                    subject.address = Some(attempt.recipient.clone());
                    if matches!(stored.event.event, Event::Delivered(_)) {
                        subject.delivered_at = Some(stored.event.at);
                    }
                    subject.labels = stored.event.labels;
                }
            }
        };
        Some(Subject { first: is_whole && !repeats, ..subject? })
    }

    async fn queued(&self, item: ItemId, index: u32) -> Option<Subject> {
        let view = self.queue.item(item).await.ok().flatten()?;
        let mut recipients = view.deliveries.iter().flat_map(|d| &d.delivery.recipients);
        let recipient = recipients.find(|r| r.index == index)?;
        Some(Subject {
            address: Some(recipient.address.clone()),
            labels: view.meta.labels.clone(),
            waits: recipient.state == RecipientState::Pending,
            ..Subject::default()
        })
    }
}

/// The stored event is about the same recipient and link.
fn is_same(stored: &Event, event: &TrackingEvent) -> bool {
    match (stored, &event.url) {
        (Event::Opened(opened), None) => opened.recipient_index == event.recipient,
        (Event::Clicked(clicked), Some(url)) => {
            clicked.recipient_index == event.recipient && clicked.url == events::link(url)
        }
        _ => false,
    }
}
