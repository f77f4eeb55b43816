//! Between the generated types and the plain ones. Nothing is judged here.

use relevo_mailkit::policy as plain;
use relevo_mailkit::reply::Reply;

use super::bindings::policy::exports::relevo::policy::observe as o;
use super::bindings::policy::relevo::policy::types as t;

pub(crate) fn to_attributes(attributes: &[plain::Attribute]) -> Vec<t::Attribute> {
    attributes.iter().map(|a| t::Attribute { name: a.name.clone(), value: a.value.clone() }).collect()
}

fn to_parameters(parameters: &[plain::Parameter]) -> Vec<t::Parameter> {
    let one = |p: &plain::Parameter| t::Parameter { keyword: p.keyword.clone(), value: p.value.clone() };
    parameters.iter().map(one).collect()
}

fn to_recipient(recipient: &plain::Recipient) -> t::Recipient {
    t::Recipient {
        address: recipient.address.clone(),
        domain: recipient.domain.clone(),
        parameters: to_parameters(&recipient.parameters),
    }
}

fn to_field(field: &plain::HeaderField) -> t::HeaderField {
    t::HeaderField { name: field.name.clone(), value: field.value.clone() }
}

fn to_part(part: &plain::Part) -> t::Part {
    t::Part {
        parent: part.parent,
        media_type: part.media_type.clone(),
        charset: part.charset.clone(),
        transfer_encoding: part.transfer_encoding.clone(),
        attachment: part.attachment,
        offset: part.offset,
        length: part.length,
    }
}

pub(crate) fn to_message(message: &plain::Message) -> t::Message {
    t::Message {
        id: message.id.clone(),
        stage: message.stage.clone(),
        tenant: message.tenant.clone(),
        identity: message.identity.clone(),
        envelope: t::Envelope {
            sender: message.envelope.sender.clone(),
            sender_domain: message.envelope.sender_domain.clone(),
            parameters: to_parameters(&message.envelope.parameters),
            recipients: message.envelope.recipients.iter().map(to_recipient).collect(),
        },
        headers: message.headers.iter().map(to_field).collect(),
        size: message.size,
        parts: message.parts.iter().map(to_part).collect(),
        facts: to_attributes(&message.facts),
        attributes: to_attributes(&message.attributes),
        now: message.now,
    }
}

fn verdict(verdict: t::Verdict) -> plain::Verdict {
    match verdict {
        t::Verdict::Accept => plain::Verdict::Accept,
        t::Verdict::Reject(reply) => plain::Verdict::Reject(Reply {
            code: reply.code,
            // Without a code that can be parsed the reply is replaced: see `recheck::policy`.
            enhanced: reply.enhanced.parse().ok(),
            text: reply.text,
        }),
        t::Verdict::Hold(reason) => plain::Verdict::Hold(reason),
        t::Verdict::Discard(reason) => plain::Verdict::Discard(reason),
    }
}

pub(crate) fn decision(decision: t::Decision) -> plain::Decision {
    let own = |own: t::Override| plain::Override { recipient: own.recipient, verdict: verdict(own.verdict) };
    let field = |field: t::HeaderField| plain::HeaderField { name: field.name, value: field.value };
    let attribute = |a: t::Attribute| plain::Attribute { name: a.name, value: a.value };
    plain::Decision {
        verdict: verdict(decision.verdict),
        overrides: decision.overrides.into_iter().map(own).collect(),
        headers: decision.headers.into_iter().map(field).collect(),
        attributes: decision.attributes.into_iter().map(attribute).collect(),
    }
}

pub(crate) fn to_event(event: plain::Event) -> o::Event {
    let reply = |reply: plain::RemoteReply| o::RemoteReply {
        code: reply.code,
        enhanced: reply.enhanced,
        text: reply.text,
    };
    o::Event {
        message: event.message,
        stage: event.stage,
        kind: event.kind,
        at: event.at,
        recipient: event.recipient,
        attempt: event.attempt,
        reply: event.reply.map(reply),
        attributes: to_attributes(&event.attributes),
    }
}
