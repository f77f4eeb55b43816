//! What may stand in the header of a message that we build (RFC 5322 section 3.6).

use mail_builder::headers::HeaderType;
use mail_builder::headers::address::{Address, EmailAddress};
use mail_builder::headers::raw::Raw;
use mail_builder::headers::text::Text;
use relevo_mailkit::address;
use relevo_mailkit::model::{ExtraField, Mailbox, TemplateError};
use relevo_mailkit::transfer;

use crate::failure::invalid;

/// Fields with a place of their own, fields that others write, and fields that would change what
/// the message is.
const FORBIDDEN: [&str; 23] = [
    "authentication-results",
    "bcc",
    "cc",
    "content-length",
    "date",
    "dkim-signature",
    "from",
    "message-id",
    "mime-version",
    "received",
    "reply-to",
    "resent-bcc",
    "resent-cc",
    "resent-date",
    "resent-from",
    "resent-message-id",
    "resent-reply-to",
    "resent-sender",
    "resent-to",
    "return-path",
    "sender",
    "subject",
    "to",
];
/// Octets of a name, so that it never needs a line of its own.
const MAX_NAME: usize = 64;
/// Octets without a blank at which a line could be folded (RFC 5322 section 2.1.1 has 998 for the
/// line).
const MAX_WORD: usize = 900;
/// Octets of a value.
const MAX_VALUE: usize = 32 * 1024;

/// A mailbox whose domain is in A-labels, so that only a local part can make SMTPUTF8 necessary.
pub(crate) fn mailbox(field: &str, mailbox: &Mailbox) -> Result<EmailAddress<'static>, TemplateError> {
    let parsed = address::Address::parse(&mailbox.address)
        .map_err(|e| invalid(field, format!("{}: {e}", mailbox.address.escape_default())))?;
    let name = mailbox.name.as_deref().map(str::trim).filter(|n| !n.is_empty());
    if name.is_some_and(|n| n.contains(char::is_control) || n.len() > MAX_VALUE) {
        return Err(invalid(field, "the name has a control character or is too long"));
    }
    let email = format!("{}@{}", parsed.local, parsed.domain);
    Ok(EmailAddress { name: name.map(|n| n.to_owned().into()), email: email.into() })
}

/// Several; `None` for an empty list, which has no field.
pub(crate) fn mailboxes(field: &str, list: &[Mailbox]) -> Result<Option<HeaderType<'static>>, TemplateError> {
    let list = list
        .iter()
        .enumerate()
        .map(|(i, m)| mailbox(&format!("{field}[{i}]"), m))
        .collect::<Result<Vec<_>, _>>()?;
    Ok((!list.is_empty()).then(|| addresses(list)))
}

/// The value of an address field.
pub(crate) fn addresses(list: Vec<EmailAddress<'static>>) -> HeaderType<'static> {
    if !list.iter().any(|m| m.name.as_deref().is_some_and(looks_encoded)) {
        return Address::List(list.into_iter().map(Address::Address).collect()).into();
    }
    let mailboxes = list.iter().map(|m| match &m.name {
        Some(name) => format!("{} <{}>", encoded_words(name), m.email),
        None => format!("<{}>", m.email),
    });
    Raw::new(mailboxes.collect::<Vec<_>>().join(", ")).into()
}

/// The subject. Templates cannot make it longer than a line, callers can.
pub(crate) fn subject(subject: &str) -> Result<HeaderType<'static>, TemplateError> {
    let subject = unstructured("subject", subject)?;
    if looks_encoded(subject) {
        return Ok(Raw::new(encoded_words(subject)).into());
    }
    Ok(Text::new(subject.to_owned()).into())
}

/// A field of the caller's choice.
pub(crate) fn extra(index: usize, field: &ExtraField) -> Result<HeaderType<'static>, TemplateError> {
    let place = format!("fields[{index}]");
    let name = field.name.to_ascii_lowercase();
    let is_name =
        (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|b| (b'!'..=b'~').contains(&b) && b != b':');
    if !is_name {
        return Err(invalid(&place, "not a field name"));
    }
    if FORBIDDEN.contains(&name.as_str()) || name.starts_with("content-") {
        return Err(invalid(&place, format!("{name} cannot be given")));
    }
    let value = unstructured(&place, &field.value)?;
    if !value.is_ascii() {
        return Ok(Text::new(value.to_owned()).into());
    }
    if value.split(' ').any(|word| word.len() > MAX_WORD) {
        return Err(invalid(&place, "a word of more than 900 characters"));
    }
    // As it is: fields such as List-Unsubscribe or References have a syntax that encoded words
    // would break.
    Ok(Raw::new(value.to_owned()).into())
}

/// One line of text without control characters, and without runs of blanks that folding could make
/// into an empty line.
fn unstructured<'a>(place: &str, value: &'a str) -> Result<&'a str, TemplateError> {
    let value = value.trim();
    if value.contains(char::is_control) {
        return Err(invalid(place, "a line break or another control character"));
    }
    if value.len() > MAX_VALUE {
        return Err(invalid(place, "more than 32 KiB"));
    }
    Ok(value)
}

/// Readers would decode it, though nobody encoded it, and `mail-builder` leaves it as it is.
fn looks_encoded(text: &str) -> bool {
    text.contains("=?")
}

/// All of the text in encoded words (RFC 2047 section 2: at most 75 characters each).
fn encoded_words(text: &str) -> String {
    /// 60 characters of base64.
    const OCTETS: usize = 45;
    let mut words: Vec<String> = vec![String::new()];
    for c in text.chars() {
        match words.last_mut() {
            Some(last) if last.len() + c.len_utf8() <= OCTETS => last.push(c),
            _ => words.push(c.to_string()),
        }
    }
    let encoded = words.iter().map(|word| {
        let line = transfer::encode_base64(word.as_bytes());
        format!("=?utf-8?B?{}?=", String::from_utf8_lossy(line.trim_ascii_end()))
    });
    encoded.collect::<Vec<_>>().join(" ")
}

/// `<left@right>`, printable ASCII.
pub(crate) fn message_id(id: &str) -> Result<HeaderType<'static>, TemplateError> {
    let inner = id.strip_prefix('<').and_then(|i| i.strip_suffix('>')).unwrap_or_default();
    if is_identifier(inner) && inner.contains('@') && !inner.starts_with('@') && !inner.ends_with('@') {
        return Ok(Raw::new(id.to_owned()).into());
    }
    Err(invalid("message-id", "not <left@right>"))
}

/// What stands between the angle brackets of a Message-ID or Content-ID.
pub(crate) fn is_identifier(id: &str) -> bool {
    (1..=MAX_WORD).contains(&id.len())
        && id.bytes().all(|b| (b'!'..=b'~').contains(&b) && !b"<>()\"\\,;:".contains(&b))
}
