//! Reading what a plugin is told.

use std::borrow::Cow;

use crate::{Attribute, Event, Message};

impl Message {
    /// The values of the header fields with this name, in order, as they are: raw octets with
    /// leading white space and folds.
    pub fn headers_named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value.as_slice())
    }

    /// The first header field with this name as text: unfolded, without white space at its ends,
    /// octets that are not UTF-8 replaced. Encoded words stay as they are (RFC 2047).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers_named(name).next().map(unfolded)
    }

    /// The last attribute with this name: the one that counts.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        last(&self.attributes, name)
    }

    /// The first fact with this name.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts_named(name).next()
    }

    /// The facts with this name, in order.
    pub fn facts_named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.facts.iter().filter(move |f| f.name == name).map(|f| f.value.as_str())
    }
}

impl Event {
    /// The last attribute with this name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        last(&self.attributes, name)
    }
}

fn last<'a>(list: &'a [Attribute], name: &str) -> Option<&'a str> {
    list.iter().rev().find(|a| a.name == name).map(|a| a.value.as_str())
}

/// RFC 5322 section 2.2.3: the CRLF before white space goes, the white space stays.
fn unfolded(value: &[u8]) -> String {
    let text: Cow<'_, str> = String::from_utf8_lossy(value);
    text.replace("\r\n", "").trim().to_owned()
}

/// The domain of an address, as written: what follows the last `@`.
///
/// For recipients and the sender the host gives it in A-labels already; this is for addresses from
/// elsewhere.
///
/// ```
/// assert_eq!(relevo_policy_sdk::domain_of("ada@reader.test"), Some("reader.test"));
/// assert_eq!(relevo_policy_sdk::domain_of("postmaster"), None);
/// ```
#[must_use]
pub fn domain_of(address: &str) -> Option<&str> {
    address.rsplit_once('@').map(|(_, domain)| domain).filter(|domain| !domain.is_empty())
}

#[cfg(test)]
mod tests {
    use crate::testkit::message;

    #[test]
    fn headers_by_name() {
        let message = message("Subject: one\r\n  two \r\nX-A: 1\r\nx-a: \u{fc}\r\n\r\n").build();
        assert_eq!(message.header("subject").as_deref(), Some("one  two"));
        assert_eq!(message.headers_named("X-a").count(), 2);
        assert_eq!(message.headers_named("X-A").next(), Some(&b" 1"[..]));
        assert_eq!(message.header("X-B"), None);
    }

    #[test]
    fn the_last_attribute_counts_and_the_first_fact() {
        let message = message("\r\n")
            .attribute("campaign", "a")
            .attribute("campaign", "b")
            .fact("author", "x@example.com")
            .fact("author", "y@example.com")
            .build();
        assert_eq!(message.attribute("campaign"), Some("b"));
        assert_eq!(message.fact("author"), Some("x@example.com"));
        assert_eq!(message.facts_named("author").count(), 2);
        assert_eq!(message.fact("signed"), None);
    }
}
