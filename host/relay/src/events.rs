//! What events say. Names of events and of the fields of their data are a contract with webhooks and with readers of the event
//! log; fields are added, never renamed. Remote and foreign text is escaped; there are no secrets and no content.

pub use relevo_delivery::{DSN_QUEUED, blame};
use relevo_mailkit::model::Note;
use relevo_mailkit::policy::Verdict;
use relevo_mailkit::text::escaped;
use relevo_queue::{ItemId, ItemMeta, Millis, NewEvent};
use serde_json::{Value, json};

use crate::pipeline::{ForwardPath, Origin, Rejection, Submission};
use crate::policy::{Judgement, Opinion};

/// Accepted and on disk.
pub const QUEUED: &str = "email.queued";
/// Refused after the whole message was seen.
pub const REJECTED: &str = "email.rejected";
/// Not accepted, or not delivered, because something broke here; `blame` says what.
pub const FAILED: &str = "email.failed";
/// A plugin keeps it until it is released.
pub const HELD: &str = "email.held";
/// A plugin had it taken and not sent.
pub const DISCARDED: &str = "email.discarded";
/// A plugin broke while it was told of outcomes: `fault` says how, and `events` how many of them it was not told.
pub const PLUGIN_FAULT: &str = "plugin.fault";
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
/// alone), `policies` (what each plugin said), `attributes`, and `attributes_left_out` (not granted). The pipeline adds `pool`,
/// `route` and `priority` where they are not the usual ones.
pub(crate) fn queued(
    id: ItemId,
    meta: &ItemMeta,
    to: &[&ForwardPath],
    fixes: &[Note],
    notes: &[Note],
    judgement: &Judgement,
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
    if !judgement.opinions.is_empty() {
        data["policies"] = opinions(&judgement.opinions);
    }
    for (name, list) in [("attributes", &judgement.attributes), ("attributes_left_out", &judgement.left_out)]
    {
        if !list.is_empty() {
            data[name] = list.iter().map(attribute).collect();
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
        "status": rejection.reply.enhanced,
        "rule": rejection.rule,
        "reason": escaped(&rejection.reply.text, MAX_TEXT),
    });
    let mut tenant = facts.tenant.as_str();
    if let Some(policy) = &rejection.policy {
        tenant = &policy.tenant;
        data["policies"] = opinions(&policy.opinions);
        if let Some(by) = &policy.by {
            name_plugin(&mut data, by);
        }
    }
    let kind = match &rejection.fault {
        // It is the plugin that is broken, whatever its failure policy says about the message.
        None if rejection.policy.as_ref().is_some_and(|p| p.faulted) => FAILED,
        Some(fault) => {
            data["blame"] = blame(fault);
            FAILED
        }
        // The sender may try again and nothing is wrong with the message.
        None if rejection.reply.code < 500 => FAILED,
        None => REJECTED,
    };
    event(kind, tenant, Some(id), at, data)
}

/// What became of recipients by a plugin's verdict, when the message itself was taken: `email.rejected` (with the reply that
/// the bounce quotes), `email.held`, `email.discarded`; `plugin`, `digest` and `reason`.
pub(crate) fn ruled(
    id: ItemId,
    tenant: &str,
    at: Millis,
    sender: &str,
    to: &[&str],
    verdict: &Verdict,
    by: Option<&Opinion>,
) -> NewEvent {
    let to: Vec<_> = to.iter().map(|t| escaped(t, MAX_TEXT)).collect();
    let mut data = json!({ "from": escaped(sender, MAX_TEXT), "to": to, "rule": "policy" });
    if let Some(by) = by {
        name_plugin(&mut data, by);
    }
    let kind = match verdict {
        Verdict::Accept => QUEUED,
        Verdict::Hold(reason) => {
            data["reason"] = escaped(reason, MAX_TEXT).into();
            HELD
        }
        Verdict::Discard(reason) => {
            data["reason"] = escaped(reason, MAX_TEXT).into();
            DISCARDED
        }
        Verdict::Reject(reply) => {
            data["code"] = reply.code.into();
            data["status"] = json!(reply.enhanced);
            data["reason"] = escaped(&reply.text, MAX_TEXT).into();
            REJECTED
        }
    };
    event(kind, tenant, Some(id), at, data)
}

fn name_plugin(data: &mut Value, by: &Opinion) {
    data["plugin"] = by.plugin.as_str().into();
    data["digest"] = by.digest.as_str().into();
}

fn opinions(opinions: &[Opinion]) -> Value {
    opinions.iter().map(|o| json!(o)).collect()
}

fn attribute((name, value): &(String, String)) -> Value {
    json!({ "name": name, "value": escaped(value, MAX_TEXT) })
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
