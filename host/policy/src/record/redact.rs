//! Recordings without names: what is not known to be harmless becomes a pseudonym, or goes.
//!
//! Pseudonyms are keyed: the same address has the same one in all recordings of a place, and nobody without the key can tell whose it
//! is, or try. The key lies beside the recordings and goes with them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hmac::{Hmac, Mac as _};
use relevo_mailkit::address::to_ascii;
use relevo_mailkit::policy::{Attribute, Envelope, HeaderField, Message, Parameter};
use sha2::Sha256;

use super::entry::{KeptBody, Recording};
use super::reads::{Range, Reads};
use super::words::{Piece, is_domain, pieces};

/// Octets of the key.
pub(crate) const KEY: usize = 32;
/// Labels of a domain name that have a pseudonym of their own; those further left share one.
const LABELS: usize = 10;

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
/// Fields that are kept, with names in them replaced.
const KEPT: [&str; 10] = [
    "date",
    "mime-version",
    "content-transfer-encoding",
    "content-language",
    "auto-submitted",
    "precedence",
    "importance",
    "priority",
    "x-priority",
    "x-msmail-priority",
];
/// Fields that are kept up to the first parameter: file names are in those.
const WITHOUT_PARAMETERS: [&str; 2] = ["content-type", "content-disposition"];
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

/// The key of a place.
pub(crate) struct Pseudonyms([u8; KEY]);

impl Pseudonyms {
    pub(crate) fn new(key: [u8; KEY]) -> Self {
        Self(key)
    }

    /// Everything that names somebody is replaced in it.
    pub(crate) fn redact(&self, recording: &mut Recording) {
        let known = Known::of(self, &recording.message);
        known.message(&mut recording.message);
        recording.data = known.reads(std::mem::take(&mut recording.data));
        recording.body = KeptBody::LeftOut;
        recording.redacted = true;
    }

    fn mac(&self, kind: &str, text: &str) -> [u8; 32] {
        // Any length of key will do.
        let Ok(mut mac) = <Hmac<Sha256> as hmac::Mac>::new_from_slice(&self.0) else { return [0; 32] };
        mac.update(kind.as_bytes());
        mac.update(&[0]);
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }

    fn hex(&self, kind: &str, text: &str, octets: usize) -> String {
        self.mac(kind, text).iter().take(octets).map(|octet| format!("{octet:02x}")).collect()
    }

    /// Of a text that is not looked into.
    fn word(&self, text: &str) -> String {
        format!("x{}", self.hex("text", text, 8))
    }

    fn local(&self, local: &str, domain: &str) -> String {
        format!("u{}", self.hex("local", &format!("{local}@{domain}"), 8))
    }

    /// Of an address in any shape. Neither the case of its local part nor the form of its domain matters.
    fn address(&self, address: &str) -> String {
        let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        let domain = normal(domain);
        let local = match local {
            "" => String::new(),
            local => self.local(&local.to_lowercase(), &domain),
        };
        format!("{local}@{}", self.domain(&domain))
    }

    /// Label by label, so that a subdomain stays one. Of an address literal, another one.
    fn domain(&self, domain: &str) -> String {
        if let Some(literal) = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']')) {
            let bare = literal.strip_prefix("ipv6:").unwrap_or(literal);
            return match bare.parse::<IpAddr>() {
                Ok(ip @ IpAddr::V4(_)) => format!("[{}]", self.ip(ip)),
                Ok(ip) => format!("[ipv6:{}]", self.ip(ip)),
                Err(_) => format!("d{}", self.hex("domain", domain, 6)),
            };
        }
        let mut suffixes: Vec<&str> = suffixes(domain).collect();
        let deep = suffixes.len().saturating_sub(LABELS);
        suffixes.drain(1.min(deep)..deep);
        let labels = suffixes.iter().map(|suffix| format!("d{}", self.hex("domain", suffix, 6)));
        labels.collect::<Vec<_>>().join(".")
    }

    /// From ranges that nobody uses: 240.0.0.0/4 (RFC 1112 section 4) and 2001:db8::/32 (RFC 3849).
    fn ip(&self, ip: IpAddr) -> IpAddr {
        let mac = self.mac("ip", &ip.to_string());
        match ip {
            IpAddr::V4(_) => Ipv4Addr::new(240 | mac[0] & 15, mac[1], mac[2], mac[3]).into(),
            IpAddr::V6(_) => {
                let mut octets = [0; 16];
                octets.copy_from_slice(&mac[..16]);
                octets[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
                Ipv6Addr::from(octets).into()
            }
        }
    }
}

/// Lower case A-labels, where it has any.
fn normal(domain: &str) -> String {
    let lower = domain.trim_end_matches('.').to_lowercase();
    if lower.len() > 4 * 253 { lower } else { to_ascii(&lower).unwrap_or(lower) }
}

/// The name and everything above it.
fn suffixes(domain: &str) -> impl Iterator<Item = &str> {
    let starts = std::iter::once(0).chain(domain.match_indices('.').map(|(at, _)| at + 1));
    starts.map(|at| &domain[at..])
}

/// What is known to name somebody in one message, in lower case, and what stands for it.
struct Known<'p> {
    pseudonyms: &'p Pseudonyms,
    words: HashMap<String, String>,
    /// Top-level domains: in keys only, elsewhere `de` is a language.
    tops: HashMap<String, String>,
    /// Has colons in it, which part words.
    peer6: Option<String>,
}

impl<'p> Known<'p> {
    fn of(pseudonyms: &'p Pseudonyms, message: &Message) -> Self {
        let mut known = Self { pseudonyms, words: HashMap::new(), tops: HashMap::new(), peer6: None };
        if let Some(identity) = &message.identity {
            known.words.insert(identity.to_lowercase(), pseudonyms.word(identity));
        }
        known.address(&message.envelope.sender);
        for recipient in &message.envelope.recipients {
            known.address(&recipient.address);
            known.domain(&recipient.domain);
        }
        for fact in &message.facts {
            match fact.name.as_str() {
                "author" => known.address(&fact.value),
                "helo" => known.domain(&fact.value),
                "peer" if fact.value.contains(':') => known.peer6 = Some(fact.value.clone()),
                _ => {}
            }
        }
        known
    }

    fn address(&mut self, address: &str) {
        let Some((local, domain)) = address.rsplit_once('@') else { return };
        self.domain(domain);
        self.words.insert(address.to_lowercase(), self.pseudonyms.address(address));
        let local = local.to_lowercase();
        let pseudonym = self.pseudonyms.local(&local, &normal(domain));
        self.words.entry(local).or_insert(pseudonym);
    }

    fn domain(&mut self, domain: &str) {
        let domain = normal(domain);
        for suffix in suffixes(&domain).filter(|suffix| !suffix.is_empty()) {
            let names = if suffix.contains('.') { &mut self.words } else { &mut self.tops };
            names.insert(suffix.to_owned(), self.pseudonyms.domain(suffix));
        }
    }

    /// A text in which everything that names somebody is replaced, and everything else is as it was.
    fn text(&self, text: &[u8]) -> Vec<u8> {
        self.replace(text, false)
    }

    fn key(&self, key: &str) -> String {
        String::from_utf8_lossy(&self.replace(key.as_bytes(), true)).into_owned()
    }

    fn replace(&self, text: &[u8], tops: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        for piece in pieces(text) {
            match piece {
                Piece::Other(octets) => out.extend_from_slice(octets),
                Piece::Address(octets) => {
                    // `key=ada@reader.test`: a plugin that makes such a key makes it of the pseudonym in a replay.
                    let word = String::from_utf8_lossy(octets);
                    let cut = word.find(['=', '/']).map(|at| word.split_at(at + 1));
                    let inner = cut.and_then(|(before, after)| {
                        Some((before, self.words.get(&after.to_lowercase()).filter(|_| after.contains('@'))?))
                    });
                    match inner {
                        Some((before, known)) => out.extend([before.as_bytes(), known.as_bytes()].concat()),
                        None => out.extend(self.named(&word).as_bytes()),
                    }
                }
                Piece::Word(octets) => {
                    let word = String::from_utf8_lossy(octets);
                    let top = self.tops.get(&word.to_lowercase()).filter(|_| tops).cloned();
                    match self.one_word(&word).or(top) {
                        Some(pseudonym) => out.extend(pseudonym.as_bytes()),
                        None => out.extend_from_slice(octets),
                    }
                }
            }
        }
        match &self.peer6 {
            Some(peer) => {
                let pseudonym =
                    peer.parse().map_or_else(|_| String::new(), |ip| self.pseudonyms.ip(ip).to_string());
                String::from_utf8_lossy(&out).replace(peer.as_str(), &pseudonym).into_bytes()
            }
            None => out,
        }
    }

    fn named(&self, address: &str) -> String {
        let known = self.words.get(&address.to_lowercase());
        known.cloned().unwrap_or_else(|| self.pseudonyms.address(address))
    }

    fn one_word(&self, word: &str) -> Option<String> {
        let lower = word.to_lowercase();
        if let Some(known) = self.words.get(&lower) {
            return Some(known.clone());
        }
        match word.parse() {
            Ok(ip) => Some(self.pseudonyms.ip(ip).to_string()),
            Err(_) => is_domain(&lower).then(|| self.pseudonyms.domain(&normal(&lower))),
        }
    }

    fn string(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.text(text.as_bytes())).into_owned()
    }

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
            part.media_type = self.string(&part.media_type);
            part.charset = part.charset.as_deref().map(|charset| self.string(charset));
        }
    }

    fn envelope(&self, envelope: &mut Envelope) {
        let parameters = |all: &mut Vec<Parameter>| {
            for parameter in all.iter_mut().filter(|p| !p.value.is_empty()) {
                parameter.value = self.pseudonyms.word(&parameter.value);
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
        } else if KEPT.contains(&name.as_str()) {
            self.string(&value)
        } else if WITHOUT_PARAMETERS.contains(&name.as_str()) {
            self.string(value.split(';').next().unwrap_or_default())
        } else if name == "message-id" {
            self.message_id(&value)
        } else {
            self.pseudonyms.word(&value)
        };
        field.value = format!(" {value}").into_bytes();
        if !field.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            field.name = format!("X-{}", self.pseudonyms.word(&field.name));
        }
    }

    fn addresses(&self, value: &[u8]) -> String {
        let found = pieces(value).into_iter().filter_map(|piece| match piece {
            Piece::Address(address) => Some(self.named(&String::from_utf8_lossy(address))),
            _ => None,
        });
        found.collect::<Vec<_>>().join(", ")
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
