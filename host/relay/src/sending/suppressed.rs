//! Recipients of a request that get nothing, because their addresses are suppressed.

use relevo_api::answer::{RecipientAnswer, RecipientStatus};
use relevo_mailkit::envelope::{Envelope, Recipient};
use relevo_mailkit::event::{Event, Suppressed};
use relevo_mailkit::labels::Labels;
use relevo_mailkit::text::escaped;
use relevo_queue::{ItemId, Millis, NewEvent};

use super::submission::smtputf8;
use super::{Addressed, MAX_ADDRESS, SendRefusal, Sender, Sending};
use crate::suppressions::in_words;

/// The suppressed recipients of a message.
pub(super) struct SuppressedRecipients {
    /// For each recipient of the message, in the order of the request; none: it is in the envelope.
    reasons: Vec<Option<(String, String)>>,
    /// Recipients of the envelope. The suppressed ones stand after them in events.
    accepted: u32,
    sender: String,
}

impl Sending {
    /// Divides the recipients of a message: the envelope has those that are not suppressed.
    pub(super) async fn divide(
        &self,
        sender: &Sender,
        to: &Addressed<'_>,
        labels: &Labels,
    ) -> Result<(Envelope, SuppressedRecipients), SendRefusal> {
        let mut envelope = Envelope {
            sender: to.sender.to_string(),
            sender_domain: to.sender.domain.clone(),
            parameters: smtputf8(to),
            recipients: Vec::new(),
        };
        let mut reasons = Vec::with_capacity(to.recipients.len());
        for (address, _) in to.recipients {
            let text = address.to_string();
            let found = self.suppressions.suppressed(&sender.tenant, labels, &text).await;
            let entry = found.map_err(|_| SendRefusal::Unavailable)?;
            if entry.is_none() {
                envelope.recipients.push(Recipient::from(address.clone()));
            }
            reasons.push(entry.map(|entry| (text, in_words(&entry))));
        }
        let accepted = u32::try_from(envelope.recipients.len()).unwrap_or(u32::MAX);
        let sender = escaped(&envelope.sender, MAX_ADDRESS);
        Ok((envelope, SuppressedRecipients { reasons, accepted, sender }))
    }
}

impl SuppressedRecipients {
    /// `email.suppressed` for each. Positions go on behind the last one of the envelope, so no two
    /// recipients of a message share one.
    pub(super) fn events(
        &self,
        tenant: &str,
        id: ItemId,
        at: Millis,
        labels: &Labels,
    ) -> impl Iterator<Item = NewEvent> {
        (self.accepted..).zip(self.reasons.iter().flatten()).map(move |(index, (address, reason))| NewEvent {
            tenant: tenant.to_owned(),
            at,
            item: Some(id),
            labels: labels.clone(),
            event: Event::Suppressed(Suppressed {
                recipient: escaped(address, MAX_ADDRESS),
                recipient_index: index,
                sender: self.sender.clone(),
                reason: reason.clone(),
                delivery_id: None,
            }),
        })
    }

    /// The answers for all recipients in the order of the request. `accepted` are those for the
    /// recipients of the envelope, in its order.
    pub(super) fn answers(
        self,
        message_id: Option<ItemId>,
        accepted: Vec<RecipientAnswer>,
    ) -> impl Iterator<Item = RecipientAnswer> {
        let mut accepted = accepted.into_iter();
        self.reasons.into_iter().filter_map(move |suppressed| {
            let Some((email, reason)) = suppressed else { return accepted.next() };
            Some(RecipientAnswer {
                email,
                message_id: message_id.map(|id| id.to_string()),
                delivery_id: None,
                status: RecipientStatus::Suppressed,
                reason: Some(reason),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(email: &str) -> RecipientAnswer {
        RecipientAnswer {
            email: email.to_owned(),
            message_id: None,
            delivery_id: None,
            status: RecipientStatus::Queued,
            reason: None,
        }
    }

    fn recipients(reasons: &[Option<&str>]) -> SuppressedRecipients {
        let reasons: Vec<_> = reasons
            .iter()
            .map(|address| address.map(|address| (address.to_owned(), "why".to_owned())))
            .collect();
        let accepted = u32::try_from(reasons.iter().filter(|reason| reason.is_none()).count()).expect("few");
        SuppressedRecipients { reasons, accepted, sender: "a@example.com".to_owned() }
    }

    #[test]
    fn positions_of_suppressed_recipients_follow_those_of_the_envelope() {
        let some = recipients(&[Some("x@b.example"), None, Some("y@b.example"), None]);
        let labels = Labels { domain: "example.com".to_owned(), ..Labels::default() };
        let id = ItemId([1; 16]);
        let found: Vec<_> = some
            .events("acme", id, 7, &labels)
            .map(|event| match event {
                NewEvent { event: Event::Suppressed(of), labels, .. } => {
                    (of.recipient, of.recipient_index, labels.domain)
                }
                other => (format!("{other:?}"), 0, String::new()),
            })
            .collect();
        let of = |address: &str, index| (address.to_owned(), index, "example.com".to_owned());
        assert_eq!(found, [of("x@b.example", 2), of("y@b.example", 3)]);
    }

    #[test]
    fn answers_keep_the_order_of_the_request() {
        let some = recipients(&[Some("x@b.example"), None, Some("y@b.example"), None]);
        let id = ItemId([1; 16]);
        let answers: Vec<_> =
            some.answers(Some(id), vec![answered("p@b.example"), answered("q@b.example")]).collect();
        let emails: Vec<_> = answers.iter().map(|answer| &*answer.email).collect();
        assert_eq!(emails, ["x@b.example", "p@b.example", "y@b.example", "q@b.example"]);
        assert_eq!(answers[0].message_id, Some(id.to_string()));
        assert_eq!(answers[2].status, RecipientStatus::Suppressed);
    }
}
