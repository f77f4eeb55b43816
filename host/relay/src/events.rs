//! The events of intake and tracking: what happened, made into [`Event`]s whose text is harmless.

pub use relevo_delivery::blame;
use relevo_mailkit::envelope::Recipient;
use relevo_mailkit::event::{Clicked, Event, Failure, Opened, Queued, Refusal, Withheld};
use relevo_mailkit::labels::Labels;
use relevo_mailkit::model::Note;
use relevo_mailkit::policy::{Attribute, Verdict};
use relevo_mailkit::reply::Reply;
use relevo_mailkit::text::escaped;
use relevo_mailkit::visitor::Guess;
use relevo_queue::{ItemId, ItemMeta, Millis, NewEvent};
use relevo_submission::EgressChoice;

use crate::clock::timestamp;
use crate::pipeline::{Origin, Rejection, Submission};
use crate::policy::{PluginAnswer, PolicyResult};

const MAX_TEXT: usize = 1024;

/// What is known of a message that is not accepted yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) tenant: String,
    pub(crate) sender: String,
    pub(crate) to: Vec<String>,
    pub(crate) recipients: usize,
    pub(crate) size: u64,
    pub(crate) source: &'static str,
    pub(crate) labels: Labels,
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
            labels: submission.options.labels.clone(),
        }
    }
}

/// `email.queued` for the recipients that are sent to or held.
pub(crate) fn queued(
    id: ItemId,
    meta: &ItemMeta,
    to: &[&Recipient],
    fixes: &[Note],
    notes: &[Note],
    result: &PolicyResult,
    egress: &EgressChoice,
) -> NewEvent {
    let queued = Queued {
        sender: escaped(&meta.sender, MAX_TEXT),
        recipients: to.iter().map(|t| escaped(&t.address, MAX_TEXT)).collect(),
        size: meta.size,
        subject: meta.subject.clone(),
        message_id_header: escaped(&meta.message_id, MAX_TEXT),
        source: meta.source.clone(),
        fixes: fixes.iter().map(note).collect(),
        notes: notes.iter().map(note).collect(),
        policies: result.answers.clone(),
        attributes: attributes(&result.attributes),
        attributes_left_out: attributes(&result.denied_attributes),
        pool: egress.pool.clone(),
        route: egress.route.clone(),
        priority: egress.priority,
        scheduled_at: meta.scheduled_at.map(timestamp),
    };
    NewEvent::about(id, meta, meta.accepted_at, Event::Queued(queued))
}

/// `email.rejected` with the rule and the reply, or `email.failed` when a stage broke or the sender
/// may try again. The message had the id while it was judged; nothing else has it.
pub(crate) fn refused(id: ItemId, at: Millis, facts: &Facts, rejection: &Rejection) -> NewEvent {
    let policy = rejection.policy.as_ref();
    let by = policy.and_then(|p| p.by.as_ref());
    let refusal = Refusal {
        sender: facts.sender.clone(),
        recipients: facts.to.clone(),
        recipient_count: facts.recipients as u64,
        size: Some(facts.size),
        source: Some(facts.source.to_owned()),
        rule: rejection.rule.clone(),
        plugin: by.map(|by| by.plugin.clone()),
        digest: by.map(|by| by.digest.clone()),
        policies: policy.map(|p| p.answers.clone()).unwrap_or_default(),
        blame: rejection.fault.as_ref().map(blame),
        ..with_reply(&rejection.reply)
    };
    // A plugin's fault is a fault whatever its failure policy says about the message. A temporary
    // reply means that nothing is wrong with the message.
    let failed = rejection.fault.is_some() || policy.is_some_and(|p| p.faulted) || rejection.reply.code < 500;
    let tenant = policy.map_or(&facts.tenant, |p| &p.tenant);
    let refused = match failed {
        true => Event::Failed(Failure::Submission(refusal)),
        false => Event::Rejected(refusal),
    };
    NewEvent { labels: facts.labels.clone(), ..event(tenant, Some(id), at, refused) }
}

/// What became of recipients by a plugin's verdict when the message itself was accepted:
/// `email.rejected` with the reply that the bounce quotes, `email.held` or `email.discarded`. None
/// for those that are sent to.
pub(crate) fn decided(
    id: ItemId,
    tenant: &str,
    at: Millis,
    sender: &str,
    to: &[&str],
    verdict: &Verdict,
    by: Option<&PluginAnswer>,
) -> Option<NewEvent> {
    let recipients: Vec<String> = to.iter().map(|t| escaped(t, MAX_TEXT)).collect();
    let sender = escaped(sender, MAX_TEXT);
    let (plugin, digest) = (by.map(|by| by.plugin.clone()), by.map(|by| by.digest.clone()));
    let ruled = match verdict {
        Verdict::Accept => return None,
        Verdict::Hold(reason) => {
            Event::Held(Withheld { sender, recipients, reason: escaped(reason, MAX_TEXT), plugin, digest })
        }
        Verdict::Discard(reason) => Event::Discarded(Withheld {
            sender,
            recipients,
            reason: escaped(reason, MAX_TEXT),
            plugin,
            digest,
        }),
        Verdict::Reject(reply) => Event::Rejected(Refusal {
            sender,
            recipient_count: recipients.len() as u64,
            recipients,
            rule: "policy".to_owned(),
            plugin,
            digest,
            ..with_reply(reply)
        }),
    };
    Some(event(tenant, Some(id), at, ruled))
}

fn with_reply(reply: &Reply) -> Refusal {
    Refusal {
        code: reply.code,
        status: reply.enhanced,
        reply: escaped(&reply.text, MAX_TEXT),
        ..Refusal::default()
    }
}

fn attributes(list: &[(String, String)]) -> Vec<Attribute> {
    list.iter().map(|(name, value)| Attribute::new(name, escaped(value, MAX_TEXT))).collect()
}

/// A click or an open, and who it is by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visited<'a> {
    /// The address if it is known.
    pub(crate) recipient: Option<&'a str>,
    pub(crate) recipient_index: u32,
    /// How many requests the event stands for.
    pub(crate) count: u64,
    pub(crate) guess: Guess,
    /// No such event is known of this recipient (and link).
    pub(crate) first: bool,
}

impl Visited<'_> {
    /// `email.clicked`.
    pub(crate) fn clicked(&self, url: &str) -> Event {
        Event::Clicked(Clicked {
            recipient: self.recipient.map(|a| escaped(a, MAX_TEXT)),
            recipient_index: self.recipient_index,
            url: link(url),
            count: self.count,
            visitor: self.guess.visitor,
            visitor_reason: self.guess.reason.to_owned(),
            first: self.first,
        })
    }

    /// `email.opened`.
    pub(crate) fn opened(&self) -> Event {
        Event::Opened(Opened {
            recipient: self.recipient.map(|a| escaped(a, MAX_TEXT)),
            recipient_index: self.recipient_index,
            count: self.count,
            visitor: self.guess.visitor,
            visitor_reason: self.guess.reason.to_owned(),
            first: self.first,
        })
    }
}

/// A destination as events have it.
pub(crate) fn link(url: &str) -> String {
    escaped(url, 4 * MAX_TEXT)
}

/// An event for the event log. Its text must have been made harmless.
#[must_use]
pub fn event(tenant: &str, item: Option<ItemId>, at: Millis, event: Event) -> NewEvent {
    NewEvent { tenant: tenant.to_owned(), at, item, labels: Labels::default(), event }
}

fn note(note: &Note) -> Note {
    Note { name: escaped(&note.name, 100), detail: escaped(&note.detail, 200) }
}
