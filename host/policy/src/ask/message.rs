//! What a plugin is told about a message. All that is known of its content comes from the report of
//! `validate`.

use std::sync::Arc;

use relevo_mailkit::model::{DeclaredEncoding, Part as FoundPart};
use relevo_mailkit::policy::{Attribute, Message, Part};
use relevo_mailkit::text::escaped;
use relevo_relay::pipeline::Origin;
use relevo_relay::policy::PolicyRequest;
use relevo_runtime::policy::Body;

/// Parts (`wit/relevo-policy-0.1.0/types.wit`).
const MAX_PARTS: usize = 100;
/// Octets of the value of an attribute.
const MAX_VALUE: usize = 1_024;
/// Octets of the subject.
const MAX_SUBJECT: usize = 200;

/// The message of a request, and where its body is.
pub(crate) fn of(request: &PolicyRequest) -> (Message, Body) {
    let offset = request.report.parts.first().map_or(request.message.size(), |root| root.body.offset);
    let message = Message {
        id: request.id.to_string(),
        stage: "data".to_owned(),
        tenant: request.tenant.id.clone(),
        identity: request.via.auth_user.clone(),
        envelope: request.envelope.as_ref().clone(),
        headers: request.report.headers.clone(),
        size: request.message.size(),
        parts: request.report.parts.iter().take(MAX_PARTS).map(|p| part(p, offset)).collect(),
        facts: facts(request),
        attributes: Vec::new(),
        now: u64::try_from(request.now).unwrap_or(0),
    };
    (message, Body { source: Arc::clone(&request.message), offset })
}

fn part(found: &FoundPart, base: u64) -> Part {
    let encoding = match found.declared {
        DeclaredEncoding::SevenBit => "7bit",
        DeclaredEncoding::EightBit => "8bit",
        DeclaredEncoding::Binary => "binary",
        DeclaredEncoding::QuotedPrintable => "quoted-printable",
        DeclaredEncoding::Base64 => "base64",
        DeclaredEncoding::Other => "unknown",
    };
    Part {
        parent: found.parent,
        media_type: found.media_type.clone(),
        charset: found.charset.clone(),
        transfer_encoding: encoding.to_owned(),
        attachment: found.attachment,
        offset: found.body.offset.saturating_sub(base),
        length: found.body.length,
    }
}

fn facts(request: &PolicyRequest) -> Vec<Attribute> {
    let (via, report) = (&request.via, &request.report);
    let mut facts = Vec::new();
    let mut fact = |name: &str, value: &str| facts.push(Attribute::new(name, escaped(value, MAX_VALUE)));
    fact("source", via.protocol.source());
    fact(
        "auth",
        match (&request.origin, via.protocol.source()) {
            (Origin::Relay(_), _) => "network",
            (Origin::Tenant(_), "http") => "api-key",
            (Origin::Tenant(_), _) => "password",
        },
    );
    let peer = via.peer.map(|ip| ip.to_canonical().to_string());
    for (name, value) in [("peer", &peer), ("helo", &via.helo), ("tls", &via.tls)] {
        if let Some(value) = value {
            fact(name, value);
        }
    }
    for author in &report.authors {
        let local = author.address.rsplit_once('@').map_or("", |(local, _)| local);
        fact("author", &format!("{local}@{}", author.domain));
    }
    fact("message-id", &report.message_id);
    fact("subject", &escaped(&report.subject, MAX_SUBJECT));
    fact("parts", &report.parts.len().to_string());
    fact("received", &report.received.to_string());
    if report.headers_left_out > 0 {
        fact("headers-left-out", &report.headers_left_out.to_string());
    }
    let found =
        [("signed", report.signed), ("eight-bit", report.eight_bit), ("utf8-header", report.utf8_header)];
    for (name, _) in found.into_iter().filter(|(_, found)| *found) {
        fact(name, "true");
    }
    for fix in &report.fixes {
        fact("fix", &fix.name);
    }
    facts
}
