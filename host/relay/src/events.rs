//! What events say. Names of events and of the fields of their data are a contract with webhooks and with readers of the event
//! log; fields are added, never renamed. Remote and foreign text is escaped; there are no secrets and no content.

use relevo_mailkit::model::Note;
use relevo_queue::{ItemId, ItemMeta, Millis, NewEvent};
use relevo_runtime::Fault;
use serde_json::{Value, json};

use crate::pipeline::{ForwardPath, Origin, Rejection, Submission};
use crate::text::escaped;

/// Accepted and on disk.
pub const QUEUED: &str = "email.queued";
/// Refused after the whole message was seen.
pub const REJECTED: &str = "email.rejected";
/// Not accepted, or not delivered, because something broke here; `blame` says what.
pub const FAILED: &str = "email.failed";
/// A link was followed.
pub const CLICKED: &str = "email.clicked";
/// The pixel was fetched.
pub const OPENED: &str = "email.opened";

/// Octets of an address or text of somebody else's.
const MAX_TEXT: usize = 1024;

/// What is known of a message that is not accepted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) tenant: String,
    pub(crate) sender: String,
    pub(crate) to: Vec<String>,
    pub(crate) recipients: usize,
    pub(crate) size: u64,
    pub(crate) source: &'static str,
}

/// Recipients that the event of a refusal names.
const NAMED: usize = 10;

impl Facts {
    pub(crate) fn of(submission: &Submission) -> Self {
        let recipients = &submission.envelope.recipients;
        Self {
            tenant: match &submission.origin {
                Origin::Tenant(tenant) => tenant.clone(),
                // Not proven: an event of a refusal goes to nobody's feed.
                Origin::Relay(_) => String::new(),
            },
            sender: escaped(&submission.envelope.sender, MAX_TEXT),
            to: recipients.iter().take(NAMED).map(|r| escaped(&r.address, MAX_TEXT)).collect(),
            recipients: recipients.len(),
            size: submission.body.source.size(),
            source: submission.via.protocol.source(),
        }
    }
}

/// `email.queued`: `message_id`, `from`, `to`, `size`, `subject`, `source`, `fixes` and `notes` (what validate repaired, what track left
/// alone).
pub(crate) fn queued(
    id: ItemId,
    meta: &ItemMeta,
    to: &[ForwardPath],
    fixes: &[Note],
    notes: &[Note],
) -> NewEvent {
    let to: Vec<_> = to.iter().map(|t| escaped(&t.address, MAX_TEXT)).collect();
    let mut data = json!({
        "message_id": escaped(&meta.message_id, MAX_TEXT),
        "from": escaped(&meta.sender, MAX_TEXT),
        "to": to,
        "size": meta.size,
        "subject": meta.subject,
        "source": meta.source,
    });
    for (name, list) in [("fixes", fixes), ("notes", notes)] {
        if !list.is_empty() {
            data[name] = list.iter().map(note).collect();
        }
    }
    event(QUEUED, &meta.tenant, Some(id), meta.accepted_at, data)
}

/// `email.rejected` with the rule and the reply, or, when a stage broke, `email.failed` with the blame. The id was given to the
/// message while it was judged; nothing else has it.
pub(crate) fn refused(id: ItemId, at: Millis, facts: &Facts, rejection: &Rejection) -> NewEvent {
    let mut data = json!({
        "from": facts.sender,
        "to": facts.to,
        "recipients": facts.recipients,
        "size": facts.size,
        "source": facts.source,
        "code": rejection.reply.code,
        "status": rejection.reply.enhanced.map(|(a, b, c)| format!("{a}.{b}.{c}")),
        "rule": rejection.rule,
        "reason": escaped(&rejection.reply.lines.join(" "), MAX_TEXT),
    });
    let kind = match &rejection.fault {
        Some(fault) => {
            data["blame"] = blame(fault);
            FAILED
        }
        // The sender may try again and nothing is wrong with the message.
        None if rejection.reply.code < 500 => FAILED,
        None => REJECTED,
    };
    event(kind, &facts.tenant, Some(id), at, data)
}

/// What broke, for the `blame` of `email.failed` and `email.delivery_delayed`: `stage`, `who` (`guest` or `host`), `kind`. The
/// detail is for the log.
#[must_use]
pub fn blame(fault: &Fault) -> Value {
    json!({
        "stage": fault.stage.name(),
        "who": format!("{:?}", fault.blame).to_ascii_lowercase(),
        "kind": format!("{:?}", fault.kind).to_ascii_lowercase(),
    })
}

/// `email.clicked`: `recipient` (index in the message), `to` while the message is still queued, `url`.
pub(crate) fn clicked(
    tenant: &str,
    id: ItemId,
    at: Millis,
    recipient: u32,
    to: Option<&str>,
    url: &str,
) -> NewEvent {
    let data = json!({
        "recipient": recipient,
        "to": to.map(|t| escaped(t, MAX_TEXT)),
        "url": escaped(url, 4 * MAX_TEXT),
    });
    event(CLICKED, tenant, Some(id), at, data)
}

/// `email.opened`: `recipient`, and `to` while the message is still queued.
pub(crate) fn opened(tenant: &str, id: ItemId, at: Millis, recipient: u32, to: Option<&str>) -> NewEvent {
    let data = json!({ "recipient": recipient, "to": to.map(|t| escaped(t, MAX_TEXT)) });
    event(OPENED, tenant, Some(id), at, data)
}

/// An event of any kind; `data` must have been made harmless.
#[must_use]
pub fn event(kind: &str, tenant: &str, item: Option<ItemId>, at: Millis, data: Value) -> NewEvent {
    NewEvent { tenant: tenant.to_owned(), kind: kind.to_owned(), at, item, data }
}

fn note(note: &Note) -> Value {
    json!({ "name": escaped(&note.name, 100), "detail": escaped(&note.detail, 200) })
}
