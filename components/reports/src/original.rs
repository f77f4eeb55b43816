//! The message that a report is about.

use relevo_mailkit::returned::OriginalMessage;

use crate::fields::{Fields, clean, mailbox};

/// Octets of an id that are kept: a line.
const MAX_ID: usize = 998;
/// Ids of Received fields that are kept.
const MAX_RECEIVED: usize = 8;
/// Characters of an id of this relay.
const ID: usize = 26;

pub(crate) fn of(fields: &Fields) -> OriginalMessage {
    let ids = fields.all("received").filter_map(received_id).take(MAX_RECEIVED);
    let text = |name: &str| clean(fields.get(name).unwrap_or_default(), MAX_ID);
    OriginalMessage {
        message_id: text("message-id"),
        return_path: fields.get("return-path").map(mailbox).unwrap_or_default(),
        received_ids: ids.collect(),
        // RFC 9477 section 5.2: white space is no part of it.
        cfbl_feedback_id: text("cfbl-feedback-id").split_whitespace().collect(),
    }
}

/// Of a text that begins with the header of the message.
pub(crate) fn of_text(text: &str) -> OriginalMessage {
    of(&Fields::of_text(text))
}

/// The id clause of a Received field (RFC 5321 section 4.4), if it has the form of ours.
fn received_id(value: &str) -> Option<String> {
    let mut words = value.split([' ', ';', '\t']).filter(|word| !word.is_empty());
    words.by_ref().find(|word| word.eq_ignore_ascii_case("id"))?;
    let id = words.next()?;
    (id.len() == ID && id.bytes().all(|b| b.is_ascii_alphanumeric())).then(|| id.to_owned())
}
