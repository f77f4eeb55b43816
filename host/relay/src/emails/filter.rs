//! Which messages a list has.

use relevo_mailkit::event::{Event, Queued};
use relevo_mailkit::labels::{Stream, Tag};
use relevo_queue::{ItemId, Millis, NewEvent};

/// Which messages [`Emails::list`](super::Emails::list) returns: those that have all that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EmailFilter {
    /// A tag; one without value stands for all values.
    pub tag: Option<Tag>,
    /// The stream.
    pub stream: Option<Stream>,
    /// A recipient's address, lower case; `@` and a domain stand for all its addresses.
    pub to: Option<String>,
    /// The reverse-path, lower case.
    pub from: Option<String>,
    /// A part of the subject, lower case.
    pub subject: Option<String>,
    /// A part of the subject, the reverse-path, a recipient's address or a tag, lower case; or the
    /// id, or the Message-ID.
    pub search: Option<String>,
    /// [`Email::last_event`](super::Email::last_event).
    pub last_event: Option<String>,
    /// Accepted at this time or later.
    pub since: Option<Millis>,
    /// Accepted before this time.
    pub until: Option<Millis>,
}

/// The facts of an event that a message is listed by.
struct ListedBy<'e> {
    sender: &'e str,
    recipients: &'e [String],
    /// Absent when nothing was queued.
    queued: Option<&'e Queued>,
}

impl EmailFilter {
    /// Returns true for the event that a message which matches is listed by.
    pub(super) fn concerns(&self, event: &NewEvent) -> bool {
        let Some(listed) = self.listed_by(&event.event) else { return false };
        let tagged = |wanted: &Tag| {
            let is_it = |tag: &Tag| tag.name == wanted.name && [&*tag.value, ""].contains(&&*wanted.value);
            event.labels.tags.iter().any(is_it)
        };
        let has_subject =
            |wanted: &String| listed.queued.is_some_and(|queued| contains(&queued.subject, wanted));
        self.tag.as_ref().is_none_or(tagged)
            && self.stream.is_none_or(|stream| stream == event.labels.stream)
            && self.from.as_ref().is_none_or(|from| listed.sender.eq_ignore_ascii_case(from))
            && self.to.as_ref().is_none_or(|to| listed.recipients.iter().any(|address| is_to(address, to)))
            && self.until.is_none_or(|until| event.at < until)
            && self.subject.as_ref().is_none_or(has_subject)
            && self.search.as_ref().is_none_or(|wanted| is_found(event, &listed, wanted))
    }

    /// Returns false for events before the time that the list begins at.
    pub(super) fn is_in_time(&self, event: &NewEvent) -> bool {
        self.since.is_none_or(|since| event.at >= since)
    }

    /// The id that is searched for.
    pub(super) fn search_id(&self) -> Option<ItemId> {
        self.search.as_ref().and_then(|search| search.to_ascii_uppercase().parse().ok())
    }

    /// Returns true if several events of one message can match: its recipients that were queued, and
    /// its suppressed ones.
    pub(super) fn matches_several(&self) -> bool {
        self.search.is_some() || self.to.as_ref().is_some_and(|to| to.starts_with('@'))
    }

    /// The facts of an event that a message is listed by: that it was queued, or discarded, or that
    /// its first recipient is a suppressed one. Who asks for a recipient gets the messages that it
    /// was suppressed for, too.
    fn listed_by<'e>(&self, event: &'e Event) -> Option<ListedBy<'e>> {
        match event {
            Event::Queued(queued) => {
                let (sender, recipients) = (queued.sender.as_str(), queued.recipients.as_slice());
                Some(ListedBy { sender, recipients, queued: Some(queued) })
            }
            Event::Discarded(withheld) => {
                let (sender, recipients) = (withheld.sender.as_str(), withheld.recipients.as_slice());
                Some(ListedBy { sender, recipients, queued: None })
            }
            Event::Suppressed(suppressed) => {
                let is_asked_for = self.to.is_some() || self.search.is_some();
                let is_first = suppressed.recipient_index == 0 || is_asked_for;
                let recipients = std::slice::from_ref(&suppressed.recipient);
                let listed = ListedBy { sender: &suppressed.sender, recipients, queued: None };
                (suppressed.delivery_id.is_none() && is_first).then_some(listed)
            }
            _ => None,
        }
    }
}

/// Returns true if the address is `wanted`, or of the domain behind its `@`.
fn is_to(address: &str, wanted: &str) -> bool {
    match wanted.strip_prefix('@') {
        Some(domain) => {
            address.rsplit_once('@').is_some_and(|(_, of_address)| of_address.eq_ignore_ascii_case(domain))
        }
        None => address.eq_ignore_ascii_case(wanted),
    }
}

fn is_found(event: &NewEvent, listed: &ListedBy<'_>, wanted: &str) -> bool {
    let bare = |id: &str| id.trim_start_matches('<').trim_end_matches('>').to_ascii_lowercase();
    let in_tag = |tag: &Tag| contains(&format!("{}:{}", tag.name, tag.value), wanted);
    let in_queued = |queued: &Queued| {
        contains(&queued.subject, wanted) || bare(&queued.message_id_header) == bare(wanted)
    };
    contains(listed.sender, wanted)
        || listed.recipients.iter().any(|address| contains(address, wanted))
        || listed.queued.is_some_and(in_queued)
        || event.labels.tags.iter().any(in_tag)
        || event.item.is_some_and(|id| id.to_string().eq_ignore_ascii_case(wanted))
}

/// Returns true if `text` contains `wanted`, which is lower case.
fn contains(text: &str, wanted: &str) -> bool {
    text.to_lowercase().contains(wanted)
}

#[cfg(test)]
mod tests;
