//! Recordings without names: what is not known to be harmless becomes a pseudonym, or goes.

use relevo_mailkit::policy::{Attribute, Envelope, HeaderField, Message, Parameter};

use super::entry::{KeptBody, Recording};
use super::fields;
use super::names::Names;
use super::pseudonyms::{Pseudonyms, normal};
use super::reads::{Range, Reads};

/// Fields with addresses: what remains is a list of pseudonyms, without display names and comments.
const ADDRESSES: [&str; 17] = [
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "resent-from",
    "resent-sender",
    "resent-reply-to",
    "resent-to",
    "resent-cc",
    "resent-bcc",
    "return-path",
    "errors-to",
    "disposition-notification-to",
    "delivered-to",
    "x-original-to",
];
/// Facts that name nobody.
const FACTS: [&str; 10] = [
    "source",
    "auth",
    "tls",
    "parts",
    "received",
    "headers-left-out",
    "signed",
    "eight-bit",
    "utf8-header",
    "fix",
];
/// Attributes whose values are the operator's words.
const ATTRIBUTES: [&str; 3] = ["pool", "priority", "route"];

impl Pseudonyms {
    /// Everything that names somebody is replaced in it.
    pub(crate) fn redact(&self, recording: &mut Recording) {
        let known = Names::of(self, &recording.message);
        known.message(&mut recording.message);
        recording.data = known.reads(std::mem::take(&mut recording.data));
        recording.body = KeptBody::LeftOut;
        recording.redacted = true;
    }
}

impl Names<'_> {
    fn message(&self, message: &mut Message) {
        let pseudonyms = self.pseudonyms;
        message.identity = message.identity.as_deref().map(|identity| pseudonyms.word(identity));
        self.envelope(&mut message.envelope);
        message.headers.iter_mut().for_each(|field| self.field(field));
        message.facts.iter_mut().for_each(|fact| self.fact(fact));
        for attribute in message.attributes.iter_mut().filter(|a| !ATTRIBUTES.contains(&a.name.as_str())) {
            attribute.value = pseudonyms.word(&attribute.value);
        }
        for part in &mut message.parts {
            part.media_type = self.kept(fields::media_type(&part.media_type), &part.media_type);
            let charset = part.charset.as_deref();
            part.charset = charset.map(|charset| self.kept(fields::charset(charset), charset));
        }
    }

    /// What is left of a text, or a pseudonym of it.
    fn kept(&self, kept: Option<String>, text: &str) -> String {
        kept.unwrap_or_else(|| self.pseudonyms.word(text))
    }

    fn envelope(&self, envelope: &mut Envelope) {
        let parameters = |all: &mut Vec<Parameter>| {
            for parameter in all.iter_mut().filter(|p| !p.value.is_empty()) {
                let kept = fields::parameter(&parameter.keyword, &parameter.value);
                parameter.value = self.kept(kept, &parameter.value);
            }
        };
        if !envelope.sender.is_empty() {
            envelope.sender = self.pseudonyms.address(&envelope.sender);
        }
        if !envelope.sender_domain.is_empty() {
            envelope.sender_domain = self.pseudonyms.domain(&normal(&envelope.sender_domain));
        }
        parameters(&mut envelope.parameters);
        for recipient in &mut envelope.recipients {
            recipient.address = self.pseudonyms.address(&recipient.address);
            recipient.domain = self.pseudonyms.domain(&normal(&recipient.domain));
            parameters(&mut recipient.parameters);
        }
    }

    fn field(&self, field: &mut HeaderField) {
        let name = field.name.to_ascii_lowercase();
        let value = String::from_utf8_lossy(&field.value).trim().to_owned();
        let value = if ADDRESSES.contains(&name.as_str()) {
            self.addresses(&field.value)
        } else if name == "message-id" {
            self.message_id(&value)
        } else {
            fields::kept(&name, &value).unwrap_or_else(|| self.pseudonyms.word(&value))
        };
        field.value = format!(" {value}").into_bytes();
        if !field.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            field.name = format!("X-{}", self.pseudonyms.word(&field.name));
        }
    }

    /// Unique, and tells nothing of where it was made.
    fn message_id(&self, id: &str) -> String {
        format!("<{}@{}>", self.pseudonyms.word(id), self.pseudonyms.domain("message-id"))
    }

    fn fact(&self, fact: &mut Attribute) {
        let pseudonyms = self.pseudonyms;
        let value = fact.value.as_str();
        fact.value = match fact.name.as_str() {
            name if FACTS.contains(&name) => return,
            "author" => pseudonyms.address(value),
            "peer" => {
                value.parse().map_or_else(|_| pseudonyms.word(value), |ip| pseudonyms.ip(ip).to_string())
            }
            "helo" => pseudonyms.domain(&normal(value)),
            "message-id" => self.message_id(value.trim()),
            _ => pseudonyms.word(value),
        };
    }

    fn reads(&self, reads: Reads) -> Reads {
        let entry = |(key, value): (String, Vec<u8>)| (self.key(&key), self.text(&value));
        let scan = |(range, found): (Range, Vec<(String, Vec<u8>)>)| {
            let range = Range {
                prefix: self.key(&range.prefix),
                after: range.after.map(|after| self.key(&after)),
                ..range
            };
            (range, found.into_iter().map(entry).collect())
        };
        Reads {
            gets: reads
                .gets
                .into_iter()
                .map(|(key, value)| (self.key(&key), value.map(|value| self.text(&value))))
                .collect(),
            scans: reads.scans.into_iter().map(scan).collect(),
            ..reads
        }
    }
}

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;
