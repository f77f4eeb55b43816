//! Messages and events to test with.

use crate::{Attribute, Envelope, Event, HeaderField, Message, Parameter, Part, Recipient};

/// The time of a message that was given none: 2026-01-01T00:00:00Z.
pub const NOW: u64 = 1_767_225_600_000;

/// A message from its text: header fields, an empty line, a body. `\n` may stand for CRLF.
///
/// Unless said otherwise it comes from `sender@example.com`, goes to nobody, belongs to the tenant
/// `test` and has one part, of the media type that its Content-Type has.
///
/// ```
/// use relevo_policy_sdk::testkit::message;
///
/// let message = message("Subject: Hello\nX-List: news\n\nHello.\n")
///     .recipient("ada@reader.test")
///     .attribute("campaign", "spring")
///     .build();
/// assert_eq!(message.header("subject").as_deref(), Some("Hello"));
/// assert_eq!(message.envelope.recipients[0].domain, "reader.test");
/// ```
#[must_use]
pub fn message(text: &str) -> MessageBuilder {
    let octets = crlf(text);
    let (header, body) = split(&octets);
    let headers = fields(header);
    let content_type = headers.iter().find(|f| f.name.eq_ignore_ascii_case("Content-Type"));
    let part = Part {
        parent: None,
        media_type: content_type.map_or_else(|| "text/plain".to_owned(), |f| media_type(&f.value)),
        charset: None,
        transfer_encoding: "7bit".to_owned(),
        attachment: false,
        offset: 0,
        length: length(body),
    };
    MessageBuilder(Message {
        id: "01test".to_owned(),
        stage: "data".to_owned(),
        tenant: "test".to_owned(),
        identity: None,
        envelope: Envelope {
            sender: String::new(),
            sender_domain: String::new(),
            parameters: vec![],
            recipients: vec![],
        },
        headers,
        size: length(&octets),
        parts: vec![part],
        facts: vec![],
        attributes: vec![],
        now: NOW,
    })
    .sender("sender@example.com")
}

/// The body of the same text: what an inspector is pushed.
#[must_use]
pub fn body(text: &str) -> Vec<u8> {
    split(&crlf(text)).1.to_vec()
}

/// An event of a message with the id that [`message`] gives, about this recipient.
#[must_use]
pub fn event(kind: &str, recipient: &str) -> Event {
    let stage = if kind == "email.delivery_delayed" { "defer" } else { "delivery" };
    Event {
        message: "01test".to_owned(),
        stage: stage.to_owned(),
        kind: kind.to_owned(),
        at: NOW,
        recipient: recipient.to_owned(),
        attempt: 1,
        reply: None,
        attributes: vec![],
    }
}

/// A message in the making.
#[derive(Debug, Clone)]
pub struct MessageBuilder(Message);

impl MessageBuilder {
    /// The reverse-path; empty for the null one.
    #[must_use]
    pub fn sender(mut self, address: &str) -> Self {
        self.0.envelope.sender = address.to_owned();
        self.0.envelope.sender_domain = domain(address);
        self
    }

    /// One more recipient. Its domain is written in lower case; give A-labels where they matter.
    #[must_use]
    pub fn recipient(mut self, address: &str) -> Self {
        let recipient =
            Recipient { address: address.to_owned(), domain: domain(address), parameters: vec![] };
        self.0.envelope.recipients.push(recipient);
        self
    }

    /// A parameter of MAIL.
    #[must_use]
    pub fn parameter(mut self, keyword: &str, value: &str) -> Self {
        let parameter = Parameter { keyword: keyword.to_owned(), value: value.to_owned() };
        self.0.envelope.parameters.push(parameter);
        self
    }

    /// Who it was authenticated as.
    #[must_use]
    pub fn identity(mut self, name: &str) -> Self {
        self.0.identity = Some(name.to_owned());
        self
    }

    /// Whose it is.
    #[must_use]
    pub fn tenant(mut self, name: &str) -> Self {
        self.0.tenant = name.to_owned();
        self
    }

    /// One more fact.
    #[must_use]
    pub fn fact(mut self, name: &str, value: &str) -> Self {
        self.0.facts.push(Attribute { name: name.to_owned(), value: value.to_owned() });
        self
    }

    /// One more attribute.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.0.attributes.push(Attribute { name: name.to_owned(), value: value.to_owned() });
        self
    }

    /// These parts in place of the one.
    #[must_use]
    pub fn parts(mut self, parts: Vec<Part>) -> Self {
        self.0.parts = parts;
        self
    }

    /// Another stage.
    #[must_use]
    pub fn stage(mut self, name: &str) -> Self {
        self.0.stage = name.to_owned();
        self
    }

    /// When it came: milliseconds since 1970.
    #[must_use]
    pub fn now(mut self, milliseconds: u64) -> Self {
        self.0.now = milliseconds;
        self
    }

    /// Done.
    #[must_use]
    pub fn build(self) -> Message {
        self.0
    }
}

fn domain(address: &str) -> String {
    crate::domain_of(address).unwrap_or_default().to_ascii_lowercase()
}

fn length(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}

fn crlf(text: &str) -> Vec<u8> {
    text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes()
}

/// The header without the empty line that ends it, and the body.
fn split(octets: &[u8]) -> (&[u8], &[u8]) {
    if let Some(body) = octets.strip_prefix(b"\r\n") {
        return (&[], body);
    }
    match octets.windows(4).position(|w| w == b"\r\n\r\n") {
        Some(at) => (&octets[..at + 2], &octets[at + 4..]),
        None => (octets, &[]),
    }
}

fn fields(header: &[u8]) -> Vec<HeaderField> {
    let mut fields: Vec<HeaderField> = Vec::new();
    for line in String::from_utf8_lossy(header).split_terminator("\r\n") {
        match (line.starts_with([' ', '\t']), fields.last_mut()) {
            (true, Some(field)) => {
                field.value.extend_from_slice(b"\r\n");
                field.value.extend_from_slice(line.as_bytes());
            }
            _ => {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                fields.push(HeaderField { name: name.to_owned(), value: value.as_bytes().to_vec() });
            }
        }
    }
    fields
}

fn media_type(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_a_message() {
        let text = "Subject: a\n b\nContent-Type: Text/HTML; charset=utf-8\n\n<p>\n";
        let message = message(text).build();
        let fields: Vec<_> = message.headers.iter().map(|f| (f.name.as_str(), f.value.as_slice())).collect();
        assert_eq!(fields, [("Subject", &b" a\r\n b"[..]), ("Content-Type", b" Text/HTML; charset=utf-8")]);
        assert_eq!(message.parts[0].media_type, "text/html");
        assert_eq!((message.parts[0].offset, message.parts[0].length), (0, 5));
        assert_eq!(body(text), b"<p>\r\n");
        assert_eq!(message.size, length(&crlf(text)));
    }

    #[test]
    fn a_message_may_have_no_header_or_no_body() {
        assert_eq!((message("\nx").build().headers.len(), body("\nx")), (0, b"x".to_vec()));
        assert_eq!((message("A: b\n").build().headers.len(), body("A: b\n")), (1, vec![]));
        assert_eq!((message("A: b\n\n").build().headers.len(), body("A: b\n\n")), (1, vec![]));
    }

    #[test]
    fn addresses_have_domains() {
        let message = message("\n").sender("").recipient("Ada@Reader.Test").build();
        assert_eq!(message.envelope.sender_domain, "");
        assert_eq!(message.envelope.recipients[0].address, "Ada@Reader.Test");
        assert_eq!(message.envelope.recipients[0].domain, "reader.test");
    }
}
