//! A message in an answer.

use relevo_mailkit::event::EventEntry;
use relevo_mailkit::labels::Labels;
use relevo_relay::clock::timestamp;
use relevo_relay::emails::{Email, EmailRecipient};
use serde::Serialize;

/// A message, or the messages of a request that had several.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct EmailView {
    object: &'static str,
    id: String,
    /// The reverse-path.
    from: String,
    /// The addresses of all recipients.
    to: Vec<String>,
    subject: String,
    created_at: String,
    /// The newest event that tells of sending, without `email.`; `scheduled` before that.
    last_event: String,
    /// When it is sent; null: at once.
    scheduled_at: Option<String>,
    /// The Message-ID field, with angle brackets.
    message_id_header: String,
    #[serde(flatten)]
    labels: Labels,
    recipients: Vec<RecipientView>,
    /// Everything that happened, oldest first; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<EventEntry>>,
    /// True when more happened than one answer has room for: the newest events are left out, or messages
    /// at the end of the request. Also when the message waits for longer than events are kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// A recipient in an answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct RecipientView {
    email: String,
    message_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_id: Option<String>,
    last_event: String,
    /// When that was.
    last_event_at: String,
    /// The reply or the reason that goes with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl EmailView {
    /// With its events.
    pub(super) fn whole(mut email: Email) -> Self {
        let (events, truncated) = (std::mem::take(&mut email.timeline), email.truncated);
        Self { events: Some(events), truncated, ..Self::brief(email) }
    }

    /// Without its events.
    pub(super) fn brief(email: Email) -> Self {
        let queued = email.queued.unwrap_or_default();
        Self {
            object: "email",
            id: email.id.to_string(),
            from: email.sender,
            to: email.recipients.iter().map(|recipient| recipient.address.clone()).collect(),
            subject: queued.subject,
            created_at: timestamp(email.created_at),
            last_event: email.last_event,
            scheduled_at: email.scheduled_at,
            message_id_header: queued.message_id_header,
            labels: email.labels,
            recipients: email.recipients.into_iter().map(RecipientView::from).collect(),
            events: None,
            truncated: false,
        }
    }
}

impl From<EmailRecipient> for RecipientView {
    fn from(recipient: EmailRecipient) -> Self {
        Self {
            email: recipient.address,
            message_id: recipient.message.to_string(),
            delivery_id: recipient.delivery_id,
            last_event: recipient.last_event,
            last_event_at: timestamp(recipient.at),
            detail: recipient.detail,
        }
    }
}
