//! Pseudonyms of addresses, and recordings that have nothing else of people.
//!
//! A pseudonym is keyed: the same address has the same one in all recordings of a plugin, and
//! nobody without the key can tell whose it is, or try.

use hmac::{Hmac, Mac as _};
use relevo_mailkit::address::to_ascii;
use relevo_mailkit::policy::{Attribute, Message};
use sha2::Sha256;

use crate::digest::hex;

/// Octets of the key.
pub(crate) const KEY: usize = 32;

/// Facts that the relay itself words or counts.
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
/// MAIL parameters without free text: RFC 1870, RFC 6152, RFC 6531.
const PARAMETERS: [&str; 3] = ["SIZE", "BODY", "SMTPUTF8"];

/// The key of a plugin's recordings.
pub(crate) struct Pseudonyms([u8; KEY]);

impl Pseudonyms {
    pub(crate) fn new(key: [u8; KEY]) -> Self {
        Self(key)
    }

    /// Leaves of a message: envelope and author addresses as pseudonyms, sizes, structure, and what
    /// the relay itself words. No value of a header field is kept, and nothing of the content is
    /// looked into.
    pub(super) fn redact(&self, message: &mut Message) {
        message.identity = message.identity.as_deref().map(|identity| self.word("identity", identity));
        let envelope = &mut message.envelope;
        envelope.sender = self.address(&envelope.sender);
        envelope.sender_domain = self.domain(&envelope.sender_domain);
        envelope.parameters.retain(|parameter| PARAMETERS.contains(&parameter.keyword.as_str()));
        for recipient in &mut envelope.recipients {
            recipient.address = self.address(&recipient.address);
            recipient.domain = self.domain(&recipient.domain);
            recipient.parameters.clear();
        }
        message.headers.clear();
        for part in &mut message.parts {
            "application/octet-stream".clone_into(&mut part.media_type);
            part.charset = None;
        }
        message.facts.retain_mut(|fact| self.keeps_fact(fact));
        message.attributes.retain(|attribute| ATTRIBUTES.contains(&attribute.name.as_str()));
    }

    fn keeps_fact(&self, fact: &mut Attribute) -> bool {
        if fact.name == "author" {
            fact.value = self.address(&fact.value);
            return true;
        }
        FACTS.contains(&fact.name.as_str())
    }

    /// Of an address. Neither the case of its local part nor the form of its domain matters. The
    /// null reverse-path stays.
    fn address(&self, address: &str) -> String {
        let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        if local.is_empty() && domain.is_empty() {
            return String::new();
        }
        let whole = format!("{}@{}", local.to_lowercase(), normal(domain));
        format!("u{}@{}", self.word("address", &whole), self.domain(domain))
    }

    fn domain(&self, domain: &str) -> String {
        if domain.is_empty() {
            return String::new();
        }
        format!("d{}.invalid", self.word("domain", &normal(domain)))
    }

    fn word(&self, kind: &str, text: &str) -> String {
        // Any length of key will do.
        let Ok(mut mac) = <Hmac<Sha256> as hmac::Mac>::new_from_slice(&self.0) else { return String::new() };
        mac.update(kind.as_bytes());
        mac.update(&[0]);
        mac.update(text.as_bytes());
        hex(&mac.finalize().into_bytes()[..8])
    }
}

/// Lower case A-labels, where it has any.
fn normal(domain: &str) -> String {
    let lower = domain.trim_end_matches('.').to_lowercase();
    if lower.len() > 4 * 253 { lower } else { to_ascii(&lower).unwrap_or(lower) }
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::policy::{Envelope, HeaderField, Parameter, Part, Recipient};

    use super::*;

    fn pseudonyms() -> Pseudonyms {
        Pseudonyms::new([7; KEY])
    }

    #[test]
    fn an_address_has_one_pseudonym_in_whatever_form() {
        let pseudonyms = pseudonyms();
        let ada = pseudonyms.address("ada@straße.test");
        assert_eq!(pseudonyms.address("Ada@XN--STRAE-OQA.test."), ada);
        let (local, domain) = ada.split_once('@').expect("an address");
        assert!(local.len() == 17 && domain.len() == 25, "{ada}");
        assert_eq!(pseudonyms.domain("straße.test"), domain);
        assert_ne!(pseudonyms.address("ada@other.test").split_once('@').map(|(local, _)| local), Some(local));
        assert_ne!(Pseudonyms::new([8; KEY]).address("ada@straße.test"), ada);
        assert_eq!((pseudonyms.address(""), pseudonyms.domain("")), (String::new(), String::new()));
    }

    #[test]
    fn nothing_of_people_or_content_is_left() {
        let recipient = Recipient {
            address: "olga@private.test".into(),
            domain: "private.test".into(),
            parameters: vec![Parameter { keyword: "ORCPT".into(), value: "rfc822;olga@private.test".into() }],
        };
        let fact = |name: &str| Attribute::new(name, "olga@private.test");
        let mut message = Message {
            id: "01J".into(),
            stage: "data".into(),
            tenant: "acme".into(),
            identity: Some("olga".into()),
            envelope: Envelope {
                sender: "olga@private.test".into(),
                sender_domain: "private.test".into(),
                parameters: vec![
                    Parameter { keyword: "SIZE".into(), value: "1234".into() },
                    Parameter { keyword: "AUTH".into(), value: "olga".into() },
                ],
                recipients: vec![recipient],
            },
            headers: vec![HeaderField { name: "X-Olga".into(), value: b" olga".to_vec() }],
            size: 99,
            parts: vec![Part {
                parent: None,
                media_type: "text/olga".into(),
                charset: Some("olga".into()),
                transfer_encoding: "7bit".into(),
                attachment: true,
                offset: 0,
                length: 9,
            }],
            facts: ["author", "peer", "helo", "subject", "message-id", "new"].map(fact).to_vec(),
            attributes: vec![Attribute::new("campaign", "olga"), Attribute::new("pool", "bulk")],
            now: 7,
        };
        message.facts.push(Attribute::new("source", "smtp"));
        let pseudonyms = pseudonyms();
        pseudonyms.redact(&mut message);
        let text = serde_json::to_string(&message).expect("serializable").to_lowercase();
        assert!(!text.contains("olga") && !text.contains("private.test"), "{text}");
        let facts: Vec<&str> = message.facts.iter().map(|fact| fact.name.as_str()).collect();
        assert_eq!(facts, ["author", "source"]);
        assert_eq!(message.facts[0].value, pseudonyms.address("olga@private.test"));
        assert_eq!(message.envelope.sender, message.facts[0].value);
        assert_eq!((message.envelope.parameters.len(), message.attributes.len()), (1, 1));
        assert_eq!((message.size, message.parts[0].length, message.now), (99, 9, 7));
    }
}
