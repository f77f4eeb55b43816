//! Mailboxes as developers write them: `ana@example.net`, `Ana <ana@example.net>`, or an object.

use std::fmt;

use relevo_mailkit::address::Address;
use relevo_mailkit::text::is_unsafe;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::bounded::elements;
use crate::check::MAX_RECIPIENTS;

/// Octets of a display name.
const MAX_NAME: usize = 512;

/// A mailbox with an optional display name, as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mailbox {
    /// The display name, without quotes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The address, not checked yet.
    pub email: String,
}

impl Mailbox {
    /// Reads `address` or `name <address>`. The name may stand in double quotes.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        match text.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
            Some((name, email)) => Self { name: display_name(name), email: email.trim().to_owned() },
            None => Self { name: None, email: text.to_owned() },
        }
    }

    /// The address in the form of the envelope.
    ///
    /// # Errors
    /// The mistake, in words.
    pub fn address(&self) -> Result<Address, String> {
        if self.email.contains([',', ';']) && self.email.matches('@').count() > 1 {
            return Err("one address is wanted here, give several as an array".to_owned());
        }
        let address = Address::parse(&self.email).map_err(|error| error.to_string())?;
        match &self.name {
            Some(name) if name.chars().any(is_unsafe) => {
                Err("the display name has a line break or another control character".to_owned())
            }
            Some(name) if name.len() > MAX_NAME => {
                Err(format!("the display name has more than {MAX_NAME} octets"))
            }
            _ => Ok(address),
        }
    }
}

/// A display name without its quotes and quoted pairs; none when nothing is left.
fn display_name(text: &str) -> Option<String> {
    let text = text.trim();
    let name = match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        None => text.to_owned(),
        Some(quoted) => {
            let mut out = String::with_capacity(quoted.len());
            let mut chars = quoted.chars();
            while let Some(c) = chars.next() {
                out.extend(if c == '\\' { chars.next() } else { Some(c) });
            }
            out
        }
    };
    (!name.trim().is_empty()).then_some(name)
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            None => f.write_str(&self.email),
            Some(name) => write!(f, "{name} <{}>", self.email),
        }
    }
}

impl<'de> Deserialize<'de> for Mailbox {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MailboxVisitor)
    }
}

struct MailboxVisitor;

impl<'de> Visitor<'de> for MailboxVisitor {
    type Value = Mailbox;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an address such as `ana@example.net` or `Ana <ana@example.net>`, or {\"email\", \"name\"}",
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Mailbox, E> {
        Ok(Mailbox::parse(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Mailbox, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            email: String,
            #[serde(default)]
            name: Option<String>,
        }
        let fields = Fields::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        Ok(Mailbox { name: fields.name.filter(|n| !n.trim().is_empty()), email: fields.email })
    }
}

/// One mailbox or an array of at most 1,000; `null` is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct MailboxList(pub Vec<Mailbox>);

impl<'de> Deserialize<'de> for MailboxList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = MailboxList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address or an array of addresses")
    }

    fn visit_unit<E: Error>(self) -> Result<MailboxList, E> {
        Ok(MailboxList::default())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<MailboxList, E> {
        Ok(MailboxList(vec![Mailbox::parse(text)]))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MailboxList, A::Error> {
        MailboxVisitor.visit_map(map).map(|mailbox| MailboxList(vec![mailbox]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<MailboxList, A::Error> {
        elements(list, MAX_RECIPIENTS).map(MailboxList)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_people_write_are_read() {
        let mailbox = |name: Option<&str>, email: &str| Mailbox {
            name: name.map(str::to_owned),
            email: email.to_owned(),
        };
        let cases = [
            ("ana@example.net", mailbox(None, "ana@example.net")),
            ("<ana@example.net>", mailbox(None, "ana@example.net")),
            (" Ana Núñez <ana@example.net> ", mailbox(Some("Ana Núñez"), "ana@example.net")),
            (r#""Núñez, \"Ana\"" < ana@example.net >"#, mailbox(Some(r#"Núñez, "Ana""#), "ana@example.net")),
            ("a <b> <ana@example.net>", mailbox(Some("a <b>"), "ana@example.net")),
        ];
        for (text, expected) in cases {
            assert_eq!(Mailbox::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_one_is_named() {
        for text in ["", "ana", "a@b, c@d", "ana@example.net\r\nBcc: x@y", "Ana\r\nBcc: x <ana@example.net>"]
        {
            assert!(Mailbox::parse(text).address().is_err(), "{text:?}");
        }
        let several = Mailbox::parse("a@example.net, b@example.net").address();
        assert_eq!(several, Err("one address is wanted here, give several as an array".to_owned()));
    }
}
